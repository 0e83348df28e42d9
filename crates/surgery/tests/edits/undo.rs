//! The way back: after more training, and from a run that had no averaged weights.

use std::collections::BTreeMap;

use moelt_surgery::{
    SurgeryError, Trainable, apply,
    optim::{AverageState, WeightAverage, export},
    schema::{ExpertAxes, LayerKind},
};

use crate::support::{FULL_SOFTMAX, Run, grow, merge, prune, split, upcycle};

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
    for axis in undone.toy().expert_axes() {
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
    assert!(run.state().contains_key("layers.1.router.weight"));
    let mut undone = run.undone(&undo);
    assert_eq!(undone.bits().keys().collect::<Vec<_>>(), before.bits().keys().collect::<Vec<_>>());
    undone.train(1);
}

/// Averaging begins between the edit and its undoing: what comes back has an average, that of its weights.
#[test]
fn an_average_begun_after_the_edit_is_undone_too() {
    let before = trained(FULL_SOFTMAX, 3);
    let plan = before.check(vec![prune(0, 1)]).unwrap();
    let without = Trainable { average: None, ..before.trainable.clone() };
    let applied = apply(&without, &plan, 1).unwrap();
    assert!(applied.trainable.average.is_none());
    let Trainable { module, average, .. } =
        applied.undo.apply(&applied.trainable.with_average(0.9, 2)).unwrap();
    let weights = export(&module);
    assert_eq!(weights, before.weights());
    let of_average = |(path, state): (&String, &AverageState)| (path.clone(), state.weights.clone());
    assert_eq!(average.unwrap().state().iter().map(of_average).collect::<BTreeMap<_, _>>(), weights);
}

#[test]
fn undoing_with_an_optimizer_that_missed_the_edit_is_refused() {
    let before = trained(FULL_SOFTMAX, 3);
    let (after, undo) = before.applied(&before.check(vec![prune(0, 1)]).unwrap());
    let with = |module: &Run, optimizer: &Run, average: Option<&WeightAverage>| Trainable {
        module: module.toy().clone(),
        optimizer: optimizer.trainable.optimizer.clone(),
        average: average.cloned(),
    };
    let refused = |trainable| undo.apply(&trainable).unwrap_err();
    let error = refused(with(&after, &before, None));
    assert!(matches!(&error, SurgeryError::State { state: "optimizer state", .. }), "{error}");
    let error = refused(with(&after, &after, before.trainable.average.as_ref()));
    assert!(matches!(&error, SurgeryError::State { state: "average", .. }), "{error}");
    let error = refused(with(&before, &before, None));
    assert!(matches!(&error, SurgeryError::Experts { n_experts: 2, .. }), "{error}");
}
