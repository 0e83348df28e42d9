//! Two systems of whatever tools, compared by their predictions alone.

use std::collections::{BTreeMap, BTreeSet};

use moelt_schema::{ClaimKind, CollapseRule, Comparison, Metric};
use serde::{Deserialize, Serialize};

use crate::{
    Bootstrap, Differences, Estimate, EvalError, Finding, Judgement, McNemar, POWER, PairedT, Power,
    PredictionFile, Scores, SeedTest, judge,
    report::compared::{a_margin_more, design},
    stats::metrics::macro_f1,
    verdict::unseen::to_spare,
};

/// A system: its predictions of the same examples, a file per seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct System {
    /// As it is called.
    pub name: String,
    /// A file per seed.
    pub files: Vec<PredictionFile>,
}

/// What is asked of two systems.
#[derive(Clone, Debug, PartialEq)]
pub struct SystemsQuestion {
    /// Accuracy or macro-F1.
    pub metric: Metric,
    /// What is claimed of the first one.
    pub claims: Vec<ClaimKind>,
    /// δ ≥ 0: 0.005 for half a percentage point.
    pub margin: f64,
    /// The chance at most of any wrong GO or NO-GO.
    pub alpha: f64,
    /// What a GO of several seeds must exclude.
    pub collapse: CollapseRule,
    /// How differences are resampled.
    pub bootstrap: Bootstrap,
}

/// Whether one system is better than another, or not worse.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SystemsReport {
    /// The first one, A.
    pub a: SystemScore,
    /// The second one, B.
    pub b: SystemScore,
    /// What they are compared by.
    pub metric: Metric,
    /// Examples that both predicted.
    pub examples: usize,
    /// Whether examples were paired by their ids. Else by their order.
    pub by_id: bool,
    /// Classes, as labels and predictions name them.
    pub classes: usize,
    /// What the interval knows of.
    pub over: IntervalOver,
    /// The claims in the order asked. All are read off one interval: when it holds the true difference, none is wrong.
    pub claims: Vec<JudgedClaim>,
    /// The paired t test over seeds, if there are several. It decides nothing.
    pub paired_t: Option<PairedT>,
    /// McNemar's test of the first files, of accuracy alone. It decides nothing.
    pub mcnemar: Option<SeedTest>,
}

/// How good a system is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SystemScore {
    /// The system.
    pub name: String,
    /// Its files.
    pub files: Vec<String>,
    /// The metric of each file, a fraction.
    pub values: Vec<f64>,
}

/// What an interval knows of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntervalOver {
    /// Other examples; the models are as given.
    Examples,
    /// Other examples and other seeds.
    SeedsAndExamples,
    /// Other seeds; the examples are as given.
    Seeds,
}

/// A claim with its verdict, and what could have been seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JudgedClaim {
    /// Difference, interval and verdict.
    pub judged: Judgement,
    /// Which gain could have been seen, and how many seeds would do; of one seed each that is not known.
    pub power: Power,
    /// Examples that let a true gain of one margin more than GO needs yield GO with probability [`POWER`], over as many seeds. None
    /// where these seeds forbid it, with a margin of 0, and where the interval knows of no examples.
    pub examples_needed: Option<usize>,
}

impl System {
    /// Compares this system (A) with another one (B): the first file of one with the first of the other, and so on.
    ///
    /// # Errors
    /// When the files are not of the same examples and labels or not as many on both sides, or the question has no answer.
    ///
    /// ```
    /// use moelt_eval::{Columns, PredictionFile, System, SystemsQuestion, Verdict};
    /// let system = |name: &str, right: usize| {
    ///     let line = |i: usize| format!("{i},spam,{}\n", if i < right { "spam" } else { "ham" });
    ///     let text = "id,label,prediction\n".to_owned() + &(0..500).map(line).collect::<String>();
    ///     let file = PredictionFile::read(&text, name, &Columns::default())?;
    ///     Ok::<System, moelt_eval::EvalError>(System { name: name.to_owned(), files: vec![file] })
    /// };
    /// let report = system("new.csv", 450)?.against(&system("old.csv", 400)?, &SystemsQuestion::default())?;
    /// assert_eq!(report.claims[0].judged.verdict, Verdict::Go);
    /// println!("{}", report.document().to_terminal());
    /// # Ok::<(), moelt_eval::EvalError>(())
    /// ```
    pub fn against(&self, other: &Self, question: &SystemsQuestion) -> Result<SystemsReport, EvalError> {
        let paired = Paired::of(self, other)?;
        let [a, b] = [0, 1].map(|side| paired.scores(side, question.metric));
        let (a, b) = (a?, b?);
        let differences = a.minus(&b)?;
        let one_seed = differences.n_seeds() == 1;
        let estimate = estimate(&differences, &question.bootstrap)?;
        // Of models as given nothing is claimed about how seeds fall.
        let rule = if one_seed { CollapseRule::OFF } else { question.collapse };
        let claim = |&kind| judge_claim(question, kind, [self, other], &differences, &estimate, &rule);
        Ok(SystemsReport {
            a: self.scored(&a),
            b: other.scored(&b),
            metric: question.metric,
            examples: paired.labels.len(),
            by_id: self.files[0].has_ids(),
            classes: paired.n_classes,
            over: IntervalOver::of(&differences),
            claims: question.claims.iter().map(claim).collect::<Result<_, _>>()?,
            paired_t: PairedT::of(&differences.per_seed(), 1.0 - question.alpha).ok(),
            mcnemar: (question.metric == Metric::Accuracy).then(|| first_pair(&a, &b)).flatten(),
        })
    }

    fn scored(&self, scores: &Scores) -> SystemScore {
        let files = self.files.iter().map(|file| file.name().to_owned()).collect();
        SystemScore { name: self.name.clone(), files, values: scores.per_seed() }
    }
}

/// Both claims on accuracy, with margin, alpha and rule of collapse of an ablation.
impl Default for SystemsQuestion {
    fn default() -> Self {
        Self {
            metric: Metric::Accuracy,
            claims: vec![ClaimKind::Superiority, ClaimKind::NonInferiority],
            margin: 0.005,
            alpha: 0.05,
            collapse: CollapseRule::default(),
            bootstrap: Bootstrap::default(),
        }
    }
}

impl IntervalOver {
    fn of(differences: &Differences) -> Self {
        match differences.n_seeds() {
            _ if differences.are_of_seeds() => Self::Seeds,
            1 => Self::Examples,
            _ => Self::SeedsAndExamples,
        }
    }
}

fn estimate(differences: &Differences, bootstrap: &Bootstrap) -> Result<Estimate, EvalError> {
    if differences.n_seeds() == 1 && !differences.are_of_seeds() {
        bootstrap.of_these_seeds(differences)
    } else {
        bootstrap.difference(differences)
    }
}

/// Each claim is a family of its own: both say nothing but where one interval lies.
fn judge_claim(
    question: &SystemsQuestion,
    kind: ClaimKind,
    [a, b]: [&System; 2],
    differences: &Differences,
    estimate: &Estimate,
    rule: &CollapseRule,
) -> Result<JudgedClaim, EvalError> {
    let name = format!("{} against {}", a.name, b.name);
    let declared = Comparison {
        family: name.clone(),
        name,
        metric: question.metric,
        arm: a.name.clone(),
        against: vec![b.name.clone()],
        kind,
        margin: question.margin,
        alpha: question.alpha,
    };
    let finding = Finding { estimate: Some(estimate.clone()), missing: Vec::new() };
    let judged = judge(&[(declared, finding)], rule)?.swap_remove(0);
    let (n_seeds, by_example) = (differences.n_seeds(), !differences.are_of_seeds());
    let power = Power::of(&judged, differences, estimate, rule);
    let spare = to_spare(&judged.declared, rule, n_seeds);
    let gain = a_margin_more(&judged.declared) - spare;
    let wanted = by_example && question.margin > 0.0;
    let examples_needed = wanted.then(|| design(&judged, differences, estimate).examples_needed(gain, POWER));
    let power = if n_seeds == 1 { Power { seeds_needed: None, ..power } } else { power };
    Ok(JudgedClaim { judged, power, examples_needed: examples_needed.flatten() })
}

fn first_pair(a: &Scores, b: &Scores) -> Option<SeedTest> {
    let (first, second) = a.rows().zip(b.rows()).next()?;
    Some(SeedTest { seed: 0, test: McNemar::of(first, second) })
}

/// Labels and predictions of both systems as numbers of classes, example by example.
struct Paired {
    labels: Vec<usize>,
    /// Of each system, of each seed.
    predictions: [Vec<Vec<usize>>; 2],
    n_classes: usize,
}

impl Paired {
    fn of(a: &System, b: &System) -> Result<Self, EvalError> {
        let (n, m) = (a.files.len(), b.files.len());
        if n != m {
            let message = format!(
                "{} has {n} file(s) and {} {m}; give both one for each seed, in the same order (a system that chance plays no \
                 part in: the same file again for every seed)",
                a.name, b.name
            );
            return Err(EvalError::Unpaired { message });
        }
        let first = a.files.first().ok_or(EvalError::TooFewSeeds { what: "the comparison", n })?;
        let ordered = |system: &System| -> Result<Vec<Vec<String>>, EvalError> {
            let words = |file: &PredictionFile| {
                check_classes(file)?;
                Ok(file.in_order_of(first)?.into_iter().map(str::to_owned).collect())
            };
            system.files.iter().map(words).collect()
        };
        Ok(Self::numbered(first, [ordered(a)?, ordered(b)?]))
    }

    fn numbered(first: &PredictionFile, words: [Vec<Vec<String>>; 2]) -> Self {
        let labels = first.rows().iter().map(|row| row.label.as_str());
        let all = labels.clone().chain(words.iter().flatten().flatten().map(String::as_str));
        let classes: BTreeSet<&str> = all.collect();
        let numbers: BTreeMap<&str, usize> =
            classes.into_iter().enumerate().map(|(number, class)| (class, number)).collect();
        let of_run = |run: &Vec<String>| run.iter().map(|class| numbers[class.as_str()]).collect();
        Self {
            labels: labels.map(|label| numbers[label]).collect(),
            predictions: words.each_ref().map(|runs| runs.iter().map(of_run).collect()),
            n_classes: numbers.len(),
        }
    }

    /// The scores of one side.
    fn scores(&self, side: usize, metric: Metric) -> Result<Scores, EvalError> {
        let runs = (0..).zip(&self.predictions[side]);
        let pairs = |run: &Vec<usize>| self.labels.iter().copied().zip(run.clone()).collect::<Vec<_>>();
        let right = |&(label, predicted): &(usize, usize)| f64::from(u8::from(label == predicted));
        match metric {
            Metric::Accuracy => {
                Scores::new(runs.map(|(seed, run)| (seed, pairs(run).iter().map(right).collect())))
            }
            Metric::MacroF1 => {
                Scores::of_seeds(runs.map(|(seed, run)| (seed, macro_f1(pairs(run), self.n_classes))))
            }
            other => Err(EvalError::NoValue {
                arm: other.to_string(),
                reason: "takes more than predicted classes: compare by accuracy or macro-F1",
            }),
        }
    }
}

/// Refuses predictions that name classes otherwise than labels do.
fn check_classes(file: &PredictionFile) -> Result<(), EvalError> {
    let labels: BTreeSet<&str> = file.rows().iter().map(|row| row.label.as_str()).collect();
    if file.rows().iter().any(|row| labels.contains(row.prediction.as_str())) {
        return Ok(());
    }
    let (first, label) = (&file.rows()[0], labels.first().copied().unwrap_or_default());
    let message = format!(
        "no prediction is one of the labels: `{}` here, and a label is `{label}`; name classes alike in both columns",
        first.prediction
    );
    Err(EvalError::Predictions { name: file.name().to_owned(), line: first.line, message })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Columns, Verdict};

    /// `n` seeds that get about `percent` of 600 examples right.
    fn system(name: &str, percent: usize, n: usize) -> System {
        let line = |seed: usize, i: usize| {
            let (label, other) = if i.is_multiple_of(2) { ("x", "y") } else { ("y", "x") };
            let is_right = (i * 389 + seed * 7 + i % 5 * seed) % 100 < percent;
            format!("{i},{label},{}\n", if is_right { label } else { other })
        };
        let file = |seed: usize| {
            let lines: String = (0..600).map(|i| line(seed, i)).collect();
            let (text, name) = (format!("id,label,prediction\n{lines}"), format!("{name}-{seed}.csv"));
            PredictionFile::read(&text, &name, &Columns::default()).unwrap()
        };
        System { name: name.to_owned(), files: (0..n).map(file).collect() }
    }

    fn compared(a: usize, b: usize, seeds: usize, question: &SystemsQuestion) -> SystemsReport {
        system("a", a, seeds).against(&system("b", b, seeds), question).unwrap()
    }

    fn verdicts(report: &SystemsReport) -> Vec<Verdict> {
        report.claims.iter().map(|claim| claim.judged.verdict).collect()
    }

    #[test]
    fn one_file_each_is_judged_over_examples() {
        let question = SystemsQuestion::default();
        let report = compared(90, 70, 1, &question);
        assert_eq!(verdicts(&report), [Verdict::Go; 2]);
        assert_eq!((report.over, report.classes, report.by_id), (IntervalOver::Examples, 2, true));
        assert_eq!((report.paired_t, report.claims[0].power.seeds_needed), (None, None));
        assert!(report.claims[0].examples_needed.unwrap() > 600);
        assert_eq!(verdicts(&compared(70, 90, 1, &question)), [Verdict::NoGo; 2]);
        assert_eq!(verdicts(&compared(81, 80, 1, &question)), [Verdict::Inconclusive, Verdict::Go]);
    }

    #[test]
    fn several_files_are_judged_over_seeds_too_and_by_the_rule_of_collapse() {
        let question = SystemsQuestion::default();
        let few = compared(84, 78, 3, &question);
        assert_eq!(verdicts(&few), [Verdict::Inconclusive; 2], "{few:?}");
        assert!(few.claims[0].judged.reason.ends_with("that takes 29 seeds"), "{few:?}");
        let by_interval = SystemsQuestion { collapse: CollapseRule::OFF, ..question };
        let report = compared(84, 78, 3, &by_interval);
        assert_eq!((report.over, verdicts(&report)[0]), (IntervalOver::SeedsAndExamples, Verdict::Go));
        assert!(report.paired_t.is_some() && report.mcnemar.is_some());
    }

    #[test]
    fn macro_f1_has_one_number_a_seed() {
        let question = SystemsQuestion {
            metric: Metric::MacroF1,
            collapse: CollapseRule::OFF,
            ..SystemsQuestion::default()
        };
        let report = compared(90, 70, 3, &question);
        assert_eq!((report.over, report.mcnemar), (IntervalOver::Seeds, None));
        assert!((report.a.values[0] - 0.9).abs() < 0.02 && report.claims[0].examples_needed.is_none());
        let one = system("a", 90, 1).against(&system("b", 70, 1), &question).unwrap_err().to_string();
        assert_eq!(one, "the comparison has 1 seed(s); a comparison needs at least 2");
    }

    #[test]
    fn sides_must_fit() {
        let refused =
            |a: &System, b: &System| a.against(b, &SystemsQuestion::default()).unwrap_err().to_string();
        let message = refused(&system("a", 80, 2), &system("b", 80, 3));
        assert!(message.starts_with("the arms cannot be paired: a has 2 file(s) and b 3; give"), "{message}");
        let text = "id,label,prediction\n1,0,no\n2,1,yes\n";
        let file = PredictionFile::read(text, "n.csv", &Columns::default()).unwrap();
        let other = System { name: "n".into(), files: vec![file] };
        let message = refused(&other, &system("b", 80, 1));
        assert!(message.starts_with("n.csv:2: no prediction is one of the labels: `no` here"), "{message}");
    }
}
