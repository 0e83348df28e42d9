//! What the head would do about a move.

use moelt_schema::EffectHeadConfig;

use super::Forecast;

/// What a head would do about one move, were there no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Make it unmeasured.
    Make,
    /// Ask for a measurement.
    Ask,
    /// Keep the experts without asking.
    Keep,
}

impl Intent {
    /// By [`EffectHeadConfig::act_above`] and [`EffectHeadConfig::ask_above`]. A move that has no forecast is asked about.
    pub fn of(forecast: Option<&Forecast>, config: &EffectHeadConfig) -> Self {
        match forecast {
            None => Self::Ask,
            Some(forecast) if forecast.chance() > config.act_above => Self::Make,
            Some(forecast) if forecast.improvement() > config.ask_above => Self::Ask,
            Some(_) => Self::Keep,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sure_moves_are_made_and_promising_ones_measured() {
        let config = EffectHeadConfig { act_above: 0.5, ask_above: 0.125, ..EffectHeadConfig::default() };
        let of = |gains: &[f64]| Intent::of(Some(&Forecast::new(gains.to_vec())), &config);
        assert_eq!(of(&[0.0625, 0.0625, -1.0]), Intent::Make);
        assert_eq!(of(&[0.5, -1.0]), Intent::Ask, "a chance of exactly 0.5, 0.25 nats");
        assert_eq!(of(&[0.25, -1.0]), Intent::Keep, "an improvement of exactly 0.125 nats");
        assert_eq!(Intent::of(None, &config), Intent::Ask);
    }
}
