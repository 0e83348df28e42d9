//! What a thousand cells take to plan and to report. Too long for every change: `.ci/nightly` runs it.

use std::{
    fs,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use moelt_schema::{AblationPlan, Cell, Prediction};

use crate::support::TestWorkspace;

/// Twenty arms, of which 33 comparisons are declared, ten of them with the best of six sizes.
const ARMS: &str = "dense,moe,frozen-1,frozen-2,frozen-4,frozen-8,frozen-12,frozen-24,rule,rule-continued,\
                    rule-size-from-scratch,rule-size-matched,dynmoe,placebo-time,placebo-surgery,always-grow,head-random,\
                    head-entropy,lookahead,lookahead-size-matched";
/// As in `configs/datasets/planted-hard.toml`.
const EXAMPLES: u64 = 8_000;
const SECONDS: f64 = 10.0;
const MEBIBYTES: u64 = 500;

#[test]
#[ignore = "writes 700 MB and is about time"]
fn a_thousand_cells_are_planned_and_reported_in_seconds() {
    let workspace = TestWorkspace::new();
    let begun = Instant::now();
    let plan = workspace.plan("many", &["--phases", ARMS, "--seeds", "50"]);
    let planned = begun.elapsed();
    assert_eq!((plan.cells.len(), plan.arms().len()), (1_000, 20));
    finish_all(&workspace, &plan);
    let begun = Instant::now();
    let mut collect = workspace.command(&["ablate", "collect", "--name", "many"]);
    let child = collect.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let peak = peak_of(child);
    let seconds = (planned + begun.elapsed()).as_secs_f64();
    let size =
        |kind| fs::metadata(workspace.path(&format!("runs/many/report.{kind}"))).unwrap().len() / 1_000;
    let sizes = ["json", "md", "html"].map(size);
    println!(
        "1,000 cells: {seconds:.1} s ({:.1} s of which to plan), {peak} MiB at most; report {sizes:?} kB",
        planned.as_secs_f64()
    );
    assert!(seconds < SECONDS && peak < MEBIBYTES);
}

fn finish_all(workspace: &TestWorkspace, plan: &AblationPlan) {
    let events = events();
    for (at, cell) in (0..).zip(&plan.cells) {
        workspace.finish(plan, cell, &predictions(at, cell), &events);
    }
}

/// A few examples that everybody gets wrong, as noisy labels are, and a few of each cell's own.
fn predictions(at: u64, cell: &Cell) -> Vec<Prediction> {
    let own = 20 + 5 * (cell.arm.len() as u64 % 5);
    let prediction = |example: u64| {
        let wrong = mixed(example) % 1_000 < 40 || mixed(at << 32 | example) % 1_000 < own;
        let probabilities = if wrong { vec![0.25, 0.75] } else { vec![0.75, 0.25] };
        Prediction { label: 0, domain: None, probabilities }
    };
    (0..EXAMPLES).map(prediction).collect()
}

/// The numbers of a training log: a window every four of 440 steps, as in `planted-hard.toml`.
fn events() -> String {
    let shares = [0.125; 8];
    let window = |step: u64| {
        format!(
            "{{\"step\":{step},\"event\":\"window\",\"loss\":0.5,\"grad_norm\":0.1,\"routing\":[{{\"utilization\":{shares:?},\
             \"routing_entropy\":2.0,\"load_entropy\":2.0}}]}}\n"
        )
    };
    (1..=110).map(|at| window(4 * at)).collect()
}

/// Bits of a number in disorder (the finaliser of SplitMix64).
fn mixed(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Waits for a process to end well; the most memory it had, MiB.
fn peak_of(mut child: Child) -> u64 {
    let mut peak = 0;
    loop {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let now = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        peak = peak.max(now.unwrap_or(0) / 1_024);
        if let Some(ended) = child.try_wait().unwrap() {
            assert!(ended.success());
            return peak;
        }
        thread::sleep(Duration::from_millis(20));
    }
}
