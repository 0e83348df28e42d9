//! Features and effects without units: what a head may take from one data set to another.

use std::ops::RangeInclusive;

use moelt_schema::{EffectRecord, Features};

/// Training losses, nats, of which an effect can be a part.
const LOSSES: RangeInclusive<f64> = 1e-6..=1e3;

/// A layer at a decision. Of its features two are in nats, and become parts: the loss, of `ln n_classes`, which is
/// that of knowing nothing; its slope, of the loss itself. The others have no unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Relative {
    /// In the order of [`Features::NAMES`].
    pub(super) features: [f32; Features::N],
    /// Mean training loss of the window, nats: the unit of effects.
    pub(super) loss: f64,
}

impl Relative {
    /// Of a layer of a run with so many classes; none where the loss is nothing, or no number.
    pub(super) fn of(features: &Features, n_classes: usize) -> Option<Self> {
        let mut features = *features.values();
        let [squashed, slope] = [Features::LOSS, Features::SLOPE].map(|place| f64::from(features[place]));
        // Back from `loss / (1 + loss)`.
        let loss = Some(squashed / (1.0 - squashed)).filter(|loss| LOSSES.contains(loss))?;
        let part = loss / (n_classes.max(2) as f64).ln();
        features[Features::LOSS] = (part / (1.0 + part)) as f32;
        // From `tanh(10 d)` to `tanh(10 d / loss)`.
        features[Features::SLOPE] = (slope.atanh() / loss).tanh() as f32;
        Some(Self { features, loss })
    }
}

/// The record with features and effect as parts; none where that cannot be said.
pub(super) fn relative(record: &EffectRecord, n_classes: usize) -> Option<EffectRecord> {
    let Relative { features, loss } = Relative::of(&Features::from_values(&record.features)?, n_classes)?;
    Some(EffectRecord {
        features: features.to_vec(),
        loss_increase: record.loss_increase / loss,
        standard_error: record.standard_error / loss,
        ..record.clone()
    })
}

#[cfg(test)]
mod tests {
    use moelt_schema::{LayerId, Move};

    use super::*;

    /// As they are made of a window with this loss and the loss of the window before.
    fn features(loss: f64, before: f64) -> Features {
        let mut values = [0.25; Features::N];
        values[Features::LOSS] = loss / (1.0 + loss);
        values[Features::SLOPE] = (10.0 * (loss - before)).tanh();
        Features::clamped(values)
    }

    #[test]
    fn hand_worked_values() {
        // A loss of ln 4 is all there is with 4 classes and twice that with 2: ½ and ⅔ when squashed.
        let loss = 4f64.ln();
        let of = |n_classes| Relative::of(&features(loss, loss + 0.05), n_classes).unwrap();
        assert!((of(4).features[Features::LOSS] - 0.5).abs() < 1e-6);
        assert!((of(2).features[Features::LOSS] - 2.0 / 3.0).abs() < 1e-6);
        assert!((of(4).loss - loss).abs() < 1e-6);
        let slope = (-0.5 / loss).tanh() as f32;
        assert!((of(4).features[Features::SLOPE] - slope).abs() < 1e-6);
        assert_eq!(of(4).features[..Features::LOSS], [0.25; Features::LOSS]);
        let record = EffectRecord {
            run: 1,
            step: 10,
            layer: LayerId(0),
            candidate: Move::Grow,
            features: features(0.5, 0.5).values().to_vec(),
            steps: 5,
            loss_increase: -0.125,
            standard_error: 0.25,
        };
        let part = relative(&record, 2).unwrap();
        assert!((part.loss_increase + 0.25).abs() < 1e-6 && (part.standard_error - 0.5).abs() < 1e-6);
    }

    /// Twice the loss with the square of the classes is the same run in another currency.
    #[test]
    fn losses_in_another_unit_are_the_same_features() {
        let few = Relative::of(&features(0.4, 0.5), 3).unwrap();
        let many = Relative::of(&features(0.8, 1.0), 9).unwrap();
        for (few, many) in few.features.iter().zip(many.features) {
            assert!((few - many).abs() < 1e-5, "{few} {many}");
        }
        assert!((many.loss / few.loss - 2.0).abs() < 1e-5);
    }

    #[test]
    fn without_a_loss_there_is_no_part_and_a_cliff_is_as_steep_as_it_gets() {
        for loss in [0.0, f64::INFINITY, f64::NAN] {
            assert_eq!(Relative::of(&features(loss, 0.5), 2), None);
        }
        assert_eq!(Relative::of(&features(0.5, 9.0), 2).unwrap().features[Features::SLOPE], -1.0);
    }
}
