//! Folders of pretrained encoders.

use serde_json::{Value, json};

use super::{Case, refused};

const TRAIN: &[&str] = &[
    "train",
    "--data",
    "ok.csv",
    "phases/pretrained-dense",
    "--set",
    "model.pretrained=encoder",
    "--set",
    "text.max_tokens=16",
    "--out",
    "out",
];

fn config() -> Value {
    json!({
        "model_type": "bert", "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "max_position_embeddings": 16, "vocab_size": 3, "type_vocab_size": 2,
        "layer_norm_eps": 1e-12, "hidden_act": "gelu"
    })
}

fn tokenizer() -> Value {
    json!({
        "version": "1.0", "added_tokens": [],
        "normalizer": {
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
            "lowercase": true
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": {"[PAD]": 0, "[UNK]": 1, "a": 2}
        }
    })
}

/// A safetensors file with this header, whatever it says.
fn weights(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// A folder of an encoder with some of its files replaced.
fn encoder(
    what: &'static str,
    replaced: Vec<(&'static str, Vec<u8>)>,
    says: &'static [&'static str],
) -> Case {
    let rows: String = (0..200).map(|i| format!("a {i},{}\n", i % 2)).collect();
    let mut files = vec![
        ("ok.csv", format!("text,label\n{rows}").into_bytes()),
        ("encoder/config.json", config().to_string().into_bytes()),
        ("encoder/tokenizer.json", tokenizer().to_string().into_bytes()),
        ("encoder/model.safetensors", weights("{}", b"")),
    ];
    files.retain(|(name, _)| replaced.iter().all(|(other, _)| other != name));
    files.extend(replaced);
    Case { what, files, command: TRAIN, says }
}

#[test]
fn configs_of_encoders() {
    let with = |what, pointer: &str, value: Value, says| {
        let mut config = config();
        *config.pointer_mut(pointer).unwrap() = value;
        encoder(what, vec![("encoder/config.json", config.to_string().into_bytes())], says)
    };
    let raw =
        |what, text: &str, says| encoder(what, vec![("encoder/config.json", text.as_bytes().to_vec())], says);
    refused(vec![
        raw("depth", &"[".repeat(1_000_000), &["config.json"]),
        raw("nothing", "", &["config.json"]),
        raw("an empty object", "{}", &["config.json", "model_type"]),
        raw("a zero byte", "\0", &["config.json"]),
        with("another kind", "/model_type", json!("gpt2"), &["config.json", "gpt2", "bert"]),
        with("no width", "/hidden_size", json!(0), &["model.d_model", "at least 1"]),
        with("a huge width", "/hidden_size", json!(1_u64 << 62), &["model.d_model", "at most"]),
        with("a width below 0", "/hidden_size", json!(-1), &["config.json", "-1"]),
        with("a width of 1e300", "/hidden_size", json!(1e300), &["config.json", "1e+300"]),
        with("a huge depth", "/num_hidden_layers", json!(1_000_000_000), &["model.n_layers", "at most"]),
        with("no heads", "/num_attention_heads", json!(0), &["n_heads", "at least 1"]),
        with("three heads", "/num_attention_heads", json!(3), &["n_heads", "does not divide"]),
        with("no positions", "/max_position_embeddings", json!(0), &["n_positions", "at least 1"]),
        with("huge positions", "/max_position_embeddings", json!(1_u64 << 40), &["n_positions", "at most"]),
        with("a huge layer", "/intermediate_size", json!(1_u64 << 40), &["model.d_ff", "at most"]),
        with("an epsilon below 0", "/layer_norm_eps", json!(-1), &["model.norm_epsilon", "above 0"]),
        with("a word for a number", "/layer_norm_eps", json!("x"), &["config.json", "x"]),
        with("an unknown activation", "/hidden_act", json!("swish"), &["config.json", "hidden_act", "swish"]),
    ]);
}

#[test]
fn tokenizers() {
    let with = |what, pointer: &str, value: Value, says| {
        let mut tokenizer = tokenizer();
        *tokenizer.pointer_mut(pointer).unwrap() = value;
        encoder(what, vec![("encoder/tokenizer.json", tokenizer.to_string().into_bytes())], says)
    };
    let raw = |what, text: &str, says| {
        encoder(what, vec![("encoder/tokenizer.json", text.as_bytes().to_vec())], says)
    };
    refused(vec![
        raw("depth", &r#"{"a":"#.repeat(1_000_000), &["tokenizer.json"]),
        raw("nothing", "", &["tokenizer.json"]),
        with("an id below 0", "/model/vocab", json!({"[PAD]": 0, "[UNK]": -1}), &["tokenizer.json", "-1"]),
        with("a huge id", "/model/vocab", json!({"[PAD]": 0, "[UNK]": u32::MAX}), &["[UNK]", "4294967295"]),
        with("padding elsewhere", "/model/vocab", json!({"[PAD]": 1, "[UNK]": 0}), &["[PAD]", "id 0"]),
        with("no tokens", "/model/vocab", json!({}), &["[UNK]", "is not in"]),
        with("an unknown unknown", "/model/unk_token", json!("nope"), &["nope", "is not in"]),
        with("another model", "/model/type", json!("BPE"), &["BPE", "WordPiece"]),
        with("words below 0", "/model/max_input_chars_per_word", json!(-1), &["tokenizer.json", "-1"]),
    ]);
}

#[test]
fn weights_of_encoders() {
    let raw = |what, bytes: Vec<u8>, says| encoder(what, vec![("encoder/model.safetensors", bytes)], says);
    let tensor = |dtype: &str, shape: &str, offsets: &str| {
        format!(
            r#"{{"embeddings.word_embeddings.weight":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#
        )
    };
    let nan = f32::NAN.to_le_bytes();
    refused(vec![
        raw("nothing", vec![], &["model.safetensors", "too small"]),
        raw("two bytes", vec![1, 2], &["model.safetensors", "too small"]),
        raw("a header of 2^60 bytes", [&(1_u64 << 60).to_le_bytes()[..], b"{}"].concat(), &["too large"]),
        raw("a deep header", weights(&"[".repeat(100_000), b""), &["model.safetensors", "header"]),
        raw("no tensors", weights("{}", b""), &["word_embeddings", "is missing"]),
        raw(
            "overflow",
            weights(&tensor("F32", "[4611686018427387904,4]", "[0,16]"), &[0; 16]),
            &["overflow"],
        ),
        raw("offsets backwards", weights(&tensor("F32", "[4]", "[16,0]"), &[0; 16]), &["offset"]),
        raw(
            "data that is not there",
            weights(&tensor("F32", "[4]", "[0,16]"), &[0; 8]),
            &["model.safetensors"],
        ),
        raw("whole numbers", weights(&tensor("I64", "[1]", "[0,8]"), &[0; 8]), &["I64", "F32"]),
        raw("not a number", weights(&tensor("F32", "[1]", "[0,4]"), &nan), &["NaN", "finite"]),
        raw(
            "another shape",
            weights(&tensor("F32", "[1]", "[0,4]"), &[0; 4]),
            &["word_embeddings", "[1]", "[3, 8]"],
        ),
    ]);
}
