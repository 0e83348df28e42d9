//! Prefixes of the experts are drawn step by step, and the smallest that does is kept.
//!
//! The first experts are in every prefix and learn to serve alone; those behind them learn what is left to do. So the loss of every
//! prefix can be had from one run, and one decision picks the size.

use moelt_schema::{
    Edit, EditsConfig, Evidence, LayerId, LayerLayout, Layout, NestedConfig, PolicyState, Stream, Streams,
};
use rand::RngExt;

use crate::{
    CLOSED, Decision, Findings, Look, Policy, StatsWindow, StepBiases,
    edits::describe_all,
    layer_view::{LayerView, routed},
};

/// Decides once. Until then it remembers nothing: what is drawn at a step depends on seed and step.
pub(super) struct Nested {
    config: NestedConfig,
    edits: EditsConfig,
    total_steps: u64,
    streams: Streams,
    state: PolicyState,
}

impl Nested {
    pub(super) fn new(
        config: NestedConfig,
        edits: EditsConfig,
        seed: u64,
        total_steps: u64,
        state: PolicyState,
    ) -> Self {
        Self { config, edits, total_steps, streams: Streams::new(seed), state }
    }

    /// The steps in which prefixes are drawn.
    fn end(&self) -> u64 {
        ((self.config.until * self.total_steps as f64) as u64).max(1)
    }

    /// Sizes of prefixes, ascending; the last is that of all experts.
    fn sizes(&self, layout: &Layout) -> Vec<usize> {
        let all = routed(layout).map(|(_, layer)| layer.n_experts()).max().unwrap_or(1);
        let least = self.edits.limits().min.max(1);
        let smaller = self.config.sizes.iter().copied().filter(|size| (least..all).contains(size));
        smaller.chain([all]).collect()
    }
}

impl Policy for Nested {
    fn decide(&mut self, window: &StatsWindow<'_>, layout: &Layout) -> Decision {
        self.state.decisions += 1;
        let evidence = LayerView::evidence_of(&LayerView::all(window, layout));
        let sizes = self.sizes(layout);
        if sizes.len() == 1 {
            return Decision::keep("no prefix is smaller than all experts", evidence);
        }
        let biases = sizes.iter().map(|size| prefix(layout, *size)).collect();
        let look = Look::Losses { biases, texts: self.config.texts };
        Decision::look(look, "looks for the smallest prefix that does", evidence)
    }

    fn see(&mut self, window: &StatsWindow<'_>, layout: &Layout, findings: &Findings) -> Decision {
        let mut evidence = LayerView::evidence_of(&LayerView::all(window, layout));
        let Findings::Losses(losses) = findings else {
            return Decision::keep("did not ask for this", evidence);
        };
        let prefixes: Vec<(usize, f64)> =
            self.sizes(layout).into_iter().zip(losses.iter().copied()).collect();
        for (size, loss) in &prefixes {
            evidence = evidence.with(format!("loss of {size}"), *loss);
        }
        let best = prefixes.iter().map(|(_, loss)| *loss).filter(|loss| loss.is_finite());
        let bound = best.fold(f64::INFINITY, f64::min) + self.config.loss;
        match prefixes.iter().find(|(_, loss)| *loss <= bound) {
            Some((size, _)) => keep_prefix(layout, *size, self.config.loss, evidence),
            None => Decision::keep("no prefix has a loss that is a number", evidence),
        }
    }

    fn step_biases(&self, step: u64, layout: &Layout) -> StepBiases {
        if step >= self.end() {
            return StepBiases::new();
        }
        let sizes = self.sizes(layout);
        let drawn = self.streams.rng(Stream::StepBiases, step).random_range(..sizes.len());
        // All experts: nothing is closed.
        if drawn + 1 == sizes.len() { StepBiases::new() } else { prefix(layout, sizes[drawn]) }
    }

    fn is_due(&self, step: u64) -> Option<bool> {
        Some(step == self.end())
    }

    fn is_settled(&self) -> bool {
        self.state.decisions > 0
    }

    fn state(&self) -> PolicyState {
        self.state.clone()
    }
}

/// Closes all experts but the first `size` of each layer.
fn prefix(layout: &Layout, size: usize) -> StepBiases {
    let of_layer = |(id, layer): (LayerId, &LayerLayout)| {
        (id, (0..layer.n_experts()).map(|at| if at < size { 0.0 } else { CLOSED }).collect())
    };
    routed(layout).map(of_layer).collect()
}

/// The experts behind the first `size` of each layer go.
fn keep_prefix(layout: &Layout, size: usize, bound: f64, evidence: Evidence) -> Decision {
    let behind = |(layer, layout): (LayerId, &LayerLayout)| {
        let gone: Vec<_> = layout.experts.iter().skip(size).copied().collect();
        gone.into_iter().map(move |expert| Edit::Prune { layer, expert })
    };
    let edits: Vec<Edit> = routed(layout).flat_map(behind).collect();
    if edits.is_empty() {
        return Decision::keep(format!("no smaller prefix is within {bound} nats of the best"), evidence);
    }
    let many = if size == 1 { "expert is" } else { "experts are" };
    let reason =
        format!("the first {size} {many} within {bound} nats of the best prefix: {}", describe_all(&edits));
    Decision::apply(edits, reason, evidence)
}

#[cfg(test)]
mod tests {
    use moelt_schema::{ExpertId, LayerKind, LayerSums};

    use super::*;
    use crate::Action;

    const LAYER: LayerId = LayerId(0);

    fn nested(sizes: &[usize], seed: u64) -> Nested {
        let config = NestedConfig { sizes: sizes.to_vec(), ..NestedConfig::default() };
        Nested::new(config, EditsConfig::default(), seed, 100, PolicyState::default())
    }

    fn layout() -> Layout {
        Layout::uniform(1, LayerKind::TopK { k: 1 }, 4)
    }

    fn at<T>(
        policy: &mut Nested,
        layout: &Layout,
        call: impl FnOnce(&mut Nested, &StatsWindow<'_>, &Layout) -> T,
    ) -> T {
        let n = layout.n_experts();
        let sums = [LayerSums { tokens: 1.0, tokens_per_expert: vec![1.0; n], ..LayerSums::zeros(n) }];
        let window = StatsWindow { step: 70, total_steps: 100, sums: &sums, loss: 1.0, ramping_in: &[] };
        call(policy, &window, layout)
    }

    fn seen(losses: &[f64]) -> Decision {
        at(&mut nested(&[1, 2], 1), &layout(), |policy, window, layout| {
            policy.see(window, layout, &Findings::Losses(losses.to_vec()))
        })
    }

    #[test]
    fn each_size_is_drawn_at_a_third_of_the_steps_and_depends_on_seed_and_step_alone() {
        let policy = nested(&[1, 2, 8], 1);
        let open = |policy: &Nested, step| {
            let biases = policy.step_biases(step, &layout());
            biases.get(&LAYER).map_or(4, |biases| biases.iter().filter(|bias| **bias == 0.0).count())
        };
        let drawn: Vec<usize> = (0..70).map(|step| open(&policy, step)).collect();
        for size in [1, 2, 4] {
            let times = drawn.iter().filter(|open| **open == size).count();
            assert!((14..=33).contains(&times), "{size}: {times} of 70");
        }
        assert_eq!(drawn, (0..70).map(|step| open(&nested(&[1, 2], 1), step)).collect::<Vec<_>>());
        assert_ne!(drawn, (0..70).map(|step| open(&nested(&[1, 2], 2), step)).collect::<Vec<_>>());
        assert_eq!(prefix(&layout(), 1)[&LAYER], [0.0, CLOSED, CLOSED, CLOSED]);
        assert!((70..100).all(|step| policy.step_biases(step, &layout()).is_empty()));
    }

    #[test]
    fn the_smallest_prefix_within_the_bound_is_kept() {
        let mut policy = nested(&[1, 2, 8], 1);
        assert_eq!((policy.is_due(69), policy.is_due(70)), (Some(false), Some(true)));
        assert!(!policy.is_settled());
        let decision = at(&mut policy, &layout(), |policy, window, layout| policy.decide(window, layout));
        let biases = vec![prefix(&layout(), 1), prefix(&layout(), 2), prefix(&layout(), 4)];
        assert_eq!(decision.action, Action::Look(Look::Losses { biases, texts: 1000 }));
        assert!(policy.is_settled());
        // 0.01 nats above 0.5: two experts are enough, one is not.
        let decision = seen(&[0.52, 0.509, 0.5]);
        let prune = |id| Edit::Prune { layer: LAYER, expert: ExpertId(id) };
        assert_eq!(decision.action, Action::Apply(vec![prune(2), prune(3)]));
        assert_eq!(decision.evidence.numbers["loss of 2"], 0.509);
        assert!(decision.reason.starts_with("the first 2 experts are within 0.01 nats of the best prefix: "));
        // All are needed; and losses that are no numbers.
        assert_eq!(seen(&[0.6, 0.52, 0.5]).action, Action::Keep);
        assert_eq!(seen(&[f64::NAN, 0.5, f64::NAN]).action, Action::Apply(vec![prune(2), prune(3)]));
        assert_eq!(seen(&[f64::NAN; 3]).action, Action::Keep);
    }

    #[test]
    fn prefixes_are_as_small_as_a_layer_may_be() {
        let edits = EditsConfig { min_experts: 2, ..EditsConfig::default() };
        let policy = Nested { edits, ..nested(&[1, 2], 1) };
        assert_eq!(policy.sizes(&layout()), [2, 4]);
        let mut alone = nested(&[1, 2], 1);
        let one = Layout::uniform(1, LayerKind::TopK { k: 1 }, 1);
        let decision = at(&mut alone, &one, |policy, window, layout| policy.decide(window, layout));
        assert_eq!(decision.action, Action::Keep);
    }
}
