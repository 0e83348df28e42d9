//! Decision points: the policy looks at the window, and what it decides is done and written down.

use moelt_control::{Action, Decision, MeasuredEffect, Policy, StatsWindow, policy};
use moelt_schema::{
    CellResult, ControlConfig, Digest, Edit, EditLog, Event, Evidence, Plan, PolicyState, RunConfig, RunDir,
};

use crate::{Split, TrainError, TrainState, effect::Outputs, start::no_placeholder};

/// The policy of a run.
pub(crate) struct Control {
    policy: Box<dyn Policy>,
    total_steps: u64,
    /// Hash of the edits that it follows, if it follows some.
    script: Option<Digest>,
}

impl Control {
    /// The policy of a config, going on from `state`.
    pub(crate) fn new(config: &RunConfig, total_steps: u64, state: PolicyState) -> Result<Self, TrainError> {
        let control = &config.control;
        let edits = script(control)?;
        let script = edits.as_ref().map(Digest::of_json);
        if state.script.is_some() && state.script != script {
            return Err(TrainError::Start {
                key: "control.edits_of",
                path: (&control.edits_of).into(),
                message: "holds other edits than those that this run has followed so far".to_owned(),
            });
        }
        let policy = policy(control, config.seed, total_steps, edits, state)?;
        Ok(Self { policy, total_steps, script })
    }

    /// Whether there is something to decide after this many steps.
    pub(crate) fn is_due(&self, config: &ControlConfig, step: u64) -> bool {
        step.is_multiple_of(config.every) && step < self.total_steps
    }

    /// Lets the policy decide and does what it says. Gives the events to be logged.
    pub(crate) fn decide(
        &mut self,
        state: &mut TrainState,
        config: &RunConfig,
        selection: &Split,
    ) -> Result<Vec<Event>, TrainError> {
        let (policy, sums) = (&mut self.policy, state.progress.decision_window.clone());
        let opening: Vec<_> = state.progress.openings.iter().map(|now| (now.layer, now.expert)).collect();
        let (step, total_steps) = (state.step, self.total_steps);
        let window = StatsWindow { step, total_steps, sums: &sums, opening: &opening };
        let mut decision = policy.decide(&window, &state.layout);
        let mut events = vec![event(&decision)];
        if let Action::Measure(candidates) = decision.action {
            let effects = measure(state, config, selection, candidates)?;
            decision = policy.observe(&window, &state.layout, &effects);
            events.push(event(&decision));
        }
        state.progress.policy = PolicyState { script: self.script, ..policy.state() };
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
