//! What a report comes to: whether adapting pays, how many experts are enough, and what finding out cost.

use moelt_schema::{Comparison, Metric};

use crate::{ArmReport, ArmResults, Compared, Report, Sweep, SweepPoint, Verdict};

/// Rows of the short table.
const ROWS: usize = 16;

/// Arms in the order of the plan that are no frozen size and not judged against one: at most this many lead the short table.
const BASELINES: usize = 2;

/// The answer that a report's numbers give to its three questions.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer<'a> {
    /// Does adapting pay? The comparisons with the best frozen size, in the plan's order: of the arms that edited experts, or
    /// of all when none of these did. Empty when the plan declares none.
    pub adaptive: Vec<&'a Compared>,
    /// Comparisons with the best frozen size that `adaptive` leaves out, for their arms edited nothing.
    pub left_out: usize,
    /// How many experts are enough? None when no frozen size has a result, or only one was tried.
    pub enough: Option<Enough>,
    /// What did finding out cost?
    pub cost: Spent,
    /// The arms that the short table shows, in the plan's order.
    pub arms: Vec<&'a ArmReport>,
}

/// The smallest frozen size that is about as good as the best, by mean accuracy on the test split. No interval stands
/// behind it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Enough {
    /// It, [`Sweep::smallest_close`].
    pub smallest: SweepPoint,
    /// The best.
    pub best: SweepPoint,
    /// The size that the validation split chooses.
    pub chosen_on_validation: usize,
    /// Whether a smaller size than `smallest` was tried.
    pub smaller_tried: bool,
    /// Whether a larger size than `best` was tried.
    pub larger_tried: bool,
}

/// Operations of training, means per seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Spent {
    /// Frozen sizes with a result.
    pub sizes: usize,
    /// What they took together; none without a sweep.
    pub sweep: Option<f64>,
    /// Each adaptive arm with every run that it builds on.
    pub arms: Vec<ArmCost>,
}

/// What an adaptive arm took.
#[derive(Clone, Debug, PartialEq)]
pub struct ArmCost {
    /// Its name.
    pub arm: String,
    /// Its operations and those of every run it builds on, by those of the sweep; none when a run has no result.
    pub by_sweep: Option<f64>,
    /// Whether it builds on runs outside of the plan, which are not counted.
    pub at_least: bool,
}

impl Report {
    /// What the report comes to.
    pub fn answer(&self) -> Answer<'_> {
        let adaptive = self.adaptive();
        Answer {
            left_out: self.against_best().count() - adaptive.len(),
            enough: self.sweep.as_ref().and_then(Enough::of),
            cost: self.spent(&adaptive),
            arms: self.short(&adaptive),
            adaptive,
        }
    }

    /// Comparisons in accuracy with the best of several frozen sizes.
    pub(crate) fn against_best(&self) -> impl Iterator<Item = &Compared> {
        let is_about_accuracy = |declared: &Comparison| declared.metric == Metric::Accuracy;
        self.comparisons.iter().filter(move |compared| {
            let declared = &compared.judged.declared;
            declared.against.len() > 1 && is_about_accuracy(declared)
        })
    }

    /// What an arm's utility comes to: GO where it is shown in every comparison, NO-GO where one says the opposite. With
    /// the first of these comparisons; none where the plan declares none.
    pub fn utility_of(&self, arm: &str) -> Option<(Verdict, &Compared)> {
        let is_about_utility = |compared: &&Compared| {
            let declared = &compared.judged.declared;
            declared.arm == arm && matches!(declared.metric, Metric::Utility { .. })
        };
        let compared: Vec<&Compared> = self.comparisons.iter().filter(is_about_utility).collect();
        let first = *compared.first()?;
        let verdicts: Vec<Verdict> = compared.iter().map(|compared| compared.judged.verdict).collect();
        let verdict = if verdicts.contains(&Verdict::NoGo) {
            Verdict::NoGo
        } else if verdicts.iter().all(|verdict| *verdict == Verdict::Go) {
            Verdict::Go
        } else {
            Verdict::Inconclusive
        };
        Some((verdict, first))
    }

    /// Those of them whose arms edited; all when none did.
    fn adaptive(&self) -> Vec<&Compared> {
        let edited = |arm: &str| self.experts_over_time.iter().any(|history| history.arm == arm);
        let adaptive: Vec<&Compared> =
            self.against_best().filter(|compared| edited(&compared.judged.declared.arm)).collect();
        if adaptive.is_empty() { self.against_best().collect() } else { adaptive }
    }

    fn spent(&self, adaptive: &[&Compared]) -> Spent {
        let frozen = || self.arms.iter().filter(|arm| arm.sweep.is_some());
        let flops = |arm: &ArmReport| arm.results.as_ref().map(|results| results.flops.mean);
        let arms = adaptive.iter().map(|compared| {
            let arm = &compared.judged.declared.arm;
            let needs = self.results(arm).and_then(|results| results.with_needs.as_ref());
            ArmCost {
                arm: arm.clone(),
                by_sweep: compared.cost.as_ref().and_then(|cost| cost.by_sweep_with_needs.flops),
                at_least: needs.is_some_and(|needs| needs.foreign_runs > 0),
            }
        });
        let sizes = frozen().filter_map(flops).count();
        let complete = sizes > 0 && frozen().all(|arm| arm.finished == arm.planned);
        Spent { sizes, sweep: complete.then(|| frozen().filter_map(flops).sum()), arms: arms.collect() }
    }

    /// At most [`ROWS`] arms: those that the answer is about first, then the others in the plan's order.
    fn short(&self, adaptive: &[&Compared]) -> Vec<&ArmReport> {
        let judged = |arm: &str| self.against_best().any(|compared| compared.judged.declared.arm == arm);
        let is_frozen = |arm: &&ArmReport| arm.sweep.is_some();
        let baselines: Vec<&str> = self
            .arms
            .iter()
            .take_while(|arm| !is_frozen(arm) && !judged(&arm.arm))
            .take(BASELINES)
            .map(|arm| arm.arm.as_str())
            .collect();
        let frozen = |n_experts: usize| self.arms.iter().find(|arm| arm.sweep == Some(n_experts));
        let chosen = self.sweep.as_ref().and_then(|sweep| frozen(sweep.chosen_on_validation));
        let enough = self.sweep.as_ref().and_then(|sweep| frozen(sweep.smallest_close));
        let adaptive = adaptive.iter().map(|compared| compared.judged.declared.arm.as_str());
        let wanted = chosen
            .map(|arm| arm.arm.as_str())
            .into_iter()
            .chain(baselines.first().copied())
            .chain(adaptive)
            .chain(enough.map(|arm| arm.arm.as_str()))
            .chain(baselines.get(1).copied())
            .chain(self.arms.iter().map(|arm| arm.arm.as_str()));
        let mut shown: Vec<&str> = Vec::new();
        for arm in wanted {
            if shown.len() < ROWS && !shown.contains(&arm) {
                shown.push(arm);
            }
        }
        self.arms.iter().filter(|arm| shown.contains(&arm.arm.as_str())).collect()
    }

    fn results(&self, arm: &str) -> Option<&ArmResults> {
        self.arms.iter().find(|report| report.arm == arm)?.results.as_ref()
    }
}

impl Enough {
    fn of(sweep: &Sweep) -> Option<Self> {
        let [first, .., last] = sweep.points.as_slice() else { return None };
        let point = |n_experts| sweep.points.iter().copied().find(|point| point.n_experts == n_experts);
        Some(Self {
            smallest: point(sweep.smallest_close)?,
            best: point(sweep.best_on_test)?,
            chosen_on_validation: sweep.chosen_on_validation,
            smaller_tried: first.n_experts < sweep.smallest_close,
            larger_tried: sweep.best_on_test < last.n_experts,
        })
    }
}
