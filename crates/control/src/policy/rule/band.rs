//! Confirmation with hysteresis: a signal must persist, and noise around its threshold does not undo it.

/// Where a signal lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Band {
    /// Beyond its threshold.
    Asks,
    /// Fallen back behind it, by no more than the hysteresis.
    Dead,
    /// Further back, or no number.
    Off,
}

impl Band {
    /// Of a value that asks when it is above `threshold`.
    pub(super) fn above(value: f64, threshold: f64, hysteresis: f64) -> Self {
        Self::below(-value, -threshold, hysteresis)
    }

    /// Of a value that asks when it is below `threshold`.
    pub(super) fn below(value: f64, threshold: f64, hysteresis: f64) -> Self {
        if value < threshold {
            Self::Asks
        } else if value <= threshold + hysteresis {
            Self::Dead
        } else {
            Self::Off
        }
    }

    /// Both signals must ask: the one that is further back counts.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Off, _) | (_, Self::Off) => Self::Off,
            (Self::Dead, _) | (_, Self::Dead) => Self::Dead,
            (Self::Asks, Self::Asks) => Self::Asks,
        }
    }

    /// The number of windows in a token that asked, with this one.
    pub(super) fn count(self, before: u64) -> u64 {
        match self {
            Self::Asks => before + 1,
            Self::Dead => before,
            Self::Off => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dead_band_lies_behind_the_threshold() {
        let above = |value| Band::above(value, 0.5, 0.125);
        assert_eq!([0.51, 0.5, 0.375, 0.37].map(above), [Band::Asks, Band::Dead, Band::Dead, Band::Off]);
        let below = |value| Band::below(value, 0.5, 0.125);
        assert_eq!([0.49, 0.5, 0.625, 0.63].map(below), [Band::Asks, Band::Dead, Band::Dead, Band::Off]);
        assert_eq!((above(f64::NAN), below(f64::NAN)), (Band::Off, Band::Off));
    }

    #[test]
    fn windows_count_in_a_row_and_the_dead_band_is_skipped() {
        let bands = [Band::Asks, Band::Dead, Band::Asks, Band::Off, Band::Dead, Band::Asks];
        let mut counter = 0;
        let counts = bands.map(|band| {
            counter = band.count(counter);
            counter
        });
        assert_eq!(counts, [1, 1, 2, 0, 0, 1]);
    }

    #[test]
    fn of_two_signals_the_one_further_back_counts() {
        assert_eq!(Band::Asks.and(Band::Asks), Band::Asks);
        assert_eq!(Band::Asks.and(Band::Dead), Band::Dead);
        assert_eq!(Band::Off.and(Band::Dead), Band::Off);
    }
}
