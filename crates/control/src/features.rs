//! What a control head sees of a layer.

use moelt_schema::{Features, Saliency};

use crate::{StatsWindow, layer_view::LayerView, moves::Proposer, saliency::Saliencies};

/// The features of a layer; `loss_before` is the mean training loss of an earlier window.
pub(crate) fn features(
    proposer: &Proposer,
    window: &StatsWindow<'_>,
    layer: &LayerView<'_>,
    loss_before: Option<f64>,
) -> Features {
    let n = layer.n() as f64;
    let shares = relative_shares(layer);
    let [most, least] = saliencies(proposer.saliency, layer);
    let ramping_in = layer.layout.experts.iter().filter(|expert| layer.is_ramping_in(**expert)).count();
    Features::clamped([
        layer.routing_entropy(),
        layer.load_entropy(),
        squash(quantile(&shares, 1.0)),
        squash(quantile(&shares, 0.75)),
        squash(quantile(&shares, 0.5)),
        squash(quantile(&shares, 0.25)),
        squash(quantile(&shares, 0.0)),
        layer.dead() as f64 / n,
        ramping_in as f64 / n,
        squash(most),
        squash(least),
        least / most,
        n.ln() / (proposer.limits.max as f64).ln(),
        window.step as f64 / window.total_steps as f64,
        squash(window.loss),
        (10.0 * (window.loss - loss_before.unwrap_or(window.loss))).tanh(),
    ])
}

fn squash(value: f64) -> f64 {
    value / (1.0 + value)
}

/// Utilization of each expert as a part of the even share, in rising order.
fn relative_shares(layer: &LayerView<'_>) -> Vec<f64> {
    let mut shares: Vec<f64> = layer.utilization().iter().map(|share| share * layer.n() as f64).collect();
    shares.sort_by(f64::total_cmp);
    shares
}

/// The largest and the smallest saliency.
fn saliencies(saliency: Saliency, layer: &LayerView<'_>) -> [f64; 2] {
    let by_value = Saliencies::new(saliency, layer, &[]).weakest_first();
    let value = |expert: Option<&(_, f64)>| expert.map_or(f64::NAN, |(_, value)| *value);
    [value(by_value.last()), value(by_value.first())]
}

/// A quantile of values in rising order, linear between two of them.
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let place = part * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + place.fract() * (above - below)
}

#[cfg(test)]
mod tests {
    use moelt_schema::{ExpertId, LayerId, LayerKind, LayerSums, Layout, Limits, NewExpertConfig};

    use super::*;

    fn of(tokens: &[f64], loss: f64, before: Option<f64>) -> Features {
        let n = tokens.len();
        let layout = Layout::uniform(1, LayerKind::TopK { k: 1 }, n);
        let routed = tokens.iter().sum();
        let sums = LayerSums {
            tokens: routed,
            tokens_per_expert: tokens.into(),
            entropy: 0.5 * routed * (n as f64).ln(),
            ..LayerSums::zeros(n)
        };
        let ramping_in = [(LayerId(0), ExpertId(0))];
        let window = StatsWindow { step: 25, total_steps: 100, sums: &[sums], loss, ramping_in: &ramping_in };
        let limits = Limits { min: 1, max: 16 };
        let (saliency, new_expert) = (Saliency::Utilization, NewExpertConfig::Fresh {});
        features(
            &Proposer { limits, saliency, new_expert },
            &window,
            &LayerView::all(&window, &layout)[0],
            before,
        )
    }

    #[test]
    fn hand_worked_layer() {
        let features = of(&[0.0, 8.0, 8.0, 0.0], 1.0, Some(1.0));
        // Shares of the even one: 0 0 2 2. Expert 0 is ramping in, so the saliencies are 2 2 0.
        let expected = [
            0.5,
            0.5,
            2.0 / 3.0,
            2.0 / 3.0,
            0.5,
            0.0,
            0.0,
            0.5,
            0.25,
            2.0 / 3.0,
            0.0,
            0.0,
            0.5,
            0.25,
            0.5,
            0.0,
        ];
        for ((value, expected), name) in features.values().iter().zip(expected).zip(Features::NAMES) {
            assert!((f64::from(*value) - expected).abs() < 1e-6, "{name}: {value}, not {expected}");
        }
    }

    #[test]
    fn they_do_not_depend_on_the_number_of_experts() {
        let [small, large] = [[4.0; 2].as_slice(), &[4.0; 8]].map(|tokens| of(tokens, 0.7, None));
        assert_eq!(small.values()[1..8], large.values()[1..8]);
    }

    #[test]
    fn whatever_happens_they_are_numbers() {
        for loss in [f64::NAN, f64::INFINITY, 0.0, 1e300] {
            let values = *of(&[0.0], loss, Some(0.5)).values();
            assert!(values.iter().all(|value| (-1.0..=1.0).contains(value)), "{values:?}");
        }
    }
}
