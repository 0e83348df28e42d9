//! What cells read is part of their plan.

use std::fs;

use moelt_schema::AblationPlan;

use crate::support::TestWorkspace;

const HASH: &str = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";

/// A finished run in `runs/old` with two checkpoints, the second one the best.
fn with_old_run() -> TestWorkspace {
    let workspace = TestWorkspace::new();
    for (path, text) in [
        ("result.json", "{}"),
        ("events.jsonl", "{}"),
        ("checkpoints/step-00000100/manifest.json", "first"),
        ("checkpoints/step-00000200/manifest.json", "second"),
        ("checkpoints/best", &format!("step-00000200 {HASH}\n")),
        ("checkpoints/latest", &format!("step-00000200 {HASH}\n")),
    ] {
        write(&workspace, path, text);
    }
    workspace
}

fn write(workspace: &TestWorkspace, path: &str, text: &str) {
    let path = workspace.path("runs/old").join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Forty texts of two classes.
pub(crate) fn csv_texts(class: &str) -> String {
    let row = |i: usize| format!("text {i},{}\n", ["a", class][i % 2]);
    "text,label\n".to_owned() + &(0..40).map(row).collect::<String>()
}

/// Plans with this setting, changes a file, and gives what running says then.
fn planned_and_changed(sets: &[&str], changed: &str) -> (Vec<String>, String) {
    let workspace = with_old_run();
    let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    let plan = workspace.plan("test", &[&["--phases", "moe", "--seeds", "1"][..], &sets].concat());
    write(&workspace, changed, "changed");
    let text = workspace.xtask(&["ablate", "run", "--name", "test"], 1);
    assert!(workspace.calls().is_empty(), "{text}");
    (plan.data.into_keys().collect(), text)
}

#[test]
fn a_run_that_cells_take_something_from_is_pinned_by_what_they_read_of_it() {
    let (first, second) =
        ("checkpoints/step-00000100/manifest.json", "checkpoints/step-00000200/manifest.json");
    let best = "checkpoints/best";
    let head = ["control.policy=lookahead", "control.policy.lookahead.head={records_of=['runs/old']}"];
    let cases: [(&[&str], &[&str]); 7] = [
        (&["start={weights={run='runs/old'}}"], &[best, second]),
        (&["start={size={run='runs/old/checkpoints'}}"], &[best, second]),
        (&["start={weights={run='runs/old/checkpoints/best'}}"], &[best, second]),
        (&["start={weights={run='runs/old/checkpoints/step-00000100'}}"], &[first]),
        (&["train.budget={flops_of='runs/old'}"], &["result.json"]),
        (&head, &["events.jsonl", "result.json"]),
        (&["control.policy={placebo_time={edits_of='runs/old'}}"], &["result.json"]),
    ];
    for (sets, read) in cases {
        for changed in read {
            let (pinned, text) = planned_and_changed(sets, changed);
            let expected: Vec<String> = read.iter().map(|file| format!("runs/old/{file}")).collect();
            assert_eq!(pinned, expected, "{sets:?}");
            // A pointer that names nothing cannot be followed to what it named.
            let says = format!("runs/old/{changed} names `changed`");
            let planned = format!("it was planned with another runs/old/{changed} (");
            assert!(text.contains(&planned) || *changed == best && text.contains(&says), "{sets:?}: {text}");
        }
    }
}

const START: &str = "start={weights={run='runs/old'}}";

#[test]
fn a_pointer_that_names_another_checkpoint_is_another_plan() {
    let workspace = with_old_run();
    workspace.plan("test", &["--phases", "moe", "--seeds", "1", "--set", START]);
    write(&workspace, "checkpoints/best", &format!("step-00000100 {HASH}\n"));
    let text = workspace.xtask(&["ablate", "run", "--name", "test"], 1);
    assert!(text.contains("it was planned with another runs/old/checkpoints/best ("), "{text}");
}

#[test]
fn a_run_that_is_not_there_is_told_before_any_cell_runs() {
    let workspace = TestWorkspace::new();
    for (set, says) in [
        (
            "start={weights={run='runs/gone'}}",
            "moe seed 600: start.weights.run: `runs/gone` has no checkpoint to start from",
        ),
        (
            "train.budget={flops_of='runs/gone'}",
            "moe seed 600: train.budget.flops_of: `runs/gone` is no finished run",
        ),
    ] {
        let text = workspace.xtask(&["ablate", "plan", "--phases", "moe", "--seeds", "1", "--set", set], 1);
        assert!(text.contains(says), "{text}");
    }
}

#[test]
fn a_file_that_no_cell_could_read_is_told_of_before_the_first() {
    let workspace = TestWorkspace::new();
    fs::write(workspace.path("my.csv"), csv_texts("b")).unwrap();
    let refused = |set: &str, parts: &[&str]| {
        let args =
            ["ablate", "--name", "test", "--dataset", "csv", "--set", "data.csv.train=my.csv", "--set", set];
        let text = workspace.xtask(&args, 1);
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        assert!(!workspace.path("runs/test/plan.json").exists());
    };
    refused("data.csv.label_column=stars", &["my.csv:1: no column `stars`"]);
    refused("data.csv.test_fraction=0", &["data.csv.test_fraction"]);
    refused("data.csv.validation_fraction=0.001", &["data.csv.validation_fraction", "holds no example"]);
}

#[test]
fn a_file_of_ones_own_has_the_recipe_by_its_rows() {
    let workspace = TestWorkspace::new();
    fs::write(workspace.path("my.csv"), csv_texts("b")).unwrap();
    let design = ["--dataset", "csv", "--set", "data.csv.train=my.csv", "--phases", "dense,moe"];
    let small = workspace.plan("small", &design);
    let batches = |plan: &AblationPlan| -> Vec<usize> {
        plan.cells.iter().map(|cell| cell.config.train.batch_size).collect()
    };
    assert_eq!(batches(&small), [32; 10], "rows/to-2000, in both arms and every seed");
    let text = workspace.xtask(&[&["ablate", "plan", "--name", "small"][..], &design].concat(), 0);
    let note = "32 training texts: the recipe is datasets/csv with rows/to-2000 over it";
    assert_eq!(text.matches(note).count(), 1, "{text}");
    let set = workspace.plan("set", &[&design[..], &["--set", "train.batch_size=8"]].concat());
    assert_eq!(batches(&set), [8; 10], "what is set counts more");
}

#[test]
fn other_code_or_data_need_another_plan() {
    let workspace = TestWorkspace::new();
    fs::write(workspace.path("my.csv"), csv_texts("b")).unwrap();
    let design = ["--dataset", "csv", "--set", "data.csv.train=my.csv", "--phases", "dense", "--seeds", "1"];
    workspace.plan("test", &design);
    let refused = || workspace.xtask(&["ablate", "run", "--name", "test"], 1);
    fs::write(workspace.path("my.csv"), csv_texts("c")).unwrap();
    let text = refused();
    assert!(
        text.contains("it was planned with another my.csv (") && text.contains("another --name"),
        "{text}"
    );
    fs::create_dir_all(workspace.path("crates/train/src")).unwrap();
    fs::write(workspace.path("crates/train/src/run.rs"), "// changed").unwrap();
    let text = refused();
    assert!(text.contains("it was planned with other code ("), "{text}");
    assert!(workspace.calls().is_empty());
}
