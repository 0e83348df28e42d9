//! Which difference a comparison could have seen, and how many seeds would show it.

use serde::{Deserialize, Serialize};

use crate::{
    Components,
    stats::student::{normal_cdf, t_quantile},
};

/// More seeds than this are not looked for.
const MOST_SEEDS: usize = 1 << 20;

/// More examples than this are not looked for.
const MOST_EXAMPLES: usize = 1 << 30;

/// A detectable difference is looked for within this many standard errors.
const MOST_ERRORS: f64 = 1e4;

/// Halvings that find it to eight digits.
const HALVINGS: usize = 60;

/// Points of a numerical integral.
const POINTS: u32 = 500;

/// A comparison as planned: what varies, how much of it is looked at, and what GO takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Design {
    /// Where the variance of a difference comes from.
    pub components: Components,
    /// Seeds, S: at least 2, or 1 where nothing is asked about seeds.
    pub seeds: usize,
    /// Examples, I, at least 2.
    pub examples: usize,
    /// Two-sided level of the interval: alpha, or alpha/m for the strictest of a family of m.
    pub alpha: f64,
    /// GO needs a lower bound above this: +δ for superiority, −δ for non-inferiority
    /// ([`crate::go_above`]). A fraction for accuracy.
    pub go_above: f64,
}

impl Design {
    /// Standard error of the mean difference, a fraction for accuracy.
    pub fn standard_error(&self) -> f64 {
        self.components.standard_error(self.seeds, self.examples)
    }

    /// Probability of GO when the true difference is `difference`, by the non-central t distribution: the
    /// chance that `(Z + (difference − go_above)/e) / √(W/ν)` exceeds `t_{1−alpha/2}(ν)`, with the standard
    /// error `e` and its degrees of freedom ν, Z standard normal and W of the χ² distribution.
    ///
    /// ```
    /// use moelt_eval::{Components, Design};
    /// let components = Components { seed: 3.1e-5, item: 0.0264, interaction: 0.014 };
    /// let design = Design { components, seeds: 10, examples: 872, alpha: 0.05, go_above: 0.0 };
    /// let seen = design.detectable(0.8);
    /// assert!((design.power(seen) - 0.8).abs() < 1e-6);
    /// assert!(seen > 0.016 && seen < 0.017);
    /// ```
    pub fn power(&self, difference: f64) -> f64 {
        let (error, above) = (self.standard_error(), difference - self.go_above);
        if error > 0.0 { self.power_in_errors(above / error) } else { f64::from(u8::from(above > 0.0)) }
    }

    /// The true difference that yields GO with probability `power` (0.8, say): the minimum detectable one.
    pub fn detectable(&self, power: f64) -> f64 {
        let (mut below, mut above) = (-MOST_ERRORS, MOST_ERRORS);
        for _ in 0..HALVINGS {
            let middle = f64::midpoint(below, above);
            *(if self.power_in_errors(middle) < power { &mut below } else { &mut above }) = middle;
        }
        self.go_above + above * self.standard_error()
    }

    /// The fewest seeds with which a true `difference` yields GO with probability `power`; `self.seeds` does
    /// not matter. None when the examples alone forbid it, or a million seeds do.
    pub fn seeds_needed(&self, difference: f64, power: f64) -> Option<usize> {
        self.seeds_needed_with(difference, power, |_| 0.0)
    }

    /// The same where GO takes `to_spare` of the number of seeds more than `go_above`: less, the more seeds there are.
    pub(crate) fn seeds_needed_with(
        &self,
        difference: f64,
        power: f64,
        to_spare: impl Fn(usize) -> f64,
    ) -> Option<usize> {
        fewest(MOST_SEEDS, |seeds| Self { seeds, ..*self }.power(difference - to_spare(seeds)) >= power)
    }

    /// The fewest examples with which a true `difference` yields GO with probability `power`, over these seeds; `self.examples`
    /// does not matter. None when the seeds alone forbid it, or a thousand million examples do.
    pub fn examples_needed(&self, difference: f64, power: f64) -> Option<usize> {
        fewest(MOST_EXAMPLES, |examples| Self { examples, ..*self }.power(difference) >= power)
    }

    /// Probability of GO when the true difference lies this many standard errors above what GO needs.
    fn power_in_errors(&self, above: f64) -> f64 {
        let freedom = self.components.freedom(self.seeds, self.examples);
        let t = t_quantile(1.0 - self.alpha / 2.0, freedom);
        // Over s = √(W/ν), of density ∝ s^(ν−1)·exp(−ν·s²/2): around 1, with a spread of 1/√(2ν).
        let reach = 8.0 / (2.0 * freedom).sqrt();
        let start = (1.0 - reach).max(0.0);
        let step = (1.0 + reach - start) / f64::from(POINTS);
        let points = (0..POINTS).map(|point| start + (f64::from(point) + 0.5) * step);
        let (mut reached, mut all) = (0.0, 0.0);
        for s in points {
            let weight = ((freedom - 1.0) * s.ln() - freedom * (s * s - 1.0) / 2.0).exp();
            reached += weight * normal_cdf(above - t * s);
            all += weight;
        }
        reached / all
    }

    /// What remains of the standard error with endless seeds: `√(σ²_item/I)`.
    pub fn item_error(&self) -> f64 {
        (self.components.item / self.examples as f64).sqrt()
    }
}

/// The smallest number from 2 to `most` that is enough, where all larger ones are too.
fn fewest(most: usize, enough: impl Fn(usize) -> bool) -> Option<usize> {
    if !enough(most) {
        return None;
    }
    let (mut too_few, mut found) = (1, most);
    while found - too_few > 1 {
        let middle = usize::midpoint(too_few, found);
        *(if enough(middle) { &mut found } else { &mut too_few }) = middle;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn design(components: Components, seeds: usize) -> Design {
        Design { components, seeds, examples: 1800, alpha: 0.05, go_above: 0.0 }
    }

    /// Paired seed SD 0.56 pp, as on SST-2, and examples taken as given.
    const SEEDS_ALONE: Components = Components { seed: 0.0056 * 0.0056, item: 0.0, interaction: 0.0 };

    /// scipy 1.17: with `n = 11.9077` and `df = n - 1`, `nct.sf(t.ppf(0.975, df), df, 0.5/0.56*n**0.5)` =
    /// 0.8.
    #[test]
    fn half_a_point_needs_a_dozen_seeds() {
        assert_eq!(design(SEEDS_ALONE, 2).seeds_needed(0.005, 0.8), Some(12));
        assert!(design(SEEDS_ALONE, 12).detectable(0.8) <= 0.005);
        assert!(design(SEEDS_ALONE, 11).detectable(0.8) > 0.005);
    }

    /// scipy 1.17: `nct.sf(t.ppf(0.975, 4), 4, [1, 3, 5])` = 0.119, 0.619, 0.955.
    #[test]
    fn power_is_the_non_central_ts() {
        let design = design(SEEDS_ALONE, 5);
        for (errors, expected) in [(1.0, 0.119), (3.0, 0.619), (5.0, 0.955)] {
            let found = design.power(errors * design.standard_error());
            assert!((found - expected).abs() < 6e-4, "{found} is not {expected}");
        }
    }

    #[test]
    fn examples_alone_can_forbid_it() {
        let items = Components { item: 0.0055 * 0.0055 * 1800.0, ..SEEDS_ALONE };
        // (1.960 + 0.842)·0.55 pp = 1.54 pp.
        assert_eq!(design(items, 5).seeds_needed(0.0150, 0.8), None);
        let needed = design(items, 5).seeds_needed(0.0200, 0.8).unwrap();
        assert!((2..10).contains(&needed), "{needed}");
    }

    /// ((1.960 + 0.842)·0.16 / 0.01)² = 2,010 examples at an SD of 16 pp; seeds that vary forbid it.
    #[test]
    fn examples_needed_are_the_textbooks() {
        let items = Components { seed: 0.0, item: 0.16 * 0.16, interaction: 0.0 };
        let needed = design(items, 1).examples_needed(0.01, 0.8).unwrap();
        assert!((2009..2015).contains(&needed), "{needed}");
        let seeds = Components { seed: 0.01 * 0.01, ..items };
        assert_eq!(design(seeds, 3).examples_needed(0.01, 0.8), None);
    }

    #[test]
    fn power_grows_with_the_difference_and_falls_with_the_margin() {
        let plain = design(SEEDS_ALONE, 10);
        assert!((plain.power(0.0) - 0.025).abs() < 1e-5, "{}", plain.power(0.0));
        assert!(plain.power(0.004) < plain.power(0.005));
        let margin = Design { go_above: 0.005, ..plain };
        assert!((margin.power(0.009) - plain.power(0.004)).abs() < 1e-12);
        assert!((margin.detectable(0.8) - plain.detectable(0.8) - 0.005).abs() < 1e-12);
    }

    /// With (S − 1)·(I − 1) degrees of freedom the t distribution is normal; of 100 seeds e = √(18/1800/100)
    /// = 0.01.
    #[test]
    fn endless_degrees_of_freedom_are_normal() {
        let components = Components { seed: 0.0, item: 0.0, interaction: 18.0 };
        let design = design(components, 1 << 20);
        let expected = (1.959_964 + 0.841_621) * design.standard_error();
        assert!((design.detectable(0.8) - expected).abs() < 1e-4 * expected);
        let needed = design.seeds_needed(0.0280, 0.8).unwrap();
        assert!((100..=102).contains(&needed), "{needed}");
    }

    #[test]
    fn without_any_variance_every_difference_is_seen() {
        let none = Components { seed: 0.0, item: 0.0, interaction: 0.0 };
        let design = design(none, 3);
        assert_eq!((design.power(0.001), design.power(0.0), design.detectable(0.8)), (1.0, 0.0, 0.0));
        assert_eq!(design.seeds_needed(0.001, 0.8), Some(2));
    }
}
