//! Two systems compared by their predictions, for people.

use moelt_schema::ClaimKind;

use super::{
    document::{Column, Document, Table},
    verdicts::{beside, gain, p_words, power_words},
};
use crate::{
    IntervalOver, JudgedClaim, Summary, SystemScore, SystemsReport, report::compared::a_margin_more,
};

impl SystemsReport {
    /// How good either system is, the verdict on each claim, what the interval knows of and what could have been seen.
    pub fn document(&self) -> Document {
        let mut document = Document::default();
        document.heading(1, format!("{} against {}", self.a.name, self.b.name));
        document.table(self.scores()).table(self.verdicts());
        document.list(self.claims.iter().map(|claim| self.reason(claim)));
        document.paragraph(self.scope());
        document
    }

    fn scores(&self) -> Table {
        let columns = vec![
            Column::left("system"),
            Column::right("seeds"),
            Column::right("examples"),
            Column::right(&format!("{} %", self.metric.name())),
        ];
        let row = |system: &SystemScore| {
            let mean = Summary::of(system.values.iter().copied()).map(|mean| mean.percent().to_string());
            let seeds = system.files.len().to_string();
            vec![system.name.clone(), seeds, self.examples.to_string(), mean.unwrap_or_default()]
        };
        Table { columns, rows: [&self.a, &self.b].map(row).into() }
    }

    fn verdicts(&self) -> Table {
        let columns = vec![
            Column::left("claim"),
            Column::right("gain"),
            Column::left("verdict"),
            Column::right("min. detectable effect"),
        ];
        let row = |claim: &JudgedClaim| {
            let detectable = claim.power.detectable.map(|gain| self.metric.shown(gain));
            vec![
                self.claimed(claim),
                gain(&claim.judged),
                claim.judged.verdict.to_string(),
                detectable.unwrap_or_else(|| "–".to_owned()),
            ]
        };
        Table { columns, rows: self.claims.iter().map(row).collect() }
    }

    /// `a is better than b by more than 0.50 pp`.
    fn claimed(&self, claim: &JudgedClaim) -> String {
        let declared = &claim.judged.declared;
        let margin = self.metric.shown(declared.margin);
        let is = match declared.kind {
            ClaimKind::Superiority => "better",
            ClaimKind::NonInferiority => "not worse",
        };
        let (a, b, margin) = (&self.a.name, &self.b.name, margin.trim_start_matches('+'));
        format!("{a} is {is} than {b} by more than {margin}")
    }

    fn reason(&self, claim: &JudgedClaim) -> String {
        let judged = &claim.judged;
        let because = format!("{}: {} ({})", judged.verdict, judged.reason, p_words(judged.p));
        let wanted = self.metric.shown(a_margin_more(&judged.declared));
        let power = match self.over {
            IntervalOver::Examples => format!(
                "On {} examples a true gain of {} yields GO four times in five at least",
                self.examples,
                claim.power.detectable.map_or("–".to_owned(), |gain| self.metric.shown(gain))
            ),
            IntervalOver::SeedsAndExamples | IntervalOver::Seeds => {
                power_words(&claim.power, judged, self.a.files.len())
            }
        };
        let examples = match (claim.examples_needed, self.over) {
            (Some(needed), IntervalOver::Examples) => {
                format!("; for one of {wanted} {needed} examples would do")
            }
            (Some(needed), _) => {
                format!(", and with these {} seeds {needed} examples would do", self.a.files.len())
            }
            (None, _) => String::new(),
        };
        format!("{because}. {power}{examples}.")
    }

    /// What the interval knows of, and what stands beside it.
    fn scope(&self) -> String {
        let level = self.claims.first().map_or(0.0, |claim| 100.0 * (1.0 - claim.judged.declared.alpha));
        let over = match self.over {
            IntervalOver::Examples => {
                "over examples alone: it is about these two models. What training again would give needs predictions of several \
                 seeds"
            }
            IntervalOver::SeedsAndExamples => "crossed over seeds and examples",
            IntervalOver::Seeds => "over seeds alone: this metric has one number a seed",
        };
        let paired =
            if self.by_id { "by id" } else { "in the order of the files, which have no column of ids" };
        let mut said = format!("Gain with its {level:.0} % interval, {over}. Examples are paired {paired}.");
        if let Some(t) = &self.paired_t {
            said += &format!(" {}.", beside(t, self.mcnemar));
        } else if let Some(mcnemar) = &self.mcnemar {
            let (own, others) = (mcnemar.test.first_only, mcnemar.test.second_only);
            said += &format!(" Beside it: McNemar {own} : {others}, {}.", p_words(mcnemar.test.p_exact));
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use moelt_schema::{Comparison, Metric};

    use super::*;
    use crate::{
        Interval, Judgement, McNemar, PairedT, Power, SeedTest, Verdict,
        render::{Block, Text},
    };

    /// Systems `new` and `old` with these values, one a seed.
    fn report(metric: Metric, over: IntervalOver, new: &[f64], old: &[f64]) -> SystemsReport {
        let score = |name: &str, values: &[f64]| SystemScore {
            name: name.into(),
            files: (0..values.len()).map(|seed| format!("{name}-{seed}.csv")).collect(),
            values: values.to_vec(),
        };
        SystemsReport {
            a: score("new", new),
            b: score("old", old),
            metric,
            examples: 200,
            by_id: true,
            classes: 2,
            over,
            claims: Vec::new(),
            paired_t: None,
            mcnemar: None,
        }
    }

    /// That `new` is better (or not worse) by more than half a point: a gain of ten points.
    fn claim(kind: ClaimKind, metric: Metric, verdict: Verdict, p: f64) -> JudgedClaim {
        let declared = Comparison {
            name: "new against old".into(),
            metric,
            arm: "new".into(),
            against: vec!["old".into()],
            kind,
            margin: 0.005,
            alpha: 0.05,
            family: "new against old".into(),
        };
        let judged = Judgement {
            declared,
            family_size: 1,
            difference: Some(0.1),
            standard_error: Some(0.028),
            interval: Some(Interval { level: 0.95, lower: 0.045, upper: 0.155 }),
            p,
            p_adjusted: p,
            unseen: None,
            verdict,
            reason: "that is why".into(),
            missing: Vec::new(),
        };
        let power = Power { detectable: Some(0.0832), seeds_needed: None };
        JudgedClaim { judged, power, examples_needed: None }
    }

    const DISAGREEMENT: McNemar = McNemar { first_only: 30, second_only: 10, p_exact: 0.002, p_mid: 0.0018 };

    type Rows = Vec<Vec<String>>;

    /// Rows of both tables, the reasons and what stands below.
    fn parts(report: &SystemsReport) -> (Rows, Rows, Vec<String>, String) {
        let document = report.document();
        let [
            Block::Heading { level: 1, text },
            Block::Table(scores),
            Block::Table(verdicts),
            Block::List(reasons),
            Block::Paragraph(scope),
        ] = document.blocks.as_slice()
        else {
            panic!("{document:?}")
        };
        assert_eq!(text, &Text::from("new against old"));
        let reasons = reasons.iter().map(|reason| reason.text.words()).collect();
        (scores.rows.clone(), verdicts.rows.clone(), reasons, scope.words())
    }

    #[test]
    fn one_file_each_is_about_two_models() {
        let metric = Metric::Accuracy;
        let better = claim(ClaimKind::Superiority, metric, Verdict::Go, 0.0004);
        let no_worse = claim(ClaimKind::NonInferiority, metric, Verdict::Inconclusive, 0.04);
        let report = SystemsReport {
            claims: vec![JudgedClaim { examples_needed: Some(1234), ..better }, no_worse],
            mcnemar: Some(SeedTest { seed: 0, test: DISAGREEMENT }),
            ..report(metric, IntervalOver::Examples, &[0.9], &[0.8])
        };
        let (scores, verdicts, reasons, scope) = parts(&report);
        assert_eq!(scores, [["new", "1", "200", "90.00"], ["old", "1", "200", "80.00"]]);
        let gain = "+10.00 [+4.50, +15.50] pp";
        assert_eq!(
            verdicts,
            [
                ["new is better than old by more than 0.50 pp", gain, "GO", "+8.32 pp"],
                ["new is not worse than old by more than 0.50 pp", gain, "INCONCLUSIVE", "+8.32 pp"],
            ]
        );
        let seen = "On 200 examples a true gain of +8.32 pp yields GO four times in five at least";
        assert_eq!(
            reasons,
            [
                format!("GO: that is why (p < 0.001). {seen}; for one of +1.00 pp 1234 examples would do."),
                format!("INCONCLUSIVE: that is why (p 0.040). {seen}."),
            ]
        );
        assert_eq!(
            scope,
            "Gain with its 95 % interval, over examples alone: it is about these two models. What training again would give needs \
             predictions of several seeds. Examples are paired by id. Beside it: McNemar 30 : 10, p 0.002."
        );
    }

    #[test]
    fn several_files_say_what_more_seeds_or_examples_would_show() {
        let claim = claim(ClaimKind::Superiority, Metric::Accuracy, Verdict::Inconclusive, 0.04);
        let power = Power { detectable: Some(0.012), seeds_needed: Some(9) };
        let interval = Interval { level: 0.95, lower: -0.01, upper: 0.03 };
        let differences = Summary { n: 3, mean: 0.01, sd: Some(0.01) };
        let report = SystemsReport {
            claims: vec![JudgedClaim { power, examples_needed: Some(5000), ..claim }],
            by_id: false,
            paired_t: Some(PairedT { differences, freedom: 2, t: Some(1.73), p: Some(0.2254), interval }),
            mcnemar: Some(SeedTest { seed: 0, test: DISAGREEMENT }),
            ..report(Metric::Accuracy, IntervalOver::SeedsAndExamples, &[0.90, 0.91, 0.92], &[0.90; 3])
        };
        let (scores, _, reasons, scope) = parts(&report);
        assert_eq!(scores, [["new", "3", "200", "91.00 ± 1.00"], ["old", "3", "200", "90.00 ± 0.00"]]);
        assert_eq!(
            reasons,
            [
                "INCONCLUSIVE: that is why (p 0.040). With 3 seeds a true gain of +1.20 pp yields GO four times in five at least; for one of \
              +1.00 pp 9 seeds would do, and with these 3 seeds 5000 examples would do."
            ]
        );
        assert_eq!(
            scope,
            "Gain with its 95 % interval, crossed over seeds and examples. Examples are paired in the order of the files, which have no \
             column of ids. Beside it: paired t over seeds p 0.225; McNemar on seed 0 30 : 10, p 0.002."
        );
    }

    #[test]
    fn a_metric_of_seeds_knows_nothing_of_examples() {
        let metric = Metric::MacroF1;
        let interval = Interval { level: 0.95, lower: 0.1, upper: 0.1 };
        let differences = Summary { n: 2, mean: 0.1, sd: Some(0.0) };
        let report = SystemsReport {
            claims: vec![claim(ClaimKind::Superiority, metric, Verdict::Go, 0.01)],
            paired_t: Some(PairedT { differences, freedom: 1, t: None, p: None, interval }),
            ..report(metric, IntervalOver::Seeds, &[0.9; 2], &[0.8; 2])
        };
        let (.., reasons, scope) = parts(&report);
        assert!(report.document().to_markdown().contains("macro-F1 % |"));
        assert_eq!(
            reasons,
            [
                "GO: that is why (p 0.010). With 2 seeds a true gain of +8.32 pp yields GO four times in five at least; for one of +1.00 pp \
              no number of seeds would do on these examples."
            ]
        );
        assert_eq!(
            scope,
            "Gain with its 95 % interval, over seeds alone: this metric has one number a seed. Examples are paired by id. Beside it: \
             paired t over seeds the same in every seed."
        );
    }
}
