//! Holm's step-down correction for a family of comparisons (Holm 1979).

/// Holm-adjusted p-values of a family, in the order given: with the p-values ascending, the largest of
/// `(m − j + 1)·p_(j)` up to and including one's own, at most 1. A p-value that is not a number counts as 1.
///
/// ```
/// assert_eq!(moelt_eval::holm(&[0.01, 0.5]), [0.02, 0.5]);
/// ```
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut adjusted = vec![1.0; p_values.len()];
    let mut largest = 0.0f64;
    for (step, at) in ascending(p_values).into_iter().enumerate() {
        largest = largest.max((p_values.len() - step) as f64 * known(p_values[at])).min(1.0);
        adjusted[at] = largest;
    }
    adjusted
}

/// The level that Holm's procedure tests each member of the family at, in the order given.
///
/// The p-values are gone through ascending; the `j`-th of `m` is tested at `alpha/(m − j + 1)`. At the first
/// that is not below its level the procedure stops, and all that remain keep that level. So a p-value is
/// below its level exactly when its adjusted one ([`holm`]) is below `alpha`; all levels lie between
/// `alpha/m` and `alpha`.
pub fn holm_levels(p_values: &[f64], alpha: f64) -> Vec<f64> {
    let mut levels = vec![alpha; p_values.len()];
    let order = ascending(p_values);
    let level = |step: usize| alpha / (order.len() - step) as f64;
    let stop = (0..order.len()).find(|&step| known(p_values[order[step]]) >= level(step));
    for (step, &at) in order.iter().enumerate() {
        levels[at] = level(step.min(stop.unwrap_or(step)));
    }
    levels
}

/// Positions of the p-values, ascending; ties in the order given.
fn ascending(p_values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| known(p_values[a]).total_cmp(&known(p_values[b])));
    order
}

fn known(p: f64) -> f64 {
    if p.is_nan() { 1.0 } else { p }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn assert_close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        let close = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12);
        assert!(close, "{found:?} is not {expected:?}");
    }

    #[test]
    fn equals_the_textbook() {
        assert_close(&holm(&[0.01, 0.04, 0.03, 0.005]), &[0.03, 0.06, 0.06, 0.02]);
        assert_close(&holm(&[0.2]), &[0.2]);
        assert_close(&holm(&[0.9, 0.6]), &[1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }

    #[test]
    fn what_is_not_a_number_counts_as_one() {
        assert_close(&holm(&[f64::NAN, 0.01]), &[1.0, 0.02]);
        assert_close(&holm_levels(&[f64::NAN, 0.01], 0.05), &[0.05, 0.025]);
    }

    #[test]
    fn levels_widen_with_every_rejection() {
        // 0.005 < 0.05/4, 0.01 < 0.05/3, 0.03 ≥ 0.05/2: the rest stay at 0.05/2.
        assert_close(&holm_levels(&[0.01, 0.04, 0.03, 0.005], 0.05), &[0.05 / 3.0, 0.025, 0.025, 0.0125]);
        assert_close(&holm_levels(&[0.3, 0.4], 0.05), &[0.025, 0.025]);
        assert_close(&holm_levels(&[0.001, 0.002], 0.05), &[0.025, 0.05]);
    }

    proptest! {
        #[test]
        fn more_comparisons_never_weaken_it(
            p in proptest::collection::vec(0.0..1.0f64, 1..12),
            new in 0.0..1.0f64,
        ) {
            let alone = holm(&p);
            let mut more = p.clone();
            more.push(new);
            for ((before, after), raw) in alone.iter().zip(holm(&more)).zip(&p) {
                prop_assert!(raw <= before && *before <= after, "{p:?} and {new}: {before} became {after}");
            }
            let levels = holm_levels(&more, 0.05);
            for (before, after) in holm_levels(&p, 0.05).iter().zip(levels) {
                prop_assert!(after <= *before + 1e-12);
            }
        }

        #[test]
        fn levels_and_adjusted_values_agree(p in proptest::collection::vec(0.0..0.1f64, 1..12)) {
            for ((adjusted, level), raw) in holm(&p).iter().zip(holm_levels(&p, 0.05)).zip(&p) {
                // Equal up to rounding in (m − j + 1)·p < alpha against p < alpha/(m − j + 1).
                if (adjusted - 0.05).abs() > 1e-9 {
                    prop_assert_eq!(*adjusted < 0.05, *raw < level);
                }
            }
        }
    }
}
