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
            (Some(needed), _) => format!(", and with as many seeds {needed} examples would do"),
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
