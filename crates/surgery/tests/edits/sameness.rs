//! Edits after which nothing may differ: none at all, an order changed and changed back, growth that is
//! pruned again a hundred times over.

use moelt_surgery::{
    Trainable, apply,
    optim::WeightAverage,
    schema::{ExpertInit, LayerKind},
};

use crate::support::{Run, copy, grow, prune, reorder, upcycle};

fn trained(steps: u64) -> Run {
    let mut run = Run::new(LayerKind::TopK { k: 2 }, 4, 7);
    run.train(steps);
    run
}

#[test]
fn an_empty_plan_changes_nothing() {
    for run in [trained(0), trained(3)] {
        let same = run.edited(vec![]);
        assert_eq!(same.bits(), run.bits());
        assert_eq!(same.layout, run.layout);
    }
}

/// The middle layer of a run is reordered and put back at ten points, between steps.
#[test]
fn an_order_changed_and_changed_back_leaves_the_run_bit_identical() {
    let (mut plain, mut reordered) = (trained(0), trained(0));
    for _ in 0..10 {
        plain.train(2);
        reordered.train(2);
        let order = |order| vec![reorder(0, order), reorder(1, order)];
        let there = reordered.edited(order(&[2, 0, 3, 1]));
        assert_ne!(there.bits(), plain.bits());
        reordered = there.edited(order(&[0, 1, 2, 3]));
        assert_eq!(reordered.bits(), plain.bits());
    }
    plain.train(1);
    reordered.train(1);
    assert_eq!(reordered.bits(), plain.bits());
}

/// Entries and numbers in the optimizer and the average.
fn size(run: &Run) -> [usize; 4] {
    let state = run.state();
    let moments = state.values().map(|state| state.moment_1.len() + state.moment_2.len() + state.steps.len());
    let average = run.average();
    let averages = average.values().map(|state| state.weights.data.len() + state.updates.len());
    [state.len(), moments.sum(), average.len(), averages.sum()]
}

/// A checkpoint's way: state taken out, and put into an optimizer and an average that know nothing.
fn saved_and_loaded(run: Run) -> Run {
    let (state, average) = (run.state().clone(), run.average().clone());
    let fresh = Run::new(LayerKind::TopK { k: 2 }, 1, 0).trainable.optimizer;
    let trainable = Trainable::new(run.toy().clone(), fresh.with_state(state));
    let average = Some(WeightAverage::with_state(average, 0.9, 2));
    let loaded = Run { trainable: Trainable { average, ..trainable }, ..run.clone() };
    assert_eq!(loaded.bits(), run.bits());
    loaded
}

#[test]
fn a_hundred_rounds_of_growth_and_pruning_leave_nothing_behind() {
    let mut run = trained(2);
    let before = size(&run);
    for round in 0..100_u64 {
        let new = run.layout.next_id().0;
        let init = if round % 2 == 0 { ExpertInit::Fresh } else { copy(0, 0.01) };
        run = run.edited(vec![grow(0, new, init.clone()), grow(1, new + 1, init)]);
        run.train(1);
        assert_ne!(size(&run), before);
        // The oldest but one goes in one layer, the new one in the other.
        let oldest = run.layout.layers()[0].experts[1].0;
        run = saved_and_loaded(run.edited(vec![prune(0, oldest), prune(1, new + 1)]));
        run.train(1);
        assert_eq!(size(&run), before, "round {round}");
    }
    assert_eq!(run.layout.next_id().0, 4 + 200);
}

#[test]
fn growth_pruned_at_once_leaves_every_bit_as_it_was() {
    let run = trained(4);
    let grown = run.edited(vec![grow(0, 4, ExpertInit::Fresh), grow(0, 5, copy(1, 0.1))]);
    let pruned = grown.edited(vec![prune(0, 4), prune(0, 5)]);
    assert_eq!(pruned.bits(), run.bits());
}

/// An expert is the same wherever and whenever it is born, and another one under another seed.
#[test]
fn new_rows_depend_on_seed_layer_and_id_alone() {
    let (early, late) = (trained(1), trained(5).edited(vec![prune(0, 0)]));
    let fresh = |run: &Run, position| {
        let edited = run.edited(vec![grow(0, 9, ExpertInit::Fresh)]);
        edited.remembered("layers.0.w_in", 0, position).weights
    };
    assert_eq!(fresh(&early, 4), fresh(&late, 3));
    let plan = early.check(vec![grow(0, 9, ExpertInit::Fresh)]).unwrap();
    let other = apply(&early.trainable, &plan, 12).unwrap();
    let other = Run { trainable: other.trainable, ..early.clone() };
    assert_ne!(
        other.weights()["layers.0.w_in"],
        early.edited(plan.plan().edits.clone()).weights()["layers.0.w_in"]
    );
}

/// A dense run upcycled before its first step trains like one that had its router from the start.
#[test]
fn upcycling_before_the_first_step_works() {
    let mut run = Run::new(LayerKind::Dense, 1, 3).edited(vec![upcycle(0, &[0, 1, 2], 2, 0.5)]);
    run.train(2);
    assert_eq!(run.state()["layers.0.router.weight"].steps.len(), 3);
}
