//! Which edits leave the function as it is, and how far the others move it. The figures of the guide are
//! printed here: `cargo test --release -p moelt-surgery --test edits preservation -- --nocapture`.

use moelt_surgery::schema::{Edit, ExpertInit, LayerKind};

use crate::{
    support::{FULL_SOFTMAX, Run, copy, deviation, grow, merge, prune, reorder, split, upcycle},
    toy::Widths,
};

/// Two layers of width 8 with experts of 16 hidden units, after 200 steps.
fn trained(kind: LayerKind, n_experts: usize) -> Run {
    let mut run = Run::with_widths(kind, n_experts, 4, Widths { d_model: 8, d_ff: 16 });
    run.train(200);
    run
}

fn moe(top_k: usize) -> Run {
    trained(LayerKind::Moe { top_k }, 4)
}

/// How far an edit of both layers moves the output.
fn moved(run: &Run, edits: Vec<Edit>) -> f64 {
    deviation(&run.logits(), &run.edited(edits).logits())
}

/// The same edit in both layers, of new experts 4 and 5.
fn grown(run: &Run, init: &ExpertInit) -> f64 {
    moved(run, vec![grow(0, 4, init.clone()), grow(1, 5, init.clone())])
}

fn assert_same(what: &str, deviation: f64) {
    println!("{what}: {deviation:.1e}");
    assert!(deviation <= 1e-5, "{what}: {deviation}");
}

#[test]
fn a_split_where_every_expert_is_chosen() {
    assert_same("split, full softmax", grown(&trained(FULL_SOFTMAX, 4), &split(2)));
}

#[test]
fn a_masked_fresh_expert() {
    for (what, kind) in [
        ("top-1", LayerKind::Moe { top_k: 1 }),
        ("top-2", LayerKind::Moe { top_k: 2 }),
        ("full", FULL_SOFTMAX),
    ] {
        let run = trained(kind, 4);
        let mut masked = run.edited(vec![grow(0, 4, ExpertInit::Fresh), grow(1, 5, ExpertInit::Fresh)]);
        masked.set_offset(0, 4, -30.0);
        masked.set_offset(1, 4, -30.0);
        assert_same(&format!("fresh, offset −30, {what}"), deviation(&run.logits(), &masked.logits()));
    }
}

#[test]
fn an_upcycled_layer_with_renormalised_gates() {
    let run = trained(LayerKind::Dense, 1);
    let edits = vec![upcycle(0, &[0, 1, 2, 3], 2, 0.0), upcycle(1, &[0, 4, 5, 6], 2, 0.0)];
    assert_same("upcycle, reinit 0, top-2", moved(&run, edits));
}

#[test]
fn another_order() {
    for (what, run) in [("top-1", moe(1)), ("top-2", moe(2)), ("full", trained(FULL_SOFTMAX, 4))] {
        let edits = vec![reorder(0, &[3, 1, 0, 2]), reorder(1, &[1, 2, 3, 0])];
        assert_same(&format!("reorder, {what}"), moved(&run, edits));
    }
}

#[test]
fn a_masked_expert_pruned() {
    for (what, mut run) in [("top-1", moe(1)), ("top-2", moe(2)), ("full", trained(FULL_SOFTMAX, 4))] {
        run.set_offset(0, 1, -30.0);
        run.set_offset(1, 2, -30.0);
        assert_same(
            &format!("prune of a masked expert, {what}"),
            moved(&run, vec![prune(0, 1), prune(1, 2)]),
        );
    }
}

/// Nothing is promised here, but that something happens.
#[test]
fn what_other_edits_do() {
    let (top_1, top_2, full) = (moe(1), moe(2), trained(FULL_SOFTMAX, 4));
    let dense = trained(LayerKind::Dense, 1);
    let upcycled = |top_k, reinit| {
        moved(
            &dense,
            vec![upcycle(0, &[0, 1, 2, 3], top_k, reinit), upcycle(1, &[0, 4, 5, 6], top_k, reinit)],
        )
    };
    let merged = |run: &Run| moved(run, vec![merge(0, 3, 1, 0.5), merge(1, 0, 2, 0.5)]);
    let pruned = |run: &Run| moved(run, vec![prune(0, 3), prune(1, 0)]);
    for (what, deviation) in [
        ("fresh, unmasked, top-1", grown(&top_1, &ExpertInit::Fresh)),
        ("fresh, unmasked, top-2", grown(&top_2, &ExpertInit::Fresh)),
        ("fresh, unmasked, full", grown(&full, &ExpertInit::Fresh)),
        ("copy, noise 0.01, top-1", grown(&top_1, &copy(2, 0.01))),
        ("copy, noise 0.01, top-2", grown(&top_2, &copy(2, 0.01))),
        ("copy, noise 0.01, full", grown(&full, &copy(2, 0.01))),
        ("split, top-1", grown(&top_1, &split(2))),
        ("split, top-2", grown(&top_2, &split(2))),
        ("merge, share 0.5, top-1", merged(&top_1)),
        ("merge, share 0.5, top-2", merged(&top_2)),
        ("merge, share 0.5, full", merged(&full)),
        ("prune, top-1", pruned(&top_1)),
        ("prune, top-2", pruned(&top_2)),
        ("prune, full", pruned(&full)),
        ("upcycle, reinit 0.5, top-2", upcycled(2, 0.5)),
        ("upcycle, reinit 0, top-1", upcycled(1, 0.0)),
    ] {
        println!("{what}: {deviation:.2}");
        assert!(deviation.is_finite() && deviation > 1e-5, "{what}: {deviation}");
    }
}
