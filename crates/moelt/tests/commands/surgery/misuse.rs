//! What cannot be meant is refused before anything is done.

use std::fs;

use tempfile::TempDir;

use super::finished;
use crate::support::{EDITED, Run, TINY, copy, json};

fn rule(folder: &TempDir) -> Run {
    Run::new(folder.path(), "run", &[TINY, EDITED].concat())
}

#[test]
fn policies_that_the_model_or_the_limits_do_not_allow_are_refused() {
    const NEED: &str = "`control.policy`: `dynmoe` and model.routing = \"top_any\" need one";
    let cases: [(&[&str], &[&str]); 14] = [
        (
            &["control.policy=placebo_time"],
            &["--set control.policy=placebo_time: `control.policy.placebo_time`: missing field `edits_of`"],
        ),
        (
            &["control.policy=placebo_surgery"],
            &["`control.policy.placebo_surgery`: missing field `edits_of`"],
        ),
        (&["control.policy=dynmoe"], &[NEED]),
        (&["model.routing=top_any"], &[NEED]),
        (&["model.routing=dense"], &["`control.policy`: needs experts; every layer is dense"]),
        (
            &["control.edits.min_experts=5", "control.edits.max_experts=4"],
            &["`control.edits.max_experts`: is 4, below control.edits.min_experts = 5"],
        ),
        (
            &["control.edits.warmup=0.5", "control.edits.until=0.5"],
            &["`control.edits.until`: is 0.5; control.edits.warmup is 0.5: nothing would ever be edited"],
        ),
        (
            &["control.edits.max_experts=3"],
            &["`model.routing`: has 4 experts; control.edits.min_experts and max_experts allow 1 to 3"],
        ),
        (&["control.edits.until=5"], &["`control.edits.until`: is 5; must be 0 to 1"]),
        (&["control.policy.rule.edits_of=x"], &["`control.policy.rule.edits_of`: unknown field"]),
        (&["control.edits_of=x"], &["`control.edits_of`: is called control.policy.placebo_time.edits_of"]),
        (&["start=size"], &["`start.size`: missing field `run`"]),
        (&["start.take=size"], &["`start.take`: is called start, one of"]),
        (&["control.edits.every=0"], &["`control.edits.every`: must be at least 1"]),
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
        .set(format!("control.policy.placebo_time.edits_of={}", model.dir.path().display()));
    let refused = |what: &str, parts: &[&str]| {
        placebo.train().with_error(what, parts);
        assert!(!placebo.dir.config().exists(), "{what}: another try must be possible");
    };
    let mut shorter = result.clone();
    shorter["edits"]["plans"].as_array_mut().unwrap().remove(0);
    fs::write(model.dir.result(), shorter.to_string()).unwrap();
    refused("a plan is missing", &["result.json: ", "edit log"]);
    fs::remove_file(model.dir.result()).unwrap();
    refused(
        "unfinished",
        &["`control.policy.placebo_time.edits_of`: ", "model is no finished run: it has no result.json"],
    );
    fs::remove_dir_all(model.dir.path()).unwrap();
    refused(
        "nowhere",
        &["`control.policy.placebo_time.edits_of`: ", "model is no finished run: it has no result.json"],
    );
}

#[test]
fn an_arm_in_braces_is_for_ablations() {
    for (key, policy) in [
        ("start.weights.run", "frozen"),
        ("start.size.run", "frozen"),
        ("control.policy.placebo_time.edits_of", "placebo_time"),
    ] {
        let folder = TempDir::new().unwrap();
        let run = rule(&folder).set(format!("control.policy={policy}")).set(format!("{key}={{rule}}"));
        let mend = format!("--set {key}=DIR");
        let parts = [&format!("`{key}`: {{rule}} "), "a cell of an ablation", mend.as_str()];
        run.train().with_error(key, &parts);
        assert!(!run.dir.config().exists(), "{key}");
    }
}
