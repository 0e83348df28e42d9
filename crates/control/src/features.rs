//! What a control head sees of a layer.

use moelt_schema::{ControlConfig, Evidence};

use crate::{StatsWindow, edits::note, layer_view::LayerView, moves::ranking, saliency::Saliencies};

/// Statistics of one layer over a window, each brought to `0..=1` (the slope to `−1..=1`) by a fixed formula
/// that does not depend on the number of experts. What is no number is 0.
///
/// Shares of experts enter as a part of the even share `1/n`, squashed by `x / (1 + x)`: an idle expert gives
/// 0, one with the even share ½, and one that carries everything tends to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Features([f32; Features::N]);

impl Features {
    /// How many there are.
    pub const N: usize = 16;

    /// Place of routing entropy / ln n: a single expert counts as 1.
    pub const ROUTING_ENTROPY: usize = 0;

    /// Place of load entropy / ln n: a single expert counts as 1.
    pub const LOAD_ENTROPY: usize = 1;

    /// Their names in the evidence, in order:
    ///
    /// - `routing_entropy`, `load_entropy`: as a part of `ln n`.
    /// - `utilization_max`, `_upper`, `_median`, `_lower`, `_min`: maximum, quartiles (between experts linear)
    ///   and minimum of the experts' utilization.
    /// - `dead`: part of the experts that are dead.
    /// - `opening`: part of the experts that are still being let in.
    /// - `saliency_max`, `saliency_min`: of `control.saliency`, REAP in place of the loss.
    /// - `saliency_ratio`: minimum / maximum.
    /// - `experts`: `ln n / ln max_experts`.
    /// - `progress`: part of the run that is done.
    /// - `loss`: mean training loss of the window, nats, squashed.
    /// - `slope`: `tanh(10 (loss − loss of the window before))`: a tenth of a nat a window is steep.
    pub const NAMES: [&str; Self::N] = [
        "routing_entropy",
        "load_entropy",
        "utilization_max",
        "utilization_upper",
        "utilization_median",
        "utilization_lower",
        "utilization_min",
        "dead",
        "opening",
        "saliency_max",
        "saliency_min",
        "saliency_ratio",
        "experts",
        "progress",
        "loss",
        "slope",
    ];

    /// All of them, in the order of [`Self::NAMES`].
    pub fn values(&self) -> &[f32; Self::N] {
        &self.0
    }

    /// Features that were stored; none unless they are [`Self::N`].
    pub fn from_values(values: &[f32]) -> Option<Self> {
        Some(Self(values.try_into().ok()?))
    }

    /// Those of a layer; `loss_before` is the mean training loss of an earlier window.
    pub(crate) fn of(
        config: &ControlConfig,
        window: &StatsWindow<'_>,
        layer: &LayerView<'_>,
        loss_before: Option<f64>,
    ) -> Self {
        let n = layer.n() as f64;
        let shares = relative_shares(layer);
        let [most, least] = saliencies(config, layer);
        let opening = layer.layout.experts.iter().filter(|expert| layer.is_opening(**expert)).count();
        let values = [
            layer.routing_entropy(),
            layer.load_entropy(),
            squash(quantile(&shares, 1.0)),
            squash(quantile(&shares, 0.75)),
            squash(quantile(&shares, 0.5)),
            squash(quantile(&shares, 0.25)),
            squash(quantile(&shares, 0.0)),
            layer.dead() as f64 / n,
            opening as f64 / n,
            squash(most),
            squash(least),
            least / most,
            n.ln() / (config.max_experts as f64).ln(),
            window.step as f64 / window.total_steps as f64,
            squash(window.loss),
            (10.0 * (window.loss - loss_before.unwrap_or(window.loss))).tanh(),
        ];
        Self(values.map(|value| if value.is_finite() { value.clamp(-1.0, 1.0) as f32 } else { 0.0 }))
    }

    /// All of them, as evidence.
    pub(crate) fn note(&self, layer: &LayerView<'_>, evidence: &mut Evidence) {
        for (name, value) in Self::NAMES.iter().zip(self.0) {
            note(evidence, layer.name(format_args!("feature.{name}")), f64::from(value));
        }
    }
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
fn saliencies(config: &ControlConfig, layer: &LayerView<'_>) -> [f64; 2] {
    let by_value = Saliencies::new(ranking(config.saliency), layer, &[]).weakest_first();
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
    use moelt_schema::{ExpertId, LayerId, LayerKind, LayerSums, Layout};

    use super::*;

    fn features(tokens: &[f64], loss: f64, before: Option<f64>) -> Features {
        let n = tokens.len();
        let layout = Layout::uniform(1, LayerKind::Moe { top_k: 1 }, n);
        let rows = tokens.iter().sum();
        let sums = LayerSums {
            rows,
            tokens: tokens.into(),
            entropy: 0.5 * rows * (n as f64).ln(),
            ..LayerSums::zeros(n)
        };
        let opening = [(LayerId(0), ExpertId(0))];
        let window = StatsWindow { step: 25, total_steps: 100, sums: &[sums], loss, opening: &opening };
        Features::of(&ControlConfig::default(), &window, &LayerView::all(&window, &layout)[0], before)
    }

    #[test]
    fn hand_worked_layer() {
        let features = features(&[0.0, 8.0, 8.0, 0.0], 1.0, Some(1.0));
        // Shares of the even one: 0 0 2 2. Expert 0 is being let in, so the saliencies are 2 2 0.
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
        let [small, large] = [[4.0; 2].as_slice(), &[4.0; 8]].map(|tokens| features(tokens, 0.7, None));
        assert_eq!(small.values()[1..8], large.values()[1..8]);
    }

    #[test]
    fn whatever_happens_they_are_numbers() {
        for loss in [f64::NAN, f64::INFINITY, 0.0, 1e300] {
            let values = *features(&[0.0], loss, Some(0.5)).values();
            assert!(values.iter().all(|value| (-1.0..=1.0).contains(value)), "{values:?}");
        }
    }
}
