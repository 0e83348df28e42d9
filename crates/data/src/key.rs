//! When two texts count as one.

use moelt_schema::TextConfig;

use crate::{Example, tokenize};

/// What identifies a text wherever texts are compared: its tokens after the cut at `config.max_tokens`, without
/// regard to case, joined by blanks, which no token contains.
///
/// A model reads tokens, so texts with the same tokens are one text to it, however they are written: in other
/// blanks, in another Unicode form, with another tail after the cut. Case never counts, not even with
/// `text.lowercase = false`, where it makes other tokens: `GOOD` on one side of a split still gives `good` on the
/// other away. Upper case first, so that `ß` and `SS` are the same.
pub(crate) fn key(text: &str, config: &TextConfig) -> String {
    let tokens: Vec<String> = tokenize(text, config).iter().map(|token| fold(token)).collect();
    tokens.join(" ")
}

/// The keys of some examples, in their order.
pub(crate) fn keys(examples: &[Example], config: &TextConfig) -> Vec<String> {
    examples.iter().map(|example| key(&example.text, config)).collect()
}

fn fold(token: &str) -> String {
    token.to_uppercase().to_lowercase()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Ways to write a text that no model should tell apart.
    pub(crate) fn forms(text: &str) -> [String; 6] {
        use unicode_normalization::UnicodeNormalization;
        let wide = |c: char| match c {
            ' ' => '\u{3000}',
            '!'..='~' => char::from_u32(c as u32 + 0xfee0).unwrap(),
            other => other,
        };
        [
            text.to_uppercase(),
            text.replace(' ', "  "),
            text.replace(' ', "\t"),
            text.chars().map(wide).collect(),
            text.nfd().collect(),
            text.nfc().collect(),
        ]
    }

    #[test]
    fn forms_of_a_text_have_its_key() {
        let text = "the café isn't très «naïve», mr. straße";
        for lowercase in [true, false] {
            let config = TextConfig { lowercase, ..TextConfig::default() };
            for form in forms(text) {
                assert_eq!(key(&form, &config), key(text, &config), "{form}");
            }
        }
        let config = TextConfig::default();
        assert_ne!(key("a b", &config), key("ab", &config));
        assert_eq!(key("it’s (so)", &config), key("it 's -LRB- so -rrb-", &config));
    }

    #[test]
    fn what_comes_after_the_cut_does_not_count() {
        let config = TextConfig { max_tokens: 2, ..TextConfig::default() };
        assert_eq!(key("a good film", &config), key("A good play", &config));
        assert_ne!(key("a good", &config), key("a", &config));
    }

    proptest! {
        #[test]
        fn equal_tokens_make_equal_keys_and_keys_tell_the_rest_apart(
            one in "\\PC{0,12}", other in "\\PC{0,12}", lowercase: bool, max_tokens in 1usize..4,
        ) {
            let config = TextConfig { lowercase, max_tokens, ..TextConfig::default() };
            for form in forms(&one).iter().chain([&other]) {
                let same = tokenize(&one, &config) == tokenize(form, &config);
                prop_assert!(!same || key(&one, &config) == key(form, &config), "{form}");
            }
            let folded = |text: &str| -> Vec<String> { tokenize(text, &config).iter().map(|t| fold(t)).collect() };
            prop_assert_eq!(folded(&one) == folded(&other), key(&one, &config) == key(&other, &config));
        }
    }
}
