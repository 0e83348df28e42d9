//! `cargo xtask ablate`.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use crate::{inputs::csv_texts, support::TestWorkspace};
use moelt_eval::{Report, Verdict};
use moelt_schema::{Cell, Comparison, RoutingConfig};

const TWO_CELLS: [&str; 4] = ["--phases", "dense,moe", "--seeds", "1"];

pub(crate) fn report(workspace: &TestWorkspace, name: &str) -> Report {
    let json = fs::read_to_string(workspace.path(&format!("runs/{name}/report.json"))).unwrap();
    serde_json::from_str(&json).unwrap()
}

#[test]
fn every_preset_of_every_data_set_can_be_planned() {
    let workspace = TestWorkspace::new();
    fs::create_dir_all(workspace.path("datasets/sst2")).unwrap();
    for file in ["datasets/sst2/train.tsv", "datasets/sst2/dev.tsv"] {
        fs::write(workspace.path(file), "").unwrap();
    }
    fs::write(workspace.path("my.csv"), csv_texts("b")).unwrap();
    for dataset in ["planted", "sst2", "csv"] {
        for preset in ["smoke", "standard", "full"] {
            let mut args = vec!["--dataset", dataset, "--preset", preset];
            args.extend(["--set", "data.csv.train=my.csv"].into_iter().filter(|_| dataset == "csv"));
            let plan = workspace.plan(&format!("{dataset}-{preset}"), &args);
            assert!(plan.arms().starts_with(&["dense", "moe"]), "{:?}", plan.arms());
        }
    }
    let planted = workspace.plan("standard", &[]);
    assert_eq!(planted.cells.len(), 22 * 29);
    // Nothing was chosen on these texts and seeds; those who tune have the others.
    let texts = |cell: &Cell| cell.config.data.planted().unwrap().clone();
    assert!(planted.cells.iter().all(|cell| texts(cell).seed == 53 && cell.seed >= 600));
    assert!(planted.cells.iter().all(|cell| texts(cell).domains == 8 && texts(cell).shares.len() == 8));
    let easy = workspace.plan("easy", &["--preset", "easy"]);
    assert!(easy.cells.iter().all(|cell| texts(cell).seed == 23 && texts(cell).domains == 4));
    let tuned = workspace.plan("tuned", &["--preset", "smoke"]);
    assert!(tuned.cells.iter().all(|cell| texts(cell).seed == 1 && cell.seed < 2));
    let regress = workspace.plan("regress", &["--dataset", "sst2", "--preset", "regress"]);
    assert_eq!(regress.arms(), ["dense", "moe"]);
    let frozen = planted.cells.iter().find(|cell| cell.arm == "frozen-12").unwrap();
    assert_eq!(frozen.config.model.routing, RoutingConfig::TopK { n_experts: 12 });
}

#[test]
fn a_whole_ablation_is_reported_and_never_run_twice() {
    let workspace = TestWorkspace::new();
    let plan = workspace.plan("test", &["--phases", "dense,frozen-1,frozen-4", "--seeds", "2"]);
    let rights = [80, 84, 70, 72, 90, 92];
    plan.cells.iter().zip(rights).for_each(|(cell, right)| workspace.prepare(cell, right));
    let args = ["ablate", "--name", "test", "--phases", "dense,frozen-1,frozen-4", "--seeds", "2"];
    let text = workspace.xtask(&args, 0);
    assert!(text.contains("82.00 ± 2.83"), "{text}");
    assert!(text.contains("[6/6] "), "{text}");
    assert!(text.contains("4 per layer: N = 4 is the best frozen size (91.00 ± 1.41 %)"), "{text}");
    let markdown = fs::read_to_string(workspace.path("runs/test/report.md")).unwrap();
    assert!(markdown.contains("the smallest N within 0.5 pp of it is 4"), "{markdown}");
    assert!(markdown.contains("82.00 ± 2.83") && markdown.contains("97.00 % (Bayes accuracy)"), "{markdown}");
    let page = fs::read_to_string(workspace.path("runs/test/report.html")).unwrap();
    let again = format!("runs/test/moelt train runs/test/cells/{}.toml", plan.cells[0].id);
    assert!(page.contains("82.00 ± 2.83") && page.contains(&again));
    assert_eq!(report(&workspace, "test").sweep.unwrap().chosen_on_validation, 4);
    assert_eq!(workspace.calls().len(), 6);
    let text = workspace.xtask(&args, 0);
    assert!(text.contains("6 of 6 cells are finished already"), "{text}");
    assert_eq!(workspace.calls().len(), 6);
}

#[test]
fn a_failed_cell_is_shown_and_the_others_go_on() {
    let workspace = TestWorkspace::new();
    let plan = workspace.plan("test", &TWO_CELLS);
    workspace.prepare(&plan.cells[1], 90);
    let text = workspace.xtask(&["ablate", "run", "--name", "test", "--jobs", "1"], 1);
    let failed = &plan.cells[0].id;
    assert!(text.contains(&format!("{failed} FAILED: exit status: 1")), "{text}");
    assert!(text.contains("    Error: the loss is NaN at step 7"), "{text}");
    assert!(text.contains("90.00"), "{text}");
    for kind in ["md", "json"] {
        let report = fs::read_to_string(workspace.path(&format!("runs/test/report.{kind}"))).unwrap();
        assert!(report.contains(failed) && report.contains("the loss is NaN"), "{report}");
    }
    let text = workspace.xtask(&["ablate", "collect", "--name", "test"], 1);
    assert!(text.contains(&format!("FAILED  {failed}")), "{text}");
    workspace.prepare(&plan.cells[0], 80);
    workspace.xtask(&["ablate", "run", "--name", "test"], 0);
    assert_eq!(report(&workspace, "test").unfinished, []);
    assert_eq!(workspace.calls().len(), 3);
}

#[test]
fn what_was_declared_is_judged() {
    let workspace = TestWorkspace::new();
    let arms = "dense,moe,frozen-1,frozen-4,rule";
    let plan = workspace.plan("test", &["--phases", arms, "--seeds", "5"]);
    let names: Vec<&str> = plan.comparisons.iter().map(|comparison| comparison.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "rule against best-frozen",
            "rule against frozen-1 in utility",
            "rule against frozen-4 in utility",
            "moe against dense"
        ],
        "others are about arms that are not planned"
    );
    let right = |cell: &Cell| match cell.arm.as_str() {
        "rule" => 99,
        // So far below that five seeds do: 4.5 pp are to spare for collapses that they do not exclude.
        "moe" | "frozen-4" => 80,
        _ => 60,
    };
    plan.cells.iter().for_each(|cell| workspace.prepare(cell, right(cell)));
    let text = workspace.xtask(&["ablate", "run", "--name", "test"], 0);
    assert!(text.contains("moe against dense") && text.contains("GO"), "{text}");
    let verdicts = |name: &str| -> Vec<(Verdict, usize)> {
        let comparisons = report(&workspace, name).comparisons;
        comparisons.iter().map(|c| (c.judged.verdict, c.judged.missing.len())).collect()
    };
    assert_eq!(verdicts("test"), [(Verdict::Go, 0); 4]);
    let text = workspace.xtask(&["ablate", "plan", "--name", "part", "--phases", "dense,frozen-4,rule"], 0);
    let lack = "not judged: arms whose experts change against best-frozen (needs two arms frozen-N to choose among and has 1)";
    assert!(
        text.contains(lack) && text.contains("rule against placebo-time (placebo-time is not planned)"),
        "{text}"
    );
    // One cell of five is gone; the best frozen size is no longer known either.
    let gone = plan.cells.iter().find(|cell| cell.arm == "frozen-1" && cell.seed == 603).unwrap();
    fs::remove_dir_all(workspace.path(&format!("runs/test/cells/{}", gone.id))).unwrap();
    let text = workspace.xtask(&["ablate", "collect", "--name", "test"], 0);
    let (go, gone_too) = ((Verdict::Go, 0), (Verdict::Inconclusive, 1));
    assert_eq!(verdicts("test"), [gone_too, gone_too, go, go]);
    assert!(text.contains(&format!("incomplete: {}: has not run to its end", gone.id)), "{text}");
}

/// Killed as hard as can be, again and again: what is reported in the end is what is reported without.
#[test]
fn a_killed_ablation_comes_to_the_same_report() {
    let workspace = TestWorkspace::new();
    let design = ["--phases", "dense,moe,frozen-1,frozen-4", "--seeds", "3"];
    let plan = workspace.plan("test", &design);
    let prepare_all = || plan.cells.iter().for_each(|cell| workspace.prepare(cell, 70 + cell.id.len() % 20));
    let reports =
        || ["json", "md"].map(|kind| fs::read(workspace.path(&format!("runs/test/report.{kind}"))).unwrap());
    let run = ["ablate", "run", "--name", "test"];
    prepare_all();
    workspace.xtask(&run, 0);
    let whole = reports();
    fs::remove_dir_all(workspace.path("runs/test")).unwrap();
    workspace.plan("test", &design);
    for pause in [0, 20, 40, 60, 80, 100, 150, 200, 250, 300] {
        let mut xtask = workspace.command(&run).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_millis(pause));
        xtask.kill().unwrap();
        xtask.wait().unwrap();
    }
    // Cells whose xtask was killed under them may still be at it.
    thread::sleep(Duration::from_millis(500));
    workspace.xtask(&run, 0);
    assert_eq!(reports(), whole);
    workspace.xtask(&["ablate", "collect", "--name", "test"], 0);
    assert_eq!(reports(), whole);
}

#[test]
fn cells_of_another_plan_are_refused() {
    let workspace = TestWorkspace::new();
    let plan = workspace.plan("test", &TWO_CELLS);
    plan.cells.iter().for_each(|cell| workspace.prepare(cell, 90));
    workspace.xtask(&["ablate", "run", "--name", "test"], 0);
    let ours = workspace.plan("other", &TWO_CELLS);
    fs::rename(workspace.path("runs/test/cells"), workspace.path("runs/other/cells")).unwrap();
    for step in ["run", "collect"] {
        let text = workspace.xtask(&["ablate", step, "--name", "other"], 1);
        let whose = format!("{} belongs to plan {}…, not to", plan.cells[0].id, plan.digest().short());
        assert!(text.contains(&whose) && text.contains("remove it"), "{text}");
    }
    // The mark is written before the folder: a kill between the two leaves nothing that is foreign.
    let cell = |name: &str| workspace.path(&format!("runs/other/cells/{}{name}", ours.cells[0].id));
    fs::remove_dir_all(workspace.path("runs/other/cells")).unwrap();
    fs::create_dir_all(workspace.path("runs/other/cells")).unwrap();
    fs::write(cell(".plan"), ours.digest().to_string()).unwrap();
    workspace.xtask(&["ablate", "run", "--name", "other"], 0);
    assert!(cell("").is_dir());
    assert_eq!(workspace.calls().len(), 4);
}

#[test]
fn a_process_that_fails_after_its_result_has_failed() {
    let workspace = TestWorkspace::new();
    let plan = workspace.plan("test", &TWO_CELLS);
    plan.cells.iter().for_each(|cell| workspace.prepare(cell, 90));
    workspace.xtask(&["ablate", "run", "--name", "test"], 0);
    let cell = &plan.cells[0].id;
    fs::write(workspace.path(&format!("runs/test/cells/{cell}.failed")), "signal: 9").unwrap();
    let text = workspace.xtask(&["ablate", "collect", "--name", "test"], 1);
    assert!(text.contains(&format!("FAILED  {cell}: signal: 9")), "{text}");
    workspace.xtask(&["ablate", "run", "--name", "test"], 0);
    assert_eq!(workspace.calls().len(), 3);
}

#[test]
fn an_arm_is_compared_with_itself() {
    let workspace = TestWorkspace::new();
    let plan = workspace.plan("test", &["--phases", "moe", "--seeds", "8", "--first-seed", "100"]);
    assert_eq!((plan.cells[0].seed, plan.cells[7].seed), (100, 107));
    let aa = ["ablate", "aa", "--name", "test", "--seeds-a-side", "2"];
    let prepare = |right: fn(u64) -> usize| {
        plan.cells.iter().for_each(|cell| workspace.prepare(cell, right(cell.seed)))
    };
    prepare(|seed| 90 + seed as usize % 2);
    let text = workspace.xtask(&aa, 1);
    assert!(text.contains("has no result; go on with: cargo xtask ablate run --name test"), "{text}");
    workspace.xtask(&["ablate", "run", "--name", "test"], 0);
    let text = workspace.xtask(&aa, 0);
    assert!(text.contains("0 of 2 pairs have a wrong verdict"), "{text}");
    assert!(text.contains("104–105") && text.contains("106–107"), "{text}");
    fs::remove_dir_all(workspace.path("runs/test/cells")).unwrap();
    prepare(|seed| if seed < 102 { 90 } else { 50 });
    workspace.xtask(&["ablate", "run", "--name", "test"], 0);
    let text = workspace.xtask(&aa, 1);
    assert!(text.contains("1 of 2 pairs have a wrong verdict"), "{text}");
}

#[test]
fn partial_results_are_collected_and_what_is_missing_is_named() {
    let workspace = TestWorkspace::new();
    let plan = workspace.plan("test", &TWO_CELLS);
    plan.cells.iter().for_each(|cell| workspace.prepare(cell, 90));
    let first = plan.cells[0].id.as_str();
    workspace.xtask(&["ablate", "run", "--name", "test", first], 0);
    assert_eq!(workspace.calls(), [first]);
    let text = workspace.xtask(&["ablate", "collect", "--name", "test"], 0);
    assert!(text.contains("90.00") && text.contains(&format!("missing {}", plan.cells[1].id)), "{text}");
    let text = workspace.xtask(&["ablate", "run", "--name", "test", "q9-s0"], 1);
    assert!(text.contains("no cell `q9-s0`") && text.contains(first), "{text}");
}

#[test]
fn a_damaged_result_does_not_count() {
    let workspace = TestWorkspace::new();
    let plan = workspace.plan("test", &TWO_CELLS);
    plan.cells.iter().for_each(|cell| workspace.prepare(cell, 90));
    workspace.xtask(&["ablate", "run", "--name", "test"], 0);
    let cell = plan.cells[0].id.as_str();
    let predictions = workspace.path(&format!("runs/test/cells/{cell}/predictions/test.csv"));
    fs::write(&predictions, "tampered").unwrap();
    let text = workspace.xtask(&["ablate", "collect", "--name", "test"], 1);
    assert!(text.contains("predictions/test.csv: has hash"), "{text}");
    let text = workspace.xtask(&["ablate", "run", "--name", "test"], 0);
    assert!(text.contains("predictions/test.csv: has hash") && text.contains("runs again"), "{text}");
    assert_eq!(workspace.calls().len(), 3);
}

#[test]
fn a_changed_config_is_refused() {
    let workspace = TestWorkspace::new();
    workspace.plan("test", &TWO_CELLS);
    let phase = workspace.path("configs/phases/moe.toml");
    let text = fs::read_to_string(&phase).unwrap() + "\n[model]\nd_ff = 7\n";
    fs::write(&phase, text).unwrap();
    let text = workspace.xtask(&[&["ablate", "--name", "test"][..], &TWO_CELLS].concat(), 1);
    assert!(text.contains("moe seed 600 has model.d_ff = 1 there and 7 now"), "{text}");
    assert!(text.contains("choose another --name"), "{text}");
    assert!(workspace.calls().is_empty());
}

#[test]
fn what_cannot_be_planned_is_said_with_what_can() {
    let workspace = TestWorkspace::new();
    let fails = |args: &[&str]| workspace.xtask(&[&["ablate", "plan"], args].concat(), 1);
    let cases: [(&[&str], &str); 10] = [
        (
            &["--phases", "dense,q9"],
            "no arm `q9` in configs/phases; there are: always-grow, averaged, clustered, cut-and-race, dense, descend, dynmoe, early-halving, frozen-N, grow-at-jumps, grow-per-task, head, ",
        ),
        (&["--phases", "dense,dense"], "arm `dense` is named twice"),
        (&["--phases", "dense,q1"], "arm `dense` is named twice"),
        (&["--preset", "huge"], "no preset `huge`; there are: easy, full, regress, sizes, smoke, standard"),
        (
            &["--dataset", "imdb"],
            "configs/ablations/imdb.toml is missing; there are: csv, drift, lid49, planted, pos14, posstream12, sst2",
        ),
        (&["--dataset", "sst2"], "get them with: cargo xtask data sst2"),
        (&["--set", "seed=3"], "choose with --phases and --seeds"),
        (&["--set", "model.d_fff=3"], "--set model.d_fff=3: `model.d_fff`: unknown field"),
        (
            // The preset says the same, for whatever arms it gets.
            &["--phases", "dense,moe", "--set", "control.policy.lookahead.horizon=64"],
            "--set control.policy.lookahead.horizon=64: no arm that is planned has such a key; leave it out, add the arm",
        ),
        (&["--name", "../elsewhere"], "cannot name an ablation"),
    ];
    for (args, expected) in cases {
        let text = fails(args);
        assert!(text.contains(expected), "{args:?}\n{text}");
    }
    let spec = workspace.path("configs/ablations/planted.toml");
    fs::write(&spec, "phases = []\n[presets.standard]\nseed = 5\n").unwrap();
    let text = fails(&[]);
    assert!(text.contains("configs/ablations/planted.toml: ") && text.contains("line 3"), "{text}");
    assert!(text.contains("unknown field `seed`"), "{text}");
}

/// xtask alone gets the signal, as from a job scheduler; the cells hear of it from xtask.
#[test]
fn a_signal_stops_the_cells_that_run_starts_no_new_one_and_says_how_to_go_on() {
    for signal in ["INT", "TERM"] {
        let workspace = TestWorkspace::new();
        let plan = workspace.plan("test", &["--phases", "rule,rule-continued", "--seeds", "3"]);
        plan.cells.iter().for_each(|cell| workspace.prepare_to_wait(cell));
        let log = fs::File::create(workspace.path("stderr")).unwrap();
        let mut xtask = workspace.command(&["ablate", "run", "--name", "test"]).stderr(log).spawn().unwrap();
        let waiting =
            |cell: usize| workspace.path(&format!("runs/test/cells/{}/wait", plan.cells[cell].id)).exists();
        for _ in 0..600 {
            if waiting(0) && waiting(1) {
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
        // Time for the stand-in to set its trap after the copy.
        thread::sleep(Duration::from_millis(300));
        let kill =
            Command::new("kill").args([&format!("-{signal}"), &xtask.id().to_string()]).status().unwrap();
        assert!(kill.success());
        assert_eq!(xtask.wait().unwrap().code(), Some(130), "{signal}");
        assert_eq!(workspace.calls().len(), 2, "{signal}");
        let text = fs::read_to_string(workspace.path("stderr")).unwrap();
        assert!(text.contains("cargo xtask ablate run --name test"), "{text}");
        let text = workspace.xtask(&["ablate", "collect", "--name", "test"], 0);
        // What needs an interrupted cell has not failed: it runs when that one is finished.
        for cell in &plan.cells {
            assert!(text.contains(&format!("missing {}", cell.id)), "{text}");
        }
    }
}

/// Three questions to every arm whose experts may change, and to no other.
#[test]
fn adaptive_arms_are_judged_by_accuracy_and_by_utility() {
    let workspace = TestWorkspace::new();
    let of = |name: &str, phases: &str| -> Vec<(String, Vec<String>, String)> {
        let plan = workspace.plan(name, &["--phases", phases, "--seeds", "1"]);
        let shown = |c: Comparison| (c.name, c.against, format!("{} of {}", c.metric.name(), c.family));
        plan.comparisons.into_iter().map(shown).collect()
    };
    let sizes = |names: &[&str]| names.iter().map(|n| format!("frozen-{n}")).collect::<Vec<_>>();
    let judged = of("sweep", "moe,frozen-8,frozen-2,frozen-12,frozen-4,rule,study");
    let expected = [
        ("rule against best-frozen", sizes(&["8", "2", "12", "4"]), "accuracy of rule"),
        ("rule against frozen-8 in utility", sizes(&["8"]), "utility of rule"),
        ("rule against frozen-12 in utility", sizes(&["12"]), "utility of rule"),
    ];
    let expected = expected.map(|(name, mut against, about)| {
        against.sort_by_key(|arm| arm[7..].parse::<u32>().unwrap());
        (name.to_owned(), against, about.to_owned())
    });
    assert_eq!(judged, expected);
    assert_eq!(of("one-size", "frozen-8,rule"), [], "nothing to choose among");
    let text = workspace.xtask(&["ablate", "plan", "--name", "said", "--phases", "frozen-8,rule"], 0);
    let lack = "not judged: arms whose experts change against best-frozen (needs two arms frozen-N to choose among and has 1)";
    assert!(text.contains(lack), "{text}");
}
