//! What holds for every policy, on random runs.

#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

use moelt_control::{
    Action, Decision, MeasuredEffect, OtherRuns, Policy, Replicate, StatsWindow, Trial, policy,
};
use moelt_schema::{
    ControlConfig, Edit, EditLog, Evidence, ExpertId, GrowInit, LabelSource, LayerId, LayerKind, LayerSums,
    Layout, Plan, PolicyKind, PolicyState, Saliency, Stream, Streams, Unrouted,
};
use proptest::{prelude::*, sample::select};
use rand::Rng;

const DECISIONS: u64 = 24;

/// Steps of a run, with a decision every 10: after the last step there is none.
const TOTAL: u64 = 10 * DECISIONS + 1;

/// Numbers from 0 to 1, some of them exactly 0.
struct Dice<R: Rng>(R);

impl<R: Rng> Dice<R> {
    fn unit(&mut self) -> f64 {
        (f64::from(self.0.next_u32()) / f64::from(u32::MAX) * 1.3 - 0.3).max(0.0)
    }

    fn units(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| self.unit()).collect()
    }

    /// A window of one layer, now and then an empty one.
    fn sums(&mut self, n: usize) -> LayerSums {
        let rows = 100.0 * self.unit();
        let tokens: Vec<f64> = self.units(n).iter().map(|part| (part * rows).floor()).collect();
        let entropy = rows * (n as f64).ln() * self.unit().sqrt();
        let unrouted = Unrouted { rows: (3.0 * self.unit()).floor(), sum: self.units(4) };
        let [gate, gate_norm, mass] = [self.units(n), self.units(n), self.units(n)];
        LayerSums { rows, tokens, entropy, gate, gate_norm, mass, unrouted }
    }

    /// A window of every layer with a router.
    fn layer_sums(&mut self, layout: &Layout) -> Vec<LayerSums> {
        let routed = layout.layers().iter().filter(|layer| layer.kind != LayerKind::Dense);
        routed.map(|layer| self.sums(layer.n_experts())).collect()
    }

    /// The newest expert of each layer is being let in, now and then.
    fn opening(&mut self, layout: &Layout) -> Vec<(LayerId, ExpertId)> {
        let newest = |layer: &moelt_schema::LayerLayout| layer.experts[layer.n_experts() - 1];
        let layers = layout.layers().iter().zip(0..).map(|(layer, id)| (LayerId(id), newest(layer)));
        layers.filter(|_| self.unit() < 0.1).collect()
    }

    /// What a candidate does, now and then no number.
    fn effect(&mut self, edits: Vec<Edit>, steps: u64) -> MeasuredEffect {
        let loss = if self.unit() < 0.1 { f64::NAN } else { 1.0 + 0.3 * (self.unit() - 0.5) };
        let standard_error = 0.05 * self.unit();
        let replicate = (self.unit() < 0.5).then_some(Replicate { difference: loss - 1.0, standard_error });
        MeasuredEffect { edits, steps, loss_keep: 1.0, loss, standard_error, replicate }
    }
}

/// A layout of one to three layers, the first of which may be dense.
fn layout(n_layers: usize, dense_first: bool, kind: LayerKind, n_experts: usize) -> Layout {
    let uniform = Layout::uniform(n_layers, kind, n_experts);
    if !dense_first {
        return uniform;
    }
    // A layout of mixed layers has no constructor; its file format does.
    let mut json = serde_json::to_value(&uniform).unwrap();
    json["layers"][0] = serde_json::json!({ "kind": "dense", "experts": [0] });
    serde_json::from_value(json).unwrap()
}

/// Edits of some other run, for placebos to follow.
fn script(initial: &Layout, dice: &mut Dice<impl Rng>) -> EditLog {
    let mut plans = Vec::new();
    for step in (1..=DECISIONS).map(|decision| 10 * decision) {
        let edits = (0..(5.9 * dice.unit()) as usize / 2).map(|_| script_edit(dice)).collect();
        plans.push(Plan { step, edits, reason: String::new(), evidence: Evidence::default() });
    }
    EditLog { initial: initial.clone(), plans }
}

fn script_edit(dice: &mut Dice<impl Rng>) -> Edit {
    use moelt_schema::ExpertInit::{Aimed, Copy, Fresh, Split};
    let layer = LayerId((3.0 * dice.unit()) as u32);
    let (parent, new) = (ExpertId(0), ExpertId(99));
    match (6.9 * dice.unit()) as u32 {
        0 => Edit::Grow { layer, new, init: Fresh },
        1 => Edit::Grow { layer, new, init: Aimed { direction: vec![1.0] } },
        2 => Edit::Grow { layer, new, init: Copy { parent, noise: 0.1 } },
        3 => Edit::Grow { layer, new, init: Split { parent } },
        4 => Edit::Merge { layer, from: parent, into: ExpertId(1), share: 0.2 },
        5 => Edit::Reorder { layer, order: Vec::new() },
        _ => Edit::Prune { layer, expert: parent },
    }
}

/// A policy that is forgotten and made anew from its state before every call, when `forgetful`.
struct Subject<'a> {
    config: &'a ControlConfig,
    script: EditLog,
    policy: Box<dyn Policy>,
    forgetful: bool,
}

impl<'a> Subject<'a> {
    fn new(config: &'a ControlConfig, script: EditLog, forgetful: bool) -> Self {
        let policy = make(config, &script, PolicyState::default());
        Self { config, script, policy, forgetful }
    }

    fn policy(&mut self) -> &mut dyn Policy {
        if self.forgetful {
            let json = serde_json::to_string(&self.policy.state()).unwrap();
            self.policy = make(self.config, &self.script, serde_json::from_str(&json).unwrap());
        }
        self.policy.as_mut()
    }
}

fn follows(script: &EditLog) -> OtherRuns {
    OtherRuns { script: Some(script.clone()), ..OtherRuns::default() }
}

fn make(config: &ControlConfig, script: &EditLog, state: PolicyState) -> Box<dyn Policy> {
    policy(config, 5, TOTAL, follows(script), state).unwrap()
}

/// Every decision of a run, each with the layout it was made for.
fn run(subject: &mut Subject<'_>, mut layout: Layout, seed: u64) -> Vec<(Layout, Decision)> {
    let mut dice = Dice(Streams::new(seed).rng(Stream::Policy, 1));
    let mut decisions = Vec::new();
    for step in (1..=DECISIONS).map(|decision| 10 * decision) {
        let opening = dice.opening(&layout);
        for step in [step - 1, step] {
            let (sums, loss) = (dice.layer_sums(&layout), dice.unit());
            let window = StatsWindow { step, total_steps: TOTAL, sums: &sums, loss, opening: &opening };
            let live = subject.policy().live_gradient(&window, &layout);
            assert!(live.is_empty() || subject.config.joint > 0.0);
            subject.policy().learn(&window, &layout);
        }
        let (sums, loss) =
            (dice.layer_sums(&layout), if dice.unit() < 0.05 { f64::NAN } else { dice.unit() });
        let window = StatsWindow { step, total_steps: TOTAL, sums: &sums, loss, opening: &opening };
        let mut decision = subject.policy().decide(&window, &layout);
        decisions.push((layout.clone(), decision.clone()));
        if let Action::Measure(Trial { candidates, steps }) = decision.action {
            let effects: Vec<_> = candidates.into_iter().map(|edits| dice.effect(edits, steps)).collect();
            decision = subject.policy().observe(&window, &layout, &effects);
            decisions.push((layout.clone(), decision.clone()));
        }
        layout = after(&decision, step, layout, subject.config);
    }
    decisions
}

/// The layout after a decision; the check of the plan is what most of this file is about.
fn after(decision: &Decision, step: u64, layout: Layout, config: &ControlConfig) -> Layout {
    let routers = layout.layers().iter().any(|layer| layer.kind != LayerKind::Dense);
    assert!(!decision.reason.is_empty(), "{decision:?}");
    assert!(!routers || !decision.evidence.0.is_empty(), "{decision:?}");
    let edits = match &decision.action {
        Action::Keep => return layout,
        Action::Measure(_) => panic!("measured twice: {decision:?}"),
        Action::Apply(edits) => edits.clone(),
    };
    assert!(!edits.is_empty());
    if config.looks_ahead() {
        assert!(edits.iter().all(|edit| edit.layer() == edits[0].layer()), "one move a decision: {edits:?}");
    }
    if !matches!(config.policy, PolicyKind::PlaceboTime | PolicyKind::PlaceboSurgery) {
        let progress = step as f64 / TOTAL as f64;
        assert!(config.warmup < progress && progress <= config.until, "edits at step {step}");
    }
    let plan = Plan { step, edits, reason: decision.reason.clone(), evidence: decision.evidence.clone() };
    let checked = plan.check(&layout, config.limits()).unwrap_or_else(|e| panic!("{e}: {decision:?}"));
    checked.after().clone()
}

/// Policies that remember little, and quick to run.
const PLAIN: [PolicyKind; 6] = [
    PolicyKind::Frozen,
    PolicyKind::Rule,
    PolicyKind::Rule,
    PolicyKind::Dynmoe,
    PolicyKind::PlaceboTime,
    PolicyKind::PlaceboSurgery,
];

/// Policies that look ahead or learn.
const LEARNING: [PolicyKind; 4] =
    [PolicyKind::Lookahead, PolicyKind::Head, PolicyKind::Head, PolicyKind::Head];

/// Configs of policies that look ahead or learn.
fn learning_configs() -> impl Strategy<Value = ControlConfig> {
    let labels = select(vec![LabelSource::Synthetic, LabelSource::Entropy, LabelSource::Counterfactual]);
    (configs(&LEARNING), labels, 0.0..3.0f64, any::<bool>()).prop_map(
        |(config, labels, confidence, joint)| {
            let joint = if joint && labels == LabelSource::Entropy { 0.1 } else { 0.0 };
            ControlConfig { labels, confidence, joint, head_hidden: 3, expert_cost: 0.01, ..config }
        },
    )
}

fn configs(kinds: &'static [PolicyKind]) -> impl Strategy<Value = ControlConfig> {
    let kinds = select(kinds);
    let saliencies =
        select(vec![Saliency::Utilization, Saliency::RouterMass, Saliency::Reap, Saliency::Loss]);
    let inits = select(vec![GrowInit::Fresh, GrowInit::Copy, GrowInit::Split]);
    let numbers = (0u64..3, 0u64..3, 0.0..0.6f64, 0.3..0.9f64);
    (kinds, saliencies, inits, numbers, 0.0..0.3f64, 0.4..1.0f64).prop_map(
        |(policy, saliency, init, (cooldown, confirm, prune_below, grow_load_above), warmup, until)| {
            ControlConfig {
                policy,
                every: 10,
                warmup,
                until,
                cooldown,
                confirm,
                min_experts: 2,
                max_experts: 6,
                prune_below,
                grow_load_above,
                saliency,
                init,
                ..ControlConfig::default()
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_plan_fits_and_a_restored_policy_decides_the_same(
        config in configs(&PLAIN), n_layers in 1usize..4, dense_first: bool, n_experts in 2usize..7, seed: u64,
    ) {
        let top_any = config.policy == PolicyKind::Dynmoe;
        let kind = if top_any { LayerKind::TopAny } else { LayerKind::Moe { top_k: 2 } };
        let layout = layout(n_layers, dense_first, kind, n_experts);
        let script = script(&layout, &mut Dice(Streams::new(seed).rng(Stream::Policy, 0)));
        // A placebo that warms up for long cannot answer a long script, and says so at once.
        prop_assume!(policy(&config, 5, TOTAL, follows(&script), PolicyState::default()).is_ok());
        let steady = run(&mut Subject::new(&config, script.clone(), false), layout.clone(), seed);
        let restored = run(&mut Subject::new(&config, script, true), layout, seed);
        prop_assert_eq!(steady, restored);
    }

    #[test]
    fn placebo_surgery_leaves_sizes_alone(n_layers in 1usize..4, n_experts in 2usize..7, seed: u64) {
        let config = ControlConfig { policy: PolicyKind::PlaceboSurgery, every: 10, ..ControlConfig::default() };
        let layout = layout(n_layers, false, LayerKind::Moe { top_k: 1 }, n_experts);
        let script = script(&layout, &mut Dice(Streams::new(seed).rng(Stream::Policy, 0)));
        for (layout, _) in run(&mut Subject::new(&config, script, false), layout, seed) {
            prop_assert!(layout.layers().iter().all(|layer| layer.n_experts() == n_experts));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_learns_keeps_to_limits_and_decides_the_same_when_restored(
        config in learning_configs(), n_layers in 1usize..4, dense_first: bool, n_experts in 2usize..7, seed: u64,
    ) {
        let layout = layout(n_layers, dense_first, LayerKind::Moe { top_k: 2 }, n_experts);
        let script = EditLog::new(layout.clone());
        let steady = run(&mut Subject::new(&config, script.clone(), false), layout.clone(), seed);
        let restored = run(&mut Subject::new(&config, script, true), layout, seed);
        prop_assert_eq!(steady, restored);
    }
}

/// The random runs above would prove little if they edited nothing.
#[test]
fn random_runs_grow_and_shed() {
    use LabelSource::{Counterfactual, Entropy, Synthetic};
    for (kind, labels) in [
        (PolicyKind::Rule, Counterfactual),
        (PolicyKind::Dynmoe, Counterfactual),
        (PolicyKind::PlaceboTime, Counterfactual),
        (PolicyKind::PlaceboSurgery, Counterfactual),
        (PolicyKind::Lookahead, Counterfactual),
        (PolicyKind::Head, Synthetic),
        (PolicyKind::Head, Entropy),
        (PolicyKind::Head, Counterfactual),
    ] {
        let config = ControlConfig {
            policy: kind,
            labels,
            every: 10,
            confirm: 1,
            cooldown: 0,
            max_experts: 6,
            ..ControlConfig::default()
        };
        let layer = if kind == PolicyKind::Dynmoe { LayerKind::TopAny } else { LayerKind::Moe { top_k: 2 } };
        let layout = layout(2, false, layer, 3);
        let script = script(&layout, &mut Dice(Streams::new(1).rng(Stream::Policy, 0)));
        let decisions = run(&mut Subject::new(&config, script, false), layout, 1);
        let edits = decisions.iter().filter_map(|(_, decision)| match &decision.action {
            Action::Apply(edits) => Some(edits),
            _ => None,
        });
        let edits: Vec<&Edit> = edits.flatten().collect();
        assert!(
            edits.iter().any(|edit| matches!(edit, Edit::Grow { .. })),
            "{kind:?} {labels:?} never grows"
        );
        assert!(
            edits.iter().any(|edit| matches!(edit, Edit::Prune { .. })),
            "{kind:?} {labels:?} never prunes"
        );
    }
}
