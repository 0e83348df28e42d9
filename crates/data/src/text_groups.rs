//! Which group a text belongs to: naive Bayes over character n-grams, for groups that are known and for groups that
//! are found.
//!
//! Every group is a multinomial over the [`MAX_GRAMS`] n-grams of one to three characters that the training texts hold
//! most often. With `c` of the n-gram's occurrences in the group, `C` occurrences of all n-grams there and `b` the
//! n-gram's share of all occurrences, whatever the group,
//!
//! `p(n-gram | group) = (c + SMOOTHING · b) / (C + SMOOTHING)`, `p(group) = its share of the training texts`,
//!
//! and a text belongs to the group with the greatest `ln p(group) + Σ ln p(n-gram | group)`. Other n-grams say nothing.
//! What is kept are the counts, which are whole numbers: they read back exactly, and everything else follows from them.
//!
//! - `grams.rs` cuts a text into n-grams,
//! - `scores.rs` turns counts into log-probabilities,
//! - `clusters.rs` finds groups,
//! - `file.rs` is the form on disk.

mod clusters;
mod file;
mod grams;
mod scores;

use moelt_schema::{Digest, Streams};
use serde::{Deserialize, Serialize};

use self::{
    file::GroupsFile,
    grams::GramTable,
    scores::{Counts, Scores},
};

pub use self::file::{TEXT_GROUPS_FORMAT, TextGroupsError};

/// N-grams that are told apart, at most.
const MAX_GRAMS: usize = 4096;

/// Which group a text belongs to, by its character n-grams.
///
/// Two kinds of groups: domains that the training texts name ([`Self::named`]), and clusters of alike texts
/// ([`Self::clustered`]). Case and Unicode form do not count. A text whose every token is one character
/// (`t h e _ c a t`) is read as the text that it spells, `_` being the blank.
///
/// ```
/// use moelt_data::TextGroups;
/// let texts = ["the film", "that thing", "der film", "oder wieder"];
/// let groups = TextGroups::named(&texts, &[0, 0, 1, 1], 2);
/// assert_eq!(groups.group_of("The other theme"), 0);
/// assert_eq!(groups.group_of("w i e d e r _ d e r"), 1);
/// assert_eq!(groups.ranked("w i e d e r _ d e r"), [1, 0]);
/// assert_eq!(TextGroups::from_json(&groups.to_json()).unwrap(), groups);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "GroupsFile", into = "GroupsFile")]
pub struct TextGroups {
    grams: GramTable,
    counts: Counts,
    scores: Scores,
}

impl TextGroups {
    /// Balanced clusters of alike texts: at fitting none holds more than one and a half times its equal share. A pure
    /// function of texts, number and seed. How they are found stands in `clusters.rs`.
    ///
    /// A new text belongs to its nearest cluster, however full (c-BTM, [Gururangan et al.
    /// 2023](https://arxiv.org/abs/2303.14177), does the same with k-means over tf-idf vectors), so new texts may be less
    /// balanced. Clusters may be empty, and with fewer texts than clusters some are.
    ///
    /// # Panics
    /// When `n_groups` is 0.
    pub fn clustered(texts: &[&str], n_groups: usize, seed: u64) -> Self {
        assert!(n_groups > 0, "there must be one group at least");
        let (grams, texts) = GramTable::of_texts(texts);
        let groups = clusters::find(&texts, grams.len(), n_groups, &Streams::new(seed));
        Self::of_counts(grams, &texts, &groups, n_groups)
    }

    /// One group per domain (naive Bayes): `groups[i]` is the group of text `i`. A group without texts is never chosen,
    /// unless no group has any.
    ///
    /// # Panics
    /// When `n_groups` is 0, a group is not below it, or texts and groups are not equally many.
    pub fn named(texts: &[&str], groups: &[u32], n_groups: usize) -> Self {
        assert!(n_groups > 0, "there must be one group at least");
        assert_eq!(texts.len(), groups.len(), "every text needs a group");
        let outside = groups.iter().find(|&&group| group as usize >= n_groups);
        if let Some(group) = outside {
            panic!("group {group} of {n_groups}");
        }
        let (grams, texts) = GramTable::of_texts(texts);
        Self::of_counts(grams, &texts, groups, n_groups)
    }

    fn of_counts(grams: GramTable, texts: &[Vec<u16>], groups: &[u32], n_groups: usize) -> Self {
        let counts = Counts::of(texts, groups, grams.len(), n_groups);
        let scores = Scores::with_shares(&counts);
        Self { grams, counts, scores }
    }

    /// How many groups there are, empty ones included.
    pub fn n_groups(&self) -> usize {
        self.counts.texts.len()
    }

    /// Training texts per group.
    pub fn sizes(&self) -> &[u64] {
        &self.counts.texts
    }

    /// The most probable group, below [`Self::n_groups`]; the lower one on a tie. Of a text without a known n-gram, the
    /// group with the most training texts.
    pub fn group_of(&self, text: &str) -> u32 {
        self.scores.best(&self.grams.encode(text))
    }

    /// All groups, the most probable first; the lower one first on a tie.
    pub fn ranked(&self, text: &str) -> Vec<u32> {
        let mut scores = Vec::new();
        self.scores.of(&self.grams.encode(text), &mut scores);
        let mut groups: Vec<u32> = (0..scores.len() as u32).collect();
        groups.sort_by(|a, b| scores[*b as usize].total_cmp(&scores[*a as usize]));
        groups
    }

    /// Hash of everything that [`Self::group_of`] depends on.
    pub fn digest(&self) -> Digest {
        Digest::of_json(self)
    }

    /// The groups as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("n-grams and numbers always serialise")
    }

    /// Reads what [`Self::to_json`] wrote.
    ///
    /// # Errors
    /// When it is not JSON, of another format version, or not what texts can have counted to; the message names the
    /// key.
    pub fn from_json(json: &str) -> Result<Self, TextGroupsError> {
        file::read(json)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Two languages of four words each, two words per text.
    fn planted() -> (Vec<String>, Vec<u32>) {
        let words = [["the", "other", "thing", "with"], ["der", "wieder", "nicht", "zwar"]];
        let text = |i: usize| format!("{} {}", words[i % 2][i / 2 % 4], words[i % 2][i / 8 % 4]);
        ((0..64).map(text).collect(), (0..64).map(|i| i % 2).collect())
    }

    fn texts(texts: &[String]) -> Vec<&str> {
        texts.iter().map(String::as_str).collect()
    }

    #[test]
    fn named_and_clustered_groups_are_the_languages() {
        let (owned, languages) = planted();
        let groups_of =
            |groups: &TextGroups| -> Vec<u32> { owned.iter().map(|text| groups.group_of(text)).collect() };
        assert_eq!(groups_of(&TextGroups::named(&texts(&owned), &languages, 2)), languages);
        let clustered = TextGroups::clustered(&texts(&owned), 2, 7);
        let first = clustered.group_of(&owned[0]);
        assert_eq!(
            groups_of(&clustered),
            languages.iter().map(|language| language ^ first).collect::<Vec<_>>()
        );
        assert_eq!((clustered.n_groups(), clustered.sizes()), (2, &[32, 32][..]));
    }

    #[test]
    fn clusters_depend_on_texts_number_and_seed_alone() {
        let (owned, _) = planted();
        let json = |n_groups, seed| TextGroups::clustered(&texts(&owned), n_groups, seed).to_json();
        assert_eq!(json(5, 1), json(5, 1));
        assert_ne!(json(5, 1), json(5, 2));
        assert_ne!(json(5, 1), json(6, 1));
    }

    #[test]
    fn case_and_spelling_do_not_count() {
        let (owned, languages) = planted();
        let groups = TextGroups::named(&texts(&owned), &languages, 2);
        for form in ["NICHT  zwar", "n i c h t _ z w a r", "ｎｉｃｈｔ zwar"] {
            assert_eq!(groups.group_of(form), 1, "{form}");
        }
    }

    #[test]
    #[should_panic(expected = "group 2 of 2")]
    fn a_group_beyond_the_last_is_a_mistake() {
        TextGroups::named(&["a"], &[2], 2);
    }

    proptest! {
        #[test]
        fn any_texts_have_balanced_groups_that_read_back(
            owned in prop::collection::vec("[ab_ ]{0,4}|\\PC{0,12}", 0..20),
            unseen in ".{0,12}", n_groups in 1usize..9, seed: u64,
        ) {
            let groups = TextGroups::clustered(&texts(&owned), n_groups, seed);
            prop_assert_eq!(groups.sizes().iter().sum::<u64>(), owned.len() as u64);
            prop_assert!(groups.sizes().iter().all(|&size| size as usize <= (owned.len() * 3).div_ceil(n_groups * 2)));
            prop_assert!((groups.group_of(&unseen) as usize) < n_groups);
            let again = TextGroups::from_json(&groups.to_json()).unwrap();
            prop_assert_eq!(again.digest(), groups.digest());
            prop_assert_eq!(again, groups);
        }
    }
}
