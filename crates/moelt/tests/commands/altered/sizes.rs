//! Configs and vocabularies that ask for a larger model than the weights are of.

use std::{fs, path::Path};

use moelt_data::Vocabulary;
use moelt_schema::{
    Activation, ConvConfig, EncoderConfig, LabelHeadConfig, PolicyConfig, RoutingConfig, RunConfig,
    TransformerConfig,
};
use serde_json::{Value, json};

use super::{Case, case, put, refused};
use crate::damage::{edit_config, edit_manifest};

/// A case that changes the config, whose hash the manifest then has.
fn config(what: &'static str, change: fn(&mut RunConfig), parts: &[&'static str]) -> Case {
    case(what, move |folder| edit_config(folder, change), parts)
}

/// A case in which config and layouts have so many experts.
fn experts(what: &'static str, n: usize, parts: &[&'static str]) -> Case {
    let alter = move |folder: &Path| {
        edit_config(folder, |config| config.model.routing = RoutingConfig::TopK { n_experts: n });
        edit_manifest(folder, |manifest| {
            for layout in ["/layout", "/edits/initial"] {
                put(manifest, &format!("{layout}/layers/0/experts"), json!((0..n).collect::<Vec<_>>()));
                put(manifest, &format!("{layout}/next_id"), json!(n));
            }
            let windows = ["/state/window/layers", "/state/last_window", "/state/decision_window/layers"];
            windows.into_iter().for_each(|window| put(manifest, window, json!([])));
        });
    };
    case(what, alter, parts)
}

/// A case that changes the vocabulary, whose hash the manifest then has, as long as it is one.
fn vocabulary(what: &'static str, change: impl Fn(&mut Value) + 'static, parts: &[&'static str]) -> Case {
    let alter = move |folder: &Path| {
        let path = folder.join("vocabulary.json");
        let mut json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut json);
        let text = json.to_string();
        if let Ok(vocabulary) = Vocabulary::from_json(&text) {
            edit_manifest(folder, |manifest| manifest["vocabulary"] = json!(vocabulary.digest().to_string()));
        }
        fs::write(path, text).unwrap();
    };
    case(what, alter, parts)
}

const HOLDS: &str = "model.safetensors: holds ";

fn conv(width: usize) -> EncoderConfig {
    EncoderConfig::Conv(ConvConfig { width })
}

fn transformer() -> EncoderConfig {
    EncoderConfig::Transformer(TransformerConfig { n_heads: 2, ..TransformerConfig::default() })
}

fn huge_head() -> PolicyConfig {
    PolicyConfig::LabelHead(LabelHeadConfig { hidden: usize::MAX >> 1, ..LabelHeadConfig::default() })
}

fn many_texts(config: &mut RunConfig) {
    config.data.planted_mut().unwrap().train = 1_000_000_000_000_000;
}

#[test]
fn configs_beyond_the_weights() {
    refused(&[
        config(
            "d_model 10⁹",
            |c| c.model.d_model = 1_000_000_000,
            &["config.toml: `model.d_model`: is 1000000000"],
        ),
        config("d_model 10⁶", |c| c.model.d_model = 1_000_000, &[HOLDS, "`embedding.table` [117, 1000000]"]),
        config(
            "d_ff 10⁸",
            |c| c.model.d_ff = 100_000_000,
            &[HOLDS, "`layers.0.experts.w_out` [4, 100000000, 16]"],
        ),
        config(
            "a shared expert of 10⁸ units",
            |c| c.model.shared_d_ff = 100_000_000,
            &[HOLDS, "`layers.0.shared.w_out` [1, 100000000, 16]"],
        ),
        config("a shared expert", |c| c.model.shared_d_ff = 3, &["missing", "layers.0.shared.w_in"]),
        config(
            "gates",
            |c| c.model.activation = Activation::Swiglu,
            &["missing", "layers.0.experts.w_gate.expert.0"],
        ),
        config(
            "a convolution of width 10⁸ + 1",
            |c| c.model.encoder = conv(100_000_001),
            &["config.toml: `model.encoder.conv.width`"],
        ),
        config(
            "a convolution of width 9999",
            |c| c.model.encoder = conv(9999),
            &[HOLDS, "`conv.weight` [159984, 16]"],
        ),
        config("n_layers 10¹²", |c| c.model.n_layers = 1_000_000_000_000, &["config.toml: `model.n_layers`"]),
        config("n_layers 1000", |c| c.model.n_layers = 1000, &["has 1 layers, but model.n_layers is 1000"]),
        config(
            "n_experts 10¹²",
            |c| c.model.routing = RoutingConfig::TopK { n_experts: 1_000_000_000_000 },
            &["config.toml: `model.routing.top_k.n_experts`"],
        ),
        config(
            "n_experts 5",
            |c| c.model.routing = RoutingConfig::TopK { n_experts: 5 },
            &["edits.initial: is another layout"],
        ),
        config("top_k 10¹⁸", |c| c.model.top_k = 1_000_000_000_000_000_000, &["config.toml: `model.top_k`"]),
        config("d_model 0", |c| c.model.d_model = 0, &["config.toml: `model.d_model`: must be at least 1"]),
        config("an even width", |c| c.model.encoder = conv(2), &["`model.encoder.conv.width`: must be odd"]),
        config("a transformer", |c| c.model.encoder = transformer(), &["missing", "attention.0.w_in"]),
        config("d_model 8", |c| c.model.d_model = 8, &["misshapen", "embedding.table (needs ["]),
        config("row_dropout 5", |c| c.model.row_dropout = 5.0, &["`model.row_dropout`: is 5"]),
        config("no average", |c| c.optim.ema_decay = 0.0, &["files: names `average.safetensors`"]),
        config("a head", |c| c.control.policy = huge_head(), &["`control.policy.label_head.hidden`"]),
        config("texts", many_texts, &["`data.planted.train`"]),
        experts("10,000 experts", 10_000, &[HOLDS, "`layers.0.experts.w_out` [10000, 8, 16]"]),
        experts("5 experts", 5, &["model.safetensors: ", "missing", "expert.4"]),
    ]);
}

#[test]
fn a_config_that_the_manifest_is_not_of() {
    let alter = |folder: &Path| {
        let path = folder.join("config.toml");
        let text = fs::read_to_string(&path).unwrap();
        let other = text.replace("lr = 0.002", "lr = 0.5");
        assert_ne!(text, other);
        fs::write(path, other).unwrap();
    };
    refused(&[case(
        "another learning rate",
        alter,
        &["manifest.json: config: is ", "but config.toml has hash"],
    )]);
}

#[test]
fn vocabularies_beyond_the_weights() {
    let more = |json: &mut Value| {
        let rows = json["rows"]["words"].as_array_mut().unwrap();
        rows.extend((0..100_000).map(|word| Value::from(format!("new{word}"))));
    };
    let fewer = |json: &mut Value| json["rows"]["words"].as_array_mut().unwrap().truncate(1);
    let one_less = |json: &mut Value| drop(json["rows"]["words"].as_array_mut().unwrap().pop());
    let parts = |json: &mut Value| json["text"]["subwords"]["max_parts"] = json!(u64::MAX);
    let no_tokenizer = |json: &mut Value| json["rows"] = json!({ "pretrained": "{}" });
    let other_text = |json: &mut Value| json["text"]["lowercase"] = json!(false);
    refused(&[
        vocabulary("10⁵ rows more", more, &[HOLDS, "`embedding.table` [100"]),
        vocabulary("a single row", fewer, &["probe.inputs: has row "]),
        vocabulary("a row less", one_less, &["embedding.table (needs [116, 16], found [117, 16])"]),
        vocabulary("parts", parts, &["vocabulary.json", "`text.subwords.max_parts`", "must be at most 64"]),
        vocabulary(
            "a tokenizer that is none",
            no_tokenizer,
            &["vocabulary.json: not a tokenizer that moelt can use: missing field"],
        ),
        vocabulary(
            "another text",
            other_text,
            &["vocabulary.json: text: is another one than the [text] section"],
        ),
    ]);
}
