//! Whether intervals and verdicts hold where a few seeds end far below the others.
//!
//! By intervals alone they do not, with few seeds: of five seeds most draws hold no collapse, and the interval of such a draw knows
//! of none. What must hold is a GO by the whole rule at any number of seeds, and the interval at as many seeds as a GO
//! takes by default, 29.
//!
//! A wrong GO is one on a claim that just fails: A is 0.5 pp worse and claimed to be not worse by more than that. Where A's
//! seeds collapse its typical seed is therefore better than B's. By how much the claim fails does not depend on the margin, so that
//! the figures are those of superiority, too. A right GO is one on a claim that holds by half a point.

use moelt_eval::{Differences, Finding, Verdict, judge};
use moelt_schema::{ClaimKind, CollapseRule, Comparison, Metric};

use crate::{
    Bootstrap, LEVEL, covers, passes, simulations,
    simulator::{LOPSIDED, LopsidedWorld, SST2},
};

const SEEDS: [usize; 6] = [3, 5, 10, 15, 20, 30];
/// Seeds that a GO takes by default.
const ENOUGH: usize = 29;
/// What A truly is worse by.
const WORSE: f64 = 0.005;
const BOOTSTRAP: Bootstrap = Bootstrap { resamples: 500, seed: 0 };

/// Fractions of the simulations of a world at a number of seeds.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    /// Intervals that hold the truth.
    coverage: f64,
    /// GO on a claim that just fails, by the interval alone.
    wrong_by_interval: f64,
    /// The same by the whole rule.
    wrong: f64,
    /// GO on a claim that holds by half a point, by the whole rule.
    right: f64,
}

/// A claims to be not worse by more than `margin`.
fn claim(margin: f64) -> Comparison {
    Comparison {
        name: "a against b".into(),
        metric: Metric::Accuracy,
        arm: "a".into(),
        against: vec!["b".into()],
        kind: ClaimKind::NonInferiority,
        margin,
        alpha: 1.0 - LEVEL,
        family: "main".into(),
    }
}

fn figures(draw: impl Fn(u64) -> Differences) -> Figures {
    let n = simulations();
    let mut sum = Figures::default();
    for index in 0..n {
        let estimate = BOOTSTRAP.difference(&draw(index)).unwrap();
        let finding = Finding { estimate: Some(estimate.clone()), missing: Vec::new() };
        let is_go = |margin, rule| {
            let judged = judge(&[(claim(margin), finding.clone())], &rule).unwrap().remove(0);
            f64::from(u8::from(judged.verdict == Verdict::Go)) / n as f64
        };
        sum.coverage += f64::from(u8::from(covers(estimate.interval(LEVEL), -WORSE))) / n as f64;
        sum.wrong_by_interval += is_go(WORSE, CollapseRule::OFF);
        sum.wrong += is_go(WORSE, CollapseRule::default());
        sum.right += is_go(2.0 * WORSE, CollapseRule::default());
    }
    sum
}

/// A line of the table in `docs/verdicts.md`.
fn print(name: &str, all: &[Figures]) {
    let row = |of: fn(&Figures) -> f64| {
        all.iter().map(|figures| format!("{:.1}", 100.0 * of(figures))).collect::<Vec<_>>().join(" / ")
    };
    let [coverage, by_interval, wrong] =
        [row(|f| f.coverage), row(|f| f.wrong_by_interval), row(|f| f.wrong)];
    let right = all.last().map_or(0.0, |figures| 100.0 * figures.right);
    println!("| {name} | {coverage} | {by_interval} | {wrong} | {right:.1} |");
}

/// At least 93 % and at most 5 %, as far as this many simulations tell.
fn assert_holds(name: &str, seeds: usize, figures: &Figures) {
    let n = simulations();
    let Figures { coverage, wrong, .. } = *figures;
    assert!(passes(wrong, 0.0, 1.0 - LEVEL, n), "{name}, {seeds} seeds: wrong GO {wrong}");
    assert!(seeds < ENOUGH || passes(coverage, 0.93, 1.0, n), "{name}, {seeds} seeds: coverage {coverage}");
}

#[test]
fn a_go_holds_where_seeds_collapse() {
    for world in LOPSIDED {
        let LopsidedWorld { name, is_asked_for, .. } = world;
        let all = SEEDS.map(|seeds| figures(|index| world.of_seeds(seeds, -WORSE, index)));
        print(name, &all);
        for (seeds, figures) in SEEDS.into_iter().zip(&all) {
            if is_asked_for || seeds < ENOUGH {
                assert_holds(name, seeds, figures);
            }
        }
    }
}

/// Texts add an error of their own, which evens out some of what seeds do.
#[test]
fn a_go_holds_where_seeds_collapse_on_texts() {
    for world in
        LOPSIDED.into_iter().filter(|world| world.name.ends_with("pp, one arm") && world.is_asked_for)
    {
        let seeds = [5, 30];
        let all = seeds.map(|seeds| figures(|index| world.of_texts(&SST2, seeds, -WORSE, index)));
        let name = format!("{}, SST-2's texts, {seeds:?} seeds", world.name);
        print(&name, &all);
        seeds.into_iter().zip(&all).for_each(|(seeds, figures)| assert_holds(&name, seeds, figures));
    }
}

/// The calibration must be able to fail: what it finds of intervals alone, with few seeds, does not pass.
#[test]
fn intervals_of_few_seeds_do_not_hold_where_seeds_collapse() {
    let n = simulations();
    let collapsing =
        LOPSIDED.into_iter().find(|world| world.name == "1 in 10 falls by 10 pp, one arm").unwrap();
    for seeds in [5, 10, 15] {
        let found = figures(|index| collapsing.of_seeds(seeds, -WORSE, index));
        assert!(!passes(found.coverage, 0.93, 1.0, n), "{seeds} seeds: {found:?}");
        assert!(!passes(found.wrong_by_interval, 0.0, 1.0 - LEVEL, n), "{seeds} seeds: {found:?}");
    }
}
