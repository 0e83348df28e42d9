//! Parts of words, so that rare and new words share something with known ones.

use moelt_schema::SubwordConfig;

/// The parts of a word, in the order they are used: prefixes (longest first), suffix, hyphen parts.
///
/// A part is written with its kind, `prefix un`, so that it is never taken for the word `un`, which
/// has no blank. A prefix may be the whole word, so
/// that `good` shares a row with `goodness`; a suffix is shorter than the word. A part that occurs twice is given once.
pub(crate) fn parts(word: &str, config: &SubwordConfig) -> Vec<String> {
    if config.prefixes.is_empty() && config.suffix == 0 && !config.hyphen_parts {
        return Vec::new();
    }
    let n_chars = word.chars().count();
    let mut lengths: Vec<usize> =
        config.prefixes.iter().copied().filter(|&n| 0 < n && n <= n_chars).collect();
    lengths.sort_unstable_by(|a, b| b.cmp(a));
    let mut parts: Vec<String> =
        lengths.iter().map(|&n| format!("prefix {}", &word[..byte_at(word, n)])).collect();
    if 0 < config.suffix && config.suffix < n_chars {
        parts.push(format!("suffix {}", &word[byte_at(word, n_chars - config.suffix)..]));
    }
    if config.hyphen_parts && word.contains('-') {
        parts.extend(word.split('-').filter(|part| !part.is_empty()).map(|part| format!("part {part}")));
    }
    let all = parts.clone();
    let mut place = 0..;
    parts.retain(|part| place.next().is_some_and(|i: usize| !all[..i].contains(part)));
    parts
}

/// Byte position of the character with number `n`.
fn byte_at(word: &str, n: usize) -> usize {
    word.char_indices().nth(n).map_or(word.len(), |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> SubwordConfig {
        SubwordConfig { prefixes: vec![4, 6, 5], suffix: 3, hyphen_parts: true, ..SubwordConfig::default() }
    }

    #[test]
    fn prefixes_suffix_and_hyphen_parts_in_order() {
        assert_eq!(
            parts("wonderful", &config()),
            ["prefix wonder", "prefix wonde", "prefix wond", "suffix ful"]
        );
        assert_eq!(parts("so-so", &config()), ["prefix so-so", "prefix so-s", "suffix -so", "part so"]);
        assert_eq!(parts("anti-", &config()), ["prefix anti-", "prefix anti", "suffix ti-", "part anti"]);
    }

    #[test]
    fn a_prefix_may_be_the_whole_word_a_suffix_may_not() {
        assert_eq!(parts("good", &config()), ["prefix good", "suffix ood"]);
        assert!(parts("bad", &config()).is_empty());
        assert!(parts("--", &config()).is_empty());
    }

    #[test]
    fn lengths_are_characters() {
        assert_eq!(parts("éééé", &config()), ["prefix éééé", "suffix ééé"]);
        assert_eq!(parts("ééééé", &config()), ["prefix ééééé", "prefix éééé", "suffix ééé"]);
    }

    #[test]
    fn nothing_without_being_asked() {
        assert!(parts("well-made", &SubwordConfig::default()).is_empty());
    }
}
