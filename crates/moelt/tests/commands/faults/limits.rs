//! Disks that are full and memory that runs out.

use std::process::Command;

use tempfile::TempDir;

use super::{LONG, ends_like, failed_cleanly};
use crate::support::{Ended, Run, TINY, moelt, under};

/// A command that may write no file beyond so many kilobytes. What goes beyond is refused (EFBIG) as by a full disk, at the very
/// byte; the signal that says so is ignored, as it is not sent for full disks.
fn with_small_files(command: &Command, kilobytes: u64) -> Command {
    under(&format!("trap '' XFSZ; ulimit -f {kilobytes}"), command)
}

/// A command that has so many kilobytes of addresses.
fn with_little_memory(command: &Command, kilobytes: u64) -> Command {
    under(&format!("ulimit -c 0; ulimit -v {kilobytes}"), command)
}

#[test]
fn a_full_disk_is_an_error_at_every_write_and_the_run_goes_on_when_there_is_room() {
    let folder = TempDir::new().unwrap();
    let whole = Run::new(folder.path(), "whole", LONG);
    whole.train().well();
    let mut refused = 0;
    let run = Run::new(folder.path(), "run", LONG);
    // From no byte at all to more than the largest file, a checkpoint's optimizer state.
    for kilobytes in [0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987] {
        let ended = Ended::of(with_small_files(&run.command(), kilobytes), "");
        if ended.code == Some(0) {
            std::fs::remove_dir_all(run.dir.path()).unwrap();
            continue;
        }
        failed_cleanly(&ended, &format!("{kilobytes} KB"));
        assert!(ended.stderr.contains("File too large"), "{}", ended.stderr);
        assert!(!run.dir.result().exists());
        refused += 1;
    }
    assert!(refused >= 8, "{refused}");
    ends_like(&run, &whole);
    println!("train with a full disk: {refused} refusals, each an error that names the file, nothing lost");
}

#[test]
fn what_is_written_once_does_not_half_exist_on_a_full_disk() {
    let folder = TempDir::new().unwrap();
    let run = Run::new(folder.path(), "run", LONG);
    run.train().well();
    let texts = folder.path().join("texts.txt");
    std::fs::write(&texts, "w1 w2\n".repeat(2000)).unwrap();
    let mut refused = 0;
    for kilobytes in [0, 1, 4, 16, 64] {
        for words in [&["edit", "--grow", "0:1"][..], &["export"], &["predict", texts.to_str().unwrap()]] {
            let out = folder.path().join("out");
            let mut command = moelt([words[0]]);
            command.arg(run.dir.path()).args(&words[1..]).arg("--out").arg(&out);
            let ended = Ended::of(with_small_files(&command, kilobytes), "");
            if ended.code == Some(0) {
                std::fs::remove_dir_all(&out).or_else(|_| std::fs::remove_file(&out)).unwrap();
                continue;
            }
            failed_cleanly(&ended, &format!("{words:?}, {kilobytes} KB"));
            assert!(!out.exists(), "{words:?}, {kilobytes} KB");
            refused += 1;
        }
    }
    assert!(refused >= 10, "{refused}");
    println!("edit, export and predict with a full disk: {refused} refusals, nothing half");
}

#[test]
fn a_run_that_has_no_memory_left_goes_on_when_there_is_some() {
    let folder = TempDir::new().unwrap();
    let whole = Run::new(folder.path(), "whole", TINY);
    whole.train().well();
    let run = Run::new(folder.path(), "run", TINY);
    let mut ended_early = 0;
    for megabytes in [30, 60, 90, 120, 160, 200, 300, 400] {
        let ended = Ended::of(with_little_memory(&run.command(), 1024 * megabytes), "");
        if ended.code == Some(0) {
            std::fs::remove_dir_all(run.dir.path()).unwrap();
        } else {
            ended_early += 1;
        }
    }
    assert!(ended_early > 0);
    ends_like(&run, &whole);
    println!("train without memory: ended early {ended_early} times of 8, nothing lost");
}
