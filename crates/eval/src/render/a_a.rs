//! Arms against themselves, for people.

use std::fmt;

use super::{
    document::{Column, Document, Table},
    verdicts::difference,
};
use crate::AaPair;

/// Arms with their pairs; shown as a table and a sentence that counts.
#[derive(Clone, Debug, PartialEq)]
pub struct AaReport {
    /// By arm.
    pub arms: Vec<(String, Vec<AaPair>)>,
}

impl AaReport {
    /// Pairs, and those with a wrong verdict.
    pub fn counts(&self) -> (usize, usize) {
        let pairs = || self.arms.iter().flat_map(|(_, pairs)| pairs);
        (pairs().count(), pairs().filter(|pair| pair.is_false()).count())
    }
}

impl AaReport {
    /// A table with a row per pair, and a sentence that counts.
    pub fn document(&self) -> Document {
        let columns = vec![
            Column::left("arm"),
            Column::left("seeds"),
            Column::left("against"),
            Column::right("difference (pp)"),
            Column::left("superiority"),
            Column::left("non-inferiority"),
        ];
        let rows = self.arms.iter().flat_map(|(arm, pairs)| pairs.iter().map(|pair| row(arm, pair)));
        let (pairs, wrong) = self.counts();
        let worse =
            self.arms.iter().flat_map(|(_, pairs)| pairs).filter(|pair| pair.is_called_worse()).count();
        let mut document = Document::default();
        document.table(Table { columns, rows: rows.collect() }).paragraph(format!(
            "{wrong} of {pairs} pairs have a wrong verdict (superiority GO or non-inferiority NO-GO). {worse} are \
             NO-GO for superiority, of which chance alone makes one in forty."
        ));
        document
    }
}

/// As a terminal shows it.
impl fmt::Display for AaReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.document().to_terminal().trim_end())
    }
}

fn row(arm: &str, pair: &AaPair) -> Vec<String> {
    let [first, second] = pair.seeds.each_ref().map(|seeds| seeds_words(seeds));
    vec![
        arm.to_owned(),
        first,
        second,
        difference(&pair.superiority),
        pair.superiority.verdict.to_string(),
        pair.non_inferiority.verdict.to_string(),
    ]
}

/// `0–4`, or each seed where they do not follow one another.
fn seeds_words(seeds: &[u64]) -> String {
    match seeds {
        [first, .., last] if last - first == seeds.len() as u64 - 1 => format!("{first}–{last}"),
        _ => seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(" "),
    }
}
