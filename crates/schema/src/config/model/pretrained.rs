//! Encoders in a folder as Hugging Face has it, and what is made of them.

use std::{
    fmt::Display,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::json;
use toml::{Table, Value, toml};

use super::{ExpertBlockRule, ExpertBlocks, ModelConfig, NormPlacement, Positions};
use crate::{
    Digest, LayerId,
    config::{
        Activation, ConfigFault,
        bounds::{MAX_EXPERTS, count, share},
    },
};

/// The files of a pretrained encoder.
#[derive(Clone, Debug)]
pub struct PretrainedFiles {
    folder: PathBuf,
}

impl PretrainedFiles {
    /// Those in a folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Its sizes.
    pub fn config(&self) -> PathBuf {
        self.folder.join("config.json")
    }

    /// Its weights.
    pub fn weights(&self) -> PathBuf {
        self.folder.join("model.safetensors")
    }

    /// How its texts become tokens.
    pub fn tokenizer(&self) -> PathBuf {
        self.folder.join("tokenizer.json")
    }

    /// Hash of the three files' hashes.
    ///
    /// # Errors
    /// The file that cannot be read, and why.
    pub fn digest(&self) -> Result<Digest, String> {
        digest_of([&self.config(), &self.weights(), &self.tokenizer()])
    }

    /// What the `[model]` section has to say to fit the weights.
    pub(crate) fn model_section(&self) -> Result<Table, String> {
        let path = self.config();
        let named = |message: String| format!("{}: {message}", path.display());
        let text = fs::read_to_string(&path).map_err(|e| {
            named(format!(
                "{e}; a pretrained encoder is a folder (`cargo xtask data minilm` makes models/minilm)"
            ))
        })?;
        BertConfig::read(&text).and_then(|config| config.model_section()).map_err(named)
    }
}

/// What becomes experts when a run starts with a dense network (Komatsuzaki et al. 2022): each layer's feed-forward network is
/// copied, and a new router chooses among the copies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpcycleConfig {
    /// Which layers.
    pub layers: ExpertBlocks,
    /// Experts of each of them.
    pub n_experts: usize,
    /// Experts per token. With two or more, copies that are the same compute what the dense network did.
    pub top_k: usize,
    /// Fraction of a copy's hidden units that are drawn anew, so that copies differ (Drop-Upcycling, Nakamura et al. 2025); the
    /// first expert stays as it is.
    pub reinit: f64,
}

impl Default for UpcycleConfig {
    fn default() -> Self {
        Self { layers: ExpertBlocks::Rule(ExpertBlockRule::EverySecond), n_experts: 4, top_k: 2, reinit: 0.0 }
    }
}

impl UpcycleConfig {
    pub(super) fn check(&self, model: &ModelConfig) -> Result<(), ConfigFault> {
        self.layers.check("layers", model.n_layers)?;
        count("n_experts", self.n_experts as u64, MAX_EXPERTS)?;
        count("top_k", self.top_k as u64, MAX_EXPERTS)?;
        if self.top_k > self.n_experts {
            let message = format!("is {}, more than n_experts = {}", self.top_k, self.n_experts);
            return Err(ConfigFault::new("top_k", message));
        }
        share("reinit", self.reinit)
    }
}

/// The part of a BERT's `config.json` that decides what is computed; the rest is left aside.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct BertConfig {
    model_type: String,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    max_position_embeddings: usize,
    hidden_act: String,
    layer_norm_eps: f64,
    #[serde(default = "absolute")]
    position_embedding_type: String,
}

fn absolute() -> String {
    "absolute".to_owned()
}

/// Refuses what a key says.
fn only<T>(key: &str, found: &str, possible: &str) -> Result<T, String> {
    Err(format!("`{key}` is \"{found}\"; moelt opens encoders with {possible}"))
}

impl BertConfig {
    fn read(json: &str) -> Result<Self, String> {
        // Before the rest: models of other kinds have other keys.
        let config: serde_json::Value = serde_json::from_str(json).map_err(|e| e.to_string())?;
        match config.get("model_type").and_then(serde_json::Value::as_str) {
            Some(other) if other != "bert" => only("model_type", other, "\"bert\""),
            _ => serde_json::from_value(config).map_err(|e| e.to_string()),
        }
    }

    fn model_section(&self) -> Result<Table, String> {
        if self.position_embedding_type != absolute() {
            return only("position_embedding_type", &self.position_embedding_type, "\"absolute\"");
        }
        let activation = match self.hidden_act.as_str() {
            "gelu" => Activation::Gelu,
            "relu" => Activation::Relu,
            other => return only("hidden_act", other, "\"gelu\" or \"relu\""),
        };
        let number = |n: usize| i64::try_from(n).map(Value::Integer).map_err(|_| format!("{n} is no size"));
        let mut section = toml! {
            routing = "dense"
            top_k = 1
            unit = "token"
            layer_norm = true
            encoder = { transformer = { norm = "post" } }
        };
        let activation = Value::try_from(activation).expect("an activation is a word");
        section.insert("activation".to_owned(), activation);
        section.insert("norm_epsilon".to_owned(), Value::Float(self.layer_norm_eps));
        for (key, size) in [
            ("d_model", self.hidden_size),
            ("d_ff", self.intermediate_size),
            ("n_layers", self.num_hidden_layers),
        ] {
            section.insert(key.to_owned(), number(size)?);
        }
        let transformer = &mut section["encoder"]["transformer"];
        let transformer = transformer.as_table_mut().expect("it was made above");
        transformer.insert("n_heads".to_owned(), number(self.num_attention_heads)?);
        let learned = Table::from_iter([("n_positions".to_owned(), number(self.max_position_embeddings)?)]);
        let positions = Table::from_iter([("learned".to_owned(), Value::Table(learned))]);
        transformer.insert("positions".to_owned(), Value::Table(positions));
        Ok(section)
    }
}

impl ModelConfig {
    /// The `config.json` of Hugging Face's `BertModel` with the sizes of this network, the layers of which are dense, and `n_rows`
    /// tokens.
    ///
    /// # Errors
    /// What of it no BERT has, by key.
    pub fn bert_config(&self, n_rows: usize) -> Result<serde_json::Value, String> {
        let needs = |key: &str, needed: &str| format!("model.{key}: a BERT has {needed}");
        let transformer =
            self.encoder.transformer().ok_or_else(|| needs("encoder", "that of a transformer"))?;
        let Positions::Learned { n_positions } = transformer.positions else {
            return Err(needs("encoder.transformer.positions", "learned positions"));
        };
        if transformer.norm != NormPlacement::Post {
            return Err(needs("encoder.transformer.norm", "its norms behind the sums (\"post\")"));
        }
        if !self.layer_norm {
            return Err(needs("layer_norm", "norms"));
        }
        let config = BertConfig {
            model_type: "bert".to_owned(),
            hidden_size: self.d_model,
            intermediate_size: self.expert_width(LayerId(0)),
            num_hidden_layers: self.n_layers,
            num_attention_heads: transformer.n_heads,
            max_position_embeddings: n_positions,
            hidden_act: match self.activation {
                Activation::Gelu => "gelu".to_owned(),
                Activation::Relu => "relu".to_owned(),
                Activation::Swiglu => return Err(needs("activation", "hidden units without gates")),
            },
            layer_norm_eps: self.norm_epsilon,
            position_embedding_type: absolute(),
        };
        let mut config = serde_json::to_value(config).expect("words and numbers always serialise");
        config["architectures"] = json!(["BertModel"]);
        config["vocab_size"] = json!(n_rows);
        config["type_vocab_size"] = json!(2);
        config["pad_token_id"] = json!(0);
        Ok(config)
    }
}

/// Lays the sizes of a pretrained encoder over a `[model]` section that names one, and notes which files they are of.
pub(crate) fn lay_over(model: &Table) -> Result<Option<Table>, String> {
    let Some(Value::String(folder)) = model.get("pretrained") else { return Ok(None) };
    let files = PretrainedFiles::new(Path::new(folder));
    let mut section = files.model_section()?;
    // What was chosen stays, to be judged with the rest.
    if model.contains_key("routing") {
        section.remove("routing");
    }
    if model.get("activation").cloned().is_some_and(is_gated) {
        section.remove("activation");
    }
    noted(model, &mut section, "pretrained_digest", folder, files.digest()?)?;
    Ok(Some(section))
}

fn is_gated(activation: Value) -> bool {
    activation.try_into().is_ok_and(Activation::is_gated)
}

/// Hash of the hashes of files.
pub(super) fn digest_of<const N: usize>(files: [&PathBuf; N]) -> Result<Digest, String> {
    let digest = |path: &PathBuf| {
        // What is no file may have no end, and what comes through a pipe cannot be read again.
        let read = fs::metadata(path).and_then(|found| match found.is_file() {
            true => Digest::of_file(path),
            false => Err(io::Error::other("is not a file; a pipe or a device cannot be read twice")),
        });
        read.map_err(|e| format!("{}: {e}", path.display()))
    };
    let digests: Vec<Digest> = files.into_iter().map(digest).collect::<Result<_, _>>()?;
    Ok(Digest::of_json(&digests))
}

/// Why files are refused whose hash is another than the config notes.
pub fn other_files(found: impl Display, known: impl Display) -> String {
    format!("holds other files than those of the config: {found}, not {known}")
}

/// Notes under `key` of `section` which files are in a place, if the `[model]` section that names it knows of no others.
pub(super) fn noted(
    model: &Table,
    section: &mut Table,
    key: &str,
    place: &str,
    found: Digest,
) -> Result<(), String> {
    let found = found.to_string();
    match model.get(key) {
        Some(Value::String(known)) if *known != found => {
            Err(format!("{place} {}", other_files(found, known)))
        }
        _ => {
            section.insert(key.to_owned(), Value::String(found));
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EncoderConfig;

    fn bert() -> BertConfig {
        BertConfig {
            model_type: "bert".to_owned(),
            hidden_size: 8,
            intermediate_size: 12,
            num_hidden_layers: 2,
            num_attention_heads: 2,
            max_position_embeddings: 16,
            hidden_act: "gelu".to_owned(),
            layer_norm_eps: 1e-12,
            position_embedding_type: absolute(),
        }
    }

    fn model() -> ModelConfig {
        Value::Table(bert().model_section().unwrap()).try_into().unwrap()
    }

    #[test]
    fn a_network_of_the_sizes_of_a_bert_has_its_config() {
        let config = model().bert_config(20).unwrap();
        assert_eq!(config["vocab_size"], 20);
        assert_eq!(serde_json::from_value::<BertConfig>(config).unwrap(), bert());
    }

    #[test]
    fn what_no_bert_has_is_named() {
        type Change = fn(&mut ModelConfig);
        let cases: [(Change, &str); 4] = [
            (
                |model| model.activation = Activation::Swiglu,
                "model.activation: a BERT has hidden units without",
            ),
            (|model| model.encoder = ModelConfig::default().encoder, "model.encoder: a BERT has that of a"),
            (|model| model.layer_norm = false, "model.layer_norm"),
            (
                |model| model.encoder = EncoderConfig::Transformer(Default::default()),
                ".positions: a BERT has",
            ),
        ];
        for (change, message) in cases {
            let mut model = model();
            change(&mut model);
            let error = model.bert_config(20).unwrap_err();
            assert!(error.contains(message), "{message}: {error}");
        }
    }

    #[test]
    fn a_config_of_another_network_is_refused_by_key() {
        type Change = fn(&mut BertConfig);
        let error = BertConfig::read(r#"{"model_type": "gpt2", "n_embd": 768}"#).unwrap_err();
        assert!(error.contains("`model_type` is \"gpt2\""), "{error}");
        let cases: [(Change, &str); 2] = [
            (|bert| bert.hidden_act = "silu".to_owned(), "`hidden_act` is \"silu\""),
            (|bert| bert.position_embedding_type = "relative_key".to_owned(), "`position_embedding_type`"),
        ];
        for (change, message) in cases {
            let mut bert = bert();
            change(&mut bert);
            let error = bert.model_section().unwrap_err();
            assert!(error.contains(message), "{message}: {error}");
        }
    }
}
