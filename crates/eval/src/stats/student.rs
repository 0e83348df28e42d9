//! Quantiles and probabilities of Student's t and of the normal distribution.

use statrs::distribution::{Continuous, ContinuousCDF, Normal, StudentsT};

/// From here on a series gives the t quantile to nine digits; statrs' search loses digits, and may not end.
const MANY_FREEDOM: f64 = 1e3;

/// This near to the median a quantile is linear in its probability to six digits; statrs' search is not.
const NEAR_THE_MEDIAN: f64 = 1e-3;

fn student(freedom: f64) -> StudentsT {
    StudentsT::new(0.0, 1.0, freedom).expect("degrees of freedom are positive")
}

/// The `p`-quantile of Student's t.
pub(crate) fn t_quantile(p: f64, freedom: f64) -> f64 {
    if freedom >= MANY_FREEDOM {
        return many_freedom_quantile(normal_quantile(p), freedom);
    }
    let student = student(freedom);
    if (p - 0.5).abs() < NEAR_THE_MEDIAN { (p - 0.5) / student.pdf(0.0) } else { student.inverse_cdf(p) }
}

/// `z + (z³ + z)/4ν + (5z⁵ + 16z³ + 3z)/96ν²` (Abramowitz & Stegun 1964, 26.7.5).
fn many_freedom_quantile(z: f64, freedom: f64) -> f64 {
    let first = (z.powi(3) + z) / 4.0;
    let second = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0;
    z + first / freedom + second / freedom.powi(2)
}

/// `P(T ≤ t)`.
pub(crate) fn t_cdf(t: f64, freedom: f64) -> f64 {
    student(freedom).cdf(t)
}

/// The `p`-quantile of the standard normal distribution.
pub(crate) fn normal_quantile(p: f64) -> f64 {
    Normal::standard().inverse_cdf(p)
}

/// `P(Z ≤ z)` of the standard normal distribution.
pub(crate) fn normal_cdf(z: f64) -> f64 {
    Normal::standard().cdf(z)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// scipy 1.17: `t.ppf(p, freedom)`.
    const CASES: [(f64, f64, f64); 9] = [
        (0.975, 1.0, 1.2706204736e+01),
        (0.9995, 3.7, 9.4742401371e+00),
        (0.5005, 4.0, 1.3333338271e-03),
        (0.975, 871.0, 1.9626913268e+00),
        (0.502, 900.0, 5.0146703542e-03),
        (0.5001, 900.0, 2.5073246831e-04),
        (0.999, 1001.0, 3.0983939825e+00),
        (0.6, 10000.0, 2.5335384345e-01),
        (0.975, 1000000000.0, 1.9599639869e+00),
    ];

    #[test]
    fn quantiles_equal_scipys() {
        for (p, freedom, expected) in CASES {
            let found = t_quantile(p, freedom);
            assert!((found - expected).abs() < 1e-6 * expected.abs(), "t_{p}({freedom}) = {found}");
            assert!((t_quantile(1.0 - p, freedom) + found).abs() < 1e-9 * found.abs());
        }
    }
}
