//! Labels without a measurement: chance, and thresholds on entropies.

use moelt_schema::{ControlConfig, Evidence, LayerId, Stream, Streams};
use rand::RngExt;

use crate::{edits::note, layer_view::LayerView};

/// What a layer is said to need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// Its experts stay.
    Keep,
    /// One more expert.
    Grow,
    /// One expert less.
    Prune,
}

impl Label {
    /// Every label, in the order of the classifier's outputs.
    pub const ALL: [Self; 3] = [Self::Keep, Self::Grow, Self::Prune];

    /// As evidence names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Grow => "grow",
            Self::Prune => "prune",
        }
    }

    /// The change of n_experts that it asks for: 0, +1 or −1.
    pub fn number(self) -> f64 {
        match self {
            Self::Keep => 0.0,
            Self::Grow => 1.0,
            Self::Prune => -1.0,
        }
    }

    /// Its place in [`Self::ALL`].
    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

/// A label by chance: 30 % grow, 20 % prune, 50 % keep. It is that of the step and the layer, whoever asks.
pub fn synthetic_label(streams: &Streams, step: u64, layer: LayerId) -> Label {
    match streams.rng(Stream::Labels, step << 16 | u64::from(layer.0)).random::<f64>() {
        chance if chance < 0.3 => Label::Grow,
        chance if chance < 0.5 => Label::Prune,
        _ => Label::Keep,
    }
}

/// Grow when the router is unsure (routing entropy / ln n above `grow_above`); else prune when the load is
/// concentrated (load entropy / ln n below `grow_load_above`) or an expert is dead (below `prune_below` of the
/// even share, and not just being let in); keep between, and when nothing was routed.
pub(crate) fn entropy_label(config: &ControlConfig, layer: &LayerView<'_>) -> Label {
    if layer.sums.rows <= 0.0 {
        return Label::Keep;
    }
    let floor = config.prune_below / layer.n() as f64;
    let mut experts = layer.layout.experts.iter().zip(layer.utilization());
    let has_dead = experts.any(|(expert, share)| *share < floor && !layer.is_opening(*expert));
    if layer.routing_entropy() > config.grow_above {
        Label::Grow
    } else if layer.load_entropy() < config.grow_load_above || has_dead {
        Label::Prune
    } else {
        Label::Keep
    }
}

/// Both labels of a layer, as evidence: −1 prune, 0 keep, +1 grow.
pub(crate) fn note_labels(
    config: &ControlConfig,
    streams: &Streams,
    step: u64,
    layer: &LayerView<'_>,
    evidence: &mut Evidence,
) {
    note(evidence, layer.name("label.entropy"), entropy_label(config, layer).number());
    note(evidence, layer.name("label.synthetic"), synthetic_label(streams, step, layer.id).number());
}

#[cfg(test)]
mod tests {
    use moelt_schema::{ExpertId, LayerKind, LayerSums, Layout};

    use super::*;
    use crate::StatsWindow;

    #[test]
    fn chance_has_the_shares_it_should() {
        let streams = Streams::new(1);
        let labels: Vec<Label> =
            (0..20_000).map(|step| synthetic_label(&streams, step, LayerId(0))).collect();
        let share = |of| labels.iter().filter(|label| **label == of).count() as f64 / 20_000.0;
        for (label, expected) in [(Label::Grow, 0.3), (Label::Prune, 0.2), (Label::Keep, 0.5)] {
            // Four standard deviations.
            assert!((share(label) - expected).abs() < 0.0142, "{label:?}: {}", share(label));
        }
        let other: Vec<Label> = (0..20_000).map(|step| synthetic_label(&streams, step, LayerId(1))).collect();
        assert_ne!(labels, other);
    }

    #[test]
    fn entropies_and_dead_experts_decide() {
        let label = |routing: f64, tokens: &[f64], opening: &[(LayerId, ExpertId)]| {
            let (n, rows) = (tokens.len(), tokens.iter().sum());
            let layout = Layout::uniform(1, LayerKind::Moe { top_k: 1 }, n);
            let entropy = routing * rows * (n as f64).ln();
            let sums = LayerSums { rows, tokens: tokens.into(), entropy, ..LayerSums::zeros(n) };
            let window = StatsWindow { step: 1, total_steps: 2, sums: &[sums], loss: 1.0, opening };
            entropy_label(&ControlConfig::default(), &LayerView::all(&window, &layout)[0])
        };
        assert_eq!(label(0.6, &[4.0, 4.0], &[]), Label::Grow);
        assert_eq!(label(0.4, &[4.0, 4.0], &[]), Label::Keep);
        assert_eq!(label(0.4, &[9.0, 1.0], &[]), Label::Prune);
        let one_idle = [9.0, 9.0, 9.0, 9.0, 9.0, 1.0];
        assert_eq!(label(0.4, &one_idle, &[]), Label::Prune);
        assert_eq!(label(0.4, &one_idle, &[(LayerId(0), ExpertId(5))]), Label::Keep);
        assert_eq!(label(0.6, &[9.0, 1.0], &[]), Label::Grow);
        assert_eq!(label(0.6, &[0.0, 0.0], &[]), Label::Keep);
    }
}
