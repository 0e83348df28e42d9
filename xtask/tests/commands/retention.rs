//! `cargo xtask ablate --keep`.

use std::fs;

use moelt_schema::{AblationPlan, Cell};

use crate::support::TestWorkspace;

/// Cells as after training: two checkpoints, of which the first is the best.
fn prepared(workspace: &TestWorkspace) -> AblationPlan {
    let plan = workspace.plan("test", &["--phases", "rule,rule-continued,moe", "--seeds", "1"]);
    for cell in &plan.cells {
        workspace.prepare(cell, 90);
        let checkpoints = workspace.prepared(cell).join("checkpoints");
        for name in ["step-00000004", "step-00000009"] {
            fs::create_dir_all(checkpoints.join(name)).unwrap();
            fs::write(checkpoints.join(name).join("manifest.json"), "{}").unwrap();
        }
        fs::write(checkpoints.join("best"), "step-00000004 0123\n").unwrap();
        fs::write(checkpoints.join("latest"), "step-00000009 4567\n").unwrap();
    }
    plan
}

/// What lies in the folder of a cell's checkpoints; none where there is no such folder.
fn kept(workspace: &TestWorkspace, cell: &Cell) -> Option<Vec<String>> {
    let folder = workspace.path(&format!("runs/test/cells/{}/checkpoints", cell.id));
    let entries = fs::read_dir(folder).ok()?;
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    Some(names)
}

fn best_alone() -> Option<Vec<String>> {
    Some(vec!["best".to_owned(), "step-00000004".to_owned()])
}

#[test]
fn everything_is_kept_unless_somebody_asks_for_less() {
    let workspace = TestWorkspace::new();
    let plan = prepared(&workspace);
    workspace.xtask(&["ablate", "run", "--name", "test"], 0);
    assert!(plan.cells.iter().all(|cell| kept(&workspace, cell).is_some_and(|names| names.len() == 4)));
    // It can be asked for afterwards.
    workspace.xtask(&["ablate", "run", "--name", "test", "--keep", "best"], 0);
    assert!(plan.cells.iter().all(|cell| kept(&workspace, cell) == best_alone()));
    assert_eq!(workspace.calls().len(), 3);
}

/// rule keeps everything while rule-continued, which builds on it, has no result.
#[test]
fn what_an_open_cell_builds_on_stays() {
    let workspace = TestWorkspace::new();
    let plan = prepared(&workspace);
    let [rule, continued, moe] = plan.cells.as_slice() else { panic!() };
    workspace.xtask(&["ablate", "run", "--name", "test", "--keep", "best", &rule.id, &moe.id], 0);
    assert_eq!(kept(&workspace, rule).unwrap().len(), 4);
    assert_eq!(kept(&workspace, moe), best_alone());
    workspace.xtask(&["ablate", "run", "--name", "test", "--keep", "best", "--cell", &continued.id], 0);
    assert!(plan.cells.iter().all(|cell| kept(&workspace, cell) == best_alone()));
    let text = workspace.xtask(&["ablate", "run", "--name", "test"], 0);
    assert!(text.contains("3 of 3 cells are finished already") && text.contains("90.00"), "{text}");
}

#[test]
fn a_report_needs_no_checkpoint() {
    let workspace = TestWorkspace::new();
    let plan = prepared(&workspace);
    workspace.xtask(&["ablate", "run", "--name", "test", "--keep", "none"], 0);
    assert!(plan.cells.iter().all(|cell| kept(&workspace, cell).is_none()));
    let text = workspace.xtask(&["ablate", "collect", "--name", "test"], 0);
    assert!(text.contains("90.00"), "{text}");
}
