//! Hand-worked runs of 1000 steps.

use moelt_schema::{
    Edit, EditsConfig, EliminationOrder, Evidence, ExpertInit, Halves, LayerId, LayerKind, LayerSums, Layout,
    Plan, PolicyState, RouterShift, SplitAndDropConfig,
};

use super::*;
use crate::{
    Action, Eliminated, Elimination, FiringUnits, Gate, SplitEvidence, TestedExpert, TokensToTest, Trial,
};

const LAYER: LayerId = LayerId(0);

struct Run {
    policy: SplitAndDrop,
    layout: Layout,
}

fn config() -> SplitAndDropConfig {
    SplitAndDropConfig { times: vec![0.1, 0.2, 0.3], ..SplitAndDropConfig::default() }
}

/// Nobody goes for being one too many.
fn all_stay() -> SplitAndDropConfig {
    let mut config = config();
    config.drop.first_most = 16;
    config
}

fn expert(id: u64) -> ExpertId {
    ExpertId(id)
}

fn by() -> RouterShift {
    RouterShift { direction: vec![2.0, 0.0], constant: 1.0 }
}

/// An expert with half of the tokens that the test says so much of.
fn tested(id: u64, gain: f64, standard_error: f64) -> TestedExpert {
    let gate = Gate { direction: vec![1.0, 0.0], constant: 0.0 };
    let evidence =
        SplitEvidence { rows: 600, loss: 0.5, gain, standard_error, share: 0.4, gate, shift: by(), flops: 0 };
    let evidence = Some(evidence);
    TestedExpert { layer: LAYER, expert: expert(id), utilization: 0.5, loss: 0.5, evidence }
}

/// Sets of fewer and fewer experts, the last ones going first, with these losses.
fn elimination(ids: &[u64], losses: &[f64]) -> Findings {
    let sets = losses.iter().enumerate().map(|(gone, loss)| Eliminated {
        experts: ids[..ids.len() - gone].iter().copied().map(ExpertId).collect(),
        loss: *loss,
    });
    Findings::Elimination(vec![Elimination { layer: LAYER, sets: sets.collect(), saliency: BTreeMap::new() }])
}

fn prunes(ids: &[u64]) -> Vec<Edit> {
    ids.iter().map(|id| Edit::Prune { layer: LAYER, expert: expert(*id) }).collect()
}

impl Run {
    fn new(config: SplitAndDropConfig, n_experts: usize) -> Self {
        let policy = SplitAndDrop::new(config, EditsConfig::default(), 1000, PolicyState::default());
        Self { policy, layout: Layout::uniform(1, LayerKind::TopK { k: 1 }, n_experts) }
    }

    /// Calls the policy at a step, as it was saved and read again.
    fn at<T>(
        &mut self,
        step: u64,
        call: impl FnOnce(&mut SplitAndDrop, &StatsWindow<'_>, &Layout) -> T,
    ) -> T {
        let n = self.layout.layers()[0].n_experts();
        let sums = [LayerSums { tokens: 1.0, tokens_per_expert: vec![1.0; n], ..LayerSums::zeros(n) }];
        let window = StatsWindow { step, total_steps: 1000, sums: &sums, loss: 1.0, ramping_in: &[] };
        let json = serde_json::to_string(&self.policy.state()).unwrap();
        self.policy.state = serde_json::from_str(&json).unwrap();
        call(&mut self.policy, &window, &self.layout)
    }

    fn decide(&mut self, step: u64) -> Decision {
        assert_eq!(self.policy.is_due(step), Some(true), "step {step}");
        let decision = self.at(step, |policy, window, layout| policy.decide(window, layout));
        self.apply(step, &decision);
        decision
    }

    fn see(&mut self, step: u64, findings: &Findings) -> Action {
        let decision = self.decide(step);
        assert!(matches!(decision.action, Action::Look(_)), "{decision:?}");
        let decision = self.at(step, |policy, window, layout| policy.see(window, layout, findings));
        self.apply(step, &decision);
        decision.action
    }

    fn apply(&mut self, step: u64, decision: &Decision) {
        if let Action::Apply(edits) = &decision.action {
            let plan =
                Plan { step, edits: edits.clone(), reason: String::new(), evidence: Evidence::default() };
            self.layout = plan.check(&self.layout, 1..).unwrap().after().clone();
        }
    }

    fn n(&self) -> usize {
        self.layout.n_experts()
    }

    /// The next step at which it is asked, after `step`.
    fn next_after(&self, step: u64) -> Option<u64> {
        (step + 1..1000).find(|step| self.policy.is_due(*step) == Some(true))
    }
}

#[test]
fn a_time_drops_then_tests_then_splits_then_redraws() {
    let mut run = Run::new(config(), 4);
    assert_eq!(run.next_after(0), Some(100));
    // At the first time at most three stay, and of these one more goes for 0.0005 nats; the next would cost more.
    let action = run.see(100, &elimination(&[0, 1, 2, 3], &[0.5, 0.55, 0.5505, 0.9]));
    assert_eq!(action, Action::Apply(prunes(&[2, 3])));
    // z = 4 and 0.5 · 0.02 nats are enough for expert 1; expert 0 has z = 2.
    let action = run.see(101, &Findings::Splits(vec![tested(0, 0.02, 0.01), tested(1, 0.02, 0.005)]));
    let init = ExpertInit::SplitAlong { parent: expert(1), by: by() };
    assert_eq!(action, Action::Apply(vec![Edit::Grow { layer: LAYER, new: expert(4), init }]));
    let firing = |id, share: &[f64]| FiringUnits {
        layer: LAYER,
        expert: expert(id),
        share: share.to_vec(),
        centre: vec![0.5, 0.5],
    };
    let action = run.see(102, &Findings::Units(vec![firing(1, &[0.3, 0.01]), firing(4, &[0.5, 0.5])]));
    let (units, centre) = (vec![1], vec![0.5, 0.5]);
    assert_eq!(action, Action::Apply(vec![Edit::Redraw { layer: LAYER, expert: expert(1), units, centre }]));
    assert_eq!((run.next_after(102), run.n()), (Some(200), 3));
    assert!(!run.policy.is_settled());
}

#[test]
fn halves_are_kept_for_their_grace_and_later_little_may_be_lost() {
    let mut run = Run::new(SplitAndDropConfig { times: vec![0.1, 0.14, 0.3], ..config() }, 2);
    run.see(100, &elimination(&[0, 1], &[0.5, 0.9]));
    run.see(101, &Findings::Splits(vec![tested(0, 0.1, 0.01)]));
    run.see(102, &Findings::Units(Vec::new()));
    let Action::Look(Look::Elimination { locked, .. }) = run.decide(140).action else { panic!() };
    assert_eq!(locked, [(LAYER, expert(0)), (LAYER, expert(2))], "55 steps have not passed");
    assert_eq!(run.see(140, &elimination(&[0, 1, 2], &[0.5, 0.502, 0.503])), Action::Keep);
    run.see(141, &Findings::Splits(Vec::new()));
    let Action::Look(Look::Elimination { locked, .. }) = run.decide(300).action else { panic!() };
    assert!(locked.is_empty());
    assert_eq!(run.see(300, &elimination(&[0, 1, 2], &[0.5, 0.5008, 0.503])), Action::Apply(prunes(&[2])));
}

#[test]
fn after_a_silent_time_it_descends() {
    let mut run = Run::new(all_stay(), 6);
    let ids = [0, 1, 2, 3, 4, 5];
    let stays = elimination(&ids, &[0.5, 0.7, 0.8, 0.9, 1.0, 1.1]);
    // Before 0.19 of training silence does not count.
    run.see(100, &stays);
    run.see(101, &Findings::Splits(Vec::new()));
    run.see(200, &stays);
    let tokens = TokensToTest { texts: 6144, tokens: 6144, tokens_per_expert: 4096 };
    assert_eq!(run.decide(201).action, Action::Look(Look::Splits(tokens)));
    run.see(201, &Findings::Splits(vec![tested(0, 0.02, 0.01)]));
    // Two thirds and a half of 6 experts race for 80 steps; look half-way.
    let losses = [0.5, 0.5, 0.501, 0.502, 0.6, 0.7];
    assert_eq!(run.see(202, &elimination(&ids, &losses)), Action::Keep);
    let Action::Measure(Trial { candidates, steps, race, .. }) = run.decide(203).action else { panic!() };
    assert_eq!((candidates, steps, race.unwrap().every), (vec![prunes(&[3, 4, 5]), prunes(&[4, 5])], 80, 40));
}

fn effect(loss: f64) -> MeasuredEffect {
    MeasuredEffect {
        edits: Vec::new(),
        steps: 80,
        loss_keep: 0.5,
        loss,
        standard_error: 0.001,
        replicate: None,
    }
}

/// A run at the race of 3 and 4 of 6 experts.
fn racing() -> Run {
    let mut run = Run::new(config(), 6);
    run.policy.memory_mut().lowest_loss = Some(0.5);
    let sets = vec![vec![0, 1, 2], vec![0, 1, 2, 3]];
    let sets = sets.into_iter().map(|set| set.into_iter().map(ExpertId).collect()).collect();
    run.policy.memory_mut().next = Some((303, Stage::Race { layer: LAYER, sets, loss: 0.5 }));
    run
}

fn finish(effects: &[MeasuredEffect]) -> (Run, Action) {
    let mut run = racing();
    let decision = run.at(303, |policy, window, layout| policy.observe(window, layout, effects));
    run.apply(303, &decision);
    (run, decision.action)
}

#[test]
fn the_smallest_set_that_is_as_good_goes_on_and_a_smaller_one_is_tried() {
    let (run, action) = finish(&[effect(0.504), effect(0.5)]);
    assert_eq!(action, Action::Apply(prunes(&[3, 4, 5])));
    assert_eq!(run.next_after(303), Some(383), "a horizon later fewer still race");
    assert!((run.policy.memory().descended - 0.004).abs() < 1e-12 && !run.policy.is_settled());
}

#[test]
fn a_set_that_falls_behind_does_not_go_on() {
    // 3 experts are 0.01 nats behind, 4 are not.
    let (run, action) = finish(&[effect(0.51), effect(0.5)]);
    assert_eq!(action, Action::Apply(prunes(&[4, 5])));
    assert_eq!(run.next_after(303), Some(383), "of 4 fewer race a horizon later");
    // All sets are compared with the best of them, and with the lowest loss that was seen.
    for effects in [[effect(0.6), effect(f64::NAN)], [effect(0.53), effect(0.53)]] {
        let (run, action) = finish(&effects);
        assert_eq!(action, Action::Keep);
        assert!(run.policy.is_settled());
    }
}

#[test]
fn it_descends_at_half_of_training_at_the_latest() {
    let mut run = Run::new(config(), 2);
    run.policy.memory_mut().quiet = 0;
    assert_eq!(run.next_after(301), Some(500));
    assert_eq!(run.see(500, &elimination(&[0, 1], &[0.5, 0.9])), Action::Keep);
    assert!(matches!(run.decide(501).action, Action::Measure(_)));
}

/// `descend`: nothing before the races.
#[test]
fn races_alone_begin_where_they_are_told() {
    let mut config = SplitAndDropConfig { times: Vec::new(), ..SplitAndDropConfig::default() };
    (config.split.most, config.descent.latest) = (0, 0.3);
    let mut run = Run::new(config, 4);
    assert_eq!((run.next_after(0), run.policy.is_settled()), (Some(300), false));
    assert_eq!(run.see(300, &elimination(&[0, 1, 2, 3], &[0.5, 0.6, 0.7, 0.8])), Action::Keep);
    let Action::Measure(trial) = run.decide(301).action else { panic!() };
    assert_eq!(trial.candidates, [prunes(&[1, 2, 3]), prunes(&[2, 3])]);
    assert_eq!((trial.steps, trial.averaged_over), (80, 20));
}

#[test]
fn two_thirds_a_half_and_where_that_is_far_less_a_quarter_or_one_race() {
    let racing = |n, least| descend::sizes(n, least);
    assert_eq!((racing(2, 1), racing(3, 1), racing(4, 1)), (vec![1], vec![2, 1], vec![2, 1]));
    assert_eq!((racing(5, 1), racing(12, 1), racing(64, 1)), (vec![3, 2], vec![8, 6, 3], vec![42, 32, 16]));
    assert_eq!((racing(12, 4), racing(2, 2), racing(1, 1)), (vec![8, 6], vec![], vec![]));
}

#[test]
fn one_expert_alone_is_tested_at_once_and_has_nothing_to_descend_to() {
    let mut run = Run::new(config(), 1);
    assert_eq!(run.decide(100).action, Action::Keep);
    assert_eq!(run.see(101, &Findings::Splits(Vec::new())), Action::Keep);
    assert_eq!(run.decide(500).action, Action::Keep);
    assert!(run.policy.is_settled());
}

#[test]
fn controls_split_the_same_experts_in_another_way() {
    for (halves, init) in [
        (Halves::Copy { noise: 0.1 }, ExpertInit::Copy { parent: expert(1), noise: 0.1 }),
        (Halves::Fresh {}, ExpertInit::Fresh),
    ] {
        let mut config = config();
        config.split.halves = halves;
        let mut run = Run::new(config, 2);
        run.see(100, &elimination(&[0, 1], &[0.5, 0.9]));
        let action = run.see(101, &Findings::Splits(vec![tested(1, 0.1, 0.01)]));
        assert_eq!(action, Action::Apply(vec![Edit::Grow { layer: LAYER, new: expert(2), init }]));
    }
}

#[test]
fn a_frozen_expert_is_neither_split_nor_redrawn() {
    let mut run = Run::new(config(), 2);
    run.layout = Plan::new(0).freeze(1).check(&run.layout, 1..).unwrap().after().clone();
    run.see(100, &elimination(&[0, 1], &[0.5, 0.9]));
    assert_eq!(run.see(101, &Findings::Splits(vec![tested(1, 0.1, 0.01)])), Action::Keep);
    let units = FiringUnits { layer: LAYER, expert: expert(1), share: vec![0.0], centre: vec![0.0] };
    let redrawn = run.at(102, |policy, _, layout| {
        let evidence = Evidence::default();
        let sums = [LayerSums { tokens: 1.0, tokens_per_expert: vec![1.0; 2], ..LayerSums::zeros(2) }];
        let window = StatsWindow { step: 102, total_steps: 1000, sums: &sums, loss: 1.0, ramping_in: &[] };
        policy.redraw(Moment { evidence, ..Moment::of(&window, layout) }, &[units])
    });
    assert_eq!(redrawn.action, Action::Keep);
}

/// `zero-shot-cut`: one time, by saliency, and then the experts stay.
#[test]
fn a_single_late_cut_by_saliency_is_all_there_is() {
    let mut config = SplitAndDropConfig { times: vec![0.9], ..SplitAndDropConfig::default() };
    (config.split.most, config.descent.horizon) = (0, 0.0);
    config.drop.order = EliminationOrder::Saliency;
    let mut run = Run::new(config, 3);
    assert_eq!((run.next_after(0), run.policy.is_settled()), (Some(900), false));
    let decision = run.decide(900);
    let Action::Look(Look::Elimination { order, .. }) = decision.action else { panic!() };
    assert_eq!(order, EliminationOrder::Saliency);
    // Expert 1 carries least and costs 0.0008 nats, the next one 0.0004 more: above 0.001.
    let set = |ids: &[u64], loss| Eliminated { experts: ids.iter().copied().map(ExpertId).collect(), loss };
    let sets = vec![set(&[0, 1, 2], 0.5), set(&[0, 2], 0.5008), set(&[2], 0.5012)];
    let saliency = BTreeMap::from([(expert(0), 0.9), (expert(1), 0.3), (expert(2), 1.8)]);
    let found = Findings::Elimination(vec![Elimination { layer: LAYER, sets, saliency: saliency.clone() }]);
    let decision = run.at(900, |policy, window, layout| policy.see(window, layout, &found));
    assert_eq!(decision.action, Action::Apply(prunes(&[1])));
    assert_eq!(decision.evidence.layers[0].saliency, saliency);
    assert!(run.policy.is_settled() && run.next_after(900).is_none());
}
