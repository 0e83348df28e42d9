//! The exponential function, for loops over rows: the standard library's is a call that no loop is vectorised around.

use std::f32::consts::LOG2_E;

/// Added to a number and taken away again, it leaves the nearest integer; in between, the last bits of the sum are that
/// integer. Halfway between 2²³ and 2²⁴, where neighbouring numbers are 1 apart.
const ROUNDER: f32 = 12_582_912.0;

/// ln 2 in two parts, of which multiples of the first one are exact (Cody & Waite 1980).
const LN_2: [f32; 2] = [355.0 / 512.0, -2.121_944_4e-4];

/// Below this eˣ is taken for 0; it is 10⁻³⁸, about the least number that has all its digits.
const LEAST: f32 = -87.0;

/// eˣ for x ≤ 88, to a few roundings.
///
/// As `2ⁿ eʳ` with an integer n and |r| ≤ ln 2 / 2: the power goes into the exponent bits, and the rest is Taylor's
/// polynomial, whose first term left out is r⁷/7! < 1.2 · 10⁻⁷.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let rounded = x * LOG2_E + ROUNDER;
    let n = rounded - ROUNDER;
    let r = x - n * LN_2[0] - n * LN_2[1];
    let taylor = 1.0
        + r * (1.0
            + r * (1.0 / 2.0 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0))))));
    // The bits of 1 plus n in the place of the exponent; what `ROUNDER` has there is shifted out.
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(1f32.to_bits()));
    if x < LEAST { 0.0 } else { taylor * power }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_that_of_the_standard_library_to_a_few_roundings() {
        for i in -86_999..=88_000 {
            let x = i as f32 * 1e-3;
            let exact = f64::from(x).exp();
            let is = f64::from(exp(x));
            assert!((is / exact - 1.0).abs() < 4e-7, "exp({x}) = {is}, not {exact}");
        }
    }

    #[test]
    fn known_values() {
        assert_eq!((exp(0.0), exp(-0.0)), (1.0, 1.0));
        assert_eq!([-87.1, -1e30, f32::NEG_INFINITY].map(exp), [0.0; 3]);
        assert!(exp(f32::NAN).is_nan());
    }
}
