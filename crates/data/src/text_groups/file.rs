//! Groups as they lie on disk: counts, from which everything else follows.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use super::{
    TextGroups,
    grams::GramTable,
    scores::{Counts, Scores},
};

/// Version of the JSON of [`TextGroups`]. A reader refuses every other.
pub const TEXT_GROUPS_FORMAT: u32 = 1;

/// Why groups cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TextGroupsError {
    /// Not the JSON of groups.
    #[error("not text groups: {0}")]
    Json(#[from] serde_path_to_error::Error<serde_json::Error>),
    /// Something after the groups.
    #[error("not text groups: {0}")]
    Rest(serde_json::Error),
}

/// The groups as they lie on disk.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupsFile {
    format: u32,
    /// Training texts of each group.
    texts: Vec<u64>,
    /// N-grams, the most frequent first.
    grams: Vec<String>,
    /// Occurrences of each n-gram in each group.
    counts: Vec<Vec<u64>>,
}

pub(super) fn read(json: &str) -> Result<TextGroups, TextGroupsError> {
    let mut json = serde_json::Deserializer::from_str(json);
    let groups = serde_path_to_error::deserialize(&mut json)?;
    json.end().map_err(TextGroupsError::Rest)?;
    Ok(groups)
}

impl From<TextGroups> for GroupsFile {
    fn from(groups: TextGroups) -> Self {
        let counts = groups.counts.grams.chunks(groups.n_groups()).map(<[u64]>::to_vec).collect();
        let grams = groups.grams.names().to_vec();
        Self { format: TEXT_GROUPS_FORMAT, texts: groups.counts.texts, grams, counts }
    }
}

impl TryFrom<GroupsFile> for TextGroups {
    type Error = String;

    fn try_from(file: GroupsFile) -> Result<Self, String> {
        file.check()?;
        let grams = GramTable::of_names(file.grams)?;
        let counts = Counts { texts: file.texts, grams: file.counts.concat() };
        Ok(Self { grams, scores: Scores::with_shares(&counts), counts })
    }
}

impl GroupsFile {
    /// Refuses what no texts can have counted to.
    fn check(&self) -> Result<(), String> {
        if self.format != TEXT_GROUPS_FORMAT {
            return Err(format!("`format`: {}; this moelt reads format {TEXT_GROUPS_FORMAT}", self.format));
        }
        if self.texts.is_empty() {
            return Err("`texts`: there must be one group at least".to_owned());
        }
        let (grams, rows) = (self.grams.len(), self.counts.len());
        if grams != rows {
            return Err(format!("`counts`: has {rows} rows for {grams} n-grams"));
        }
        sum(&self.texts).ok_or("`texts`: the sum is too large")?;
        let totals = self.counts.iter().enumerate().map(|(row, counts)| self.total(row, counts));
        let totals: Vec<u64> = totals.collect::<Result<_, _>>()?;
        sum(&totals).ok_or("`counts`: the sum is too large")?;
        let places: Vec<_> = totals.into_iter().map(Reverse).zip(&self.grams).collect();
        match places.windows(2).position(|pair| pair[0] >= pair[1]) {
            Some(row) => {
                Err(format!("`grams[{}]`: out of order; the most frequent come first, each once", row + 1))
            }
            None => Ok(()),
        }
    }

    /// Occurrences of the n-gram with number `row`.
    fn total(&self, row: usize, counts: &[u64]) -> Result<u64, String> {
        let wrong = |message: String| format!("`counts[{row}]`: {message}");
        if counts.len() != self.texts.len() {
            return Err(wrong(format!("has {} counts for {} groups", counts.len(), self.texts.len())));
        }
        if let Some(group) =
            counts.iter().zip(&self.texts).position(|(&count, &texts)| count > 0 && texts == 0)
        {
            return Err(wrong(format!("group {group} has no texts, but {} occurrences", counts[group])));
        }
        match sum(counts) {
            None => Err(wrong("the sum is too large".to_owned())),
            Some(0) => Err(wrong("no group has the n-gram".to_owned())),
            Some(total) => Ok(total),
        }
    }
}

/// The sum, where a 64-bit float is sure to hold it exactly.
fn sum(counts: &[u64]) -> Option<u64> {
    let sum = counts.iter().try_fold(0_u64, |sum, &count| sum.checked_add(count))?;
    (sum <= 1 << f64::MANTISSA_DIGITS).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a` in group 0, `b` twice in group 1.
    fn groups() -> TextGroups {
        TextGroups::named(&["a", "b", "b"], &[0, 1, 1], 2)
    }

    fn message(json: &str) -> String {
        read(json).unwrap_err().to_string()
    }

    #[test]
    fn the_file_holds_counts() {
        let json = groups().to_json();
        let expected = r#"{"format":1,"texts":[1,2],"grams":[" "," b"," b ","b","b "," a"," a ","a","a "],"#;
        assert!(json.starts_with(expected), "{json}");
        assert!(
            json.ends_with(r#""counts":[[2,4],[0,2],[0,2],[0,2],[0,2],[1,0],[1,0],[1,0],[1,0]]}"#),
            "{json}"
        );
        assert_eq!(read(&json).unwrap(), groups());
    }

    #[test]
    fn altered_files_are_refused_with_key_and_reason() {
        let json = groups().to_json();
        let changes = [
            ("\"format\":1", "\"format\":9", "`format`: 9; this moelt reads format 1"),
            ("\"format\":1", "\"format\":1,\"x\":1", "unknown field `x`"),
            ("[1,2]", "[]", "`texts`: there must be one group at least"),
            ("[1,2]", "[1]", "`counts[0]`: has 2 counts for 1 groups"),
            ("[1,2]", "[0,2]", "`counts[0]`: group 0 has no texts, but 2 occurrences"),
            ("[1,2]", "[1,18446744073709551615]", "`texts`: the sum is too large"),
            ("[1,2]", "[1,-2]", "texts[1]: invalid value: integer `-2`"),
            ("\" \"", "\"\"", "`grams[0]`: must have 1 to 3 characters"),
            ("\"a \"]", "\"a bc\"]", "`grams[8]`: must have 1 to 3 characters"),
            ("\"a \"]", "\"a\"]", "`grams[8]`: out of order"),
            ("\"a \"]", "\"a \",\"c\"]", "`counts`: has 9 rows for 10 n-grams"),
            ("[1,0]]", "[0,0]]", "`counts[8]`: no group has the n-gram"),
            ("[1,0]]", "[9,0]]", "`grams[8]`: out of order"),
            ("[2,4]", "[9007199254740992,4]", "`counts[0]`: the sum is too large"),
            ("[2,4]", "[9007199254740990,2]", "`counts`: the sum is too large"),
            ("[2,4]", "[2,4.5]", "counts[0][1]: invalid type: floating point `4.5`"),
        ];
        for (old, new, expected) in changes {
            assert!(json.contains(old), "{old}");
            let found = message(&json.replacen(old, new, 1));
            assert!(found.contains(expected), "{new}: {found}");
        }
        assert!(message(&format!("{json} 1")).contains("trailing characters"));
        assert!(message("").starts_with("not text groups"));
    }

    #[test]
    fn more_n_grams_than_a_table_has_are_refused() {
        let gram = |i: u32| format!("\"{}\"", char::from_u32(0x4e00 + i).unwrap());
        let grams: Vec<String> = (0..4097).map(gram).collect();
        let json = format!(
            r#"{{"format":1,"texts":[1],"grams":[{}],"counts":[{}]}}"#,
            grams.join(","),
            ["[1]"; 4097].join(",")
        );
        assert!(message(&json).contains("`grams`: 4097 n-grams; at most 4096 are possible"));
    }
}
