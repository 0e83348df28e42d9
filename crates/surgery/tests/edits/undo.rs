//! The way back: after more training, and from a run that had no averaged weights.

use std::collections::BTreeMap;

use moelt_surgery::{
    SurgeryError, apply,
    optim::{AverageState, WeightAverage},
    schema::{ExpertAxes, LayerKind, Streams},
};

use crate::support::{FULL_SOFTMAX, Run, grow, merge, prune, row_axis, split, upcycle};

fn trained(kind: LayerKind, n_experts: usize) -> Run {
    let mut run = Run::new(kind, n_experts, 5);
    run.train(6);
    run
}

#[test]
fn undone_later_survivors_keep_what_they_learned_and_the_rest_comes_back() {
    let before = trained(FULL_SOFTMAX, 4);
    let edits = vec![prune(0, 0), merge(0, 1, 2, 0.5), grow(1, 4, split(3))];
    let (mut run, undo) = before.applied(&before.check(edits).unwrap());
    run.train(5);
    let undone = run.undone(&undo);
    assert_eq!(undone.layout.layers(), before.layout.layers());
    for axis in undone.toy.expert_axes() {
        let remembered = |run: &Run, position| run.remembered(&axis.param, axis.axis, position);
        // Layer 0 was [2 merged, 3] in between, layer 1 [0, 1, 2, 3, 4].
        let learned = if axis.layer.0 == 0 { vec![(3, 1)] } else { vec![(0, 0), (1, 1), (2, 2)] };
        for (position, between) in learned {
            assert_eq!(remembered(&undone, position), remembered(&run, between), "{}", axis.param);
        }
        for position in if axis.layer.0 == 0 { 0..3 } else { 0..0 } {
            assert_eq!(remembered(&undone, position), remembered(&before, position), "{}", axis.param);
        }
    }
    assert_eq!(undone.weights()["layers.1.router.offset"].data, [0.0; 4], "no longer halved");
}

#[test]
fn an_upcycled_layer_becomes_dense_again_without_a_trace_of_its_router() {
    let before = trained(LayerKind::Dense, 1);
    let (mut run, undo) = before.applied(&before.check(vec![upcycle(1, &[0, 1, 2], 2, 0.5)]).unwrap());
    run.train(2);
    assert!(run.optimizer.state().contains_key("layers.1.router.weight"));
    let mut undone = run.undone(&undo);
    assert_eq!(undone.bits().keys().collect::<Vec<_>>(), before.bits().keys().collect::<Vec<_>>());
    undone.train(1);
}

/// Averaging begins between the edit and its undoing: what comes back has an average, that of its weights.
#[test]
fn an_average_begun_after_the_edit_is_undone_too() {
    let before = trained(FULL_SOFTMAX, 3);
    let plan = before.check(vec![prune(0, 1)]).unwrap();
    let applied = apply(&plan, &before.toy, &before.optimizer, None, &Streams::new(1)).unwrap();
    assert!(applied.average.is_none());
    let average = WeightAverage::new(&applied.module, 0.9, 2, |path| row_axis(&applied.module, path));
    let (toy, _, average) = applied.undo.apply(&applied.module, &applied.optimizer, Some(&average)).unwrap();
    let weights = moelt_surgery::optim::export(&toy);
    assert_eq!(weights, before.weights());
    let of_average = |(path, state): (&String, &AverageState)| (path.clone(), state.weights.clone());
    assert_eq!(average.unwrap().state().iter().map(of_average).collect::<BTreeMap<_, _>>(), weights);
}

#[test]
fn undoing_with_an_optimizer_that_missed_the_edit_is_refused() {
    let before = trained(FULL_SOFTMAX, 3);
    let (after, undo) = before.applied(&before.check(vec![prune(0, 1)]).unwrap());
    let refused = undo.apply(&after.toy, &before.optimizer, None).unwrap_err();
    assert!(matches!(&refused, SurgeryError::State { state: "optimizer state", .. }), "{refused}");
    let refused = undo.apply(&after.toy, &after.optimizer, Some(&before.average)).unwrap_err();
    assert!(matches!(&refused, SurgeryError::State { state: "average", .. }), "{refused}");
    let refused = undo.apply(&before.toy, &before.optimizer, None).unwrap_err();
    assert!(matches!(&refused, SurgeryError::Experts { n_experts: 2, .. }), "{refused}");
}
