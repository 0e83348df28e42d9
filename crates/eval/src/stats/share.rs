//! The interval of a share of examples: where an accuracy plausibly lies, measured on so few.

use crate::{Interval, stats::student::normal_quantile};

impl Interval {
    /// Wilson's score interval of a share of `n` independent examples, such as the accuracy of one model:
    ///
    /// `(p + z²/2n ± z √(p(1 − p)/n + z²/4n²)) / (1 + z²/n)`, with the share `p` and the normal quantile `z`.
    ///
    /// It stays within 0 and 1 and covers about what it says at any share and from few examples on, where `p ± z √(p(1 − p)/n)`
    /// does not (Wilson 1927; Brown, Cai & DasGupta 2001). It knows of other examples of the same kind alone, nothing of other seeds:
    /// two models are compared by their differences on the same examples ([`System::against`](crate::System::against)). Without
    /// examples it is everything, 0 to 1.
    ///
    /// ```
    /// use moelt_eval::Interval;
    /// let interval = Interval::of_share(733.0 / 872.0, 872, 0.95);
    /// assert_eq!(format!("{:.4} to {:.4}", interval.lower, interval.upper), "0.8148 to 0.8634");
    /// ```
    pub fn of_share(share: f64, n: usize, level: f64) -> Self {
        if n == 0 {
            return Self { level, lower: 0.0, upper: 1.0 };
        }
        let (n, z) = (n as f64, normal_quantile(0.5 + level / 2.0));
        let shrink = 1.0 + z * z / n;
        let middle = (share + z * z / (2.0 * n)) / shrink;
        let reach = z / shrink * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
        Self { level, lower: (middle - reach).max(0.0), upper: (middle + reach).min(1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Newcombe 1998, table I, method 3.
    #[test]
    fn intervals_are_the_published_ones() {
        let cases = [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ];
        for (right, n, lower, upper) in cases {
            let found = Interval::of_share(f64::from(right) / n as f64, n, 0.95);
            assert!((found.lower - lower).abs() < 5e-5 && (found.upper - upper).abs() < 5e-5, "{found:?}");
            let wrong = Interval::of_share(1.0 - f64::from(right) / n as f64, n, 0.95);
            assert!((wrong.lower + found.upper - 1.0).abs() < 1e-12, "right and wrong are alike: {wrong:?}");
        }
    }

    #[test]
    fn nothing_tells_nothing() {
        let Interval { lower, upper, .. } = Interval::of_share(0.0, 0, 0.95);
        assert_eq!((lower, upper), (0.0, 1.0));
    }
}
