//! What hidden units make of their sums, and how gradients go back through them.

use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use moelt_schema::Activation;

use crate::{exp::exp, rows::widest};

/// What the way back through an activation takes.
#[derive(Debug)]
pub(super) enum Slopes {
    /// The units themselves: ReLU passes a gradient on where it has passed a value on.
    Units,
    /// The derivative at each unit's sum.
    Kept(Vec<f32>),
}

/// Puts units in place of their sums.
pub(super) fn activate(activation: Activation, units: &mut [f32]) -> Slopes {
    match activation {
        Activation::Relu => {
            let units = units.iter_mut();
            widest(|| units.for_each(|unit| *unit = if is_passed_on(*unit) { *unit } else { 0.0 }));
            Slopes::Units
        }
        Activation::Gelu => {
            let mut slopes = vec![0.0; units.len()];
            let units = units.iter_mut().zip(&mut slopes);
            widest(|| units.for_each(|(unit, slope)| (*unit, *slope) = gelu(*unit)));
            Slopes::Kept(slopes)
        }
    }
}

impl Slopes {
    /// Puts gradients of the sums in place of those of the units.
    pub(super) fn go_back(&self, units: &[f32], grad: &mut [f32]) {
        match self {
            Self::Units => {
                let units = grad.iter_mut().zip(units);
                widest(|| {
                    units.for_each(|(grad, unit)| *grad = if is_passed_on(*unit) { *grad } else { 0.0 });
                });
            }
            Self::Kept(slopes) => {
                let units = grad.iter_mut().zip(slopes);
                widest(|| units.for_each(|(grad, slope)| *grad *= slope));
            }
        }
    }
}

/// Whether ReLU passes a value on: a NaN too, as Burn's does.
#[inline(always)]
fn is_passed_on(value: f32) -> bool {
    value.is_nan() || value > 0.0
}

/// `x Φ(x)` and its derivative `Φ(x) + x φ(x)`.
///
/// With z = |x| / √2 and t = 1 / (1 + p z), `1 − Φ(|x|) = ½ e^(−z²) (a₁ t + … + a₅ t⁵)` to 7.5 · 10⁻⁸ (Abramowitz & Stegun
/// 1964, 7.1.26, by Hastings). It is the formula whose exponential the derivative needs anyway.
#[inline(always)]
fn gelu(x: f32) -> (f32, f32) {
    const P: f32 = 0.327_591_1;
    const A: [f32; 5] = [0.254_829_6, -0.284_496_74, 1.421_413_7, -1.453_152, 1.061_405_4];
    let bell = exp(-0.5 * x * x);
    let t = 1.0 / (1.0 + P * FRAC_1_SQRT_2 * x.abs());
    let tail = 0.5 * bell * t * (A[0] + t * (A[1] + t * (A[2] + t * (A[3] + t * A[4]))));
    let below = if x < 0.0 { tail } else { 1.0 - tail };
    (x * below, below + x * bell * (0.5 * FRAC_1_SQRT_2 * FRAC_2_SQRT_PI))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// erf's series of positive terms, `2/√π e^(−x²) Σ 2ⁿ x²ⁿ⁺¹ / (1 · 3 ⋯ (2n + 1))`, which loses no digits.
    fn exact(x: f64) -> [f64; 2] {
        let z = x / 2f64.sqrt();
        let (mut term, mut sum) = (z, 0.0);
        for n in 1..400 {
            sum += term;
            term *= 2.0 * z * z / f64::from(2 * n + 1);
        }
        let erf = std::f64::consts::FRAC_2_SQRT_PI * (-z * z).exp() * sum;
        let (below, density) =
            (0.5 * (1.0 + erf), (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt());
        [x * below, below + x * density]
    }

    #[test]
    fn gelu_and_its_slope_are_the_exact_ones() {
        for i in -12_000..=12_000 {
            let x = i as f32 * 1e-3;
            let (value, slope) = gelu(x);
            let [exact_value, exact_slope] = exact(f64::from(x));
            let scale = f64::from(x.abs()).max(1.0);
            assert!(
                (f64::from(value) - exact_value).abs() < 3e-7 * scale,
                "gelu({x}) = {value}, not {exact_value}"
            );
            assert!(
                (f64::from(slope) - exact_slope).abs() < 4e-7,
                "slope at {x}: {slope}, not {exact_slope}"
            );
        }
    }

    #[test]
    fn known_values() {
        let close = |x: f32, known: f32| assert!((gelu(x).0 - known).abs() < 5e-7, "{x}: {}", gelu(x).0);
        close(1.0, 0.841_344_7);
        close(-1.0, -0.158_655_26);
        close(3.0, 2.995_950_2);
        assert_eq!([gelu(0.0).0, gelu(-40.0).0, gelu(40.0).0], [0.0, 0.0, 40.0]);
        assert!(gelu(f32::NAN).0.is_nan() && gelu(f32::NAN).1.is_nan());
    }

    #[test]
    fn relu_passes_on_what_is_positive_and_a_nan() {
        let mut units = [1.5, -2.0, 0.0, f32::NAN];
        let slopes = activate(Activation::Relu, &mut units);
        assert!(units[..3] == [1.5, 0.0, 0.0] && units[3].is_nan());
        let mut grad = [7.0; 4];
        slopes.go_back(&units, &mut grad);
        assert_eq!(grad, [7.0, 0.0, 0.0, 7.0]);
    }
}
