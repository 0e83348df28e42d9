//! What holds for every policy, on random runs.

#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

use moelt_control::{
    Action, Decision, Given, MeasuredEffect, OwnPolicies, Policy, Replicate, StatsWindow, Trial,
    live_gradient, policy,
};
use moelt_schema::{
    ControlConfig, Edit, EditLog, EditsConfig, EffectHeadConfig, EntropyLabels, Evidence, ExpertId,
    LabelConfig, LabelHeadConfig, LayerId, LayerKind, LayerSums, Layout, LookaheadConfig, NewExpertConfig,
    PlaceboConfig, Plan, PolicyConfig, PolicyState, RuleConfig, RunRef, Saliency, Stream, Streams, Unrouted,
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
        let tokens = 100.0 * self.unit();
        let tokens_per_expert: Vec<f64> = self.units(n).iter().map(|part| (part * tokens).floor()).collect();
        let entropy = tokens * (n as f64).ln() * self.unit().sqrt();
        let unrouted = Unrouted { tokens: (3.0 * self.unit()).floor(), sum: self.units(4) };
        let [expert_weight, weighted_norm, mass] = [self.units(n), self.units(n), self.units(n)];
        LayerSums {
            tokens,
            tokens_per_expert,
            entropy,
            expert_weight,
            weighted_norm,
            mass,
            dropped: 0.0,
            unrouted,
        }
    }

    /// A window of every layer with a router.
    fn layer_sums(&mut self, layout: &Layout) -> Vec<LayerSums> {
        let routed = layout.layers().iter().filter(|layer| layer.kind != LayerKind::Dense);
        routed.map(|layer| self.sums(layer.n_experts())).collect()
    }

    /// The newest expert of each layer is ramping in, now and then.
    fn ramping_in(&mut self, layout: &Layout) -> Vec<(LayerId, ExpertId)> {
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

fn follows(script: &EditLog) -> Given {
    Given { script: Some(script.clone()), ..Given::default() }
}

fn make(config: &ControlConfig, script: &EditLog, state: PolicyState) -> Box<dyn Policy> {
    policy(config, 5, TOTAL, follows(script), state, &OwnPolicies::default()).unwrap()
}

/// Every decision of a run, each with the layout it was made for.
fn run(subject: &mut Subject<'_>, mut layout: Layout, seed: u64) -> Vec<(Layout, Decision)> {
    let mut dice = Dice(Streams::new(seed).rng(Stream::Policy, 1));
    let mut decisions = Vec::new();
    for step in (1..=DECISIONS).map(|decision| 10 * decision) {
        let ramping_in = dice.ramping_in(&layout);
        for step in [step - 1, step] {
            let (sums, loss) = (dice.layer_sums(&layout), dice.unit());
            let window = StatsWindow { step, total_steps: TOTAL, sums: &sums, loss, ramping_in: &ramping_in };
            let live = live_gradient(subject.config, 5, &subject.policy().state(), &window, &layout);
            assert!(live.is_empty() || subject.config.policy.joint() > 0.0);
            subject.policy().learn(&window, &layout);
        }
        let (sums, loss) =
            (dice.layer_sums(&layout), if dice.unit() < 0.05 { f64::NAN } else { dice.unit() });
        let window = StatsWindow { step, total_steps: TOTAL, sums: &sums, loss, ramping_in: &ramping_in };
        let mut decision = subject.policy().decide(&window, &layout);
        decisions.push((layout.clone(), decision.clone()));
        if let Action::Measure(Trial { candidates, steps, .. }) = decision.action {
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
    assert!(!routers || decision.evidence != Evidence::default(), "{decision:?}");
    let edits = match &decision.action {
        Action::Keep => return layout,
        Action::Measure(_) | Action::Look(_) => panic!("asked twice: {decision:?}"),
        Action::Apply(edits) => edits.clone(),
    };
    assert!(!edits.is_empty());
    if config.policy.lookahead().is_some() {
        assert!(edits.iter().all(|edit| edit.layer() == edits[0].layer()), "one move a decision: {edits:?}");
    }
    if config.policy.edits_of().is_none() {
        let progress = step as f64 / TOTAL as f64;
        assert!(config.edits.warmup < progress && progress <= config.edits.until, "edits at step {step}");
    }
    let plan = Plan { step, edits, reason: decision.reason.clone(), evidence: decision.evidence.clone() };
    let checked = plan.check(&layout, config.edits.limits()).unwrap_or_else(|e| panic!("{e}: {decision:?}"));
    checked.after().clone()
}

fn placebo() -> PlaceboConfig {
    PlaceboConfig { edits_of: RunRef::Folder("runs/x".into()) }
}

fn new_experts() -> impl Strategy<Value = NewExpertConfig> {
    select(vec![NewExpertConfig::Fresh {}, NewExpertConfig::Copy { noise: 0.1 }, NewExpertConfig::Split {}])
}

fn rules() -> impl Strategy<Value = RuleConfig> {
    let saliencies =
        select(vec![Saliency::Utilization, Saliency::RouterMass, Saliency::Reap, Saliency::Loss]);
    (saliencies, new_experts(), 0u64..3, 0u64..3, 0.0..0.6f64, 0.3..0.9f64).prop_map(
        |(saliency, new_expert, cooldown, confirm, prune_below, grow_load_above)| RuleConfig {
            saliency,
            new_expert,
            cooldown,
            confirm,
            prune_below,
            grow_load_above,
            ..RuleConfig::default()
        },
    )
}

/// Policies that remember little, and quick to run.
fn plain() -> impl Strategy<Value = PolicyConfig> {
    prop_oneof![
        Just(PolicyConfig::Frozen {}),
        rules().prop_map(PolicyConfig::Rule),
        rules().prop_map(PolicyConfig::Rule),
        Just(PolicyConfig::Dynmoe {}),
        Just(PolicyConfig::PlaceboTime(placebo())),
        Just(PolicyConfig::PlaceboSurgery(placebo())),
    ]
}

/// Policies that look ahead or learn.
fn learning() -> impl Strategy<Value = PolicyConfig> {
    let saliencies = select(vec![Saliency::Utilization, Saliency::RouterMass, Saliency::Reap]);
    let joint = |joint| LabelConfig::Entropy(EntropyLabels { joint, ..EntropyLabels::default() });
    let labels = select(vec![LabelConfig::Random {}, joint(0.0), joint(0.1)]);
    (saliencies, new_experts(), 0u64..3, 0.0..3.0f64, labels, 0u8..4).prop_map(
        |(saliency, new_expert, cooldown, confidence, labels, kind)| {
            let head = (kind == 0).then(|| EffectHeadConfig { hidden: 3, ..EffectHeadConfig::default() });
            if kind < 2 {
                return PolicyConfig::Lookahead(LookaheadConfig {
                    saliency,
                    new_expert,
                    cooldown,
                    confidence,
                    head,
                    expert_cost: 0.01,
                    ..LookaheadConfig::default()
                });
            }
            let hidden = 3;
            let head = LabelHeadConfig {
                labels,
                hidden,
                saliency,
                new_expert,
                cooldown,
                ..LabelHeadConfig::default()
            };
            PolicyConfig::LabelHead(head)
        },
    )
}

fn configs(policies: impl Strategy<Value = PolicyConfig>) -> impl Strategy<Value = ControlConfig> {
    (policies, 0.0..0.3f64, 0.4..1.0f64).prop_map(|(policy, warmup, until)| {
        let limits = EditsConfig { min_experts: 2, max_experts: 6, ..EditsConfig::default() };
        ControlConfig { policy, edits: EditsConfig { every: 10, warmup, until, ..limits } }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_plan_fits_and_a_restored_policy_decides_the_same(
        config in configs(plain()), n_layers in 1usize..4, dense_first: bool, n_experts in 2usize..7, seed: u64,
    ) {
        let top_any = config.policy == PolicyConfig::Dynmoe {};
        let kind = if top_any { LayerKind::TopAny } else { LayerKind::TopK { k: 2 } };
        let layout = layout(n_layers, dense_first, kind, n_experts);
        let script = script(&layout, &mut Dice(Streams::new(seed).rng(Stream::Policy, 0)));
        // A placebo that warms up for long cannot answer a long script, and says so at once.
        prop_assume!(policy(&config, 5, TOTAL, follows(&script), PolicyState::default(), &OwnPolicies::default()).is_ok());
        let steady = run(&mut Subject::new(&config, script.clone(), false), layout.clone(), seed);
        let restored = run(&mut Subject::new(&config, script, true), layout, seed);
        prop_assert_eq!(steady, restored);
    }

    #[test]
    fn placebo_surgery_leaves_sizes_alone(n_layers in 1usize..4, n_experts in 2usize..7, seed: u64) {
        let edits = EditsConfig { every: 10, ..EditsConfig::default() };
        let config = ControlConfig { policy: PolicyConfig::PlaceboSurgery(placebo()), edits };
        let layout = layout(n_layers, false, LayerKind::TopK { k: 1 }, n_experts);
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
        config in configs(learning()), n_layers in 1usize..4, dense_first: bool, n_experts in 2usize..7, seed: u64,
    ) {
        let layout = layout(n_layers, dense_first, LayerKind::TopK { k: 2 }, n_experts);
        let script = EditLog::new(layout.clone());
        let steady = run(&mut Subject::new(&config, script.clone(), false), layout.clone(), seed);
        let restored = run(&mut Subject::new(&config, script, true), layout, seed);
        prop_assert_eq!(steady, restored);
    }
}

/// The random runs above would prove little if they edited nothing.
#[test]
fn random_runs_grow_and_shed() {
    let label_head = |labels| {
        PolicyConfig::LabelHead(LabelHeadConfig { labels, cooldown: 0, ..LabelHeadConfig::default() })
    };
    let lookahead =
        |head| PolicyConfig::Lookahead(LookaheadConfig { cooldown: 0, head, ..LookaheadConfig::default() });
    for policy in [
        PolicyConfig::Rule(RuleConfig { confirm: 1, cooldown: 0, ..RuleConfig::default() }),
        PolicyConfig::Dynmoe {},
        PolicyConfig::PlaceboTime(placebo()),
        PolicyConfig::PlaceboSurgery(placebo()),
        lookahead(None),
        lookahead(Some(EffectHeadConfig::default())),
        label_head(LabelConfig::Random {}),
        label_head(LabelConfig::Entropy(EntropyLabels::default())),
    ] {
        let layer =
            if policy == (PolicyConfig::Dynmoe {}) { LayerKind::TopAny } else { LayerKind::TopK { k: 2 } };
        let edits = EditsConfig { every: 10, max_experts: 6, ..EditsConfig::default() };
        let config = ControlConfig { policy, edits };
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
            "{:?} never grows",
            config.policy
        );
        assert!(
            edits.iter().any(|edit| matches!(edit, Edit::Prune { .. })),
            "{:?} never prunes",
            config.policy
        );
    }
}
