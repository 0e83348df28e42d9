//! Random sequences of plans, with training between: what must hold after every edit, whatever it is.

use std::collections::BTreeSet;

use moelt_surgery::schema::{
    CheckedPlan, Edit, EditLog, ExpertAxes, ExpertAxis, ExpertId, ExpertInit, ExpertRole, LayerId, LayerKind,
    RowSource,
};
use proptest::prelude::*;

use crate::support::{FULL_SOFTMAX, Run, STARVED, copy, grow, merge, prune, split, upcycle};

/// One plan, still without the ids that depend on what is there.
#[derive(Clone, Debug)]
struct Round {
    steps: u64,
    edits: Vec<Draw>,
}

#[derive(Clone, Copy, Debug)]
struct Draw {
    what: u8,
    layer: u32,
    a: usize,
    b: usize,
}

fn rounds() -> impl Strategy<Value = Vec<Round>> {
    let draw = (0..12_u8, 0..2_u32, 0..6_usize, 0..6_usize);
    let draw = draw.prop_map(|(what, layer, a, b)| Draw { what, layer, a, b });
    let round = (0..4_u64, prop::collection::vec(draw, 1..4));
    prop::collection::vec(round.prop_map(|(steps, edits)| Round { steps, edits }), 1..8)
}

fn kinds() -> impl Strategy<Value = LayerKind> {
    let moe = |top_k| LayerKind::TopK { k: top_k };
    prop::sample::select(vec![LayerKind::Dense, moe(1), moe(2), FULL_SOFTMAX])
}

/// The edit that a draw stands for. `new` is the next free id.
fn edit(run: &Run, draw: Draw, new: &mut u64) -> Edit {
    let layout = &run.layout.layers()[draw.layer as usize];
    let [a, b] = [draw.a, draw.b].map(|nth| layout.experts[nth % layout.n_experts()].0);
    let layer = draw.layer;
    let mut claim = || {
        *new += 1;
        *new - 1
    };
    if layout.kind == LayerKind::Dense {
        return upcycle(layer, &[a, claim(), claim()], 1 + draw.b % 3, 0.5 * (draw.a % 2) as f64);
    }
    match draw.what {
        0 => grow(layer, claim(), ExpertInit::Fresh),
        1 => grow(layer, claim(), ExpertInit::Aimed { direction: vec![0.5, -0.25, 0.0, 1.0] }),
        2 => grow(layer, claim(), copy(a, 0.0)),
        3 => grow(layer, claim(), copy(a, 0.01)),
        4 | 5 => grow(layer, claim(), split(a)),
        6 | 7 => prune(layer, a),
        8 | 9 => merge(layer, a, b, 0.25 * draw.b as f64),
        10 => {
            let mut order = layout.experts.clone();
            order.rotate_left(draw.a % layout.n_experts());
            Edit::Reorder { layer: LayerId(layer), order }
        }
        _ => prune(layer, 1 << 40),
    }
}

fn edits(run: &Run, draws: &[Draw]) -> Vec<Edit> {
    let mut new = run.layout.next_id().0;
    draws.iter().map(|draw| edit(run, *draw, &mut new)).collect()
}

/// Parameters, optimizer state and average have the same shapes, and experts as the layout says.
fn assert_consistent(run: &Run) {
    let weights = run.weights();
    assert_eq!(run.average().keys().collect::<Vec<_>>(), weights.keys().collect::<Vec<_>>());
    for (path, tensor) in &weights {
        assert_eq!(run.average()[path].weights.shape, tensor.shape, "{path}");
    }
    for (path, state) in run.state() {
        assert_eq!(state.shape, weights[path].shape, "{path}");
        assert_eq!([&state.moment_1, &state.moment_2].map(Vec::len), [weights[path].data.len(); 2]);
    }
    for ExpertAxis { param, axis, layer, .. } in run.toy().expert_axes() {
        let n = run.layout.layer(layer).unwrap().n_experts();
        assert_eq!(weights[&param].shape[axis], n, "{param}");
        assert_eq!(run.average()[&param].updates.len(), n, "{param}");
        assert_eq!(run.state().get(&param).map_or(n, |state| state.steps.len()), n, "{param}");
    }
}

/// What stays is bit-identical; what is new or merged has no past.
fn assert_rows(before: &Run, after: &Run, plan: &CheckedPlan) {
    for ExpertAxis { param, axis, layer, role, .. } in after.toy().expert_axes() {
        let Some(map) = plan.maps().get(&layer) else { continue };
        let is_born = !before.weights().contains_key(&param);
        for (position, source) in map.rows.iter().enumerate() {
            let now = after.remembered(&param, axis, position);
            let lowered = role == ExpertRole::RouterBias && matches!(source, RowSource::Halve(_));
            match source.kept() {
                Some(old) if !is_born && !lowered => {
                    assert_eq!(
                        now,
                        before.remembered(&param, axis, old),
                        "{param}, expert {old} → {position}"
                    );
                }
                Some(_) => {}
                None => {
                    assert_eq!(now.steps.unwrap_or(0), 0, "{param}");
                    assert!(now.moments.iter().flatten().flatten().all(|bits| *bits == 0), "{param}");
                    match source.origin().filter(|_| !is_born) {
                        Some(old) => assert_eq!(now.updates, before.remembered(&param, axis, old).updates),
                        None => {
                            assert_eq!(now.updates, 0, "{param}");
                            assert_eq!(now.average, now.weights, "{param}: an average begins at the weights");
                        }
                    }
                }
            }
        }
    }
    let edited: BTreeSet<LayerId> = plan.maps().keys().copied().collect();
    let of_others = |run: &Run| {
        let is_edited = |key: &str| edited.iter().any(|layer| key.contains(&format!("layers.{}.", layer.0)));
        run.bits().into_iter().filter(|(key, _)| !is_edited(key)).collect::<Vec<_>>()
    };
    assert_eq!(of_others(before), of_others(after));
}

/// Every parameter that has something to learn moves within three steps, and stays finite.
fn assert_learns(mut run: Run) {
    let before = run.clone();
    let loss = run.train(3);
    assert!(loss.is_finite());
    let offset = |layer: LayerId, expert: usize| {
        let offsets = &before.weights().get(&format!("layers.{}.router.offset", layer.0)).cloned();
        offsets.as_ref().map_or(0.0, |offsets| offsets.data[expert])
    };
    for ExpertAxis { param, axis, layer, role, .. } in run.toy().expert_axes() {
        if !role.is_trained() || role == ExpertRole::Other {
            assert_eq!(run.weights()[&param], before.weights()[&param], "{param} is not trained");
            continue;
        }
        let layout = run.layout.layer(layer).unwrap();
        let live: Vec<usize> =
            (0..layout.n_experts()).filter(|expert| offset(layer, *expert) > -10.0).collect();
        let is_full = layout.effective_top_k() >= layout.n_experts();
        if role == ExpertRole::Router && !has_choice(&before, layer, &live, is_full) {
            continue;
        }
        let moved = |expert: usize| {
            let weights = |run: &Run| run.remembered(&param, axis, expert).weights;
            weights(&run) != weights(&before)
        };
        if is_full {
            assert!(live.iter().all(|expert| moved(*expert)), "{param}");
        } else if !live.is_empty() {
            assert!((0..layout.n_experts()).any(moved), "{param}");
        }
    }
}

/// Whether the router can learn something: not where one expert has all the probability, nor where the
/// chosen ones compute the same, as a copy without noise and its parent do.
fn has_choice(run: &Run, layer: LayerId, live: &[usize], is_full: bool) -> bool {
    let w_in = format!("layers.{}.w_in", layer.0);
    let distinct: BTreeSet<Vec<u32>> =
        live.iter().map(|expert| run.remembered(&w_in, 0, *expert).weights).collect();
    distinct.len() >= if is_full { 2 } else { live.len().max(2) }
}

/// One plan on one run: everything that must hold of it.
fn edit_and_check(run: &Run, plan: &CheckedPlan) -> Run {
    let (bits, logits) = (run.bits(), run.logits());
    let (edited, undo) = run.applied(plan);
    assert_consistent(&edited);
    assert_rows(run, &edited, plan);
    let undone = edited.undone(&undo);
    assert_eq!(undone.layout, run.layout);
    assert_eq!(undone.bits(), bits, "undone at once");
    assert_eq!(undone.logits().map_bits(), logits.map_bits(), "undone at once");
    let mut trained = edited.clone();
    trained.train(1);
    assert_consistent(&trained);
    assert_eq!(run.bits(), bits, "an edit and training after it change nothing of what was before");
    edited
}

trait MapBits {
    fn map_bits(&self) -> Vec<u32>;
}

impl MapBits for Vec<f32> {
    fn map_bits(&self) -> Vec<u32> {
        self.iter().map(|value| value.to_bits()).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_edits_keeps_module_optimizer_and_average_together(
        kind in kinds(), n_experts in 1..5_usize, seed in 0..1000_u64, starve in any::<bool>(), rounds in rounds(),
    ) {
        let mut run = Run::new(kind, n_experts, seed);
        if starve && kind != LayerKind::Dense {
            run.set_bias(0, 0, STARVED);
        }
        let mut log = EditLog::new(run.layout.clone());
        for Round { steps, edits: draws } in rounds {
            run.train(steps);
            let Ok(plan) = run.check(edits(&run, &draws)) else { continue };
            run = edit_and_check(&run, &plan);
            log.push(&plan);
            log.check(&run.layout).unwrap();
        }
        assert_learns(run);
    }
}

/// Every edit can be drawn, and one that is refused.
#[test]
fn draws_reach_every_edit() {
    let mut run = Run::new(FULL_SOFTMAX, 3, 1);
    run.train(1);
    for what in 0..11 {
        let draw = Draw { what, layer: 1, a: 1, b: 2 };
        let plan = run.check(edits(&run, &[draw])).unwrap();
        edit_and_check(&run, &plan);
    }
    assert_eq!(run.layout.layers()[1].experts, [0, 1, 2].map(ExpertId));
    assert!(run.check(edits(&run, &[Draw { what: 11, layer: 0, a: 0, b: 0 }])).is_err());
}
