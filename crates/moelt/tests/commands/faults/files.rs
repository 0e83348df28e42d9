//! Folders that cannot be written, files that go away, clocks that go backwards.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use moelt_schema::RunDir;
use tempfile::TempDir;

use super::{LONG, ends_like, failed_cleanly, fraction, held, start, timed};
use crate::{
    resume::{Moment, kill_surely},
    support::{Ended, Run, moelt},
};

/// The user that owns nothing.
const NOBODY: u32 = 65_534;

/// A user's place: a folder with the binary in it, where one folder may be written and another may not.
struct Place {
    folder: TempDir,
    binary: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let binary = folder.path().join("moelt");
        fs::copy(env!("CARGO_BIN_EXE_moelt"), &binary).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder, binary }
    }

    fn folder(&self, name: &str, mode: u32) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// The command as somebody whom permissions bind: root is nobody here.
    fn bound(&self, command: &Command) -> Command {
        let mut bound = Command::new(&self.binary);
        bound.args(command.get_args()).current_dir(self.folder.path());
        if fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0) {
            bound.uid(NOBODY).gid(NOBODY);
        }
        bound
    }
}

#[test]
fn a_folder_that_may_not_be_written_is_named_and_stays_as_it_is() {
    let place = Place::new();
    let (open, closed) = (place.folder("open", 0o777), place.folder("closed", 0o555));
    let whole = Run::new(place.folder.path(), "whole", LONG);
    Ended::of(place.bound(&whole.in_folder(open.join("run")).command()), "").well();
    let run = open.join("run");
    let out = |command: &str, more: &[&str]| {
        let mut command = moelt([command]);
        command.arg(&run).args(more).arg("--out").arg(closed.join("out"));
        command
    };
    let cases = [
        ("train", whole.in_folder(closed.join("run")).command()),
        ("edit", out("edit", &["--grow", "0"])),
        ("export", out("export", &[])),
        ("predict", out("predict", &[whole.dir.path().with_extension("toml").to_str().unwrap()])),
    ];
    for (name, command) in cases {
        let ended = Ended::of(place.bound(&command), "");
        failed_cleanly(&ended, name);
        assert!(
            ended.stderr.contains("Permission denied") && ended.stderr.contains("closed"),
            "{name}: {ended:?}"
        );
        assert_eq!(fs::read_dir(&closed).unwrap().count(), 0, "{name}");
    }
}

#[test]
fn a_file_that_may_not_be_read_is_named() {
    let place = Place::new();
    let open = place.folder("open", 0o777);
    let texts = open.join("texts.csv");
    fs::write(&texts, "text,label\na,b\n").unwrap();
    fs::set_permissions(&texts, fs::Permissions::from_mode(0o000)).unwrap();
    let mut command = moelt(["train", "--data"]);
    command.arg(&texts).arg("--out").arg(open.join("run"));
    let ended = Ended::of(place.bound(&command), "");
    ended.with_error("train", &["texts.csv", "Permission denied"]);
}

/// What somebody removes under a run.
fn remove(run: &RunDir, what: &str) {
    let path = if what.is_empty() { run.path().to_owned() } else { run.path().join(what) };
    let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
}

#[test]
fn what_is_removed_under_a_run_is_never_taken_for_there() {
    let folder = TempDir::new().unwrap();
    let whole = Run::new(folder.path(), "whole", LONG);
    let takes = timed(whole.command());
    let all =
        ["", "checkpoints", "checkpoints/latest", "checkpoints/best", "events.jsonl", "config.toml", "lock"];
    for (i, what) in all.into_iter().cycle().take(2 * all.len()).enumerate() {
        let run = Run::new(folder.path(), "run", LONG);
        remove(&run.dir, "");
        let child = start(run.command());
        thread::sleep(takes.mul_f64(fraction(i)));
        held(&child, || {
            // A run that writes down what it is judged by has looked at all that it needs: what becomes of a finished run is not
            // its business.
            if !run.dir.path().join(RunDir::predictions_name("test")).exists() {
                remove(&run.dir, what);
            }
        });
        let ended = Ended::from(child.wait_with_output().unwrap());
        if ended.code != Some(0) {
            failed_cleanly(&ended, what);
        }
        finish(&run, &whole, what);
    }
}

/// The run is as `whole` is, goes on to be it, or says what is wrong with it; then it is it from the start.
#[track_caller]
fn finish(run: &Run, whole: &Run, what: &str) {
    let again = run.train();
    if again.code != Some(0) {
        failed_cleanly(&again, what);
        remove(&run.dir, "");
    }
    ends_like(run, whole);
}

#[test]
fn a_clock_that_goes_backwards_changes_nothing() {
    let folder = TempDir::new().unwrap();
    let whole = Run::new(folder.path(), "whole", LONG);
    whole.train().well();
    let run = Run::new(folder.path(), "run", LONG);
    kill_surely(&run, Moment::Pointed(2));
    // The session so far was a century from now: since then the clock was put back. As many digits as before, as the checkpoint
    // knows how long the log was.
    let log = fs::read_to_string(run.dir.events()).unwrap();
    fs::write(run.dir.events(), log.replace(r#""wall":1"#, r#""wall":9"#)).unwrap();
    in_the_future(run.dir.path());
    ends_like(&run, &whole);
}

/// Every file below was changed a century from now.
fn in_the_future(folder: &Path) {
    let then = std::time::SystemTime::now() + Duration::from_secs(100 * 365 * 86_400);
    for name in crate::support::files(folder).keys() {
        fs::File::options().append(true).open(folder.join(name)).unwrap().set_modified(then).unwrap();
    }
}
