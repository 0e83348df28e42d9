//! Each expert has a gate that learns whether it is worth its price.
//!
//! The logarithm of an expert's gate is added to its router bias for one step, so that the gradient by it is that of the bias, which the
//! trainer hands over after the step. The gates are plain numbers of the policy's own, with an optimizer of their own; the model knows
//! nothing of them, and what is evaluated and saved has no gates.

mod gate;
#[cfg(test)]
mod tests;

use moelt_schema::{
    Edit, EditsConfig, Evidence, ExpertId, GateState, GatesState, L0GatesConfig, LayerId, LayerLayout,
    Layout, PolicyState, Stream, Streams,
};
use rand::RngExt;

use self::gate::{Drawn, HardConcrete};
use crate::{
    CLOSED, Decision, Policy, StatsWindow, StepBiases,
    edits::describe_all,
    layer_view::{LayerView, routed},
};

/// Adam's decays, and what keeps its step finite.
const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPS: f64 = 1e-8;

/// The derivative of ln z counts a gate as this open at least: it has no bound.
const LEAST: f64 = 1e-3;

/// Remembers in [`GatesState`] where the gates stand.
pub(super) struct L0Gates {
    config: L0GatesConfig,
    edits: EditsConfig,
    total_steps: u64,
    streams: Streams,
    state: PolicyState,
}

/// The gates of a layer as they were drawn for a step.
struct OfLayer {
    layer: LayerId,
    experts: Vec<ExpertId>,
    drawn: Vec<Drawn>,
    /// Where all are closed: the position of the one that is open all the same.
    stands_in: Option<usize>,
}

impl L0Gates {
    pub(super) fn new(
        config: L0GatesConfig,
        edits: EditsConfig,
        seed: u64,
        total_steps: u64,
        mut state: PolicyState,
    ) -> Self {
        state.gates.get_or_insert_default();
        Self { config, edits, total_steps, streams: Streams::new(seed), state }
    }

    fn memory(&self) -> &GatesState {
        self.state.gates.as_ref().expect("made with the policy")
    }

    fn memory_mut(&mut self) -> &mut GatesState {
        self.state.gates.get_or_insert_default()
    }

    /// The steps with gates: from the first to before the second.
    fn period(&self) -> (u64, u64) {
        let steps = |fraction: f64| (fraction * self.total_steps as f64) as u64;
        let from = steps(self.config.from);
        (from, steps(self.config.until).max(from + 1))
    }

    fn gate(&self, layer: LayerId, expert: ExpertId) -> GateState {
        let of_expert = |gate: &&GateState| (gate.layer, gate.expert) == (layer, expert);
        let fresh = GateState { layer, expert, log_alpha: self.config.init, first: 0.0, second: 0.0 };
        self.memory().gates.iter().find(of_expert).copied().unwrap_or(fresh)
    }

    /// The gates of a step, which depend on seed, step and what is remembered.
    fn drawn(&self, step: u64, layout: &Layout) -> Vec<OfLayer> {
        let (gate, mut rng) = (HardConcrete::of(&self.config), self.streams.rng(Stream::StepBiases, step));
        let of_layer = |(layer, layout): (LayerId, &LayerLayout)| {
            let log_alphas: Vec<f64> =
                layout.experts.iter().map(|expert| self.gate(layer, *expert).log_alpha).collect();
            let drawn: Vec<Drawn> =
                log_alphas.iter().map(|log_alpha| gate.drawn(*log_alpha, rng.random())).collect();
            let all_closed = drawn.iter().all(|drawn| drawn.z == 0.0);
            let widest = (0..drawn.len()).max_by(|a, b| log_alphas[*a].total_cmp(&log_alphas[*b]));
            OfLayer {
                layer,
                experts: layout.experts.clone(),
                drawn,
                stands_in: widest.filter(|_| all_closed),
            }
        };
        routed(layout).map(of_layer).collect()
    }

    /// Adam's step of one gate, the `updates`-th.
    fn updated(&self, gate: GateState, gradient: f64, updates: u64) -> GateState {
        let first = BETA1 * gate.first + (1.0 - BETA1) * gradient;
        let second = BETA2 * gate.second + (1.0 - BETA2) * gradient * gradient;
        let corrected = |moment: f64, beta: f64| moment / (1.0 - beta.powf(updates as f64));
        let step = corrected(first, BETA1) / (corrected(second, BETA2).sqrt() + EPS);
        GateState { log_alpha: gate.log_alpha - self.config.lr * step, first, second, ..gate }
    }

    /// Those of a layer that go, the least open first, as long as enough are left.
    fn goes(&self, layer: LayerId, layout: &LayerLayout, is_over: bool) -> Vec<ExpertId> {
        let hard = HardConcrete::of(&self.config);
        let is_closed = |gate: &&GateState| {
            let hardly_open = hard.chance_open(gate.log_alpha) < self.config.prune_below;
            hardly_open || (is_over && hard.mean(gate.log_alpha) == 0.0)
        };
        let mut gates: Vec<GateState> =
            layout.experts.iter().map(|expert| self.gate(layer, *expert)).collect();
        gates.sort_by(|one, other| one.log_alpha.total_cmp(&other.log_alpha));
        let most = layout.n_experts().saturating_sub(self.edits.limits().min.max(1));
        gates.iter().filter(is_closed).take(most).map(|gate| gate.expert).collect()
    }

    /// What the gates say of each expert.
    fn evidence(&self, window: &StatsWindow<'_>, layout: &Layout) -> Evidence {
        let hard = HardConcrete::of(&self.config);
        let mut evidence = LayerView::evidence_of(&LayerView::all(window, layout));
        for layer in &mut evidence.layers {
            let experts = layout.layer(layer.layer).map_or(&[][..], |layer| &layer.experts);
            for expert in experts {
                let GateState { log_alpha, .. } = self.gate(layer.layer, *expert);
                layer.note(format!("expert {}: chance to be open", expert.0), hard.chance_open(log_alpha));
                layer.note(format!("expert {}: mean gate", expert.0), hard.mean(log_alpha));
            }
        }
        evidence
    }
}

impl Policy for L0Gates {
    fn decide(&mut self, window: &StatsWindow<'_>, layout: &Layout) -> Decision {
        self.state.decisions += 1;
        let evidence = self.evidence(window, layout);
        let is_over = window.step >= self.period().1;
        let edits: Vec<Edit> = routed(layout)
            .flat_map(|(layer, layout)| {
                let goes = self.goes(layer, layout, is_over);
                goes.into_iter().map(move |expert| Edit::Prune { layer, expert })
            })
            .collect();
        let gone = |gate: &GateState| edits.contains(&Edit::Prune { layer: gate.layer, expert: gate.expert });
        self.memory_mut().gates.retain(|gate| !gone(gate));
        self.memory_mut().done = is_over;
        let below = self.config.prune_below;
        match (edits.is_empty(), is_over) {
            (true, false) => Decision::keep(format!("no gate is open with a chance below {below}"), evidence),
            (true, true) => Decision::keep("the gates are over, and none is closed", evidence),
            (false, false) => {
                let reason = format!("gates open with a chance below {below}: {}", describe_all(&edits));
                Decision::apply(edits, reason, evidence)
            }
            (false, true) => {
                let reason = format!("the gates are over, and some are closed: {}", describe_all(&edits));
                Decision::apply(edits, reason, evidence)
            }
        }
    }

    fn step_biases(&self, step: u64, layout: &Layout) -> StepBiases {
        let (from, until) = self.period();
        if !(from..until).contains(&step) {
            return StepBiases::new();
        }
        self.drawn(step, layout).into_iter().map(|drawn| (drawn.layer, drawn.biases())).collect()
    }

    fn learn_biases(&mut self, step: u64, layout: &Layout, gradients: &StepBiases) {
        let (hard, updates) = (HardConcrete::of(&self.config), self.memory().updates + 1);
        let mut gates = Vec::new();
        for OfLayer { layer, experts, drawn, .. } in self.drawn(step, layout) {
            let Some(gradients) = gradients.get(&layer) else { continue };
            for ((expert, drawn), by_bias) in experts.iter().zip(&drawn).zip(gradients) {
                let gate = self.gate(layer, *expert);
                let open = hard.chance_open(gate.log_alpha);
                let of_price = self.config.price * open * (1.0 - open);
                let gradient = f64::from(*by_bias) / drawn.z.max(LEAST) * drawn.slope + of_price;
                let is_number = gradient.is_finite();
                gates.push(if is_number { self.updated(gate, gradient, updates) } else { gate });
            }
        }
        *self.memory_mut() = GatesState { gates, updates, done: self.memory().done };
    }

    fn is_due(&self, step: u64) -> Option<bool> {
        let (from, until) = self.period();
        let is_within = step > from && step < until && step.is_multiple_of(self.edits.every);
        Some(!self.memory().done && (is_within || step == until))
    }

    fn is_settled(&self) -> bool {
        self.memory().done
    }

    fn state(&self) -> PolicyState {
        self.state.clone()
    }
}

impl OfLayer {
    /// The logarithm of each gate.
    fn biases(&self) -> Vec<f32> {
        let bias = |(at, drawn): (usize, &Drawn)| match drawn.z {
            _ if self.stands_in == Some(at) => 0.0,
            0.0 => CLOSED,
            z => z.ln() as f32,
        };
        self.drawn.iter().enumerate().map(bias).collect()
    }
}
