//! Is tool B not worse than tool A? From the predictions of both, a CSV file per seed.
//!
//! `cargo run -p moelt-eval --example judge_predictions`

use moelt_eval::{Bootstrap, EvalError, Finding, Scores, judge, predictions_from_csv};
use moelt_schema::{ClaimKind, CollapseRule, Comparison, Metric, Prediction};

/// What a tool would leave in `NAME-SEED.csv`: 500 texts with two classes, of which it gets about `percent` right.
fn csv(percent: u64, seed: u64) -> String {
    let line = |text: u64| {
        let (label, chance) = (text % 2, (text * 389 + seed * 7 + text % 5 * seed) % 100);
        let predicted = if chance < percent { label } else { 1 - label };
        let [p_0, p_1] = if predicted == 0 { [0.75, 0.25] } else { [0.25, 0.75] };
        format!("{text},,{label},{predicted},{p_0},{p_1}\n")
    };
    let lines: String = (0..500).map(line).collect();
    format!("example,domain,label,predicted,p_0,p_1\n{lines}")
}

/// Who was right on what, under each seed.
fn scores(name: &str, percent: u64) -> Result<Scores, EvalError> {
    let read = |seed| Ok((seed, predictions_from_csv(&csv(percent, seed), &format!("{name}-{seed}.csv"))?));
    let runs: Vec<(u64, Vec<Prediction>)> = (0..5).map(read).collect::<Result<_, EvalError>>()?;
    Scores::of_predictions(runs.iter().map(|(seed, run)| (*seed, run.as_slice())))
}

fn main() -> Result<(), EvalError> {
    let declared = Comparison {
        name: "B against A".into(),
        metric: Metric::Accuracy,
        arm: "B".into(),
        against: vec!["A".into()],
        kind: ClaimKind::NonInferiority,
        margin: 0.02,
        alpha: 0.05,
        family: "tools".into(),
    };
    let differences = scores("B", 84)?.minus(&scores("A", 83)?)?;
    let finding =
        Finding { estimate: Some(Bootstrap::default().difference(&differences)?), missing: Vec::new() };
    // With five seeds a default rule would ask for more: they do not exclude collapses.
    for judgement in judge(&[(declared, finding)], &CollapseRule::OFF)? {
        println!("{}: {}, {}", judgement.declared.name, judgement.verdict, judgement.reason);
    }
    Ok(())
}
