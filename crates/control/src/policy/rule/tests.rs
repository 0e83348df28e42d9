//! Hand-worked windows for the rule.

use moelt_schema::{
    Edit, EditsConfig, Evidence, ExpertId, ExpertInit, LayerId, LayerKind, LayerSums, Layout,
    NewExpertConfig, Plan, PolicyState, RuleConfig, Saliency,
};

use super::Rule;
use crate::{Action, Decision, MeasuredEffect, Policy, StatsWindow, Trial};

/// A run of 100 decisions, every 10 steps, whose edits are applied.
struct Run {
    edits: EditsConfig,
    layout: Layout,
    rule: Rule,
    step: u64,
}

impl Run {
    fn new(config: RuleConfig, n_layers: usize, n_experts: usize) -> Self {
        Self::limited(config, (1, 16), n_layers, n_experts)
    }

    fn limited(
        config: RuleConfig,
        (min_experts, max_experts): (usize, usize),
        n_layers: usize,
        n_experts: usize,
    ) -> Self {
        let edits = EditsConfig {
            every: 10,
            warmup: 0.0,
            until: 1.0,
            min_experts,
            max_experts,
            ..EditsConfig::default()
        };
        let layout = Layout::uniform(n_layers, LayerKind::TopK { k: 1 }, n_experts);
        Self { rule: Rule::new(config, edits.clone(), PolicyState::default()), edits, layout, step: 0 }
    }

    /// Decides; candidates do to the loss what `increase` says.
    fn decide(&mut self, sums: &[LayerSums], increase: impl Fn(ExpertId) -> f64) -> Decision {
        self.step += self.edits.every;
        let window = StatsWindow { step: self.step, total_steps: 1000, sums, loss: 1.0, ramping_in: &[] };
        let mut decision = self.rule.decide(&window, &self.layout);
        if let Action::Measure(Trial { candidates, .. }) = decision.action {
            let effects: Vec<_> = candidates.into_iter().map(|edits| effect(edits, &increase)).collect();
            decision = self.rule.observe(&window, &self.layout, &effects);
        }
        if let Action::Apply(edits) = &decision.action {
            let (reason, evidence) = (String::new(), Evidence::default());
            let plan = Plan { step: self.step, edits: edits.clone(), reason, evidence };
            self.layout = plan.check(&self.layout, self.edits.limits()).unwrap().after().clone();
        }
        decision
    }

    /// Decides on a window of one layer.
    fn see(&mut self, sums: LayerSums) -> Decision {
        self.decide(&[sums], |_| f64::NAN)
    }

    fn n(&self) -> usize {
        self.layout.layers()[0].n_experts()
    }
}

fn effect(edits: Vec<Edit>, increase: impl Fn(ExpertId) -> f64) -> MeasuredEffect {
    let [Edit::Prune { expert, .. }] = edits[..] else { panic!("{edits:?}") };
    let loss = 0.5 + increase(expert);
    MeasuredEffect { edits, steps: 0, loss_keep: 0.5, loss, standard_error: 0.01, replicate: None }
}

/// A window with these tokens per expert and this part of the largest routing entropy.
fn sums(tokens: &[f64], routing: f64) -> LayerSums {
    let routed: f64 = tokens.iter().sum();
    LayerSums {
        tokens: routed,
        tokens_per_expert: tokens.to_vec(),
        entropy: routing * (tokens.len() as f64).ln() * routed,
        weighted_norm: tokens.to_vec(),
        mass: tokens.to_vec(),
        ..LayerSums::zeros(tokens.len())
    }
}

fn even(n: usize, routing: f64) -> LayerSums {
    sums(&vec![10.0; n], routing)
}

fn grow(new: u64, init: ExpertInit) -> Action {
    Action::Apply(vec![Edit::Grow { layer: LayerId(0), new: ExpertId(new), init }])
}

fn prune(expert: u64) -> Action {
    Action::Apply(vec![Edit::Prune { layer: LayerId(0), expert: ExpertId(expert) }])
}

#[test]
fn a_layer_grows_after_confirmation_and_then_cools_down() {
    let mut run = Run::new(RuleConfig::default(), 1, 2);
    let actions: Vec<Action> = (0..6).map(|_| run.see(even(run.n(), 0.9)).action).collect();
    let fresh = |id| grow(id, ExpertInit::Fresh);
    assert_eq!(actions, [Action::Keep, fresh(2), Action::Keep, Action::Keep, Action::Keep, fresh(3)]);
}

#[test]
fn the_reason_names_every_signal() {
    let mut run = Run::new(RuleConfig::default(), 1, 4);
    let decision = run.see(even(4, 0.41));
    assert_eq!(
        decision.reason,
        "layer 0 keeps 4 experts: routing entropy 0.410 of ln 4 (grows above 0.5), load entropy 1.000 \
         (grows above 0.7), asked to grow in 0 of 2 windows; weakest is expert 0, utilization 1.000 of the \
         even share (pruned below 0.2), asked to go in 0 of 2 windows"
    );
    let seen = &decision.evidence.layers[0];
    assert_eq!((seen.n_experts, seen.routing_entropy, seen.saliency.len()), (4, Some(0.41), 4));
    assert_eq!(seen.numbers.keys().collect::<Vec<_>>(), ["asked_to_grow"]);
    run.see(even(4, 0.9));
    run.see(even(4, 0.9));
    let decision = run.see(even(5, 0.9));
    assert_eq!(decision.reason, "layer 0: cooling down through decision 5, this is decision 4");
}

#[test]
fn outside_its_time_it_keeps_and_counts_nothing() {
    let config = RuleConfig { confirm: 1, ..RuleConfig::default() };
    let edits = EditsConfig { warmup: 0.1, until: 0.5, ..EditsConfig::default() };
    let layout = Layout::uniform(1, LayerKind::TopK { k: 1 }, 2);
    let window_sums = [even(2, 0.9)];
    let mut rule = Rule::new(config, edits, PolicyState::default());
    let mut decide = |step| {
        rule.decide(
            &StatsWindow { step, total_steps: 1000, sums: &window_sums, loss: 1.0, ramping_in: &[] },
            &layout,
        )
    };
    let early = decide(100);
    assert_eq!((early.action, early.reason.as_str()), (Action::Keep, "warm-up until step 100"));
    assert_eq!(early.evidence.layers[0].saliency[&ExpertId(1)], 1.0);
    assert_eq!(decide(501).reason, "no edits after step 500");
    assert_eq!(rule.state().layers[0].asked_to_grow, 0);
    assert_eq!(rule.state().decisions, 2);
}

#[test]
fn a_new_expert_begins_as_configured() {
    let parent = ExpertId(1);
    let expected = [
        (NewExpertConfig::Fresh {}, ExpertInit::Fresh),
        (NewExpertConfig::Copy { noise: 0.25 }, ExpertInit::Copy { parent, noise: 0.25 }),
        (NewExpertConfig::Split {}, ExpertInit::Split { parent }),
    ];
    for (new_expert, expected) in expected {
        let config = RuleConfig { new_expert, confirm: 1, ..RuleConfig::default() };
        let mut run = Run::new(config, 1, 3);
        assert_eq!(run.see(sums(&[5.0, 7.0, 6.0], 0.9)).action, grow(3, expected));
    }
}

#[test]
fn pruning_goes_before_growing() {
    let config = RuleConfig { confirm: 1, grow_load_above: 0.0, ..RuleConfig::default() };
    let mut run = Run::new(config, 1, 3);
    let decision = run.see(sums(&[10.0, 10.0, 1.0], 0.9));
    assert_eq!(decision.action, prune(2));
    assert_eq!(run.rule.state().layers[0].last_edit, Some(1));
    assert_eq!(run.rule.state().layers[0].asked_to_grow, 0);
}

#[test]
fn a_signal_inside_the_dead_band_edits_nothing() {
    let mut run = Run::new(RuleConfig { cooldown: 0, ..RuleConfig::default() }, 1, 2);
    for window in 0..50 {
        // Routing entropy 0.46 or 0.50, the weaker expert at 0.24 or 0.20 of the even share.
        let (routing, weak) = if window % 2 == 0 { (0.46, 0.12) } else { (0.50, 0.10) };
        assert_eq!(run.see(sums(&[1.0 - weak, weak], routing)).action, Action::Keep);
    }
}

#[test]
fn a_signal_around_the_threshold_edits_in_one_direction() {
    let mut run = Run::limited(RuleConfig::default(), (1, 5), 1, 2);
    let edits: Vec<Action> = (0..60)
        .map(|window| run.see(even(run.n(), if window % 2 == 0 { 0.53 } else { 0.46 })).action)
        .filter(|action| *action != Action::Keep)
        .collect();
    assert_eq!(edits, [2, 3, 4].map(|id| grow(id, ExpertInit::Fresh)));
    // Falling back below the band starts over: never two windows in a token.
    let mut run = Run::new(RuleConfig::default(), 1, 2);
    for window in 0..20 {
        let routing = if window % 2 == 0 { 0.53 } else { 0.44 };
        assert_eq!(run.see(even(2, routing)).action, Action::Keep);
    }
}

#[test]
fn a_large_start_sheds_its_dead_experts_one_by_one_and_stops() {
    let mut run = Run::new(RuleConfig::default(), 1, 8);
    let alive = [1, 3, 4, 6].map(ExpertId);
    let mut sizes = Vec::new();
    for _ in 0..40 {
        let experts = &run.layout.layers()[0].experts;
        let tokens: Vec<f64> = experts.iter().map(|id| if alive.contains(id) { 25.0 } else { 0.0 }).collect();
        run.see(sums(&tokens, 0.2));
        sizes.push(run.n());
    }
    sizes.dedup();
    assert_eq!(sizes, [8, 7, 6, 5, 4]);
    assert_eq!(run.layout.layers()[0].experts, alive);
}

#[test]
fn a_single_expert_grows_up_to_the_limit() {
    let config = RuleConfig { cooldown: 1, ..RuleConfig::default() };
    let mut run = Run::limited(config, (1, 3), 1, 1);
    let first = run.see(even(1, 0.0));
    assert!(first.reason.contains("a single expert says nothing about routing"), "{}", first.reason);
    assert!(first.reason.ends_with("at least 1 experts stay"), "{}", first.reason);
    for _ in 0..20 {
        run.see(even(run.n(), 0.9));
    }
    assert_eq!(run.n(), 3);
    assert!(run.see(even(3, 0.9)).reason.contains("at most 3 experts are allowed"));
}

#[test]
fn a_window_without_tokens_says_nothing() {
    let mut run = Run::new(RuleConfig { confirm: 1, ..RuleConfig::default() }, 1, 4);
    let decision = run.see(LayerSums::zeros(4));
    assert_eq!(decision.action, Action::Keep);
    assert_eq!(decision.reason, "layer 0: no tokens were routed since the last decision");
}

#[test]
fn saliency_chooses_who_goes() {
    let cases = [(Saliency::Utilization, 0), (Saliency::RouterMass, 1), (Saliency::Reap, 2)];
    for (saliency, weakest) in cases {
        let config = RuleConfig { saliency, confirm: 1, prune_below: 0.5, ..RuleConfig::default() };
        let mut run = Run::new(config, 1, 3);
        let window = LayerSums {
            mass: vec![9.0, 1.0, 10.0],
            weighted_norm: vec![9.0, 10.0, 1.0],
            ..sums(&[1.0, 10.0, 9.0], 0.1)
        };
        assert_eq!(run.see(window).action, prune(weakest), "{saliency:?}");
    }
}

#[test]
fn several_layers_are_judged_apart_and_share_new_ids() {
    let mut run = Run::new(RuleConfig { confirm: 1, ..RuleConfig::default() }, 3, 2);
    let windows = [even(2, 0.9), sums(&[1.0, 19.0], 0.1), even(2, 0.9)];
    let grow = |layer, new| Edit::Grow { layer: LayerId(layer), new: ExpertId(new), init: ExpertInit::Fresh };
    let prune = Edit::Prune { layer: LayerId(1), expert: ExpertId(0) };
    let decision = run.decide(&windows, |_| 0.0);
    assert_eq!(decision.action, Action::Apply(vec![grow(0, 2), prune, grow(2, 3)]));
}

fn by_loss() -> RuleConfig {
    RuleConfig { saliency: Saliency::Loss, prune_below: 0.01, hysteresis: 0.01, ..RuleConfig::default() }
}

#[test]
fn loss_measures_every_expert_that_could_go() {
    let mut run = Run::limited(by_loss(), (2, 16), 2, 3);
    let window = StatsWindow {
        step: 10,
        total_steps: 1000,
        sums: &[even(3, 0.1), even(3, 0.1)],
        loss: 1.0,
        ramping_in: &[],
    };
    let decision = run.rule.decide(&window, &run.layout);
    let prune = |layer, expert| vec![Edit::Prune { layer: LayerId(layer), expert: ExpertId(expert) }];
    let candidates = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)].map(|(l, e)| prune(l, e));
    assert_eq!(decision.action, Action::Measure(Trial::new(candidates.into(), 0)));
    assert_eq!(decision.reason, "the loss without each of 6 experts decides which may go");
    // At its least size nothing can go: growth is decided at once.
    let mut run = Run::limited(RuleConfig { confirm: 1, ..by_loss() }, (3, 16), 1, 3);
    let window =
        StatsWindow { step: 10, total_steps: 1000, sums: &[even(3, 0.9)], loss: 1.0, ramping_in: &[] };
    assert_eq!(run.rule.decide(&window, &run.layout).action, grow(3, ExpertInit::Fresh));
}

#[test]
fn the_expert_whose_loss_is_smallest_goes_when_it_is_small_enough() {
    let increases = |of: [f64; 3]| move |expert: ExpertId| of[expert.0 as usize];
    let mut run = Run::new(by_loss(), 1, 3);
    let mut decide = |of| run.decide(&[even(3, 0.1)], increases(of));
    assert_eq!(decide([0.03, 0.03, 0.03]).action, Action::Keep);
    assert_eq!(decide([0.005, 0.002, 0.2]).action, Action::Keep);
    // Inside the dead band the count stands still.
    assert_eq!(decide([0.1, 0.015, 0.2]).action, Action::Keep);
    let decision = decide([0.1, -0.001, 0.2]);
    assert_eq!(decision.action, prune(1));
    assert!((decision.evidence.layers[0].saliency[&ExpertId(1)] + 0.001).abs() < 1e-12);
    assert!(
        decision.reason.ends_with(
            "weakest is expert 1, loss -0.0010 nats without it (pruned below 0.01), asked to go in 2 of 2 windows"
        ),
        "{}",
        decision.reason
    );
}

#[test]
fn a_loss_that_is_no_number_is_never_chosen() {
    let mut run = Run::new(RuleConfig { confirm: 1, ..by_loss() }, 1, 3);
    let nothing = run.see(even(3, 0.1));
    assert_eq!(nothing.action, Action::Keep);
    assert!(nothing.reason.ends_with("no finite number for expert 0 1 2"), "{}", nothing.reason);
    let of = [f64::NEG_INFINITY, 0.0, f64::NAN];
    let decision = run.decide(&[even(3, 0.1)], |expert| of[expert.0 as usize]);
    assert_eq!(decision.action, prune(1));
    assert!(decision.reason.ends_with("no finite number for expert 0 2"), "{}", decision.reason);
    assert!(!decision.evidence.layers[0].saliency.contains_key(&ExpertId(0)));
}

#[test]
fn growth_is_decided_with_the_losses_known() {
    let mut run = Run::new(RuleConfig { confirm: 1, ..by_loss() }, 1, 2);
    let decision = run.decide(&[even(2, 0.9)], |_| 1.0);
    assert_eq!(decision.action, grow(2, ExpertInit::Fresh));
    let mut run = Run::new(RuleConfig { confirm: 1, ..by_loss() }, 1, 2);
    assert_eq!(run.decide(&[even(2, 0.9)], |_| 0.0).action, prune(0));
}

#[test]
fn a_model_without_routers_is_kept() {
    let mut rule = Rule::new(RuleConfig::default(), EditsConfig::default(), PolicyState::default());
    let layout = Layout::uniform(2, LayerKind::Dense, 1);
    let decision = rule.decide(
        &StatsWindow { step: 500, total_steps: 1000, sums: &[], loss: 1.0, ramping_in: &[] },
        &layout,
    );
    assert_eq!((decision.action, decision.reason.as_str()), (Action::Keep, "no layer has a router"));
}
