//! A declared comparison as a report tells it: the verdict, what could have been seen, and what stands
//! beside it.

use moelt_schema::{AblationPlan, Comparison};
use serde::{Deserialize, Serialize};

use crate::{
    ArmReport, Bootstrap, Candidate, Choice, Correct, Cost, Design, Differences, Estimate, EvalError,
    Evidence, Judged, McNemar, PairedT, Sweep, go_above, judge,
    scores::{SELECTION, Scores, VERDICT},
    sweep::frozen_size,
};

/// The probability of GO that stated powers are about.
pub const POWER: f64 = 0.8;

/// Seed of every bootstrap: fixed, so that a report depends on its cells alone.
const BOOTSTRAP_SEED: u64 = 0;

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
    /// Which of several opponents was the best on selection.
    pub chosen: Option<Chosen>,
    /// What the arm costs and saves against them.
    pub cost: Option<Cost>,
}

/// What a comparison could have seen, at the level of the strictest of its family.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Power {
    /// The true difference that yields GO with probability [`POWER`], a fraction.
    pub detectable: f64,
    /// Seeds that let a true difference of one margin more than GO needs (0 for non-inferiority, 2δ for
    /// superiority) yield GO with probability [`POWER`]; none when these examples forbid it.
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
    /// The one with the best mean on selection, experts per layer.
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
        compared.cost = Cost::of(&compared, plan, arms, sweep);
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
        Ok((n_experts, scores.of(name, SELECTION, &seeds)?, scores.of(name, VERDICT, &seeds)?))
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
        .map(|(n_experts, selection, verdict)| Candidate { n_experts: *n_experts, selection, verdict })
        .collect();
    let best = bootstrap.against_best(arm, &borrowed)?;
    let is_chosen = |candidate: &&Candidate| candidate.n_experts == best.chosen;
    let opponent = borrowed.iter().find(is_chosen).map_or(arm, |candidate| candidate.verdict);
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
            return Self { judged, seeds, power, paired_t, mcnemar: None, chosen: None, cost: None };
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
            cost: None,
        }
    }
}

impl Power {
    fn of(judged: &Judged, measured: &Measured) -> Self {
        let go_above = go_above(&judged.declared);
        let design = Design {
            components: *measured.estimate.components(),
            seeds: measured.differences.n_seeds(),
            examples: measured.differences.n_examples(),
            alpha: judged.declared.alpha / judged.family_size as f64,
            go_above,
        };
        let a_margin_more = go_above + judged.declared.margin;
        Self { detectable: design.detectable(POWER), seeds_needed: design.seeds_needed(a_margin_more, POWER) }
    }
}
