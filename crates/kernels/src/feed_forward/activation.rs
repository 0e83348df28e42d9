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
    /// The derivatives at each unit's sum and at that of its gate.
    Gated { sums: Vec<f32>, gates: Vec<f32> },
}

/// Puts units in place of their sums; `gates` are the sums of their gates, where the activation has them.
pub(super) fn activate(activation: Activation, units: &mut [f32], gates: Option<Vec<f32>>) -> Slopes {
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
        Activation::Swiglu => {
            let mut gates = gates.expect("experts were checked to have gates");
            let mut sums = vec![0.0; units.len()];
            let units = units.iter_mut().zip(&mut gates).zip(&mut sums);
            widest(|| {
                units.for_each(|((unit, gate), slope)| {
                    let (open, slope_of_open) = silu(*gate);
                    (*unit, *gate, *slope) = (*unit * open, *unit * slope_of_open, open);
                });
            });
            Slopes::Gated { sums, gates }
        }
    }
}

impl Slopes {
    /// Puts gradients of the sums in place of those of the units. What comes back are those of the sums of gates.
    pub(super) fn go_back(&self, units: &[f32], grad: &mut [f32]) -> Option<Vec<f32>> {
        match self {
            Self::Units => {
                let units = grad.iter_mut().zip(units);
                widest(|| {
                    units.for_each(|(grad, unit)| *grad = if is_passed_on(*unit) { *grad } else { 0.0 });
                });
                None
            }
            Self::Kept(slopes) => {
                multiply(grad, slopes);
                None
            }
            Self::Gated { sums, gates } => {
                let mut of_gates = grad.to_vec();
                multiply(&mut of_gates, gates);
                multiply(grad, sums);
                Some(of_gates)
            }
        }
    }
}

fn multiply(values: &mut [f32], by: &[f32]) {
    let values = values.iter_mut().zip(by);
    widest(|| values.for_each(|(value, by)| *value *= by));
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

/// `x σ(x)` and its derivative `σ(x) (1 + x σ(−x))`. With e⁻|ˣ|, which is never too large, σ(|x|) = 1 / (1 + e⁻|ˣ|).
#[inline(always)]
fn silu(x: f32) -> (f32, f32) {
    let small = exp(-x.abs());
    let larger = 1.0 / (1.0 + small);
    let smaller = small * larger;
    let (of_x, of_minus_x) = if x < 0.0 { (smaller, larger) } else { (larger, smaller) };
    (x * of_x, of_x * (1.0 + x * of_minus_x))
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
    fn silu_and_its_slope_are_the_exact_ones() {
        for i in -100_000..=100_000 {
            let x = i as f32 * 1e-3;
            let sigmoid = 1.0 / (1.0 + (-f64::from(x)).exp());
            let exact = [f64::from(x) * sigmoid, sigmoid * (1.0 + f64::from(x) * (1.0 - sigmoid))];
            let (value, slope) = silu(x);
            let scale = f64::from(x.abs()).max(1.0);
            assert!(
                (f64::from(value) - exact[0]).abs() < 3e-7 * scale,
                "silu({x}) = {value}, not {}",
                exact[0]
            );
            assert!((f64::from(slope) - exact[1]).abs() < 4e-7, "slope at {x}: {slope}, not {}", exact[1]);
        }
        assert_eq!([silu(0.0), silu(200.0)], [(0.0, 0.5), (200.0, 1.0)]);
        assert!(silu(f32::NAN).0.is_nan() && silu(f32::NAN).1.is_nan());
    }

    /// Gates of 0 are half open, so that units of 3 and −2 are passed on as 0, and have slopes of 0 at their sums and of half of
    /// themselves at those of their gates; a gate of 200 is open, and one of −200 closed.
    #[test]
    fn a_gate_multiplies_its_unit() {
        let mut units = [3.0, -2.0, 5.0, 5.0];
        let slopes = activate(Activation::Swiglu, &mut units, Some(vec![0.0, 0.0, 200.0, -200.0]));
        assert_eq!(units, [0.0, 0.0, 1000.0, 0.0]);
        let mut grad = [2.0; 4];
        let of_gates = slopes.go_back(&units, &mut grad).unwrap();
        assert_eq!((grad, &of_gates[..]), ([0.0, 0.0, 400.0, 0.0], &[3.0, -2.0, 10.0, 0.0][..]));
    }

    #[test]
    fn relu_passes_on_what_is_positive_and_a_nan() {
        let mut units = [1.5, -2.0, 0.0, f32::NAN];
        let slopes = activate(Activation::Relu, &mut units, None);
        assert!(units[..3] == [1.5, 0.0, 0.0] && units[3].is_nan());
        let mut grad = [7.0; 4];
        assert_eq!(slopes.go_back(&units, &mut grad), None);
        assert_eq!(grad, [7.0, 0.0, 0.0, 7.0]);
    }
}
