//! Arms against themselves, for people.

use std::fmt;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use crate::{AaPair, render::verdicts::difference};

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

impl fmt::Display for AaReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table
            .load_style(presets::UTF8_FULL_CONDENSED)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_header(["arm", "seeds", "against", "difference (pp)", "superiority", "non-inferiority"]);
        table.column_mut(3).into_iter().for_each(|column| column.set_cell_alignment(CellAlignment::Right));
        table.add_rows(self.arms.iter().flat_map(|(arm, pairs)| pairs.iter().map(|pair| row(arm, pair))));
        let (pairs, wrong) = self.counts();
        let worse =
            self.arms.iter().flat_map(|(_, pairs)| pairs).filter(|pair| pair.is_called_worse()).count();
        write!(
            f,
            "{table}\n{wrong} of {pairs} pairs have a wrong verdict (superiority GO or non-inferiority NO-GO). \
             {worse} are NO-GO for superiority, of which chance alone makes one in forty."
        )
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
