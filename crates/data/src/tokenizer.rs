//! Where one token ends and the next begins.
//!
//! Texts that come tokenised (SST-2: `it 's`, `do n't`, `mr.`, `k-19`, `...`) pass as they stand; raw text
//! is brought to the same form. First, characters that Unicode writes in several ways become one (NFKC: full-width
//! `ＡＢＣ` is `ABC`, a letter and its accent are the accented letter, `…` is `...`), and then lower case. The
//! rule, for each piece between blanks:
//!
//! 1. Treebank escapes are undone: `-lrb-` is `(`, `\/` is `/`; a curly apostrophe becomes a straight one.
//! 2. A piece of punctuation alone is one token.
//! 3. Punctuation at the edges is split off, a run of one character being one token, until nothing is
//!    left to split. Hyphens stay, and so do the period of `mr.` and `u.s.` ([`WITH_PUNCTUATION`]) and the
//!    apostrophe of `'60s`. Punctuation inside a word stays: `1.8`, `and/or`.
//! 4. A clitic ([`CLITICS`]) becomes a token of its own: `don't` is `do n't`, `it's` is `it 's`.

use std::borrow::Cow;

use moelt_schema::TextConfig;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfkc_quick};

/// Words whose outer punctuation belongs to them; initials such as `u.s.` need no entry.
const WITH_PUNCTUATION: [&str; 20] = [
    "mr.", "mrs.", "ms.", "dr.", "jr.", "vs.", "etc.", "inc.", "co.", "bros.", "no.", "al.", "sept.",
    "wash.", "'em", "'n", "'n'", "'til", "ol'", "'cause",
];

/// Endings that are words.
const CLITICS: [&str; 7] = ["n't", "'s", "'re", "'ve", "'ll", "'d", "'m"];

/// The tokens of a text, at most `config.max_tokens` of them.
///
/// ```
/// use moelt_data::tokenize;
/// use moelt_schema::TextConfig;
/// let tokens = tokenize("It's Mr. Smith's \"best\" film (so far)...", &TextConfig::default());
/// assert_eq!(tokens.join(" "), "it 's mr. smith 's \" best \" film ( so far ) ...");
/// ```
pub fn tokenize(text: &str, config: &TextConfig) -> Vec<String> {
    first_tokens(text, config.lowercase, config.max_tokens)
}

/// All tokens of a text, however many.
pub(crate) fn all_tokens(text: &str, config: &TextConfig) -> Vec<String> {
    first_tokens(text, config.lowercase, usize::MAX)
}

fn first_tokens(text: &str, lowercase: bool, max: usize) -> Vec<String> {
    let text = normalised(text);
    let text = if lowercase { Cow::Owned(text.to_lowercase()) } else { text };
    let mut tokens = Vec::new();
    for piece in text.split_whitespace() {
        if tokens.len() >= max {
            break;
        }
        split_piece(&unescape(piece), &mut tokens);
    }
    tokens.truncate(max);
    tokens
}

/// No text has more tokens than this: one for each piece between blanks, and one more for each punctuation mark in it.
/// Not for texts beyond ASCII, where one character may become several.
pub(crate) fn at_most_tokens(text: &str) -> Option<usize> {
    let marks = || text.bytes().filter(u8::is_ascii_punctuation).count();
    text.is_ascii().then(|| text.split_whitespace().count() + marks())
}

/// The text in Unicode's form NFKC.
pub(crate) fn normalised(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    match is_nfkc_quick(text.chars()) {
        IsNormalized::Yes => Cow::Borrowed(text),
        _ => Cow::Owned(text.nfkc().collect()),
    }
}

fn unescape(piece: &str) -> Cow<'_, str> {
    const BRACKETS: [(&str, &str); 4] = [("-lrb-", "("), ("-rrb-", ")"), ("-lsb-", "["), ("-rsb-", "]")];
    if let Some((_, bracket)) = BRACKETS.iter().find(|(name, _)| piece.eq_ignore_ascii_case(name)) {
        Cow::Borrowed(bracket)
    } else if piece.contains(['\\', '’']) {
        Cow::Owned(piece.replace("\\/", "/").replace('’', "'"))
    } else {
        Cow::Borrowed(piece)
    }
}

fn split_piece(piece: &str, tokens: &mut Vec<String>) {
    // Letters and digits alone: most pieces are, and nothing below has anything to do.
    if piece.bytes().all(|byte| byte.is_ascii_alphanumeric()) || piece.chars().all(is_punctuation) {
        tokens.push(piece.to_owned());
        return;
    }
    let word = strip_edges(piece);
    let start = word.as_ptr() as usize - piece.as_ptr() as usize;
    push_runs(&piece[..start], tokens);
    push_word(word, tokens);
    push_runs(&piece[start + word.len()..], tokens);
}

/// The word inside a piece. What opens a piece goes first, so that `(mr.` ends as `mr.`.
fn strip_edges(piece: &str) -> &str {
    let mut word = piece;
    while !keeps_punctuation(word) {
        let first = word.chars().next().filter(|&c| is_edge(c) && !is_decade(word));
        let last = word.chars().next_back().filter(|&c| is_edge(c));
        word = match (first, last) {
            (Some(first), _) => &word[first.len_utf8()..],
            (None, Some(last)) => &word[..word.len() - last.len_utf8()],
            (None, None) => break,
        };
    }
    word
}

fn push_word(word: &str, tokens: &mut Vec<String>) {
    let (stem, clitic) = word.split_at(CLITICS.iter().find_map(|c| clitic_at(word, c)).unwrap_or(word.len()));
    tokens.push(stem.to_owned());
    if !clitic.is_empty() {
        tokens.push(clitic.to_owned());
    }
}

/// Where a clitic at the end of a word begins, if the word ends in it and is not it.
fn clitic_at(word: &str, clitic: &str) -> Option<usize> {
    let at = word.len().checked_sub(clitic.len()).filter(|&at| at > 0)?;
    word.get(at..).filter(|end| end.eq_ignore_ascii_case(clitic)).map(|_| at)
}

fn push_runs(punctuation: &str, tokens: &mut Vec<String>) {
    let chars: Vec<char> = punctuation.chars().collect();
    tokens.extend(chars.chunk_by(|a, b| a == b).map(String::from_iter));
}

fn keeps_punctuation(word: &str) -> bool {
    CLITICS.iter().chain(&WITH_PUNCTUATION).any(|known| word.eq_ignore_ascii_case(known)) || is_initials(word)
}

/// `u.s.`, `j.`: single letters, each with its period.
fn is_initials(word: &str) -> bool {
    let chars: Vec<char> = word.chars().collect();
    chars.len().is_multiple_of(2) && chars.chunks(2).all(|pair| pair[0].is_alphabetic() && pair[1] == '.')
}

/// `'60s`: an apostrophe for the century left out.
fn is_decade(word: &str) -> bool {
    word.strip_prefix('\'').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

fn is_edge(c: char) -> bool {
    c != '-' && is_punctuation(c)
}

/// ASCII, Latin, general and CJK punctuation. Symbols such as emoji are left at their words.
fn is_punctuation(c: char) -> bool {
    const RANGES: [std::ops::RangeInclusive<char>; 3] =
        ['\u{2010}'..='\u{2027}', '\u{2030}'..='\u{205e}', '\u{3001}'..='\u{3003}'];
    c.is_ascii_punctuation() || "¡¿«»".contains(c) || RANGES.iter().any(|range| range.contains(&c))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn joined(text: &str) -> String {
        tokenize(text, &TextConfig::default()).join(" ")
    }

    #[test]
    fn tokenised_text_stays_as_it_is() {
        let texts = [
            "it 's a k-19 , wo n't you ? -- mr. o'fallon 's u.s. debut ... ( well-made ) .",
            "`` rock 'n' roll '' in the '60s & r&b at 1.8 % of $ 10,000 ; anti- ol' -",
            "?!? !? **** m.i.t. no. 1 and/or 24/7 feardotcom.com 4/5ths p.o.w. 'em 'til i 'd 'll cliché-laden",
        ];
        for text in texts {
            assert_eq!(joined(text), text);
        }
    }

    proptest! {
        #[test]
        fn no_text_has_more_tokens_than_the_bound(text in "[a-cN'\"(). !\\\\/\\x0b-]{0,12}|[ -~]{0,20}") {
            let tokens = all_tokens(&text, &TextConfig::default()).len();
            prop_assert!(tokens <= at_most_tokens(&text).unwrap(), "{tokens} of {text:?}");
        }
    }

    #[test]
    fn escapes_are_undone() {
        assert_eq!(joined("-lrb- writer\\/director -RRB- -lsb- x -rsb-"), "( writer/director ) [ x ]");
        assert_eq!(joined("that’s"), "that 's");
    }

    #[test]
    fn raw_text_takes_the_form_of_tokenised_text() {
        assert_eq!(joined("I can't, don't and WON'T!!"), "i ca n't , do n't and wo n't !!");
        assert_eq!(joined("(Mr. Bean), \"great\"."), "( mr. bean ) , \" great \" .");
        assert_eq!(joined("'fine' critics' picks; $40?"), "' fine ' critics ' picks ; $ 40 ?");
        assert_eq!(joined("the '60s, the U.S., “now…”"), "the '60s , the u.s. , “ now ... ”");
        assert_eq!(joined("well--made 😀 c'est-à-dire"), "well--made 😀 c'est-à-dire");
    }

    #[test]
    fn forms_of_the_same_characters_are_one() {
        assert_eq!(joined("ＧＯＯＤ，　ｆｉｌｍ！"), "good , film !");
        assert_eq!(joined("cafe\u{301} e\u{301}te\u{301}"), "café été");
        assert_eq!(joined("ﬁne…"), "fine ...");
    }

    #[test]
    fn case_is_kept_when_asked() {
        let config = TextConfig { lowercase: false, ..TextConfig::default() };
        assert_eq!(tokenize("DON'T Mr. X", &config), ["DO", "N'T", "Mr.", "X"]);
    }

    #[test]
    fn long_texts_are_cut_and_empty_ones_have_no_tokens() {
        let config = TextConfig { max_tokens: 3, ..TextConfig::default() };
        assert_eq!(tokenize("a b (c) d", &config), ["a", "b", "("]);
        assert!(tokenize(" \t\u{a0}\n", &config).is_empty());
    }
}
