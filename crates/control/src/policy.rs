//! Who decides.

mod arrival;
mod dynmoe;
mod early_halving;
mod effect_head;
mod frozen;
mod l0_gates;
mod label_head;
mod lookahead;
mod nested;
mod own;
mod placebo;
mod placebo_forks;
mod placebo_surgery;
mod placebo_time;
mod rule;
mod split_and_drop;
mod survey;
mod trials;

use moelt_schema::{
    ControlConfig, EditLog, EffectRecord, Evidence, Layout, PolicyConfig, PolicyState, TaskStart, TaughtHead,
};

pub use self::own::{OwnPolicies, PolicyStart};
use self::{
    arrival::Arrival, dynmoe::Dynmoe, early_halving::EarlyHalving, effect_head::EffectHead, frozen::Frozen,
    l0_gates::L0Gates, label_head::LabelHead, lookahead::Lookahead, nested::Nested, placebo::Script,
    placebo_forks::PlaceboForks, placebo_surgery::PlaceboSurgery, placebo_time::PlaceboTime, rule::Rule,
    split_and_drop::SplitAndDrop,
};
use crate::{Decision, Findings, LiveGradient, MeasuredEffect, PolicyError, StatsWindow, StepBiases};

/// Decides whether and how the experts change. What it decides depends on its config, seed and script, on
/// what it is shown and on its [`state`](Self::state) alone.
pub trait Policy {
    /// Decides at a decision point: after every `every`-th optimizer step.
    ///
    /// # Panics
    /// When the window is of another layout.
    fn decide(&mut self, window: &StatsWindow<'_>, layout: &Layout) -> Decision;

    /// Decides once more, with the window and layout it asked [`Measure`](crate::Action::Measure) for, knowing
    /// what the candidates did. It does not ask again.
    ///
    /// # Panics
    /// When the window is of another layout.
    fn observe(
        &mut self,
        _window: &StatsWindow<'_>,
        _layout: &Layout,
        effects: &[MeasuredEffect],
    ) -> Decision {
        let evidence = Evidence::default().with("candidates", effects.len() as f64);
        Decision::keep("this policy does not measure", evidence)
    }

    /// Decides once more, with the window and layout it asked [`Look`](crate::Action::Look) for, knowing what was found. It may
    /// ask to measure now, but not to look again.
    ///
    /// # Panics
    /// When the window is of another layout.
    fn see(&mut self, _window: &StatsWindow<'_>, _layout: &Layout, _findings: &Findings) -> Decision {
        Decision::keep("this policy does not look", Evidence::default())
    }

    /// Whether it is to be asked after `step`, where it does not decide after every `every`-th step.
    fn is_due(&self, _step: u64) -> Option<bool> {
        None
    }

    /// Whether the experts are what it wants to be judged by: until then no checkpoint is the best.
    fn is_settled(&self) -> bool {
        true
    }

    /// What is added to router biases for the optimizer step that follows `step` steps, and for it alone: the model that is kept,
    /// evaluated and saved knows nothing of it, and forks train without it. It depends on the step and on what the policy
    /// remembers, so that a resumed run takes the same step.
    fn step_biases(&self, _step: u64, _layout: &Layout) -> StepBiases {
        StepBiases::new()
    }

    /// Learns from what it added to router biases for the step that followed `step` steps: the derivative, by each of these numbers, of
    /// what the step minimised. Called after every such step, with the layout of [`Self::step_biases`].
    fn learn_biases(&mut self, _step: u64, _layout: &Layout, _gradients: &StepBiases) {}

    /// Learns from one optimizer step: called after every one, before a decision at that step. The window has
    /// the sums and the loss of this step alone, taken before its update; it holds no tensors, so nothing of
    /// what is learnt reaches the backbone.
    ///
    /// # Panics
    /// When the window is of another layout.
    fn learn(&mut self, _window: &StatsWindow<'_>, _layout: &Layout) {}

    /// All that it remembers: part of every checkpoint. A resumed run makes the policy anew from it. Nothing, for a
    /// policy that decides by what it is shown alone.
    fn state(&self) -> PolicyState {
        PolicyState::default()
    }
}

/// What a head that is *not* isolated (`joint` above 0) asks of the live routers at one batch, with the window that
/// [`Policy::learn`] gets afterwards: for each layer that routed something, in layer order. `state` is the policy's
/// own. Empty for every other policy.
///
/// # Panics
/// When the window is of another layout.
pub fn live_gradient(
    config: &ControlConfig,
    seed: u64,
    state: &PolicyState,
    window: &StatsWindow<'_>,
    layout: &Layout,
) -> Vec<LiveGradient> {
    let PolicyConfig::LabelHead(head) = &config.policy else { return Vec::new() };
    if config.policy.joint() <= 0.0 {
        return Vec::new();
    }
    let head = LabelHead::new(head.clone(), config.edits.clone(), seed, state.clone());
    head.map_or(Vec::new(), |head| head.live_gradient(window, layout))
}

/// What a policy is given beside its config.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Given {
    /// The edit log of the run that a placebo follows.
    pub script: Option<EditLog>,
    /// What other runs measured, for a head to learn before it begins.
    pub records: Vec<EffectRecord>,
    /// A head that was taught before any run, for a run that uses one.
    pub taught: Option<TaughtHead>,
    /// Classes of the data: what a taught head knows of losses is relative to `ln n_classes`.
    pub n_classes: usize,
    /// When domains appear, for a policy that is told.
    pub task_starts: Vec<TaskStart>,
}

/// The policy of a config, continuing from `state` (its default: from the start). `own` are those of the program that
/// embeds moelt.
///
/// # Errors
/// When a placebo has no script, or one that this run is too short for; when the state or the records are of
/// another head.
pub fn policy(
    config: &ControlConfig,
    seed: u64,
    total_steps: u64,
    given: Given,
    state: PolicyState,
    own: &OwnPolicies,
) -> Result<Box<dyn Policy>, PolicyError> {
    let edits = config.edits.clone();
    let (followed, given) = (given.script, Given { script: None, ..given });
    let script = |policy| {
        let log = followed.ok_or(PolicyError::NoScript { policy })?;
        Ok(Script::new(log, &edits, seed, total_steps))
    };
    Ok(match config.policy.clone() {
        PolicyConfig::Frozen {} => Box::new(Frozen::new(state)),
        PolicyConfig::Rule(rule) => Box::new(Rule::new(rule, edits, state)),
        PolicyConfig::Dynmoe {} => Box::new(Dynmoe::new(edits, state)),
        PolicyConfig::Lookahead(lookahead) => match lookahead.head.clone() {
            None => Box::new(Lookahead::new(lookahead, edits, seed, state)),
            Some(head) => Box::new(EffectHead::new(lookahead, head, edits, seed, given, state)?),
        },
        PolicyConfig::LabelHead(head) => Box::new(LabelHead::new(head, edits, seed, state)?),
        PolicyConfig::PlaceboForks(config) => Box::new(PlaceboForks::new(config, edits, state)),
        PolicyConfig::Arrival(config) => Box::new(Arrival::new(config, edits, given.task_starts, state)),
        PolicyConfig::SplitAndDrop(config) => Box::new(SplitAndDrop::new(config, edits, total_steps, state)),
        PolicyConfig::EarlyHalving(config) => Box::new(EarlyHalving::new(config, edits, total_steps, state)),
        PolicyConfig::Nested(config) => Box::new(Nested::new(config, edits, seed, total_steps, state)),
        PolicyConfig::L0Gates(config) => Box::new(L0Gates::new(config, edits, seed, total_steps, state)),
        PolicyConfig::Own(config) => own.make(&PolicyStart { config, edits, seed, total_steps, state })?,
        PolicyConfig::PlaceboTime(_) => Box::new(PlaceboTime::new(script("placebo_time")?, state)?),
        PolicyConfig::PlaceboSurgery(_) => Box::new(PlaceboSurgery::new(script("placebo_surgery")?, state)?),
    })
}

#[cfg(test)]
mod tests {
    use moelt_schema::{Edit, EditsConfig, ExpertId, LayerId, LayerKind, PlaceboConfig, Plan, RunRef};

    use super::*;

    fn placebos() -> [(PolicyConfig, &'static str); 2] {
        let placebo = || PlaceboConfig { edits_of: RunRef::Folder("runs/x".into()) };
        [
            (PolicyConfig::PlaceboTime(placebo()), "placebo_time"),
            (PolicyConfig::PlaceboSurgery(placebo()), "placebo_surgery"),
        ]
    }

    #[test]
    fn a_placebo_needs_a_script() {
        let layout = Layout::uniform(1, LayerKind::TopK { k: 1 }, 2);
        for (placebo, _) in placebos() {
            let config = ControlConfig { policy: placebo, ..ControlConfig::default() };
            let make = |script| {
                let given = Given { script, ..Given::default() };
                policy(&config, 1, 100, given, PolicyState::default(), &OwnPolicies::default())
            };
            assert!(matches!(make(None), Err(PolicyError::NoScript { .. })));
            assert!(make(Some(EditLog::new(layout.clone()))).is_ok());
        }
        let message = PolicyError::NoScript { policy: "placebo_time" }.to_string();
        assert!(message.starts_with("placebo_time follows the edits of another run"));
    }

    #[test]
    fn a_placebo_answers_all_of_its_script_or_is_refused() {
        let layout = Layout::uniform(1, LayerKind::TopK { k: 1 }, 2);
        let edits = vec![Edit::Prune { layer: LayerId(0), expert: ExpertId(0) }];
        let plan =
            |step| Plan { step, edits: edits.clone(), reason: String::new(), evidence: Evidence::default() };
        let script = EditLog { initial: layout, plans: [10, 20, 30].map(plan).into() };
        let given = Given { script: Some(script), ..Given::default() };
        let make = |kind, total| {
            let edits = EditsConfig { every: 10, warmup: 0.0, ..EditsConfig::default() };
            let config = ControlConfig { policy: kind, edits };
            policy(&config, 1, total, given.clone(), PolicyState::default(), &OwnPolicies::default())
                .map(drop)
        };
        for (kind, name) in placebos() {
            assert_eq!(make(kind.clone(), 31), Ok(()));
            // The third decision would come after the last step.
            let refused = PolicyError::ScriptTooLong { policy: name, plans: 3, last: 3, decisions: 2 };
            assert_eq!(make(kind, 30), Err(refused));
        }
    }

    #[test]
    fn a_policy_that_never_measures_keeps_the_experts() {
        let layout = Layout::uniform(1, LayerKind::Dense, 1);
        let mut frozen = policy(
            &ControlConfig::default(),
            1,
            100,
            Given::default(),
            PolicyState::default(),
            &OwnPolicies::default(),
        )
        .unwrap();
        let window = StatsWindow { step: 50, total_steps: 100, sums: &[], loss: 1.0, ramping_in: &[] };
        assert_eq!(frozen.observe(&window, &layout, &[]).action, crate::Action::Keep);
    }
}
