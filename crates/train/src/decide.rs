//! Decision points: the policy looks at the window, and what it decides is written down and done.

use burn::module::Module;
use moelt_control::{Action, Decision, Given, OwnPolicies, Policy, StatsWindow, StepBiases, policy};
use moelt_schema::{
    ControlConfig, DecisionWindow, Digest, Event, Evidence, ExpertId, Flops, LayerId, LayerSums, Layout,
    OtherRun, Plan, PolicyState, RunConfig, TaskStart,
};

use crate::{
    Prepared, Split, StepReport, TrainError, TrainState,
    effect::Outputs,
    interrupt::Interrupt,
    other_runs::{script, taught},
    taught_head::taught_head,
    trial::Arena,
};

/// Texts of the validation split on which an edit's immediate effect is looked at.
const TEXTS: usize = 256;

/// The policy of a run.
pub(crate) struct Control {
    policy: Box<dyn Policy>,
    total_steps: u64,
    /// When domains appear.
    task_starts: Vec<TaskStart>,
    /// Hash of the edits that it follows, if it follows some.
    script: Option<Digest>,
}

impl Control {
    /// The policy of a config, going on from `state`.
    pub(crate) fn new(
        config: &RunConfig,
        prepared: &Prepared,
        total_steps: u64,
        state: PolicyState,
        policies: &OwnPolicies,
    ) -> Result<Self, TrainError> {
        let control = &config.control;
        let edits = script(config)?;
        let script = edits.as_ref().map(Digest::of_json);
        // A head that is known already has both in its state.
        let (records, head) = match state.head {
            None => (taught(config, prepared)?, taught_head(control.policy.taught())?),
            Some(_) => (Vec::new(), None),
        };
        if let Some(OtherRun { key, run, .. }) = control.policy.edits_of()
            && state.script.is_some()
            && state.script != script
        {
            let message = "holds other edits than those that this run has followed so far".to_owned();
            return Err(TrainError::Start { key, path: run.to_string().into(), message });
        }
        let task_starts = prepared.task_starts(total_steps);
        let given = Given {
            script: edits,
            records,
            taught: head,
            n_classes: prepared.classes.len(),
            task_starts: task_starts.clone(),
        };
        let policy = policy(control, config.seed, total_steps, given, state, policies)?;
        Ok(Self { policy, total_steps, task_starts, script })
    }

    /// Whether there is something to decide after this many steps, before the next one.
    pub(crate) fn is_due(&self, config: &ControlConfig, step: u64) -> bool {
        if let Some(due) = self.policy.is_due(step) {
            return due && step > 0 && step < self.total_steps;
        }
        let told = config.policy.is_told() && self.task_starts.iter().any(|start| start.step == step);
        step > 0 && (told || step.is_multiple_of(config.edits.every)) && step < self.total_steps
    }

    /// Whether the experts are what the policy wants to be judged by.
    pub(crate) fn is_settled(&self) -> bool {
        self.policy.is_settled()
    }

    /// What the policy adds to router biases for the step to come.
    pub(crate) fn step_biases(&self, state: &TrainState) -> StepBiases {
        self.policy.step_biases(state.step, &state.layout)
    }

    /// Lets the policy decide and does what it says. Every decision is logged before it is acted on, so that the log
    /// tells of a measurement that is under way.
    ///
    /// # Errors
    /// When the run is asked to stop before the decision is made: nothing of the state has changed.
    pub(crate) fn decide(
        &mut self,
        state: &mut TrainState,
        arena: &Arena<'_>,
        log: &mut dyn FnMut(Event) -> Result<(), TrainError>,
    ) -> Result<(), TrainError> {
        let seen = state.progress.decision_window.clone();
        let (ramping_in, layout) = (state.ramping_in(), state.layout.clone());
        let window = self.window(state.step, &seen.layers, seen.mean_loss(), &ramping_in);
        let mut decision = self.policy.decide(&window, &layout);
        let (mut may_look, mut may_measure, mut before) = (true, true, state.progress.flops);
        loop {
            check(&decision, &layout, state.step, arena.config)?;
            log(event(&decision, state.progress.flops.since(before)))?;
            before = state.progress.flops;
            decision = match &decision.action {
                Action::Keep | Action::Apply(_) => break,
                Action::Look(look) if may_look => {
                    self.policy.see(&window, &layout, &arena.look(state, look)?)
                }
                Action::Measure(trial) if may_measure => {
                    may_measure = false;
                    self.policy.observe(&window, &layout, &arena.measure(state, trial)?)
                }
                Action::Look(_) | Action::Measure(_) => {
                    let message =
                        "it has just been told what it asked for: now it applies something or keeps";
                    return Err(impossible(&decision, state.step, arena.config, message.to_owned()));
                }
            };
            may_look = false;
        }
        state.progress.decision_window = DecisionWindow::default();
        self.remember(state);
        if let Action::Apply(edits) = decision.action {
            let Decision { reason, evidence, .. } = decision;
            let plan = Plan { step: state.step, edits, reason, evidence };
            log(carry_out(state, arena.config, arena.validation, plan)?)?;
        }
        Ok(())
    }

    /// Lets the policy learn from what it added to router biases for the step that was just taken.
    pub(crate) fn learn_biases(&mut self, state: &mut TrainState, report: &StepReport) {
        if report.bias_gradients.is_empty() {
            return;
        }
        self.policy.learn_biases(state.step - 1, &state.layout, &report.bias_gradients);
        self.remember(state);
    }

    /// Lets a head learn from the step that was just taken.
    pub(crate) fn learn(&mut self, state: &mut TrainState, config: &ControlConfig, report: &StepReport) {
        if !config.policy.learns_every_step() {
            return;
        }
        let ramping_in = state.ramping_in();
        let window = self.window(state.step, &report.routing, report.loss, &ramping_in);
        self.policy.learn(&window, &state.layout);
        self.remember(state);
    }

    fn window<'a>(
        &self,
        step: u64,
        sums: &'a [LayerSums],
        loss: f64,
        ramping_in: &'a [(LayerId, ExpertId)],
    ) -> StatsWindow<'a> {
        StatsWindow { step, total_steps: self.total_steps, sums, loss, ramping_in }
    }

    /// What the policy remembers from now on; what its head learnt is paid for.
    pub(crate) fn remember(&self, state: &mut TrainState) {
        let flops = |policy: &PolicyState| policy.head.as_ref().map_or(0, |head| head.flops);
        let before = flops(&state.progress.policy);
        state.progress.policy = PolicyState { script: self.script, ..self.policy.state() };
        state.pay(Flops::unpadded(flops(&state.progress.policy).saturating_sub(before)));
    }
}

/// `flops`: what was paid for it.
fn event(decision: &Decision, flops: Flops) -> Event {
    let Decision { reason, evidence, .. } = decision.clone();
    Event::Decision { action: decision.kind(), reason, evidence, flops }
}

/// Refuses what cannot be carried out, or not be read back from the log, before anything is written or trained.
fn check(decision: &Decision, layout: &Layout, step: u64, config: &RunConfig) -> Result<(), TrainError> {
    let wrong = |message: String| impossible(decision, step, config, message);
    let plans = match &decision.action {
        Action::Keep | Action::Look(_) => &[][..],
        Action::Apply(edits) => std::slice::from_ref(edits),
        Action::Measure(trial) => &trial.candidates,
    };
    for edits in plans.iter().filter(|edits| !edits.is_empty()) {
        let plan = Plan { step, edits: edits.clone(), reason: String::new(), evidence: Evidence::default() };
        plan.check(layout, config.control.edits.limits()).map_err(|error| wrong(error.to_string()))?;
    }
    // What is not a number becomes a word in JSON that no number is read from.
    let evidence = serde_json::to_string(&decision.evidence).map_err(|error| wrong(error.to_string()))?;
    serde_json::from_str::<Evidence>(&evidence).map(drop).map_err(|error| {
        wrong(format!("its evidence has a number that is not finite, which no log can hold: {error}"))
    })
}

fn impossible(decision: &Decision, step: u64, config: &RunConfig, message: String) -> TrainError {
    let (arm, seed, reason) = (config.arm.clone(), config.seed, decision.reason.clone());
    TrainError::Decision { arm, seed, step, reason, message }
}

/// Applies a plan; the event says what it did.
fn carry_out(
    state: &mut TrainState,
    config: &RunConfig,
    validation: &Split,
    plan: Plan,
) -> Result<Event, TrainError> {
    let first: Vec<usize> = (0..TEXTS.min(validation.texts.len())).collect();
    let texts = &*validation.part(&first);
    // Few texts, and an edit that has begun is carried out.
    let outputs = |state: &TrainState| Outputs::of(&state.model().valid(), texts, Interrupt::never());
    let before = outputs(state)?;
    let checked = plan.check(&state.layout, config.control.edits.limits())?;
    state.edit(&checked, config.control.edits.ramp_in)?;
    let effect = before.effect(&outputs(state)?);
    Ok(Event::Edit { plan: checked.plan().clone(), layout: state.layout.clone(), effect })
}
