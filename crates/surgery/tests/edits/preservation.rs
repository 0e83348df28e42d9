//! Which edits leave the function as it is, and how far the others move it. The figures of the guide are
//! printed here: `cargo test --release -p moelt-surgery --test edits preservation -- --nocapture`.

use std::collections::BTreeMap;

use moelt_surgery::schema::{Edit, ExpertInit, LayerKind};

use crate::{
    support::{FULL_SOFTMAX, Run, copy, deviation, grow, merge, prune, reorder, split, upcycle},
    toy::Widths,
};

/// Runs that differ in their initial weights.
const SEEDS: std::ops::Range<u64> = 0..5;

/// Two layers of width 8 with experts of 16 hidden units, after 200 steps.
fn trained(kind: LayerKind, n_experts: usize, seed: u64) -> Run {
    let mut run = Run::with_widths(kind, n_experts, seed, Widths { d_model: 8, d_ff: 16 });
    run.train(200);
    run
}

/// A trained run of four experts for every kind of routing.
fn kinds(seed: u64) -> [(&'static str, Run); 3] {
    let kinds = [("top-1", LayerKind::TopK { k: 1 }), ("top-2", LayerKind::TopK { k: 2 })];
    let [one, two] = kinds.map(|(name, kind)| (name, trained(kind, 4, seed)));
    [one, two, ("full", trained(FULL_SOFTMAX, 4, seed))]
}

/// How far edits of both layers move the output.
fn moved(run: &Run, edits: Vec<Edit>) -> f64 {
    deviation(&run.logits(), &run.edited(edits).logits())
}

fn grown(run: &Run, init: &ExpertInit) -> f64 {
    moved(run, vec![grow(0, 4, init.clone()), grow(1, 5, init.clone())])
}

fn upcycled(run: &Run, top_k: usize, reinit: f64) -> f64 {
    moved(run, vec![upcycle(0, &[0, 1, 2, 3], top_k, reinit), upcycle(1, &[0, 4, 5, 6], top_k, reinit)])
}

/// Deviations by what was done, over all seeds.
#[derive(Default)]
struct Deviations(BTreeMap<String, Vec<f64>>);

impl Deviations {
    fn add(&mut self, what: &str, routing: &str, deviation: f64) {
        self.0.entry(format!("{what}, {routing}")).or_default().push(deviation);
    }

    /// Prints smallest and largest, and asserts that both are within bounds.
    fn assert_within(self, bounds: std::ops::RangeInclusive<f64>) {
        for (what, deviations) in self.0 {
            let (min, max) =
                (deviations.iter().copied().reduce(f64::min), deviations.iter().copied().reduce(f64::max));
            let (min, max) = (min.unwrap(), max.unwrap());
            println!("{what}: {min:.1e} to {max:.1e}");
            assert!(bounds.contains(&min) && bounds.contains(&max), "{what}: {deviations:?}");
        }
    }
}

#[test]
fn what_leaves_the_function_as_it_is() {
    let mut deviations = Deviations::default();
    for seed in SEEDS {
        for (routing, mut run) in kinds(seed) {
            let edits = vec![reorder(0, &[3, 1, 0, 2]), reorder(1, &[1, 2, 3, 0])];
            deviations.add("reorder", routing, moved(&run, edits));
            let mut fresh = run.edited(vec![grow(0, 4, ExpertInit::Fresh), grow(1, 5, ExpertInit::Fresh)]);
            (0..2).for_each(|layer| fresh.set_bias(layer, 4, -30.0));
            deviations.add("fresh, offset -30", routing, deviation(&run.logits(), &fresh.logits()));
            if routing == "full" {
                deviations.add("split", routing, grown(&run, &split(2)));
            }
            (0..2).for_each(|layer| run.set_bias(layer, 1, -30.0));
            deviations.add("prune, offset -30", routing, moved(&run, vec![prune(0, 1), prune(1, 1)]));
        }
        deviations.add("upcycle, reinit 0", "top-2", upcycled(&trained(LayerKind::Dense, 1, seed), 2, 0.0));
    }
    deviations.assert_within(0.0..=1e-5);
}

/// Nothing is promised here, but that something happens.
#[test]
fn what_moves_the_function() {
    let mut deviations = Deviations::default();
    for seed in SEEDS {
        for (routing, run) in kinds(seed) {
            deviations.add("fresh", routing, grown(&run, &ExpertInit::Fresh));
            deviations.add("copy, noise 0.01", routing, grown(&run, &copy(2, 0.01)));
            if routing != "full" {
                deviations.add("split", routing, grown(&run, &split(2)));
            }
            let merges = vec![merge(0, 3, 1, 0.5), merge(1, 0, 2, 0.5)];
            deviations.add("merge, share 0.5", routing, moved(&run, merges));
            deviations.add("prune", routing, moved(&run, vec![prune(0, 3), prune(1, 0)]));
        }
        let dense = trained(LayerKind::Dense, 1, seed);
        deviations.add("upcycle, reinit 0", "top-1", upcycled(&dense, 1, 0.0));
        deviations.add("upcycle, reinit 0.5", "top-2", upcycled(&dense, 2, 0.5));
    }
    deviations.assert_within(1e-3..=f64::MAX);
}
