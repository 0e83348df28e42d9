//! A model as a folder that Hugging Face's libraries open.

use std::collections::BTreeMap;

use moelt_schema::{LayerKind, Pooling};
use serde_json::{Value, json};

use super::{
    ExportedModel, LoadedModel,
    exported::{CONFIG, pretty},
    files::MODEL,
};

/// Why a model cannot be written for a library: it has no such network.
#[derive(Debug, thiserror::Error)]
#[error("Hugging Face's libraries have no network like this one: {0}")]
pub struct NoSuchNetwork(String);

impl ExportedModel {
    /// That of a checkpoint that is a BERT: trained from a pretrained encoder, or of that form, all layers of it dense.
    ///
    /// Python's `transformers` opens the folder as a `BertModel` with its tokenizer. `sentence_transformers` opens it with pooling
    /// and classifier: what it encodes are the logits.
    ///
    /// | file | what |
    /// |---|---|
    /// | `config.json`, `model.safetensors` | the encoder |
    /// | `tokenizer.json`, `tokenizer_config.json` | the pretrained encoder's own, and how many tokens a text has at most |
    /// | `modules.json`, `sentence_bert_config.json`, `1_Pooling/config.json` | how tokens become one vector |
    /// | `2_Dense/config.json`, `2_Dense/model.safetensors` | the classifier |
    /// | `classes.json` | names of the classes, in the order of the logits. Not in `config.json`: with them there `transformers` would classify, by weights that it draws |
    ///
    /// # Errors
    /// What of the model is not like that.
    pub fn hugging_face(loaded: &LoadedModel) -> Result<Self, NoSuchNetwork> {
        let (checkpoint, vocabulary, network) = (&loaded.checkpoint, &loaded.vocabulary, &loaded.evaluated);
        let model = &checkpoint.config.model;
        let (classes, layers) = (&checkpoint.manifest.classes, checkpoint.manifest.layout.layers());
        if let Some(at) = layers.iter().position(|layer| layer.kind != LayerKind::Dense) {
            return Err(NoSuchNetwork(format!("layer {at} has experts; a BERT is dense")));
        }
        let config = model.bert_config(vocabulary.n_rows()).map_err(NoSuchNetwork)?;
        let tokenizer = vocabulary
            .tokenizer_json()
            .ok_or_else(|| NoSuchNetwork("its tokens are words of moelt's own".to_owned()))?;
        let pooling = pooling(model.pooling, model.d_model)?;
        let max_tokens = vocabulary.text().max_tokens;
        let files = BTreeMap::from([
            (CONFIG, pretty(&config)),
            ("classes.json", pretty(classes)),
            (MODEL, network.to_bert()),
            ("tokenizer.json", tokenizer.into()),
            ("tokenizer_config.json", pretty(&tokenizer_config(max_tokens))),
            ("modules.json", pretty(&modules())),
            ("sentence_bert_config.json", pretty(&json!({ "max_seq_length": max_tokens }))),
            ("1_Pooling/config.json", pretty(&pooling)),
            ("2_Dense/config.json", pretty(&dense(model.pooled_width(), classes.len()))),
            ("2_Dense/model.safetensors", network.head_to_linear()),
        ]);
        Ok(Self { files })
    }
}

/// `tokenizer.json` says how a text becomes tokens; this says that nothing else is known, and on which side texts are filled up and
/// cut, whatever that file says.
fn tokenizer_config(max_tokens: usize) -> Value {
    json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_tokens,
        "pad_token": "[PAD]",
        "padding_side": "right",
        "truncation_side": "right",
    })
}

/// The parts of a `SentenceTransformer`, one behind the other.
fn modules() -> Value {
    let part = |idx: usize, path: &str, kind: &str| {
        json!({
            "idx": idx, "name": idx.to_string(), "path": path,
            "type": format!("sentence_transformers.models.{kind}"),
        })
    };
    json!([part(0, "", "Transformer"), part(1, "1_Pooling", "Pooling"), part(2, "2_Dense", "Dense")])
}

fn pooling(pooling: Pooling, width: usize) -> Result<Value, NoSuchNetwork> {
    let mode = match pooling {
        Pooling::Mean => "mean_tokens",
        Pooling::Max => "max_tokens",
        Pooling::First => "cls_token",
        Pooling::SumMax | Pooling::Attention => {
            return Err(NoSuchNetwork(format!(
                "model.pooling: is {}; needs \"mean\", \"max\" or \"first\"",
                json!(pooling)
            )));
        }
    };
    let mut config = json!({ "word_embedding_dimension": width });
    for other in ["mean_tokens", "max_tokens", "cls_token"] {
        config[format!("pooling_mode_{other}")] = json!(other == mode);
    }
    Ok(config)
}

fn dense(inputs: usize, outputs: usize) -> Value {
    json!({
        "in_features": inputs, "out_features": outputs, "bias": true,
        "activation_function": "torch.nn.modules.linear.Identity",
    })
}
