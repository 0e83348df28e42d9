//! Labels without a measurement: chance, and thresholds on entropies.

use moelt_schema::{EntropyLabels, Label, LayerId, Stream, Streams};
use rand::RngExt;

use crate::layer_view::LayerView;

/// Every label, in the order of the network's outputs.
pub(crate) const LABELS: [Label; 3] = [Label::Keep, Label::Grow, Label::Prune];

/// A label's place in [`LABELS`].
pub(crate) fn index(label: Label) -> usize {
    label as usize
}

/// A label by chance: 30 % grow, 20 % prune, 50 % keep. It is that of the step and the layer, whoever asks.
pub fn random_label(streams: &Streams, step: u64, layer: LayerId) -> Label {
    match streams.rng(Stream::Labels, step << 16 | u64::from(layer.0)).random::<f64>() {
        chance if chance < 0.3 => Label::Grow,
        chance if chance < 0.5 => Label::Prune,
        _ => Label::Keep,
    }
}

/// Grow when the router is unsure (routing entropy / ln n above `grow_above`); else prune when the load is
/// concentrated (load entropy / ln n below `prune_load_below`) or an expert is dead (below `dead_below` of the even
/// share, and not just ramping in); keep between, and when nothing was routed.
pub(crate) fn entropy_label(config: &EntropyLabels, layer: &LayerView<'_>) -> Label {
    if layer.sums.tokens <= 0.0 {
        return Label::Keep;
    }
    let floor = config.dead_below / layer.n() as f64;
    let mut experts = layer.layout.experts.iter().zip(layer.utilization());
    let has_dead = experts.any(|(expert, share)| *share < floor && !layer.is_ramping_in(*expert));
    if layer.routing_entropy() > config.grow_above {
        Label::Grow
    } else if layer.load_entropy() < config.prune_load_below || has_dead {
        Label::Prune
    } else {
        Label::Keep
    }
}

#[cfg(test)]
mod tests {
    use moelt_schema::{ExpertId, LayerKind, LayerSums, Layout};

    use super::*;
    use crate::StatsWindow;

    #[test]
    fn chance_has_the_shares_it_should() {
        let streams = Streams::new(1);
        let labels: Vec<Label> = (0..20_000).map(|step| random_label(&streams, step, LayerId(0))).collect();
        let share = |of| labels.iter().filter(|label| **label == of).count() as f64 / 20_000.0;
        for (label, expected) in [(Label::Grow, 0.3), (Label::Prune, 0.2), (Label::Keep, 0.5)] {
            // Four standard deviations.
            assert!((share(label) - expected).abs() < 0.0142, "{label:?}: {}", share(label));
        }
        let other: Vec<Label> = (0..20_000).map(|step| random_label(&streams, step, LayerId(1))).collect();
        assert_ne!(labels, other);
    }

    #[test]
    fn entropies_and_dead_experts_decide() {
        let label = |routing: f64, tokens: &[f64], ramping_in: &[(LayerId, ExpertId)]| {
            let (n, routed) = (tokens.len(), tokens.iter().sum());
            let layout = Layout::uniform(1, LayerKind::TopK { k: 1 }, n);
            let entropy = routing * routed * (n as f64).ln();
            let sums = LayerSums {
                tokens: routed,
                tokens_per_expert: tokens.into(),
                entropy,
                ..LayerSums::zeros(n)
            };
            let window = StatsWindow { step: 1, total_steps: 2, sums: &[sums], loss: 1.0, ramping_in };
            entropy_label(&EntropyLabels::default(), &LayerView::all(&window, &layout)[0])
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
