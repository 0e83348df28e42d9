//! Decision points: the policy looks at the window, and what it decides is done and written down.

use moelt_control::{Action, Decision, MeasuredEffect, Policy, StatsWindow, policy};
use moelt_schema::{
    CellResult, ControlConfig, Edit, EditLog, Event, Evidence, Plan, PolicyKind, PolicyState, RunConfig,
    RunDir,
};

use crate::{Split, TrainError, TrainState, effect::Outputs, start::no_placeholder};

/// The policy of a run; none when its experts are frozen.
pub(crate) struct Control {
    policy: Option<Box<dyn Policy>>,
    total_steps: u64,
}

impl Control {
    /// The policy of a config, going on from `state`.
    pub(crate) fn new(config: &RunConfig, total_steps: u64, state: PolicyState) -> Result<Self, TrainError> {
        let control = &config.control;
        let policy = match control.policy {
            PolicyKind::Frozen => None,
            _ => Some(policy(control, config.seed, total_steps, script(control)?, state)?),
        };
        Ok(Self { policy, total_steps })
    }

    /// Whether there is something to decide after this many steps.
    pub(crate) fn is_due(&self, config: &ControlConfig, step: u64) -> bool {
        self.policy.is_some() && step.is_multiple_of(config.every) && step < self.total_steps
    }

    /// Lets the policy decide and does what it says. Gives the events to be logged.
    pub(crate) fn decide(
        &mut self,
        state: &mut TrainState,
        config: &RunConfig,
        selection: &Split,
    ) -> Result<Vec<Event>, TrainError> {
        let Some(policy) = &mut self.policy else { return Ok(Vec::new()) };
        let sums = state.progress.decision_window.clone();
        let window = StatsWindow { step: state.step, total_steps: self.total_steps, sums: &sums };
        let mut decision = policy.decide(&window, &state.layout);
        let mut events = vec![event(&decision)];
        if let Action::Measure(candidates) = decision.action {
            let effects = measure(state, config, selection, candidates)?;
            decision = policy.observe(&window, &state.layout, &effects);
            events.push(event(&decision));
        }
        state.progress.policy = policy.state();
        state.progress.decision_window.clear();
        if let Action::Apply(edits) = decision.action {
            let plan = plan(state.step, edits, decision.reason, decision.evidence);
            events.push(carry_out(state, config, selection, plan)?);
        }
        Ok(events)
    }
}

/// The edits that a placebo follows.
fn script(control: &ControlConfig) -> Result<Option<EditLog>, TrainError> {
    if control.edits_of.is_empty() {
        return Ok(None);
    }
    no_placeholder("control.edits_of", &control.edits_of)?;
    let run = RunDir::new(&control.edits_of);
    match CellResult::read_any(&run)? {
        Some(result) => Ok(Some(result.edits)),
        None => Err(TrainError::Start {
            key: "control.edits_of",
            path: run.path().into(),
            message: "is no finished run: it has no result.json".to_owned(),
        }),
    }
}

fn plan(step: u64, edits: Vec<Edit>, reason: String, evidence: Evidence) -> Plan {
    Plan { step, edits, reason, evidence }
}

fn event(decision: &Decision) -> Event {
    let Decision { reason, evidence, .. } = decision.clone();
    Event::Decision { choice: decision.choice(), reason, evidence }
}

/// Tries every candidate on a copy, with no training. It is part of what the run costs.
fn measure(
    state: &mut TrainState,
    config: &RunConfig,
    selection: &Split,
    candidates: Vec<Vec<Edit>>,
) -> Result<Vec<MeasuredEffect>, TrainError> {
    let before = Outputs::of(&state.model, selection);
    let mut flops = before.flops;
    let mut measured = |edits: Vec<Edit>| {
        let mut copy = state.clone();
        let plan = plan(state.step, edits.clone(), String::new(), Evidence::default());
        copy.edit(&plan.check(&state.layout, &config.control.limits())?, &config.optim, 0)?;
        let after = Outputs::of(&copy.model, selection);
        flops += after.flops;
        Ok(MeasuredEffect { edits, effect: before.effect(&after) })
    };
    let effects = candidates.into_iter().map(&mut measured).collect();
    state.progress.flops += flops;
    effects
}

/// Applies a plan; the event says what it did.
fn carry_out(
    state: &mut TrainState,
    config: &RunConfig,
    selection: &Split,
    plan: Plan,
) -> Result<Event, TrainError> {
    let before = Outputs::of(&state.model, selection);
    let checked = plan.check(&state.layout, &config.control.limits())?;
    state.edit(&checked, &config.optim, config.control.opening)?;
    let effect = before.effect(&Outputs::of(&state.model, selection));
    Ok(Event::Edit { plan: checked.plan().clone(), layout: state.layout.clone(), effect })
}
