//! Rows that a pretrained encoder has: those of its `tokenizer.json`.

use std::collections::HashMap;

use serde::Deserialize;
use tokenizers::{
    AddedToken, DecoderWrapper, Model as _, NormalizedString, Normalizer as _, PostProcessorWrapper,
    TokenizerImpl, TruncationParams, models::wordpiece::WordPiece, normalizers::BertNormalizer,
    pre_tokenizers::bert::BertPreTokenizer,
};

use crate::Encoded;

/// What row 0 stands for.
const PADDING: &str = "[PAD]";

/// Characters of a word, at most; looking for its pieces takes their square. BERT has 100.
const MAX_WORD: usize = 1000;

/// WordPiece with BERT's normalisation. What surrounds a text is none of its business, and nothing is decoded.
type Bert = TokenizerImpl<WordPiece, BertNormalizer, BertPreTokenizer, PostProcessorWrapper, DecoderWrapper>;

/// A tokenizer that cannot fail.
#[derive(Clone, Debug)]
pub(super) struct Pretrained {
    /// The file that it was read from.
    pub json: String,
    tokenizer: Bert,
    frame: Frame,
    n_rows: usize,
}

impl Pretrained {
    /// Reads a `tokenizer.json`; texts have `max_tokens` tokens at most.
    ///
    /// # Errors
    /// What makes it unfit, with the key where there is one.
    pub(super) fn new(json: &str, max_tokens: usize) -> Result<Self, String> {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let file: TokenizerFile =
            serde_path_to_error::deserialize(&mut deserializer).map_err(|error| error.to_string())?;
        deserializer.end().map_err(|error| error.to_string())?;
        let Model::WordPiece(model) = file.model;
        check_model(&model)?;
        let mut tokenizer = Bert::new(model);
        let normalizer = file.normalizer.map(|Normalizer::BertNormalizer(normalizer)| normalizer);
        tokenizer.with_normalizer(normalizer).map_err(|error| error.to_string())?;
        let PreTokenizer::BertPreTokenizer = file.pre_tokenizer;
        tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
        add_tokens(&mut tokenizer, file.added_tokens)?;
        let frame = file.post_processor.map_or(Ok(Frame::default()), PostProcessor::frame)?;
        let n_rows = tokenizer.get_vocab_size(true);
        check_rows(&tokenizer, &frame, n_rows)?;
        cut_at(&mut tokenizer, max_tokens, frame.len())?;
        Ok(Self { json: json.to_owned(), tokenizer, frame, n_rows })
    }

    pub(super) fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// A row per token. Padding that a text spells out (`[PAD]`) is no token, so that row 0 is never used.
    pub(super) fn encode(&self, text: &str) -> Encoded {
        let encoding = self.tokenizer.encode_fast(text, false);
        let encoding =
            encoding.expect("there is a token for what is unknown, and a text is a single sequence");
        let rows = self.frame.before.iter().chain(encoding.get_ids()).chain(&self.frame.after);
        let tokens: Vec<Vec<u32>> = rows.filter(|&&row| row != 0).map(|&row| vec![row]).collect();
        Encoded::from_tokens(&tokens)
    }
}

/// What makes a word unknown must be known itself, and finding it out must not take for ever.
fn check_model(model: &WordPiece) -> Result<(), String> {
    let (unknown, longest) = (&model.unk_token, model.max_input_chars_per_word);
    if model.token_to_id(unknown).is_none() {
        return Err(format!("model.unk_token: `{unknown}` is not in model.vocab"));
    }
    if longest > MAX_WORD {
        return Err(format!("model.max_input_chars_per_word: is {longest}, must be at most {MAX_WORD}"));
    }
    Ok(())
}

/// Adds tokens that are found in a text before it is cut into words. They must get the ids that the file gives them.
fn add_tokens(tokenizer: &mut Bert, tokens: Vec<Added>) -> Result<(), String> {
    let fault = |content: &str, what: &str| Err(format!("added_tokens: `{content}` {what}"));
    let mut ids = Vec::new();
    for Added { id, token } in &tokens {
        if token.lstrip || token.rstrip {
            return fault(&token.content, "takes in the blanks around it");
        }
        if token.normalized && is_nothing(tokenizer, &token.content)? {
            return fault(&token.content, "is nothing once it is normalised");
        }
        ids.push((token.content.clone(), *id));
    }
    let added = tokenizer.add_tokens(tokens.into_iter().map(|added| added.token));
    added.map_err(|error| format!("added_tokens: {error}"))?;
    match ids.iter().find(|(content, id)| tokenizer.token_to_id(content) != Some(*id)) {
        Some((content, id)) => fault(content, &format!("cannot have id {id}")),
        None => Ok(()),
    }
}

fn is_nothing(tokenizer: &Bert, content: &str) -> Result<bool, String> {
    let mut content = NormalizedString::from(content);
    if let Some(normalizer) = tokenizer.get_normalizer() {
        normalizer.normalize(&mut content).map_err(|error| error.to_string())?;
    }
    Ok(content.is_empty())
}

/// Refuses ids outside the table, and a row 0 that is not padding.
fn check_rows(tokenizer: &Bert, frame: &Frame, n_rows: usize) -> Result<(), String> {
    let padding = tokenizer.token_to_id(PADDING);
    if padding != Some(0) {
        let found = padding.map_or("is missing".to_owned(), |id| format!("has id {id}"));
        return Err(format!("{PADDING} {found}; it must have id 0, as row 0 is kept for padding"));
    }
    let framing = frame.before.iter().chain(&frame.after).map(|&id| ("post_processor".to_owned(), id));
    let mut ids = tokenizer.get_vocab(true).into_iter().chain(framing);
    match ids.find(|(_, id)| *id as usize >= n_rows) {
        Some((token, id)) => Err(format!("`{token}` has id {id}, but there are {n_rows} tokens")),
        None => Ok(()),
    }
}

/// Leaves room for what surrounds a text.
fn cut_at(tokenizer: &mut Bert, max_tokens: usize, framing: usize) -> Result<(), String> {
    if max_tokens <= framing {
        return Err(format!(
            "text.max_tokens: is {max_tokens}, but {framing} tokens surround every text; make it larger"
        ));
    }
    let cut = TruncationParams { max_length: max_tokens - framing, ..TruncationParams::default() };
    tokenizer.with_truncation(Some(cut)).map_err(|error| error.to_string())?;
    Ok(())
}

/// Tokens before and after every text.
#[derive(Clone, Debug, Default)]
struct Frame {
    before: Vec<u32>,
    after: Vec<u32>,
}

impl Frame {
    fn len(&self) -> usize {
        self.before.len() + self.after.len()
    }
}

/// The file, as far as it says how a text becomes ids. What it says of truncation and padding is not read.
#[derive(Deserialize)]
struct TokenizerFile {
    added_tokens: Vec<Added>,
    normalizer: Option<Normalizer>,
    pre_tokenizer: PreTokenizer,
    post_processor: Option<PostProcessor>,
    model: Model,
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    #[serde(flatten)]
    token: AddedToken,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Normalizer {
    BertNormalizer(BertNormalizer),
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum PreTokenizer {
    BertPreTokenizer,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Model {
    WordPiece(WordPiece),
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum PostProcessor {
    TemplateProcessing { single: Vec<Piece>, special_tokens: HashMap<String, Special> },
    BertProcessing { cls: (String, u32), sep: (String, u32) },
}

/// A place in the template of a text: some tokens, or the text itself.
#[derive(Deserialize)]
enum Piece {
    SpecialToken { id: String },
    Sequence { id: String },
}

/// A token that no text has, of one id.
#[derive(Deserialize)]
struct Special {
    ids: [u32; 1],
}

impl PostProcessor {
    fn frame(self) -> Result<Frame, String> {
        let (single, special) = match self {
            Self::BertProcessing { cls: (_, cls), sep: (_, sep) } => {
                return Ok(Frame { before: vec![cls], after: vec![sep] });
            }
            Self::TemplateProcessing { single, special_tokens } => (single, special_tokens),
        };
        let is_text = |piece: &Piece| matches!(piece, Piece::Sequence { id } if id == "A");
        let parts: Vec<&[Piece]> = single.split(is_text).collect();
        let [before, after] = parts[..] else {
            return Err("post_processor.single: must have sequence A once".to_owned());
        };
        let ids = |pieces: &[Piece]| -> Result<Vec<u32>, String> {
            pieces.iter().map(|piece| special_id(piece, &special)).collect()
        };
        Ok(Frame { before: ids(before)?, after: ids(after)? })
    }
}

fn special_id(piece: &Piece, special: &HashMap<String, Special>) -> Result<u32, String> {
    match piece {
        Piece::Sequence { id } => Err(format!("post_processor.single: has sequence {id} beside A")),
        Piece::SpecialToken { id } => match special.get(id) {
            Some(Special { ids: [id] }) => Ok(*id),
            None => Err(format!("post_processor.special_tokens: has no `{id}`")),
        },
    }
}

#[cfg(test)]
mod tests {
    use moelt_schema::TextConfig;
    use proptest::prelude::*;

    use crate::{Vocabulary, VocabularyError};

    /// As Hugging Face's `tokenizers` writes it; truncation and padding are there to be passed over.
    const TOKENIZER: &str = r###"{
        "version": "1.0",
        "truncation": {"direction": "Left", "max_length": 3, "strategy": "OnlySecond", "stride": 1},
        "padding": {
            "strategy": {"Fixed": 128}, "direction": "Right", "pad_to_multiple_of": null,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"
        },
        "added_tokens": [
            {"id": 0, "content": "[PAD]", "special": true,
             "single_word": false, "lstrip": false, "rstrip": false, "normalized": false},
            {"id": 3, "content": "[SEP]", "special": true,
             "single_word": false, "lstrip": false, "rstrip": false, "normalized": false},
            {"id": 11, "content": "<user>", "special": false,
             "single_word": true, "lstrip": false, "rstrip": false, "normalized": true}
        ],
        "normalizer": {
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "[SEP]", "type_id": 0}}
            ],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {
                "[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
                "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}
            }
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {
                "[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3,
                "film": 4, "##s": 5, "cafe": 6, ".": 7, "un": 8, "##film": 9, "##ed": 10
            }
        }
    }"###;

    /// The text config has whatever a pretrained tokenizer does not go by.
    fn vocabulary(json: &str, max_tokens: usize) -> Result<Vocabulary, VocabularyError> {
        Vocabulary::pretrained(json, &TextConfig { max_tokens, lowercase: false, ..TextConfig::default() })
    }

    fn ids(text: &str, max_tokens: usize) -> Vec<u32> {
        let tokens = vocabulary(TOKENIZER, max_tokens).unwrap().encode(text).to_tokens();
        assert!(tokens.iter().all(|rows| rows.len() == 1));
        tokens.concat()
    }

    #[test]
    fn words_become_the_longest_pieces_there_are() {
        assert_eq!(ids("FILMS. unfilmed  Café", 99), [2, 4, 5, 7, 8, 9, 10, 6, 3]);
        assert_eq!(ids("a film unfilm! filmst", 99), [2, 1, 4, 8, 9, 1, 1, 3]);
        assert_eq!(ids(&format!("{} film", "film".repeat(26)), 99), [2, 1, 4, 3]);
        let vocabulary = vocabulary(TOKENIZER, 99).unwrap();
        assert_eq!((vocabulary.n_rows(), vocabulary.rows_per_token()), (12, 1));
    }

    #[test]
    fn a_text_is_cut_between_its_ends() {
        assert_eq!(ids("films films", 5), [2, 4, 5, 4, 3]);
        assert_eq!(ids("films films", 6), [2, 4, 5, 4, 5, 3]);
        assert_eq!(ids("films films", 3), [2, 4, 3]);
        assert_eq!(ids("", 99), [2, 3]);
        assert_eq!(ids(" \t\u{a0}", 3), [2, 3]);
    }

    #[test]
    fn tokens_that_a_text_spells_out_are_these_and_padding_is_nothing() {
        assert_eq!(ids("film[SEP] [PAD]film <USER> <user>s", 99)[..5], [2, 4, 3, 4, 11]);
        assert_eq!(ids("[PAD]", 99), [2, 3]);
    }

    #[test]
    fn without_a_post_processor_nothing_surrounds_a_text() {
        let (from, to) =
            (TOKENIZER.find("\"post_processor\"").unwrap(), TOKENIZER.find("\"decoder\"").unwrap());
        let with = |processor: &str| format!("{}{processor}{}", &TOKENIZER[..from], &TOKENIZER[to..]);
        let tokens = |json: &str| vocabulary(json, 2).unwrap().encode("films film").to_tokens();
        assert_eq!(tokens(&with("")), [[4], [5]]);
        let empty = vocabulary(&with(""), 2).unwrap().encode("");
        assert_eq!(empty.to_tokens(), [[0; 0]]);
        let bert =
            r#""post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},"#;
        let tokens = vocabulary(&with(bert), 4).unwrap().encode("films film").to_tokens();
        assert_eq!(tokens, [[2], [4], [5], [3]]);
    }

    #[test]
    fn json_reads_back_and_the_digest_sees_the_tokenizer() {
        let one = vocabulary(TOKENIZER, 5).unwrap();
        let again = Vocabulary::from_json(&one.to_json()).unwrap();
        assert_eq!((&again, again.digest()), (&one, one.digest()));
        assert_eq!(again.encode("films films"), one.encode("films films"));
        let other = vocabulary(&TOKENIZER.replace("##ed", "##er"), 5).unwrap();
        assert_ne!(other, one);
        assert_ne!(other.digest(), one.digest());
        assert_ne!(vocabulary(TOKENIZER, 6).unwrap().digest(), one.digest());
        let damaged = one.to_json().replace("BertPreTokenizer", "Whitespace");
        let message = Vocabulary::from_json(&damaged).unwrap_err().to_string();
        assert!(message.contains("pre_tokenizer.type: unknown variant `Whitespace`"), "{message}");
    }

    #[track_caller]
    fn assert_refused(old: &str, new: &str, expected: &str) {
        assert!(TOKENIZER.contains(old), "{old}");
        let message = vocabulary(&TOKENIZER.replacen(old, new, 1), 99).unwrap_err().to_string();
        assert!(message.starts_with("not a tokenizer that moelt can use: "), "{message}");
        assert!(message.contains(expected), "{message}");
    }

    #[test]
    fn what_is_no_tokenizer_of_a_pretrained_encoder_is_refused() {
        assert_refused("\"version\"", "version", "line 2");
        assert_refused("\"added_tokens\"", "\"tokens\"", "missing field `added_tokens`");
        assert_refused("\"BertNormalizer\"", "\"NFC\"", "normalizer.type: unknown variant `NFC`");
        assert_refused(
            "\"BertPreTokenizer\"",
            "\"ByteLevel\"",
            "pre_tokenizer.type: unknown variant `ByteLevel`",
        );
        assert_refused(
            "\"TemplateProcessing\"",
            "\"ByteLevel\"",
            "post_processor.type: unknown variant `ByteLevel`",
        );
        assert_refused(
            "\"type\": \"WordPiece\", \"unk",
            "\"type\": \"BPE\", \"unk",
            "model.type: unknown variant `BPE`",
        );
        assert_refused("\"unk_token\": \"[UNK]\"", "\"unk_token\": \"?\"", "model.unk_token: `?` is not in");
        assert_refused(
            ": 100,",
            ": 100000,",
            "model.max_input_chars_per_word: is 100000, must be at most 1000",
        );
        let cut = &TOKENIZER[..TOKENIZER.len() - 9];
        assert!(vocabulary(cut, 99).unwrap_err().to_string().contains("EOF"));
        assert!(vocabulary(&format!("{TOKENIZER} {{}}"), 99).unwrap_err().to_string().contains("trailing"));
    }

    #[test]
    fn rows_that_cannot_be_are_refused() {
        assert_refused("\"##ed\": 10", "\"##ed\": 12", "`##ed` has id 12, but there are 12 tokens");
        assert_refused("\"ids\": [2]", "\"ids\": [4000000000]", "`post_processor` has id 4000000000");
        assert_refused("{\"id\": 11,", "{\"id\": 12,", "added_tokens: `<user>` cannot have id 12");
        let swapped = TOKENIZER.replace("\"[PAD]\": 0, \"[UNK]\": 1", "\"[PAD]\": 1, \"[UNK]\": 0");
        let swapped = swapped.replace("{\"id\": 0, \"content\"", "{\"id\": 1, \"content\"");
        let message = vocabulary(&swapped, 99).unwrap_err().to_string();
        assert!(
            message.ends_with("[PAD] has id 1; it must have id 0, as row 0 is kept for padding"),
            "{message}"
        );
        let unpadded = vocabulary(&TOKENIZER.replace("[PAD]", "<pad>"), 99).unwrap_err().to_string();
        assert!(unpadded.contains("[PAD] is missing; it must have id 0"), "{unpadded}");
    }

    #[test]
    fn surroundings_that_cannot_be_are_refused() {
        assert_refused(
            "{\"id\": \"A\", \"type_id\": 0}}",
            "{\"id\": \"B\", \"type_id\": 0}}",
            "sequence A once",
        );
        assert_refused(
            "{\"SpecialToken\": {\"id\": \"[CLS]\", \"type_id\": 0}}",
            "{\"Sequence\": {\"id\": \"B\", \"type_id\": 0}}",
            "has sequence B beside A",
        );
        assert_refused(
            "\"[CLS]\": {\"id\"",
            "\"[BOS]\": {\"id\"",
            "post_processor.special_tokens: has no `[CLS]`",
        );
        assert_refused("\"ids\": [2]", "\"ids\": []", "post_processor");
        assert_refused("\"lstrip\": false", "\"lstrip\": true", "added_tokens: `[PAD]` takes in the blanks");
        // Stripped of its accent nothing is left to look for.
        assert_refused("\"<user>\"", "\"\\u0301\"", "added_tokens: `\u{301}` is nothing once");
        let message = vocabulary(TOKENIZER, 2).unwrap_err().to_string();
        assert!(
            message.ends_with("text.max_tokens: is 2, but 2 tokens surround every text; make it larger"),
            "{message}"
        );
    }

    proptest! {
        #[test]
        fn every_text_has_rows_of_the_table(text in ".{0,40}|[a-zé<>\\[\\]SEPAD .]{0,40}", max_tokens in 3usize..9) {
            let vocabulary = vocabulary(TOKENIZER, max_tokens).unwrap();
            let rows = vocabulary.encode(&text).to_tokens().concat();
            prop_assert!(rows.len() >= 2 && rows.len() <= max_tokens, "{rows:?}");
            prop_assert_eq!([rows[0], rows[rows.len() - 1]], [2, 3]);
            prop_assert!(rows.iter().all(|&row| (1..vocabulary.n_rows() as u32).contains(&row)));
        }

        #[test]
        fn no_damage_makes_it_panic(at in 0usize..TOKENIZER.len(), by in any::<u8>(), text in ".{0,20}") {
            let mut bytes = TOKENIZER.as_bytes().to_vec();
            bytes[at] = by;
            if let Ok(vocabulary) = vocabulary(&String::from_utf8_lossy(&bytes), 9) {
                let rows = vocabulary.encode(&text).to_tokens().concat();
                prop_assert!(rows.iter().all(|&row| (row as usize) < vocabulary.n_rows()));
            }
        }
    }
}
