//! `cargo xtask regress`.

use std::fs;

use crate::support::TestWorkspace;

/// Prepares every cell around these accuracies: `moe` and the other arms.
fn prepare(workspace: &TestWorkspace, others: usize, moe: usize) {
    let plan = workspace.plan("any", &["--preset", "regress"]);
    for cell in &plan.cells {
        let right = if cell.arm == "moe" { moe } else { others };
        workspace.prepare(cell, right + cell.seed as usize % 5);
    }
}

#[test]
fn only_a_clear_fall_fails() {
    let workspace = TestWorkspace::new();
    let text = workspace.xtask(&["regress"], 1);
    assert!(text.contains("no configs/baselines/planted.json") && text.contains("--update"), "{text}");
    prepare(&workspace, 80, 90);
    workspace.xtask(&["regress", "--update", "--reason", "first"], 0);
    let text = workspace.xtask(&["regress"], 0);
    assert!(
        text.contains("frozen-8: 82.00 ± 1.49 % now, 82.00 ± 1.49 % in the baseline: +0.00 pp"),
        "{text}"
    );
    assert!(text.contains("(95 % interval +0.00 to +0.00): fine"), "{text}");
    assert_eq!(workspace.calls().len(), 2 * 40, "results of an earlier run were taken for this one's");
    prepare(&workspace, 80, 70);
    let text = workspace.xtask(&["regress"], 1);
    assert!(text.contains("CLEARLY WORSE") && text.contains("(moelt 0.1.0): moe"), "{text}");
    workspace.xtask(&["regress", "--update", "--reason", "known loss"], 0);
    workspace.xtask(&["regress"], 0);
    let baseline = fs::read_to_string(workspace.path("configs/baselines/planted.json")).unwrap();
    assert!(baseline.contains("\"first\"") && baseline.contains("\"known loss\""), "{baseline}");
}

#[test]
fn a_failed_cell_is_no_comparison() {
    let workspace = TestWorkspace::new();
    prepare(&workspace, 80, 90);
    workspace.xtask(&["regress", "--update", "--reason", "first"], 0);
    fs::remove_dir_all(workspace.path("moelt.cells")).unwrap();
    let text = workspace.xtask(&["regress"], 1);
    assert!(text.contains("40 cell(s) failed: nothing to compare"), "{text}");
}

#[test]
fn other_seeds_and_what_ifs_are_compared_with_the_same_baseline() {
    let workspace = TestWorkspace::new();
    prepare(&workspace, 80, 90);
    workspace.xtask(&["regress", "--update", "--reason", "first"], 0);
    let again = |right: usize, args: &[&str], code: i32| {
        let plan = workspace.plan(&format!("again-{right}"), &[&["--preset", "regress"], args].concat());
        plan.cells.iter().for_each(|cell| workspace.prepare(cell, right + cell.seed as usize % 5));
        workspace.xtask(&[&["regress"], args].concat(), code)
    };
    let text = again(90, &["--first-seed", "100"], 0);
    assert!(text.contains("moe: 92.00") && text.contains("moe-s104"), "{text}");
    assert!(text.contains("WARNING: inconclusive; with these seeds a fall of"), "{text}");
    let text = again(70, &["--set", "optim.lr=0.0001"], 1);
    assert!(text.contains("CLEARLY WORSE"), "{text}");
    let text = workspace.xtask(&["regress", "--update", "--reason", "x", "--first-seed", "100"], 2);
    assert!(text.contains("cannot be used with"), "{text}");
}

#[test]
fn a_baseline_of_another_format_is_refused_with_the_mend() {
    let workspace = TestWorkspace::new();
    fs::create_dir_all(workspace.path("configs/baselines")).unwrap();
    fs::write(workspace.path("configs/baselines/planted.json"), "{\"format\": 1, \"margin\": 0.005}")
        .unwrap();
    let text = workspace.xtask(&["regress"], 1);
    assert!(text.contains("planted.json: has format 1, not 2; remove it"), "{text}");
}
