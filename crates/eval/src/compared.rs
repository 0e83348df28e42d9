//! A declared comparison as a report tells it: the verdict, what could have been seen, and what stands
//! beside it.

use moelt_schema::{AblationPlan, Comparison, frozen_size};
use serde::{Deserialize, Serialize};

use crate::{
    ArmReport, Bootstrap, Candidate, Choice, Correct, Cost, Design, Differences, Estimate, EvalError,
    Evidence, Judged, McNemar, PairedT, Sweep, Training, go_above, judge,
    scores::{VALIDATION, Scores, VERDICT},
};

/// The probability of GO that stated powers are about.
pub const POWER: f64 = 0.8;

/// Seed of every bootstrap: fixed, so that a report depends on its cells alone.
pub(crate) const BOOTSTRAP_SEED: u64 = 0;

/// A comparison with all there is to say of it. What is none could not be computed: the verdict's reason
/// tells why. Differences are fractions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compared {
    /// What was declared, the difference with its interval, and the verdict.
    pub judged: Judged,
    /// Seeds that were compared.
    pub seeds: Vec<u64>,
    /// Which difference could have been seen.
    pub power: Option<Power>,
    /// The paired t test over seeds, which takes the examples as given. It decides nothing.
    pub paired_t: Option<PairedT>,
    /// McNemar's test of the first seed, which knows of no other. It decides nothing.
    pub mcnemar: Option<SeedTest>,
    /// Which of several opponents was the best on validation.
    pub chosen: Option<Chosen>,
    /// How much training both sides had.
    pub training: Option<Training>,
    /// What the arm costs and saves against several.
    pub cost: Option<Cost>,
}

/// What a comparison could have seen, at the level of the strictest of its family.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Power {
    /// The true difference that yields GO with probability [`POWER`], a fraction.
    pub detectable: f64,
    /// Seeds that let a true difference of one margin more than GO needs (0 for non-inferiority, 2δ for
    /// superiority) yield GO with probability [`POWER`]; none when these examples, or a margin of 0, forbid it.
    pub seeds_needed: Option<usize>,
}

/// McNemar's test of one seed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedTest {
    /// The seed.
    pub seed: u64,
    /// The test.
    pub test: McNemar,
}

/// The best of several frozen sizes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chosen {
    /// The one with the best mean on validation, experts per layer.
    pub n_experts: usize,
    /// How often each size was chosen in the resamples, sizes ascending.
    pub choices: Vec<Choice>,
}

/// What a comparison's scores say, before it is judged.
struct Measured {
    estimate: Estimate,
    /// To the opponent, or to the one chosen.
    differences: Differences,
    mcnemar: Option<SeedTest>,
    seeds: Vec<u64>,
    chosen: Option<Chosen>,
}

/// How the comparisons of a plan are resampled.
pub(crate) fn bootstrap(plan: &AblationPlan) -> Bootstrap {
    // As many as the machine can count will not be asked for.
    let resamples = usize::try_from(plan.resamples).unwrap_or(usize::MAX).max(1);
    Bootstrap { resamples, seed: BOOTSTRAP_SEED }
}

/// Judges what the plan declares.
///
/// # Errors
/// When a comparison cannot be judged as it is declared.
pub(crate) fn compare(
    plan: &AblationPlan,
    scores: &Scores,
    arms: &[ArmReport],
    sweep: Option<&Sweep>,
) -> Result<Vec<Compared>, EvalError> {
    let bootstrap = bootstrap(plan);
    let (mut cases, mut all_measured) = (Vec::new(), Vec::new());
    for declared in &plan.comparisons {
        let mut missing = scores.missing(declared);
        let measured = measure(declared, scores, &bootstrap);
        if let (Err(error), true) = (&measured, missing.is_empty()) {
            missing.push(error.to_string());
        }
        let measured = measured.ok();
        let estimate = measured.as_ref().map(|measured| measured.estimate.clone());
        cases.push((declared.clone(), Evidence { estimate, missing }));
        all_measured.push(measured);
    }
    let judged = judge(&cases)?.into_iter().zip(all_measured);
    let compared = judged.map(|(judged, measured)| {
        let mut compared = Compared::new(judged, measured);
        compared.training = Training::of(&compared, arms);
        compared.cost = Cost::of(&compared, arms, sweep);
        compared
    });
    Ok(compared.collect())
}

/// The difference over the seeds that all arms have.
fn measure(declared: &Comparison, scores: &Scores, bootstrap: &Bootstrap) -> Result<Measured, EvalError> {
    let seeds = scores.common_seeds(declared);
    let arm = scores.of(&declared.arm, VERDICT, &seeds)?;
    if let [opponent] = declared.against.as_slice() {
        let opponent = scores.of(opponent, VERDICT, &seeds)?;
        let differences = arm.minus(&opponent)?;
        let estimate = bootstrap.difference(&differences)?;
        return Ok(Measured::new(estimate, differences, &arm, &opponent, None));
    }
    let candidates = declared.against.iter().map(|name| {
        let message = format!("`{name}` is no frozen-N to choose among");
        let wrong = EvalError::Declared { name: declared.name.clone(), message };
        let n_experts = frozen_size(name).ok_or(wrong)?;
        Ok((n_experts, scores.of(name, VALIDATION, &seeds)?, scores.of(name, VERDICT, &seeds)?))
    });
    let candidates: Vec<(usize, Correct, Correct)> = candidates.collect::<Result<_, EvalError>>()?;
    against_best(&arm, &candidates, bootstrap)
}

fn against_best(
    arm: &Correct,
    candidates: &[(usize, Correct, Correct)],
    bootstrap: &Bootstrap,
) -> Result<Measured, EvalError> {
    let borrowed: Vec<Candidate> = candidates
        .iter()
        .map(|(n_experts, validation, verdict)| Candidate { n_experts: *n_experts, validation, verdict })
        .collect();
    let best = bootstrap.against_best(arm, &borrowed)?;
    let is_chosen = |candidate: &&Candidate| candidate.n_experts == best.chosen;
    let opponent = borrowed.iter().find(is_chosen).map_or(arm, |candidate| candidate.test);
    let chosen = Chosen { n_experts: best.chosen, choices: best.choices };
    Ok(Measured::new(best.estimate, arm.minus(opponent)?, arm, opponent, Some(chosen)))
}

impl Measured {
    fn new(
        estimate: Estimate,
        differences: Differences,
        arm: &Correct,
        opponent: &Correct,
        chosen: Option<Chosen>,
    ) -> Self {
        let first = arm.rows().zip(opponent.rows()).next().zip(arm.seeds().first());
        let mcnemar = first.map(|((a, b), &seed)| SeedTest { seed, test: McNemar::of(a, b) });
        Self { estimate, differences, mcnemar, seeds: arm.seeds().to_vec(), chosen }
    }
}

impl Compared {
    fn new(judged: Judged, measured: Option<Measured>) -> Self {
        let Some(measured) = measured else {
            let (seeds, power, paired_t) = (Vec::new(), None, None);
            let (mcnemar, chosen, training, cost) = (None, None, None, None);
            return Self { judged, seeds, power, paired_t, mcnemar, chosen, training, cost };
        };
        let level = 1.0 - judged.declared.alpha;
        Self {
            power: Some(Power::of(&judged, &measured)),
            // It was measured, so there are two seeds.
            paired_t: PairedT::of(&measured.differences.per_seed(), level).ok(),
            judged,
            seeds: measured.seeds,
            mcnemar: measured.mcnemar,
            chosen: measured.chosen,
            training: None,
            cost: None,
        }
    }
}

impl Power {
    fn of(judged: &Judged, measured: &Measured) -> Self {
        let go_above = go_above(&judged.declared);
        let (seeds, examples) = (measured.differences.n_seeds(), measured.differences.n_examples());
        let components = measured.estimate.components();
        // The choice of the best and the resolution of the examples widen the interval, and lower the power with it.
        let components = components.with_error(measured.estimate.standard_error(), seeds, examples);
        let design = Design {
            components,
            seeds,
            examples,
            alpha: judged.declared.alpha / judged.family_size as f64,
            go_above,
        };
        let a_margin_more = go_above + judged.declared.margin;
        Self { detectable: design.detectable(POWER), seeds_needed: design.seeds_needed(a_margin_more, POWER) }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use moelt_schema::{Cell, ClaimKind, METRIC, Prediction};

    use super::*;
    use crate::{
        Outcome, Report, Verdict,
        report::tests::{finished, only, plan, predictions},
    };

    /// Verdict and validation examples.
    const EXAMPLES: usize = 2_000;

    pub(crate) fn declare(arm: &str, against: &[&str], kind: ClaimKind) -> Comparison {
        let opponent = if against.len() > 1 { "best-frozen" } else { against[0] };
        Comparison {
            name: format!("{arm} against {opponent}"),
            arm: arm.into(),
            against: against.iter().map(|&name| name.into()).collect(),
            kind,
            margin: 0.005,
            alpha: 0.05,
            family: format!("{arm}'s"),
        }
    }

    /// A plan with these comparisons of arms with five seeds, finished with these accuracies.
    pub(crate) fn judged_plan(
        arms: &[(&str, f64)],
        comparisons: Vec<Comparison>,
    ) -> (AblationPlan, BTreeMap<String, Outcome>) {
        let names: Vec<&str> = arms.iter().map(|(name, _)| *name).collect();
        let plan = AblationPlan { comparisons, ..plan(&names, 5) };
        let accuracies: Vec<f64> = plan.cells.iter().map(|cell| accuracy(arms, cell)).collect();
        let outcomes = finished(&plan, &accuracies);
        (plan, outcomes)
    }

    fn accuracy(arms: &[(&str, f64)], cell: &Cell) -> f64 {
        let spread = 0.001 * (cell.seed % 3) as f64;
        arms.iter().find(|(name, _)| *name == cell.arm).map_or(f64::NAN, |(_, accuracy)| accuracy + spread)
    }

    /// The predictions that go with it.
    pub(crate) fn reader(
        arms: &[(&'static str, f64)],
    ) -> impl Fn(&Cell, &str) -> Result<Vec<Prediction>, String> {
        let arms = arms.to_vec();
        move |cell, _| Ok(predictions(EXAMPLES, accuracy(&arms, cell), cell.seed))
    }

    fn report(arms: &[(&'static str, f64)], comparisons: Vec<Comparison>) -> Report {
        let (plan, outcomes) = judged_plan(arms, comparisons);
        Report::new(&plan, &outcomes, &only(&reader(arms)), plan.code).unwrap()
    }

    #[test]
    fn clear_differences_are_go_or_no_go() {
        let claims = [ClaimKind::Superiority, ClaimKind::NonInferiority];
        let verdict = |b: f64, kind| {
            let report = report(&[("a", 0.80), ("b", b)], vec![declare("b", &["a"], kind)]);
            report.comparisons[0].judged.verdict
        };
        assert_eq!(claims.map(|kind| verdict(0.85, kind)), [Verdict::Go; 2]);
        assert_eq!(claims.map(|kind| verdict(0.75, kind)), [Verdict::NoGo; 2]);
        assert_eq!(verdict(0.801, ClaimKind::Superiority), Verdict::Inconclusive);
        assert_eq!(verdict(0.796, ClaimKind::NonInferiority), Verdict::Inconclusive);
    }

    #[test]
    fn what_could_have_been_seen_is_told() {
        let compared =
            &report(&[("a", 0.80), ("b", 0.801)], vec![declare("b", &["a"], ClaimKind::Superiority)])
                .comparisons[0];
        let power = compared.power.unwrap();
        assert!(power.detectable > 0.005 && power.detectable < 0.05, "{power:?}");
        assert_eq!(compared.seeds, [0, 1, 2, 3, 4]);
        assert!(compared.paired_t.is_some() && compared.mcnemar.unwrap().seed == 0);
        assert_eq!((&compared.chosen, &compared.cost), (&None, &None));
        assert_eq!(compared.training, Some(Training { steps: Some(1.0), flops: Some(1.0) }));
    }

    /// Two arms that say the same are not known to differ by less than the examples resolve.
    #[test]
    fn arms_that_agree_have_the_power_of_their_interval() {
        let arms = [("a", 0.80), ("b", 0.80)];
        let compared = &report(&arms, vec![declare("b", &["a"], ClaimKind::Superiority)]).comparisons[0];
        let interval = compared.judged.interval.unwrap();
        assert!(interval.upper > 0.001, "{interval:?}");
        let detectable = compared.power.unwrap().detectable;
        assert!(detectable > 0.005 + interval.upper, "{detectable}, {interval:?}");
    }

    #[test]
    fn the_best_frozen_size_is_chosen_on_validation() {
        let arms = [("frozen-2", 0.78), ("frozen-4", 0.86), ("frozen-8", 0.82), ("rule", 0.86)];
        let declared = declare("rule", &["frozen-2", "frozen-4", "frozen-8"], ClaimKind::NonInferiority);
        let report = report(&arms, vec![declared]);
        let compared = &report.comparisons[0];
        assert_eq!(compared.chosen.as_ref().unwrap().n_experts, 4);
        assert_eq!(compared.judged.verdict, Verdict::Go);
        let cost = compared.cost.as_ref().unwrap();
        assert!(cost.regret_pp.abs() < 0.5 && cost.interval_pp.upper <= 0.5, "{cost:?}");
        assert_eq!((cost.size_ratio, cost.by_one_run.flops), (Some(1.0), Some(1.0)));
        assert!((cost.by_sweep.flops.unwrap() - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!((cost.by_sweep_with_needs, cost.needed_runs), (cost.by_sweep, Some(0.0)));
        let alike = Training { steps: Some(1.0), flops: Some(1.0) };
        assert_eq!(compared.training, Some(alike), "to the one that was chosen");
    }

    /// A head that four other runs taught: its own training is half the sweep, with theirs it is two and a half sweeps.
    #[test]
    fn what_an_arm_builds_on_is_part_of_what_it_costs() {
        let arms = [("frozen-2", 0.78), ("frozen-4", 0.86), ("teacher", 0.86), ("head", 0.86)];
        let best = declare("head", &["frozen-2", "frozen-4"], ClaimKind::NonInferiority);
        let one = declare("head", &["teacher"], ClaimKind::NonInferiority);
        let (mut plan, _) = judged_plan(&arms, vec![best, one]);
        let teachers: Vec<(u64, String)> =
            plan.cells[10..15].iter().map(|c| (c.seed, c.id.clone())).collect();
        for cell in &mut plan.cells[15..] {
            let others = teachers.iter().filter(|(seed, _)| *seed != cell.seed);
            cell.needs = others.map(|(_, id)| id.clone()).collect();
            cell.config.control.records_of = cell.needs.clone();
        }
        let outcomes =
            finished(&plan, &plan.cells.iter().map(|cell| accuracy(&arms, cell)).collect::<Vec<_>>());
        let report = Report::new(&plan, &outcomes, &only(&reader(&arms)), plan.code).unwrap();
        let cost = report.comparisons[0].cost.as_ref().unwrap();
        assert_eq!((cost.by_one_run.flops, cost.by_sweep.flops), (Some(1.0), Some(0.5)));
        assert_eq!(
            (cost.by_sweep_with_needs.flops, cost.by_sweep_with_needs.seconds),
            (Some(2.5), Some(2.5))
        );
        assert_eq!((cost.needed_runs, &cost.builds_on), (Some(4.0), &vec!["teacher".to_owned()]));
        let training = report.comparisons[1].training.unwrap();
        assert_eq!((training.steps, training.flops), (Some(1.0), Some(5.0)));
    }

    /// Whose weights have been trained twice as long has twice the training, whatever its own run took.
    #[test]
    fn inherited_steps_are_training() {
        let arms = [("rule-continued", 0.86), ("rule-size-from-scratch", 0.86)];
        let declared = declare("rule-continued", &["rule-size-from-scratch"], ClaimKind::Superiority);
        let (plan, mut outcomes) = judged_plan(&arms, vec![declared]);
        for cell in &plan.cells[..5] {
            let Some(Outcome::Finished(result)) = outcomes.get_mut(&cell.id) else { panic!() };
            result.inherited.steps = result.steps;
        }
        let report = Report::new(&plan, &outcomes, &only(&reader(&arms)), plan.code).unwrap();
        assert_eq!(report.comparisons[0].training.unwrap().steps, Some(2.0));
    }

    /// The difference is as clear as can be, and a cell short.
    #[test]
    fn a_missing_or_failed_cell_is_named_and_never_go() {
        let arms = [("a", 0.70), ("b", 0.90)];
        let (plan, whole) = judged_plan(&arms, vec![declare("b", &["a"], ClaimKind::Superiority)]);
        let failed = Outcome::Failed { reason: "exit code 1".into(), log_tail: Vec::new() };
        let cases = [
            (Some(failed), "exit code 1"),
            (Some(Outcome::Missing), "has not run to its end"),
            (None, "has not run to its end"),
        ];
        for cell in [&plan.cells[0], &plan.cells[9]] {
            for (outcome, reason) in &cases {
                let mut outcomes = whole.clone();
                outcomes.remove(&cell.id);
                outcomes.extend(outcome.clone().map(|outcome| (cell.id.clone(), outcome)));
                let report = Report::new(&plan, &outcomes, &only(&reader(&arms)), plan.code).unwrap();
                let judged = &report.comparisons[0].judged;
                assert_eq!(judged.verdict, Verdict::Inconclusive);
                assert_eq!(judged.missing, [format!("{}: {reason}", cell.id)]);
                assert!(judged.difference.unwrap() > 0.1, "the other seeds are still told");
            }
        }
    }

    #[test]
    fn predictions_that_cannot_be_had_are_named_and_never_go() {
        let arms = [("a", 0.70), ("b", 0.90)];
        let (plan, mut outcomes) = judged_plan(&arms, vec![declare("b", &["a"], ClaimKind::Superiority)]);
        let first = plan.cells[0].id.clone();
        let unreadable = |cell: &Cell, split: &str| {
            if cell.id == first { Err("test.csv: line 3".to_owned()) } else { reader(&arms)(cell, split) }
        };
        let judged = |outcomes: &_, read: &crate::ReadPredictions| {
            Report::new(&plan, outcomes, &only(read), plan.code).unwrap().comparisons[0].judged.clone()
        };
        let found = judged(&outcomes, &unreadable);
        assert_eq!(
            (found.verdict, found.missing),
            (Verdict::Inconclusive, vec![format!("{first}: test.csv: line 3")])
        );
        // Other examples in one seed of an arm.
        let shorter = |cell: &Cell, split: &str| {
            let mut predictions = reader(&arms)(cell, split)?;
            predictions.truncate(if cell.id == first { EXAMPLES - 1 } else { EXAMPLES });
            Ok(predictions)
        };
        let found = judged(&outcomes, &shorter);
        assert_eq!((found.verdict, found.difference), (Verdict::Inconclusive, None));
        assert!(found.missing[0].contains("examples where the others have"), "{:?}", found.missing);
        if let Some(Outcome::Finished(result)) = outcomes.get_mut(&first) {
            result.files.clear();
        }
        let found = judged(&outcomes, &reader(&arms));
        assert_eq!(found.verdict, Verdict::Inconclusive);
        assert_eq!(found.missing, [format!("{first}: its result lists no predictions/test.csv")]);
    }

    #[test]
    fn a_report_depends_on_its_cells_alone() {
        let arms = [("a", 0.80), ("b", 0.81)];
        let twice = [(); 2].map(|()| report(&arms, vec![declare("b", &["a"], ClaimKind::Superiority)]));
        assert_eq!(twice[0], twice[1]);
        assert_eq!(METRIC, "test accuracy", "which `measure` takes");
    }
}
