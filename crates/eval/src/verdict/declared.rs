//! What a declared comparison asks of a difference.

use moelt_schema::{ClaimKind, Comparison};

use crate::{Estimate, EvalError};

/// Above this the difference means GO: +δ for superiority, −δ for non-inferiority.
pub fn go_above(comparison: &Comparison) -> f64 {
    match comparison.kind {
        ClaimKind::Superiority => comparison.margin,
        ClaimKind::NonInferiority => -comparison.margin,
    }
}

/// Below this the difference means NO-GO: 0 for superiority, −δ for non-inferiority.
pub fn no_go_below(comparison: &Comparison) -> f64 {
    match comparison.kind {
        ClaimKind::Superiority => 0.0,
        ClaimKind::NonInferiority => -comparison.margin,
    }
}

/// p-value of "neither GO nor NO-GO is warranted": twice the smaller of the one-sided p-values of the two
/// null hypotheses `D ≤ go_above` and `D ≥ no_go_below`, at most 1. It is below a level exactly when the
/// two-sided interval of confidence 1 − level leaves one of them.
pub fn p_value(comparison: &Comparison, estimate: &Estimate) -> f64 {
    let (go, no_go) =
        (estimate.p_at_most(go_above(comparison)), estimate.p_at_least(no_go_below(comparison)));
    (2.0 * go.min(no_go)).min(1.0)
}

/// Whether a comparison can be judged.
///
/// # Errors
/// When nothing is named to compare with, or the arm itself, the margin is negative or not finite, or alpha is no probability
/// between 0 and 1.
pub fn check_comparison(comparison: &Comparison) -> Result<(), EvalError> {
    let Comparison { name, arm, against, margin, alpha, .. } = comparison;
    let wrong = |message: String| Err(EvalError::Declared { name: name.clone(), message });
    if against.is_empty() {
        return wrong("it names no arm to compare with".to_owned());
    }
    if against.contains(arm) {
        return wrong(format!("{arm} would be compared with itself"));
    }
    if !(*margin >= 0.0 && margin.is_finite()) {
        return wrong(format!("the margin is {margin}, not 0 or more"));
    }
    if !(*alpha > 0.0 && *alpha < 1.0) {
        return wrong(format!("alpha is {alpha}, not between 0 and 1"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use moelt_schema::Metric;

    use super::*;

    #[test]
    fn what_cannot_be_judged_is_refused() {
        let fine = Comparison {
            name: "head against rule".into(),
            metric: Metric::Accuracy,
            arm: "head".into(),
            against: vec!["rule".into()],
            kind: ClaimKind::NonInferiority,
            margin: 0.005,
            alpha: 0.05,
            family: "main".into(),
        };
        assert_eq!(fine.to_string(), "no inferiority by more than 0.50 pp in accuracy");
        assert!(check_comparison(&fine).is_ok());
        let message = |wrong: Comparison| check_comparison(&wrong).unwrap_err().to_string();
        let negative = Comparison { margin: -0.005, ..fine.clone() };
        assert_eq!(message(negative), "comparison head against rule: the margin is -0.005, not 0 or more");
        let nothing = Comparison { against: Vec::new(), ..fine.clone() };
        assert_eq!(message(nothing), "comparison head against rule: it names no arm to compare with");
        let itself = Comparison { against: vec!["4".into(), "head".into()], ..fine.clone() };
        assert_eq!(message(itself), "comparison head against rule: head would be compared with itself");
        let percent = Comparison { alpha: 5.0, ..fine };
        assert_eq!(message(percent), "comparison head against rule: alpha is 5, not between 0 and 1");
    }
}
