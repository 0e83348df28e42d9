//! What cannot be meant is refused before anything is done.

use std::fs;

use tempfile::TempDir;

use super::{CONTROL, finished};
use crate::support::{Run, TINY, copy, json};

fn rule(folder: &TempDir) -> Run {
    Run::new(folder.path(), "run", &[TINY, CONTROL].concat())
}

#[test]
fn policies_that_the_model_or_the_limits_do_not_allow_are_refused() {
    let cases: [(&[&str], &[&str]); 12] = [
        (&["control.policy=placebo_time"], &["`control.edits_of`: is not set; name the folder of the run"]),
        (&["control.policy=placebo_surgery"], &["`control.edits_of`: is not set"]),
        (&["control.policy=dynmoe"], &["`control.policy`: `dynmoe` and model.kind = \"top_any\" need one"]),
        (&["model.kind=top_any"], &["`control.policy`: `dynmoe` and model.kind = \"top_any\" need one"]),
        (&["model.kind=dense"], &["`control.policy`: needs experts; every layer is dense"]),
        (
            &["control.min_experts=5", "control.max_experts=4"],
            &["`control.max_experts`: is 4, below control.min_experts = 5"],
        ),
        (
            &["control.warmup=0.5", "control.until=0.5"],
            &["`control.until`: is 0.5; control.warmup is 0.5: nothing would ever be edited"],
        ),
        (
            &["control.max_experts=3"],
            &["`model.n_experts`: is 4; control.min_experts and max_experts allow 1 to 3"],
        ),
        (&["control.until=5"], &["`control.until`: is 5; must be 0 to 1"]),
        (&["control.edits_of=x"], &["`control.edits_of`: is set, but control.policy is no placebo"]),
        (&["start.take=size"], &["`start.take`: is set, but start.run is not"]),
        (&["control.every=0"], &["`control.every`: must be at least 1"]),
    ];
    for (sets, parts) in cases {
        let folder = TempDir::new().unwrap();
        let run = sets.iter().fold(rule(&folder), |run, set| run.set(*set));
        run.train().with_error(&format!("{sets:?}"), parts);
        assert!(!run.dir.path().exists(), "{sets:?}");
    }
}

#[test]
fn a_placebo_follows_finished_runs_only() {
    let folder = TempDir::new().unwrap();
    let model = finished("rule").in_folder(folder.path().join("model"));
    copy(finished("rule").dir.path(), model.dir.path());
    let result = json(&model.dir.result());
    let placebo = rule(&folder)
        .set("control.policy=placebo_time")
        .set(format!("control.edits_of={}", model.dir.path().display()));
    let refused = |what: &str, parts: &[&str]| {
        placebo.train().with_error(what, parts);
        assert!(!placebo.dir.config().exists(), "{what}: another try must be possible");
    };
    let mut shorter = result.clone();
    shorter["edits"]["plans"].as_array_mut().unwrap().remove(0);
    fs::write(model.dir.result(), shorter.to_string()).unwrap();
    refused("a plan is missing", &["result.json: ", "edit log"]);
    fs::remove_file(model.dir.result()).unwrap();
    refused("unfinished", &["`control.edits_of`: ", "model is no finished run: it has no result.json"]);
    fs::remove_dir_all(model.dir.path()).unwrap();
    refused("nowhere", &["`control.edits_of`: ", "model is no finished run: it has no result.json"]);
}

#[test]
fn an_arm_in_braces_is_for_ablations() {
    for (key, sets) in [
        ("start.run", vec!["start.run={rule}", "control.policy=frozen"]),
        ("start.run", vec!["start.run={rule}", "start.take=size", "control.policy=frozen"]),
        ("control.edits_of", vec!["control.edits_of={rule}", "control.policy=placebo_time"]),
    ] {
        let folder = TempDir::new().unwrap();
        let run = sets.iter().fold(rule(&folder), |run, set| run.set(*set));
        let mend = format!("--set {key}=DIR");
        let parts = [&format!("`{key}`: {{rule}} "), "only `cargo xtask ablate` fills in", mend.as_str()];
        run.train().with_error(&format!("{sets:?}"), &parts);
        assert!(!run.dir.config().exists(), "{sets:?}");
    }
}
