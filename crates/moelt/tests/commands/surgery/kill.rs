//! A run that is killed around an edit goes on bit for bit: experts, ramp-ins, policy and edit log too.

use std::{fs, path::PathBuf};

use moelt_schema::{Digest, Manifest};
use tempfile::TempDir;

use super::{POLICIES, configured, edit_steps, finished, manifest, result};
use crate::{
    resume::{Moment, assert_same, go_on, kill_surely},
    support::{Run, checkpoints, copy, json},
};

/// Where a run was when it was killed.
#[derive(Clone, Copy, Debug)]
enum Kill {
    /// In the step after this one, in the middle of a line of the log.
    After(u64),
    /// While it wrote the checkpoint of this step.
    Writing(u64),
    /// After it had written the checkpoint of this step and before `latest` pointed at it.
    Unpointed(u64),
}

impl Kill {
    /// The step of `latest`.
    fn latest(self) -> u64 {
        match self {
            Self::After(step) => step,
            Self::Writing(step) | Self::Unpointed(step) => step - 1,
        }
    }
}

fn name(step: u64) -> String {
    format!("step-{step:08}")
}

/// A copy of a finished run with a checkpoint after every step, as it was when it was killed.
fn killed(whole: &Run, folder: &TempDir, kill: Kill) -> Run {
    let run = whole.in_folder(folder.path().join("killed"));
    copy(whole.dir.path(), run.dir.path());
    fs::remove_file(run.dir.result()).unwrap();
    fs::remove_dir_all(run.dir.path().join("predictions")).unwrap();
    let latest = kill.latest();
    let after = manifest(&run, latest + 1).events.bytes;
    for beyond in checkpoints(&run).into_iter().filter(|found| *found > name(latest)) {
        let path = run.checkpoint(&beyond);
        match kill {
            Kill::Writing(step) if beyond == name(step) => half_written(path),
            Kill::Unpointed(step) if beyond == name(step) => {}
            _ => fs::remove_dir_all(path).unwrap(),
        }
    }
    point(&run, "latest", Some(latest));
    point(&run, "best", manifest(&run, latest).state.best.map(|best| best.step));
    let log = fs::OpenOptions::new().write(true).open(run.dir.events()).unwrap();
    log.set_len(if let Kill::After(_) = kill { after - 9 } else { after }).unwrap();
    run
}

/// Makes a checkpoint one that is being written: hidden, one file cut, the manifest not there yet.
fn half_written(path: PathBuf) {
    fs::remove_file(path.join("manifest.json")).unwrap();
    fs::remove_file(path.join("manifest.blake3")).unwrap();
    fs::write(path.join("optimizer.safetensors"), [0; 7]).unwrap();
    let hidden = format!(".{}.tmp", path.file_name().unwrap().to_str().unwrap());
    fs::rename(&path, path.with_file_name(hidden)).unwrap();
}

fn point(run: &Run, pointer: &str, step: Option<u64>) {
    let Some(step) = step else { return fs::remove_file(run.checkpoint(pointer)).unwrap() };
    let hash = Digest::of_file(&run.checkpoint(&name(step)).join("manifest.json")).unwrap();
    fs::write(run.checkpoint(pointer), format!("{} {hash}\n", name(step))).unwrap();
}

/// Kills a copy of a run and lets it go on; every checkpoint from then on, the log, the predictions and the
/// result must be those of the run that was never killed.
#[track_caller]
fn goes_on(whole: &Run, kill: Kill) {
    let folder = TempDir::new().unwrap();
    let run = killed(whole, &folder, kill);
    go_on(&run);
    assert_eq!(checkpoints(&run), checkpoints(whole), "{kill:?}");
    assert_same(whole, &run, &checkpoints(whole));
}

#[test]
fn a_run_killed_around_an_edit_is_bit_identical_to_an_uninterrupted_one() {
    for policy in POLICIES {
        let whole = finished(policy);
        let edit = *edit_steps(whole).last().unwrap();
        let kills = [
            Kill::After(edit - 1),
            Kill::Writing(edit),
            Kill::Unpointed(edit),
            Kill::After(edit),
            Kill::After(edit + 1),
        ];
        for kill in kills {
            goes_on(whole, kill);
        }
    }
}

/// The last step after which a checkpoint is as described.
fn last_with(run: &Run, is: impl Fn(&Manifest) -> bool) -> u64 {
    let mut steps = (1..result(run).steps).rev();
    steps.find(|step| is(&manifest(run, *step))).unwrap()
}

#[test]
fn a_run_killed_while_an_expert_is_let_in_lets_it_in_as_it_would_have() {
    for policy in ["rule", "placebo_time", "placebo_surgery"] {
        let whole = finished(policy);
        let half_open = |manifest: &Manifest| {
            manifest.state.ramp_ins.iter().any(|ramping_in| manifest.step == ramping_in.since + 6)
        };
        goes_on(whole, Kill::After(last_with(whole, half_open)));
    }
}

#[test]
fn a_run_killed_between_two_confirmations_remembers_the_first() {
    let asked = |manifest: &Manifest| {
        let memory = &manifest.state.policy.layers[0];
        [memory.asked_to_grow, memory.asked_to_prune.values().copied().max().unwrap_or(0)]
    };
    for policy in ["rule", "loss"] {
        let whole = finished(policy);
        let edits = edit_steps(whole);
        for kind in [0, 1] {
            // In the window before the edit that both together bring about.
            let between = |manifest: &Manifest| {
                manifest.state.policy.layers.len() == 1
                    && asked(manifest)[kind] == 1
                    && edits.contains(&(manifest.step + 3))
            };
            goes_on(whole, Kill::After(last_with(whole, between)));
        }
    }
}

#[test]
fn a_run_killed_again_and_again_is_bit_identical_to_an_uninterrupted_one() {
    let folder = TempDir::new().unwrap();
    let killed = configured(folder.path(), "rule");
    let begun = |run: &Run| run.pointed("latest").map_or(0, |name| name["step-".len()..].parse().unwrap());
    let mut kills = 0;
    while begun(&killed) < 60 {
        kill_surely(&killed, Moment::Pointed(4));
        kills += 1;
    }
    assert!(kills > 3, "{kills}");
    go_on(&killed);
    let whole = finished("rule");
    assert_same(whole, &killed, &checkpoints(whole));
    assert_eq!(json(&killed.dir.result())["edits"], json(&whole.dir.result())["edits"]);
}
