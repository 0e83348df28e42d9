//! `cargo xtask ablate` with phases that build on other phases.

use std::fs;

use moelt_eval::Report;
use moelt_schema::{AblationPlan, Budget, Cell, PlaceboConfig, PolicyConfig, RunConfig, RunRef, StartConfig};

use crate::support::TestWorkspace;

/// The cell of an arm.
fn cell<'a>(plan: &'a AblationPlan, arm: &str, seed: u64) -> &'a Cell {
    plan.cells.iter().find(|cell| cell.arm == arm && cell.seed == seed).unwrap()
}

/// A cell of a preset of the data sets, as another one names it.
fn named(ablation: &str, cell: &Cell) -> RunRef {
    RunRef::Folder(format!("runs/{ablation}/cells/{}", cell.id))
}

/// The run folder of a cell of the ablation `test`.
fn run_of(cell: &Cell) -> String {
    format!("runs/test/cells/{}", cell.id)
}

#[test]
fn phases_of_the_data_sets_build_on_cells_of_their_own_seed() {
    let workspace = TestWorkspace::new();
    fs::create_dir_all(workspace.path("datasets/sst2")).unwrap();
    for file in ["datasets/sst2/train.tsv", "datasets/sst2/dev.tsv"] {
        fs::write(workspace.path(file), "").unwrap();
    }
    for dataset in ["planted", "sst2"] {
        let name = format!("{dataset}-smoke");
        let plan = workspace.plan(&name, &["--dataset", dataset, "--preset", "smoke"]);
        for seed in [0, 1] {
            assert_builds_on_rule(&plan, &name, seed);
            let dynmoe = cell(&plan, "dynmoe", seed);
            assert_eq!(dynmoe.config.control.policy, PolicyConfig::Dynmoe {});
            assert!(dynmoe.needs.is_empty());
        }
    }
}

#[track_caller]
fn assert_builds_on_rule(plan: &AblationPlan, ablation: &str, seed: u64) {
    let parent = cell(plan, "rule", seed);
    assert!(matches!(parent.config.control.policy, PolicyConfig::Rule(_)));
    let run = named(ablation, parent);
    let size = StartConfig::Size { run: run.clone() };
    for (arm, start) in [
        ("rule-continued", StartConfig::Weights { run: run.clone() }),
        ("rule-size-from-scratch", size.clone()),
    ] {
        let child = cell(plan, arm, seed);
        assert_eq!(child.config.start, start);
        assert!(child.config.control.policy.is_frozen());
        assert_eq!(child.needs, [parent.id.as_str()]);
    }
    // The size of `rule`, and as much training as stands behind `rule-continued`.
    let (matched, warm) = (cell(plan, "rule-size-matched", seed), cell(plan, "rule-continued", seed));
    assert_eq!(matched.config.start, size);
    assert_eq!(matched.config.train.budget, Budget::FlopsOf(named(ablation, warm)));
    assert_eq!(matched.needs, [parent.id.as_str(), warm.id.as_str()]);
    let placebo = PlaceboConfig { edits_of: run };
    for (arm, policy) in [
        ("placebo-time", PolicyConfig::PlaceboTime(placebo.clone())),
        ("placebo-surgery", PolicyConfig::PlaceboSurgery(placebo)),
    ] {
        let placebo = cell(plan, arm, seed);
        assert_eq!(placebo.needs, [parent.id.as_str()]);
        // Nothing else differs from `rule`, but that the log has no such phase.
        let mut config = RunConfig { arm: arm.to_owned(), phase: String::new(), ..parent.config.clone() };
        config.control.policy = policy;
        assert_eq!(placebo.config, config);
    }
}

#[test]
fn a_recipe_lies_over_the_settings_that_the_editing_arms_share() {
    let workspace = TestWorkspace::new();
    let recipe = workspace.path("configs/datasets/planted-hard.toml");
    let text = fs::read_to_string(&recipe).unwrap().replace("every = 8\n", "every = 7\n");
    fs::write(&recipe, text).unwrap();
    let plan = workspace.plan("test", &["--phases", "rule,dynmoe,placebo-time", "--seeds", "1"]);
    assert!(plan.cells.iter().all(|cell| cell.config.control.edits.every == 7));
    assert!(plan.cells.iter().all(|cell| cell.config.model.d_ff == 1));
}

#[test]
fn cells_run_after_those_they_need_in_whatever_order_they_are_named() {
    let workspace = TestWorkspace::new();
    let phases = ["--phases", "rule-continued,placebo-time,moe,rule", "--seeds", "2"];
    let plan = workspace.plan("test", &phases);
    assert_eq!(plan.arms(), ["rule-continued", "placebo-time", "moe", "rule"]);
    plan.cells.iter().for_each(|cell| workspace.prepare(cell, 90));
    // The stand-in refuses a cell whose config names a run that is not finished.
    workspace.xtask(&[&["ablate", "--name", "test", "--jobs", "1"][..], &phases].concat(), 0);
    let calls = workspace.calls_in_order();
    let place = |cell: &Cell| calls.iter().position(|id| *id == cell.id).unwrap();
    for seed in [600, 601] {
        let (parent, child) = (cell(&plan, "rule", seed), cell(&plan, "rule-continued", seed));
        assert!(place(parent) < place(child) && place(parent) < place(cell(&plan, "placebo-time", seed)));
        let text = fs::read_to_string(workspace.path(&format!("{}.toml", run_of(child)))).unwrap();
        assert!(text.contains(&format!("run = \"{}\"", run_of(parent))), "{text}");
    }
    assert_eq!(calls.len(), 8);
    // By the names of the research log.
    let other_order = workspace.plan("other", &["--phases", "7a,7b3,placebo-time,q2", "--seeds", "2"]);
    assert_eq!(cell(&other_order, "rule", 601).id, cell(&plan, "rule", 601).id);
}

#[test]
fn what_needs_a_failed_cell_fails_with_it_until_that_is_mended() {
    let workspace = TestWorkspace::new();
    let plan = workspace.plan("test", &["--phases", "rule-continued,rule,moe", "--seeds", "2"]);
    let (parent, child) = (cell(&plan, "rule", 601), cell(&plan, "rule-continued", 601));
    plan.cells.iter().filter(|cell| cell.id != parent.id).for_each(|cell| workspace.prepare(cell, 90));
    let text = workspace.xtask(&["ablate", "run", "--name", "test"], 1);
    let reason = format!("needs {}, which has no result", parent.id);
    assert!(text.contains(&format!("{} FAILED: exit status: 1", parent.id)), "{text}");
    assert!(text.contains(&format!("{} FAILED: {reason}\n", child.id)), "{text}");
    assert!(text.contains("[6/6] "), "{text}");
    let failed = workspace.path(&format!("{}.failed", run_of(child)));
    assert_eq!(fs::read_to_string(&failed).unwrap(), reason);
    assert_eq!(workspace.calls().len(), 5);

    workspace.prepare(parent, 90);
    workspace.xtask(&["ablate", "run", "--name", "test"], 0);
    assert_eq!(workspace.calls().len(), 7);
    assert!(!failed.exists());
    let json = fs::read_to_string(workspace.path("runs/test/report.json")).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap().unfinished, []);
}

#[test]
fn a_single_cell_is_run_only_when_what_it_needs_is_finished() {
    let workspace = TestWorkspace::new();
    let plan = workspace.plan("test", &["--phases", "rule,rule-continued", "--seeds", "1"]);
    plan.cells.iter().for_each(|cell| workspace.prepare(cell, 90));
    let [parent, child] = [&plan.cells[0].id, &plan.cells[1].id].map(String::as_str);
    let text = workspace.xtask(&["ablate", "run", "--name", "test", child], 1);
    assert!(text.contains(&format!("{child} FAILED: needs {parent}, which has no result")), "{text}");
    assert!(workspace.calls().is_empty());
    workspace.xtask(&["ablate", "run", "--name", "test", parent], 1);
    workspace.xtask(&["ablate", "run", "--name", "test", child], 0);
    assert_eq!(workspace.calls_in_order(), [parent, child]);
}

#[test]
fn what_cannot_be_linked_is_not_planned() {
    let workspace = TestWorkspace::new();
    let phase = |name: &str, run: &str| {
        let text = format!("parent = \"../base.toml\"\n[start.weights]\nrun = \"{run}\"\n");
        fs::write(workspace.path(&format!("configs/phases/{name}.toml")), text).unwrap();
    };
    phase("lost", "{q9}");
    phase("chicken", "{egg}");
    phase("egg", "{chicken}");
    let cases = [
        (
            "rule-continued",
            "arm `rule-continued` starts from `rule`, which is not among the arms; add it: --phases rule,rule-continued",
        ),
        ("dense,placebo-time", "arm `placebo-time` follows the edits of `rule`, which is not among the arms"),
        (
            "lost",
            "arm `lost` starts from `{q9}`: no arm `q9` in configs/phases; there are: always-grow, averaged, chicken, clustered, cut-and-race, dense, ",
        ),
        ("egg,chicken", "arms need one another: egg → chicken → egg"),
    ];
    for (phases, expected) in cases {
        let text = workspace.xtask(&["ablate", "plan", "--phases", phases], 1);
        assert!(text.contains(expected), "{phases}\n{text}");
    }
}
