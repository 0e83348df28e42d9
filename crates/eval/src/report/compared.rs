//! A declared comparison as a report tells it: the verdict, what could have been seen, and what stands
//! beside it.

use std::collections::BTreeSet;

use moelt_schema::{AblationPlan, CollapseRule, Comparison, Metric};
use serde::{Deserialize, Serialize};

use crate::{
    ArmReport, BestOf, Bootstrap, Candidate, Choice, Cost, Design, Differences, Estimate, EvalError, Finding,
    Judgement, McNemar, PairedT, Scores, Sweep, Training, WithoutCollapsed, go_above, judge,
    report::{
        collapsed::collapsed_in,
        plan_scores::{PlanScores, TEST, VALIDATION},
    },
    stats::{bootstrap::BOOTSTRAP_SEED, contest::Contest},
    verdict::unseen::to_spare,
};

/// The probability of GO that stated powers are about.
pub const POWER: f64 = 0.8;

/// A comparison with all there is to say of it. What is none could not be computed: the verdict's reason
/// tells why. Differences are gains in the unit of the metric: fractions for accuracy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compared {
    /// What was declared, the difference with its interval, and the verdict.
    pub judged: Judgement,
    /// Seeds that were compared.
    pub seeds: Vec<u64>,
    /// Which difference could have been seen.
    pub power: Option<Power>,
    /// What it would be without the seeds in which a side collapsed; none where none did.
    pub without_collapsed: Option<WithoutCollapsed>,
    /// The paired t test over seeds, which takes the examples as given. It decides nothing.
    pub paired_t: Option<PairedT>,
    /// McNemar's test of the first seed, which knows of no other; of accuracy alone. It decides nothing.
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
    /// The true gain that yields GO with probability [`POWER`], in the unit of the metric, that for unseen collapses included
    /// ([`crate::Unseen::to_spare`]). None where no gain does with so few seeds.
    pub detectable: Option<f64>,
    /// Seeds that let a true difference of one margin more than GO needs (0 for non-inferiority, 2δ for
    /// superiority) yield GO with probability [`POWER`], and exclude unseen collapses; none when these examples, or a margin
    /// of 0, forbid it.
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
struct Unjudged {
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
    scores: &PlanScores,
    arms: &[ArmReport],
    sweep: Option<&Sweep>,
) -> Result<Vec<Compared>, EvalError> {
    let bootstrap = bootstrap(plan);
    let all = Measured::all(&plan.comparisons, scores, arms, &bootstrap);
    let cases = |finding: fn(&Measured) -> Finding| -> Vec<(Comparison, Finding)> {
        plan.comparisons.iter().cloned().zip(all.iter().map(finding)).collect()
    };
    let judged = judge(&cases(Measured::with_all), &plan.collapse)?;
    let without = judge(&cases(Measured::without_collapsed), &CollapseRule::OFF)?;
    let compared = judged.into_iter().zip(without).zip(all).map(|((judged, without), measured)| {
        let without =
            (!measured.collapsed.is_empty()).then(|| WithoutCollapsed::of(measured.collapsed, &without));
        let mut compared = Compared::new(judged, measured.unjudged, &plan.collapse);
        compared.without_collapsed = without;
        compared.training = Training::of(&compared, arms);
        compared.cost = Cost::of(&compared, arms, sweep);
        compared
    });
    Ok(compared.collect())
}

/// What a comparison's cells say, with the seeds that collapsed and without.
struct Measured {
    missing: Vec<String>,
    unjudged: Option<Unjudged>,
    /// Seeds in which a side collapsed.
    collapsed: BTreeSet<u64>,
    /// Without those; none where too few are left.
    without: Option<Estimate>,
}

impl Measured {
    fn all(
        comparisons: &[Comparison],
        scores: &PlanScores,
        arms: &[ArmReport],
        bootstrap: &Bootstrap,
    ) -> Vec<Self> {
        let over_common = |declared| (declared, scores.common_seeds(declared));
        let cases: Vec<(&Comparison, BTreeSet<u64>)> = comparisons.iter().map(over_common).collect();
        let found = measure(&cases, scores, bootstrap).into_iter().zip(&cases);
        let mut all: Vec<Self> =
            found.map(|(found, (declared, seeds))| Self::of(declared, seeds, found, scores, arms)).collect();
        let affected: Vec<usize> = (0..all.len()).filter(|at| !all[*at].collapsed.is_empty()).collect();
        let rest: Vec<(&Comparison, BTreeSet<u64>)> =
            affected.iter().map(|at| (cases[*at].0, &cases[*at].1 - &all[*at].collapsed)).collect();
        for (at, found) in affected.into_iter().zip(measure(&rest, scores, bootstrap)) {
            all[at].without = found.ok().map(|unjudged| unjudged.estimate);
        }
        all
    }

    /// But for what it would be without the seeds that collapsed.
    fn of(
        declared: &Comparison,
        seeds: &BTreeSet<u64>,
        found: Result<Unjudged, EvalError>,
        scores: &PlanScores,
        arms: &[ArmReport],
    ) -> Self {
        let mut missing = scores.missing(declared);
        if let (Err(error), true) = (&found, missing.is_empty()) {
            missing.push(error.to_string());
        }
        let unjudged = found.ok();
        let chosen = unjudged.as_ref().and_then(|unjudged| unjudged.chosen.as_ref());
        let collapsed = &collapsed_in(arms, &declared.arm, &declared.against, chosen) & seeds;
        Self { missing, unjudged, collapsed, without: None }
    }

    fn with_all(&self) -> Finding {
        let estimate = self.unjudged.as_ref().map(|unjudged| unjudged.estimate.clone());
        Finding { estimate, missing: self.missing.clone() }
    }

    /// The same where no seed collapsed: its family is judged with it.
    fn without_collapsed(&self) -> Finding {
        let with_all = self.with_all();
        if self.collapsed.is_empty() {
            with_all
        } else {
            Finding { estimate: self.without.clone(), ..with_all }
        }
    }
}

/// The differences over these seeds, which all arms of a comparison have. They are resampled together.
fn measure(
    cases: &[(&Comparison, BTreeSet<u64>)],
    scores: &PlanScores,
    bootstrap: &Bootstrap,
) -> Vec<Result<Unjudged, EvalError>> {
    let prepared: Vec<Result<Prepared, EvalError>> =
        cases.iter().map(|(declared, seeds)| Prepared::of(declared, scores, seeds)).collect();
    let contests: Vec<&Contest> = prepared.iter().flatten().map(|prepared| &prepared.contest).collect();
    let mut results = bootstrap.all(&contests).into_iter();
    let mut measured = |prepared: Prepared| Some(prepared.measured(results.next()?));
    prepared
        .into_iter()
        .map(|prepared| Ok(measured(prepared?).expect("there is a result of every contest")))
        .collect()
}

/// A comparison, ready to be resampled.
struct Prepared {
    contest: Contest,
    /// Whether there are several opponents.
    is_choice: bool,
    mcnemar: Option<SeedTest>,
    seeds: Vec<u64>,
}

impl Prepared {
    fn of(declared: &Comparison, scores: &PlanScores, seeds: &BTreeSet<u64>) -> Result<Self, EvalError> {
        let of = |arm: &str, split| scores.of(declared.metric, arm, split, seeds);
        let arm = of(&declared.arm, TEST)?;
        if let [opponent] = declared.against.as_slice() {
            let opponent = of(opponent, TEST)?;
            let contest = Contest::with_one(arm.minus(&opponent)?)?;
            return Ok(Self::new(contest, false, &arm, &opponent));
        }
        let candidates = declared.against.iter().map(|name| {
            let message = format!("`{name}` is no frozen-N to choose among");
            let wrong = EvalError::Declared { name: declared.name.clone(), message };
            let n_experts = scores.sweep_size(name).ok_or(wrong)?;
            Ok((n_experts, of(name, VALIDATION)?, of(name, TEST)?))
        });
        let candidates: Vec<(usize, Scores, Scores)> = candidates.collect::<Result<_, EvalError>>()?;
        let borrowed: Vec<Candidate> = candidates
            .iter()
            .map(|(n_experts, validation, test)| Candidate { n_experts: *n_experts, validation, test })
            .collect();
        let contest = Contest::with_best(&arm, &borrowed)?;
        let is_chosen = |candidate: &&Candidate| candidate.n_experts == contest.chosen_size();
        let opponent = borrowed.iter().find(is_chosen).map_or(&arm, |candidate| candidate.test);
        Ok(Self::new(contest, true, &arm, opponent))
    }

    fn new(contest: Contest, is_choice: bool, arm: &Scores, opponent: &Scores) -> Self {
        let first = arm.rows().zip(opponent.rows()).next().zip(arm.seeds().first());
        let mcnemar = first.map(|((a, b), &seed)| SeedTest { seed, test: McNemar::of(a, b) });
        Self { contest, is_choice, mcnemar, seeds: arm.seeds().to_vec() }
    }

    fn measured(self, result: BestOf) -> Unjudged {
        let Self { contest, is_choice, mcnemar, seeds } = self;
        let BestOf { chosen, estimate, choices } = result;
        let chosen = is_choice.then_some(Chosen { n_experts: chosen, choices });
        Unjudged { estimate, differences: contest.differences, mcnemar, seeds, chosen }
    }
}

impl Compared {
    fn new(judged: Judgement, unjudged: Option<Unjudged>, rule: &CollapseRule) -> Self {
        let Some(unjudged) = unjudged else {
            let (seeds, power, paired_t, without_collapsed) = (Vec::new(), None, None, None);
            let (mcnemar, chosen, training, cost) = (None, None, None, None);
            return Self {
                judged,
                seeds,
                power,
                without_collapsed,
                paired_t,
                mcnemar,
                chosen,
                training,
                cost,
            };
        };
        let level = 1.0 - judged.declared.alpha;
        Self {
            power: Some(Power::of(&judged, &unjudged.differences, &unjudged.estimate, rule)),
            without_collapsed: None,
            // There is an estimate, so there are two seeds.
            paired_t: PairedT::of(&unjudged.differences.per_seed(), level).ok(),
            mcnemar: unjudged.mcnemar.filter(|_| judged.declared.metric == Metric::Accuracy),
            judged,
            seeds: unjudged.seeds,
            chosen: unjudged.chosen,
            training: None,
            cost: None,
        }
    }
}

impl Power {
    pub(super) fn of(
        judged: &Judgement,
        differences: &Differences,
        estimate: &Estimate,
        rule: &CollapseRule,
    ) -> Self {
        let design = design(judged, differences, estimate);
        let to_spare = |seeds| to_spare(&judged.declared, rule, seeds);
        let detectable = design.detectable(POWER) + to_spare(design.seeds);
        Self {
            detectable: Some(detectable).filter(|gain| gain.is_finite()),
            seeds_needed: design.seeds_needed_with(a_margin_more(&judged.declared), POWER, to_spare),
        }
    }
}

/// What a judged comparison has looked at, and the level of the strictest of its family.
pub(super) fn design(judged: &Judgement, differences: &Differences, estimate: &Estimate) -> Design {
    let (seeds, examples) = (differences.n_seeds(), differences.n_examples());
    Design {
        // The choice of the best and the resolution of the examples widen the interval, and lower the power with it.
        components: estimate.components().with_error(estimate.standard_error(), seeds, examples),
        seeds,
        examples,
        alpha: judged.declared.alpha / judged.family_size as f64,
        go_above: go_above(&judged.declared),
    }
}

/// The gain that stated needs are about: one margin more than GO needs.
pub(crate) fn a_margin_more(declared: &Comparison) -> f64 {
    go_above(declared) + declared.margin
}

#[cfg(test)]
mod tests {
    use moelt_schema::{Cell, ClaimKind, TimeAccuracy};

    use super::*;
    use crate::{
        Outcome, Report, Verdict,
        fixtures::{EXAMPLES, accuracy, asked_at, declare, finished, judged_plan, only, reader, taught_by},
    };

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
        assert!(power.detectable.unwrap() > 0.005 && power.detectable.unwrap() < 0.05, "{power:?}");
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
        let detectable = compared.power.unwrap().detectable.unwrap();
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
            cell.config.control.policy = taught_by(&cell.needs);
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

    /// Two arms of equal accuracy, one with half the experts.
    #[test]
    fn each_metric_has_its_own_gain() {
        let arms = [("frozen-8", 0.80), ("frozen-4", 0.80)];
        let found = |metric, margin| {
            let declared = declare("frozen-4", &["frozen-8"], ClaimKind::Superiority);
            let report = report(&arms, vec![Comparison { metric, margin, ..declared }]);
            let compared = report.comparisons.into_iter().next().unwrap();
            let Judgement { difference, interval, verdict, .. } = compared.judged.clone();
            (difference.unwrap(), interval.unwrap(), verdict, compared)
        };
        let (gain, _, verdict, compared) = found(Metric::Accuracy, 0.0);
        assert_eq!((gain, verdict), (0.0, Verdict::Inconclusive));
        assert!(compared.mcnemar.is_some());
        let (gain, interval, verdict, compared) = found(Metric::Utility { price: 0.001 }, 0.0);
        assert!((gain - 0.004).abs() < 1e-12 && interval.lower > 0.002, "{gain} {interval:?}");
        assert_eq!((verdict, compared.mcnemar), (Verdict::Go, None));
        let (gain, interval, verdict, _) = found(Metric::Experts, 1.0);
        assert_eq!((gain, interval.lower, interval.upper, verdict), (4.0, 4.0, 4.0, Verdict::Go));
        let (gain, _, verdict, _) = found(Metric::TrainingFlops, 0.0);
        assert_eq!((gain, verdict), (0.0, Verdict::Inconclusive));
        let (gain, _, _, compared) = found(Metric::Loss, 0.0);
        assert_eq!((gain, compared.judged.declared.metric.shown(gain)), (0.0, "+0.0000 nats".to_owned()));
        assert_eq!(found(Metric::MacroF1, 0.0).0, 0.0);
    }

    /// What frozen sizes 8 and 4 say of each other on a stream: the smaller one knows 2 pp more in the middle and falls 2 pp deeper.
    fn on_stream(metric: Metric, times: fn(usize) -> Vec<TimeAccuracy>) -> Judgement {
        let arms = [("frozen-8", 0.80), ("frozen-4", 0.80)];
        let declared = declare("frozen-4", &["frozen-8"], ClaimKind::Superiority);
        let (plan, mut outcomes) = judged_plan(&arms, vec![Comparison { metric, margin: 0.0, ..declared }]);
        for cell in &plan.cells {
            let Some(Outcome::Finished(result)) = outcomes.get_mut(&cell.id) else { panic!() };
            result.per_time = times(cell.sweep.unwrap());
            result.test_flops.computed = 1_000 * cell.sweep.unwrap() as u64;
        }
        let report = Report::new(&plan, &outcomes, &only(&reader(&arms)), plan.code).unwrap();
        report.comparisons.into_iter().next().unwrap().judged
    }

    #[test]
    fn streams_and_predicting_have_gains_of_their_own() {
        let times = |size| {
            let middle = if size == 4 { 0.82 } else { 0.80 };
            vec![asked_at(0.5, &[(0, middle)]), asked_at(1.0, &[(0, 0.7), (1, 0.9)])]
        };
        // (0.82 + 0.8) / 2 − (0.80 + 0.8) / 2; (0.80 − 0.7) − (0.82 − 0.7); ln 2, half the operations.
        let cases = [
            (Metric::StreamAccuracy, 0.01, Verdict::Go),
            (Metric::Forgetting, -0.02, Verdict::NoGo),
            (Metric::InferenceFlops, std::f64::consts::LN_2, Verdict::Go),
        ];
        for (metric, expected, verdict) in cases {
            let judged = on_stream(metric, times);
            assert!((judged.difference.unwrap() - expected).abs() < 1e-12, "{judged:?}");
            assert_eq!((judged.verdict, judged.missing.len()), (verdict, 0));
        }
    }

    #[test]
    fn what_a_stream_does_not_say_is_missing() {
        let of = |metric, times| on_stream(metric, times).missing;
        let none = "frozen-4 has no evaluation times: its domains do not come and go";
        assert_eq!(of(Metric::StreamAccuracy, |_| Vec::new()), [none]);
        assert_eq!(of(Metric::Forgetting, |_| Vec::new()), [none]);
        let new = "frozen-4 is asked about no domain both at the end and before: it can forget none";
        assert_eq!(of(Metric::Forgetting, |_| vec![asked_at(1.0, &[(0, 0.8)])]), [new]);
    }

    /// Of several, the one that knows most over the stream on validation is the opponent, not the one that has nothing to forget.
    #[test]
    fn forgetting_is_compared_with_the_size_that_knows_most() {
        let arms = [("frozen-2", 0.60), ("frozen-4", 0.80), ("rule", 0.80)];
        let declared = declare("rule", &["frozen-2", "frozen-4"], ClaimKind::NonInferiority);
        let (plan, mut outcomes) =
            judged_plan(&arms, vec![Comparison { metric: Metric::Forgetting, ..declared }]);
        for cell in &plan.cells {
            let Some(Outcome::Finished(result)) = outcomes.get_mut(&cell.id) else { panic!() };
            let [early, late] = if cell.arm == "frozen-2" { [0.6, 0.6] } else { [0.9, 0.8] };
            result.per_time = vec![asked_at(0.5, &[(0, early)]), asked_at(1.0, &[(0, late)])];
        }
        let report = Report::new(&plan, &outcomes, &only(&reader(&arms)), plan.code).unwrap();
        let compared = &report.comparisons[0];
        assert_eq!(compared.chosen.as_ref().unwrap().n_experts, 4);
        assert!(compared.judged.difference.unwrap().abs() < 1e-12);
    }

    #[test]
    fn a_report_depends_on_its_cells_alone() {
        let arms = [("a", 0.80), ("b", 0.81)];
        let twice = [(); 2].map(|()| report(&arms, vec![declare("b", &["a"], ClaimKind::Superiority)]));
        assert_eq!(twice[0], twice[1]);
    }
}
