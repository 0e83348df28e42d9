//! What may have been meant by a key that no config has.

use std::collections::BTreeSet;

/// Bytes of a key beyond which none is looked for: no known one is nearly as long, and comparing takes time.
const LONGEST: usize = 200;

/// The key among `known` that is most like `key`: its last part is a few typing errors away or has all words of that of `key`, and
/// the two have most words in common.
///
/// Keys are dotted, and words are what stands between `.` and `_`: for `model.routing.top_k.k` that is `model.top_k`, which has
/// `k` and three of the four words.
pub(super) fn meant<'a>(key: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if key.len() > LONGEST {
        return None;
    }
    let asked = last(key);
    let is_like = |known: &&str| {
        let known = last(known);
        strsim::osa_distance(asked, known) <= asked.chars().count() / 3
            || words(asked).is_subset(&words(known))
    };
    let in_common = |known: &str| {
        let (one, other) = (words(key), words(known));
        one.intersection(&other).count() as f64 / one.union(&other).count() as f64
    };
    known.into_iter().filter(is_like).max_by(|one, other| {
        let by_spelling = || strsim::osa_distance(key, other).cmp(&strsim::osa_distance(key, one));
        in_common(one).total_cmp(&in_common(other)).then_with(by_spelling)
    })
}

fn last(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

fn words(key: &str) -> BTreeSet<&str> {
    key.split(['.', '_']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_meant_by_its_spelling_or_its_words() {
        let known = [
            "model.d_ff",
            "model.d_model",
            "model.routing.top_k.n_experts",
            "model.top_k",
            "optim.lr",
            "train.budget.epochs",
        ];
        for (key, expected) in [
            ("model.routing.top_k.k", Some("model.top_k")),
            ("model.d_modle", Some("model.d_model")),
            ("model.D_FF", None),
            ("train.lr", Some("optim.lr")),
            ("n_experts", Some("model.routing.top_k.n_experts")),
            ("train.epoch", Some("train.budget.epochs")),
            ("optim.momentum", None),
        ] {
            assert_eq!(meant(key, known), expected, "{key}");
        }
        assert_eq!(meant(&format!("{}.top_k", "model.".repeat(40)), known), None, "too long to be meant");
    }
}
