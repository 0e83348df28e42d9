//! GO, NO-GO or INCONCLUSIVE: what declared comparisons come to.

pub(crate) mod declared;
pub(crate) mod holm;
pub(crate) mod regression;
pub(crate) mod unseen;

use std::{collections::BTreeMap, fmt};

use moelt_schema::{CollapseRule, Comparison};
use serde::{Deserialize, Serialize};

use crate::{
    Estimate, EvalError, Interval, Unseen, check_comparison, go_above, holm, holm_levels, no_go_below,
    p_value,
};

/// What a comparison says of its claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The claim holds.
    Go,
    /// It does not.
    NoGo,
    /// These seeds and examples cannot tell.
    Inconclusive,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Go => "GO",
            Self::NoGo => "NO-GO",
            Self::Inconclusive => "INCONCLUSIVE",
        })
    }
}

/// What was found on a declared comparison, to judge it by.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Finding {
    /// The difference, over the seeds that both arms have; none when they share too few.
    pub estimate: Option<Estimate>,
    /// Planned cells of either arm that are missing, failed or not a number, with what is wrong.
    pub missing: Vec<String>,
}

/// A comparison with its verdict, for `report.json`. Differences are gains in the unit of the metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judgement {
    /// What was declared.
    pub declared: Comparison,
    /// Comparisons in its family, those with nothing to compare included.
    pub family_size: usize,
    /// A − B; none without an estimate, as are the next two.
    pub difference: Option<f64>,
    /// Its standard error over seeds and examples.
    pub standard_error: Option<f64>,
    /// Its interval at the Holm-adjusted level.
    pub interval: Option<Interval>,
    /// p-value of this comparison alone ([`p_value`]); 1 when cells are missing.
    pub p: f64,
    /// The same, Holm-adjusted within the family: below alpha exactly when the interval is clear of one of the bounds. The
    /// verdict is then GO or NO-GO, or INCONCLUSIVE where collapses may be unseen: `unseen.withheld`.
    pub p_adjusted: f64,
    /// What its seeds may have missed; none where a GO need not exclude that, and without an estimate.
    pub unseen: Option<Unseen>,
    /// The verdict.
    pub verdict: Verdict,
    /// Why, in a sentence.
    pub reason: String,
    /// Planned cells that are missing, failed or not a number.
    pub missing: Vec<String>,
}

/// Judges comparisons, each with what was found, Holm-adjusted within their families; in the order given.
///
/// In a family of m, every comparison's p-value ([`p_value`]) is put through Holm's
/// procedure at the family's alpha. The level at which a comparison is tested there ([`holm_levels`]) is
/// that of its interval, so interval and adjusted p-value give the same verdict: an unclear comparison has
/// the level at which the procedure stopped. The chance that a family yields any wrong GO or NO-GO is
/// thereby at most alpha. That guarantee is about the verdicts; all m intervals would hold their true
/// differences together with probability 1 − alpha only at level 1 − alpha/m.
///
/// An interval knows what its seeds show. That none of them collapsed says little where they are few, so a GO also needs
/// seeds that exclude the collapse rate of `rule`, or a lower bound that leaves room for as many unseen collapses as they do not
/// exclude ([`Unseen`]). That risk, alpha at most for each arm, comes on top of the family's. NO-GO does not depend on it.
///
/// A comparison with a missing, failed or NaN cell is INCONCLUSIVE whatever the rest says, for what is
/// missing may be missing because it went badly. It still counts in m, with a p-value of 1.
///
/// # Errors
/// When a declaration is not sound ([`check_comparison`]), a name comes twice in a family, or
/// members of a family differ in alpha.
pub fn judge(
    comparisons: &[(Comparison, Finding)],
    rule: &CollapseRule,
) -> Result<Vec<Judgement>, EvalError> {
    let mut families: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, (declared, _)) in comparisons.iter().enumerate() {
        check_comparison(declared)?;
        let members = families.entry(&declared.family).or_default();
        members.iter().try_for_each(|&other| check_pair(declared, &comparisons[other].0))?;
        members.push(at);
    }
    let mut judged: Vec<(usize, Judgement)> = Vec::new();
    for members in families.into_values() {
        let family: Vec<&(Comparison, Finding)> = members.iter().map(|&at| &comparisons[at]).collect();
        judged.extend(members.into_iter().zip(judge_family(&family, rule)));
    }
    judged.sort_by_key(|(at, _)| *at);
    Ok(judged.into_iter().map(|(_, judged)| judged).collect())
}

fn check_pair(declared: &Comparison, other: &Comparison) -> Result<(), EvalError> {
    let wrong = |message: String| Err(EvalError::Declared { name: declared.name.clone(), message });
    if declared.name == other.name {
        return wrong(format!("comes twice in family {}", declared.family));
    }
    if declared.alpha != other.alpha {
        let message = format!("alpha is {}, but {} for {}", declared.alpha, other.alpha, other.name);
        return wrong(format!("{message} of the same family {}", declared.family));
    }
    Ok(())
}

fn judge_family(family: &[&(Comparison, Finding)], rule: &CollapseRule) -> Vec<Judgement> {
    let p_values: Vec<f64> = family.iter().map(|(declared, finding)| finding.p_value(declared)).collect();
    let alpha = family.first().map_or(1.0, |(declared, _)| declared.alpha);
    let (adjusted, levels) = (holm(&p_values), holm_levels(&p_values, alpha));
    let members = family.iter().enumerate();
    let judged = members.map(|(at, (declared, finding))| {
        let interval = finding.estimate.as_ref().map(|estimate| estimate.interval(1.0 - levels[at]));
        let clear = adjusted[at] < alpha;
        let (verdict, reason) = verdict(declared, interval, clear, &finding.missing);
        let n_seeds = finding.estimate.as_ref().map(Estimate::n_seeds);
        let mut unseen = n_seeds.and_then(|seeds| Unseen::of(declared, rule, seeds));
        let (verdict, reason) = match (verdict, interval, &mut unseen) {
            (Verdict::Go, Some(interval), Some(unseen)) => unseen.judge(declared, interval.lower, reason),
            _ => (verdict, reason),
        };
        Judgement {
            declared: declared.clone(),
            family_size: family.len(),
            difference: finding.estimate.as_ref().map(Estimate::difference),
            standard_error: finding.estimate.as_ref().map(Estimate::standard_error),
            interval,
            p: p_values[at],
            p_adjusted: adjusted[at],
            unseen,
            verdict,
            reason,
            missing: finding.missing.clone(),
        }
    });
    judged.collect()
}

impl Finding {
    /// p-value of the comparison; 1 unless something is missing.
    fn p_value(&self, declared: &Comparison) -> f64 {
        match &self.estimate {
            Some(estimate) if self.missing.is_empty() => p_value(declared, estimate),
            _ => 1.0,
        }
    }
}

/// The verdict of an interval, and why; `clear` is whether Holm's procedure rejects a null hypothesis.
fn verdict(
    declared: &Comparison,
    interval: Option<Interval>,
    clear: bool,
    missing: &[String],
) -> (Verdict, String) {
    if !missing.is_empty() {
        return (Verdict::Inconclusive, format!("incomplete: {}", missing.join("; ")));
    }
    let Some(Interval { lower, upper, .. }) = interval else {
        return (Verdict::Inconclusive, "there is nothing to compare".to_owned());
    };
    if !(lower.is_finite() && upper.is_finite()) {
        return (Verdict::Inconclusive, "the interval is not a number".to_owned());
    }
    let (go_above, no_go_below) = (go_above(declared), no_go_below(declared));
    let shown = |gain: f64| declared.metric.shown(gain);
    if !clear && (lower > go_above || upper < no_go_below) {
        // A p-value is never below that of the outermost resample, where an interval can still grow.
        (Verdict::Inconclusive, "this level needs more resamples".to_owned())
    } else if lower > go_above {
        (Verdict::Go, format!("the lower bound {} is above {}", shown(lower), shown(go_above)))
    } else if upper < no_go_below {
        (Verdict::NoGo, format!("the upper bound {} is below {}", shown(upper), shown(no_go_below)))
    } else {
        let reason = format!("the interval reaches from {} to {}", shown(lower), shown(upper));
        (Verdict::Inconclusive, format!("{reason}; GO needs more than {}", shown(go_above)))
    }
}

#[cfg(test)]
mod tests {
    use moelt_schema::{ClaimKind, Metric};

    use super::*;
    use crate::{
        Components,
        stats::{estimate::Calibration, student::normal_quantile},
    };

    fn declared(name: &str, kind: ClaimKind) -> Comparison {
        let (arm, against, family) = ("a".to_owned(), vec!["b".to_owned()], "main".to_owned());
        Comparison {
            name: name.to_owned(),
            metric: Metric::Accuracy,
            arm,
            against,
            kind,
            margin: 0.005,
            alpha: 0.05,
            family,
        }
    }

    fn finding(difference: f64) -> Finding {
        finding_of(10, difference)
    }

    /// A normal distribution around `difference` with standard error 0.002: ±0.4 pp at 95 %.
    fn finding_of(seeds: usize, difference: f64) -> Finding {
        let components = Components { seed: 0.0, item: 4e-6 * 9999.0, interaction: 0.0 };
        let normal = |rank: i32| difference + 0.002 * normal_quantile(f64::from(rank) / 10_000.0);
        let resampled: Vec<f64> = (1..=9999).map(normal).collect();
        let calibration = Calibration::of(&components, seeds, 9999, &resampled);
        let estimate = Estimate::new(difference, resampled, &calibration, components);
        Finding { estimate: Some(estimate), missing: Vec::new() }
    }

    fn alone(kind: ClaimKind, difference: f64) -> (Verdict, String) {
        let judged =
            judge(&[(declared("a", kind), finding(difference))], &CollapseRule::OFF).unwrap().remove(0);
        assert_eq!(judged.p_adjusted < 0.05, judged.verdict != Verdict::Inconclusive);
        (judged.verdict, judged.reason)
    }

    #[test]
    fn superiority_needs_more_than_the_margin() {
        let verdict = |difference| alone(ClaimKind::Superiority, difference);
        let go = (Verdict::Go, "the lower bound +0.61 pp is above +0.50 pp".to_owned());
        assert_eq!(verdict(0.0100), go);
        let unclear = "the interval reaches from +0.41 pp to +1.19 pp; GO needs more than +0.50 pp";
        assert_eq!(verdict(0.0080), (Verdict::Inconclusive, unclear.to_owned()));
        assert_eq!(verdict(-0.0030).0, Verdict::Inconclusive);
        let no_go = (Verdict::NoGo, "the upper bound -0.11 pp is below +0.00 pp".to_owned());
        assert_eq!(verdict(-0.0050), no_go);
    }

    #[test]
    fn non_inferiority_allows_for_the_margin() {
        let verdict = |difference| alone(ClaimKind::NonInferiority, difference).0;
        assert_eq!(verdict(0.0), Verdict::Go);
        assert_eq!(verdict(-0.0020), Verdict::Inconclusive);
        assert_eq!(verdict(-0.0085), Verdict::Inconclusive);
        assert_eq!(verdict(-0.0095), Verdict::NoGo);
    }

    /// Of 10 seeds none may show that a quarter collapses, which at 10 pp each would be 2.59 pp; of 29 one in ten would show.
    #[test]
    fn few_seeds_need_room_for_collapses_that_they_do_not_show() {
        let judged = |seeds, difference| {
            let case = (declared("a", ClaimKind::Superiority), finding_of(seeds, difference));
            judge(&[case], &CollapseRule::default()).unwrap().remove(0)
        };
        let few = judged(10, 0.0110);
        let reason = "the interval says GO (the lower bound +0.71 pp is above +0.50 pp), but 10 seeds do not exclude that up to 26 % \
                      of seeds collapse: that takes 29 seeds";
        assert_eq!((few.verdict, few.reason.as_str()), (Verdict::Inconclusive, reason));
        assert!(few.unseen.unwrap().withheld && few.p_adjusted < 0.05, "{few:?}");
        assert_eq!(judged(29, 0.0110).verdict, Verdict::Go);
        let far = judged(10, 0.0360);
        let reason = "the lower bound +3.21 pp is above +0.50 pp, also with 2.59 pp less for collapses that 10 seeds do not exclude";
        assert_eq!((far.verdict, far.reason.as_str()), (Verdict::Go, reason));
        let worse = judged(10, -0.0110);
        assert_eq!((worse.verdict, worse.unseen.unwrap().withheld), (Verdict::NoGo, false));
    }

    #[test]
    fn a_missing_cell_never_yields_go_and_weakens_nobody() {
        let broken = Finding { missing: vec!["head-s3-0123: the loss is NaN".into()], ..finding(0.02) };
        let cases = [
            (declared("missing", ClaimKind::Superiority), broken),
            (declared("nothing", ClaimKind::Superiority), Finding::default()),
            (declared("fine", ClaimKind::Superiority), finding(0.0112)),
        ];
        let judged = judge(&cases, &CollapseRule::OFF).unwrap();
        assert_eq!(judged[0].verdict, Verdict::Inconclusive);
        assert_eq!(judged[0].reason, "incomplete: head-s3-0123: the loss is NaN");
        assert!(judged[0].interval.unwrap().lower > 0.005 && judged[0].p_adjusted == 1.0);
        assert_eq!((judged[1].verdict, judged[1].interval), (Verdict::Inconclusive, None));
        // Three in the family: tested at 0.05/3.
        assert_eq!((judged[2].family_size, judged[2].verdict), (3, Verdict::Go));
        assert!((judged[2].interval.unwrap().level - (1.0 - 0.05 / 3.0)).abs() < 1e-12);
    }

    #[test]
    fn a_larger_family_asks_for_more() {
        let go = |kinds: &[f64]| {
            let member =
                |(at, &d): (usize, &f64)| (declared(&format!("c{at}"), ClaimKind::Superiority), finding(d));
            let family: Vec<_> = kinds.iter().enumerate().map(member).collect();
            judge(&family, &CollapseRule::OFF).unwrap()[0].verdict
        };
        assert_eq!(go(&[0.0093]), Verdict::Go);
        assert_eq!(go(&[0.0093, 0.002]), Verdict::Inconclusive);
        // The second one is clear, so the first is tested alone again.
        assert_eq!(go(&[0.0093, 0.02]), Verdict::Go);
    }

    #[test]
    fn a_level_beyond_the_resamples_is_inconclusive() {
        let strict = Comparison { alpha: 1e-4, ..declared("a", ClaimKind::Superiority) };
        let judged = judge(&[(strict, finding(0.05))], &CollapseRule::OFF).unwrap().remove(0);
        assert!(judged.interval.unwrap().lower > 0.005);
        let expected = (Verdict::Inconclusive, "this level needs more resamples");
        assert_eq!((judged.verdict, judged.reason.as_str()), expected);
    }

    #[test]
    fn families_do_not_touch_each_other() {
        let other = Comparison { family: "b".into(), ..declared("a", ClaimKind::Superiority) };
        let cases = [
            (other, finding(0.0093)),
            (declared("a", ClaimKind::Superiority), finding(0.0)),
            (declared("b", ClaimKind::Superiority), finding(0.0)),
        ];
        let judged = judge(&cases, &CollapseRule::OFF).unwrap();
        let names: Vec<_> = judged.iter().map(|j| (j.declared.name.as_str(), j.family_size)).collect();
        assert_eq!(names, [("a", 1), ("a", 2), ("b", 2)]);
        assert_eq!(judged[0].verdict, Verdict::Go);
    }

    #[test]
    fn a_family_has_one_alpha_and_no_name_twice() {
        let a = (declared("a", ClaimKind::Superiority), finding(0.0));
        let message =
            |other| judge(&[a.clone(), (other, finding(0.0))], &CollapseRule::OFF).unwrap_err().to_string();
        assert_eq!(message(a.0.clone()), "comparison a: comes twice in family main");
        let laxer = Comparison { alpha: 0.1, name: "b".into(), ..a.0.clone() };
        assert_eq!(message(laxer), "comparison b: alpha is 0.1, but 0.05 for a of the same family main");
    }

    #[test]
    fn the_json_reads_back() {
        let judged =
            judge(&[(declared("a", ClaimKind::NonInferiority), finding(0.0))], &CollapseRule::default())
                .unwrap();
        let json = serde_json::to_string(&judged).unwrap();
        assert!(
            json.contains(r#""kind":"non_inferiority""#) && json.contains(r#""withheld":true"#),
            "{json}"
        );
        assert_eq!(serde_json::from_str::<Vec<Judgement>>(&json).unwrap(), judged);
    }
}
