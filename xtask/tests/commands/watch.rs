//! `cargo xtask ablate collect --watch`, on a pipe.

use std::{
    fs,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use moelt_schema::AblationPlan;

use crate::{ablate::report, support::TestWorkspace};

const ARMS: [&str; 4] = ["--phases", "dense,moe", "--seeds", "1"];
const WATCH: [&str; 6] = ["ablate", "collect", "--name", "test", "--watch", "--every=1"];

/// What is on the second stream is in a file: nobody has to read it meanwhile.
fn started(workspace: &TestWorkspace, args: &[&str], log: &str) -> Child {
    let log = fs::File::create(workspace.path(log)).unwrap();
    workspace.command(args).stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

/// Waits until a file says something.
fn wait_for(workspace: &TestWorkspace, file: &str, text: &str) {
    let begun = Instant::now();
    while !fs::read_to_string(workspace.path(file)).is_ok_and(|found| found.contains(text)) {
        assert!(begun.elapsed() < Duration::from_secs(60), "no `{text}` in {file}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn interrupt(child: &Child) {
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

fn planned(workspace: &TestWorkspace) -> AblationPlan {
    let plan = workspace.plan("test", &ARMS);
    workspace.prepare(&plan.cells[0], 90);
    plan
}

#[test]
fn a_finished_ablation_is_reported_at_once() {
    let workspace = TestWorkspace::new();
    let plan = planned(&workspace);
    workspace.prepare(&plan.cells[1], 80);
    workspace.xtask(&["ablate", "run", "--name", "test"], 0);
    let text = workspace.xtask(&WATCH, 0);
    assert!(
        text.contains("90.00") && text.contains("80.00") && !text.contains("nothing is running"),
        "{text}"
    );
    let text = workspace.xtask(&WATCH[..4], 0);
    assert!(text.contains("90.00"), "{text}");
    workspace.xtask(&["ablate", "collect", "--name", "test", "--every", "5"], 2);
}

/// One cell finishes while another one goes on; Ctrl-C ends the watching and not the cell.
#[test]
fn an_ablation_that_runs_is_told_of_and_left_alone() {
    let workspace = TestWorkspace::new();
    let plan = planned(&workspace);
    workspace.prepare_to_wait(&plan.cells[1]);
    let mut watch = started(&workspace, &WATCH, "watch.log");
    wait_for(
        &workspace,
        "watch.log",
        "nothing is running: no cell has written anything for 60 s. Go on with: cargo xtask",
    );
    let mut run = started(&workspace, &["ablate", "run", "--name", "test"], "run.log");
    let ended = format!("[1/2] {} finished: 90.00 % on validation after 1.5 s, about ", plan.cells[0].id);
    wait_for(&workspace, "watch.log", &ended);
    wait_for(&workspace, "runs/test/report.md", "90.00");
    assert_eq!(report(&workspace, "test").unfinished.len(), 1);
    interrupt(&watch);
    assert!(!watch.wait().unwrap().success());
    assert!(run.try_wait().unwrap().is_none(), "the run goes on");
    interrupt(&run);
    assert_eq!(run.wait().unwrap().code(), Some(130));
}

#[test]
fn watching_ends_when_the_last_cell_has_ended() {
    let workspace = TestWorkspace::new();
    let plan = planned(&workspace);
    let mut watch = started(&workspace, &WATCH, "watch.log");
    wait_for(&workspace, "watch.log", "nothing is running");
    // The second cell is not prepared: it fails.
    workspace.xtask(&["ablate", "run", "--name", "test"], 1);
    assert_eq!(watch.wait().unwrap().code(), Some(1));
    let text = fs::read_to_string(workspace.path("watch.log")).unwrap();
    let failed = format!("{} FAILED: exit status: 1", plan.cells[1].id);
    assert!(text.contains("[2/2] ") && text.contains(&failed) && text.contains("the loss is NaN"), "{text}");
    assert_eq!(report(&workspace, "test").failed().count(), 1);
}

/// A cell fails while another one goes on, and is run by itself when what it lacked is there.
#[test]
fn a_failed_cell_that_is_run_again_is_told_of_again() {
    let workspace = TestWorkspace::new();
    let plan = workspace.plan("test", &ARMS);
    let again = &plan.cells[1];
    workspace.prepare_to_wait(&plan.cells[0]);
    let mut watch = started(&workspace, &WATCH, "watch.log");
    let mut run = started(&workspace, &["ablate", "run", "--name", "test", "--jobs", "2"], "run.log");
    wait_for(&workspace, "watch.log", &format!("[1/2] {} FAILED: exit status: 1", again.id));
    workspace.prepare(again, 80);
    workspace.xtask(&["ablate", "run", "--name", "test", &again.id], 0);
    wait_for(&workspace, "watch.log", &format!("{} runs again", again.id));
    wait_for(&workspace, "watch.log", &format!("[1/2] {} finished: 80.00 % on validation", again.id));
    assert!(watch.try_wait().unwrap().is_none(), "the other cell goes on");
    interrupt(&watch);
    watch.wait().unwrap();
    interrupt(&run);
    assert_eq!(run.wait().unwrap().code(), Some(130));
}
