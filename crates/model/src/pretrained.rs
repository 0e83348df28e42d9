//! Weights of an encoder as Hugging Face has them: read, and written.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};

mod bert;
mod file;
mod vectors;

pub use vectors::WordVectors;

/// The tensors of a `model.safetensors` that belong to an encoder. Heads that it was pretrained with are left aside.
#[derive(Debug)]
pub struct PretrainedEncoder {
    path: PathBuf,
    tensors: BTreeMap<String, Weights>,
}

/// A tensor's values, row-major.
#[derive(Clone, Debug)]
struct Weights {
    shape: Vec<usize>,
    values: Vec<f32>,
}

/// Why weights cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum PretrainedError {
    /// The file cannot be read.
    #[error("{}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// A line of the file is not what it should be.
    #[error("{}:{line}: {message}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: u64,
        /// What is wrong, and what was expected.
        message: String,
    },
    /// The file is not what it should be.
    #[error("{}: {message}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what was expected.
        message: String,
    },
}

/// Tensors of what is put on top of an encoder, or follows from its sizes.
const LEFT_ASIDE: [&str; 4] = ["pooler.", "cls.", "classifier.", "embeddings.position_ids"];

impl PretrainedEncoder {
    /// Reads the file. Numbers of half precision become single precision.
    ///
    /// # Errors
    /// When it cannot be read, is no safetensors file, or has numbers of another kind.
    pub fn read(path: &Path) -> Result<Self, PretrainedError> {
        let bytes = fs::read(path).map_err(|cause| PretrainedError::Read { path: path.into(), cause })?;
        Self::from_bytes(&bytes, path)
    }

    /// The same of what a file holds; `path` stands in errors alone.
    ///
    /// # Errors
    /// When it is no safetensors file, or has numbers of another kind.
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self, PretrainedError> {
        let mut tensors = BTreeMap::new();
        for (name, view) in safetensors(bytes, path)?.iter() {
            // A model with a head has its encoder one level down.
            let name = name.strip_prefix("bert.").unwrap_or(name);
            if LEFT_ASIDE.iter().any(|prefix| name.starts_with(prefix)) {
                continue;
            }
            let values = numbers(name, view.dtype(), view.data(), path)?;
            tensors.insert(today(name), Weights { shape: view.shape().to_vec(), values });
        }
        Ok(Self { path: path.into(), tensors })
    }
}

/// What a tensor is called today: norms of early files had the names of the first paper.
fn today(name: &str) -> String {
    name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
}

/// The tensors of a file.
fn safetensors<'a>(bytes: &'a [u8], path: &Path) -> Result<SafeTensors<'a>, PretrainedError> {
    SafeTensors::deserialize(bytes).map_err(|e| PretrainedError::Malformed {
        path: path.into(),
        message: format!("is not a safetensors file: {e}"),
    })
}

/// Numbers of the tensor `name`, or of a part of it, from the bytes that it has in the file.
fn numbers(name: &str, dtype: Dtype, bytes: &[u8], path: &Path) -> Result<Vec<f32>, PretrainedError> {
    let malformed = |message| Err(PretrainedError::Malformed { path: path.into(), message });
    let values: Vec<f32> = match dtype {
        Dtype::F32 => bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        Dtype::F16 => bytes.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect(),
        Dtype::BF16 => bytes.as_chunks().0.iter().map(|bytes| bf16::from_le_bytes(*bytes).to_f32()).collect(),
        _ => return malformed(format!("tensor `{name}` is {dtype:?}; needs F32, F16 or BF16")),
    };
    match values.iter().find(|value| !value.is_finite()) {
        Some(value) => malformed(format!("tensor `{name}` has {value}; must be finite")),
        None => Ok(values),
    }
}

#[cfg(test)]
mod tests {
    use burn::{
        module::Param,
        tensor::{Device, Tensor},
    };
    use moelt_schema::{
        Activation, EncoderConfig, ModelConfig, NormPlacement, Pooling, Positions, RoutingConfig, Streams,
        TransformerConfig,
    };
    use serde_json::Value;

    use super::*;
    use crate::{Classifier, ClassifierConfig, Mode, ModelInput, host::to_host};

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-bert").join(name)
    }

    /// A network of the fixture's sizes whose logits are the pooled vector.
    fn network(pooling: Pooling, d_ff: usize) -> Classifier {
        let transformer = TransformerConfig {
            n_heads: 2,
            norm: NormPlacement::Post,
            positions: Positions::Learned { n_positions: 16 },
            ..TransformerConfig::default()
        };
        let model = ModelConfig {
            d_model: 8,
            d_ff,
            top_k: 1,
            n_layers: 2,
            routing: RoutingConfig::Dense {},
            activation: Activation::Gelu,
            norm_epsilon: 1e-12,
            encoder: EncoderConfig::Transformer(transformer),
            pooling,
            ..ModelConfig::default()
        };
        let config = ClassifierConfig { layout: model.initial_layout(), model, n_rows: 20, n_classes: 8 };
        let device = Device::flex();
        let mut network = config.init(&Streams::new(1), &device);
        network.head.weight = Param::from_tensor(Tensor::eye(8, &device));
        network.head.bias = None;
        network
    }

    fn filled(pooling: Pooling) -> Classifier {
        let encoder = PretrainedEncoder::read(&fixture("model.safetensors")).unwrap();
        network(pooling, 12).with_pretrained(&encoder).unwrap()
    }

    /// The reference is the BERT of Hugging Face's transformers; the fixture's `make.py` recorded it.
    #[test]
    fn it_says_what_the_reference_implementation_says() {
        let expected: Value = serde_json::from_slice(&fs::read(fixture("expected.json")).unwrap()).unwrap();
        for (pooling, name) in [(Pooling::First, "first"), (Pooling::Mean, "mean")] {
            let network = filled(pooling);
            for text in expected.as_array().unwrap() {
                let numbers = |key: &str| -> Vec<f64> { serde_json::from_value(text[key].clone()).unwrap() };
                let rows: Vec<u32> = numbers("rows").into_iter().map(|row| row as u32).collect();
                let n = rows.len();
                let input = ModelInput::packed(rows, (0..n as u32).collect(), vec![n]);
                let found = to_host(network.forward(&input, Mode::Eval).logits);
                for (found, expected) in found.into_iter().zip(numbers(name)) {
                    assert!((f64::from(found) - expected).abs() < 1e-5, "{name}: {found} {expected}");
                }
            }
        }
    }

    #[test]
    fn what_was_taken_is_given_back() {
        let network = filled(Pooling::Mean);
        let path = Path::new("given.safetensors");
        let given = PretrainedEncoder::from_bytes(&network.to_bert(), path).unwrap();
        let fresh = self::network(Pooling::Mean, 12).with_pretrained(&given).unwrap();
        let input = ModelInput::packed(vec![2, 19, 3, 7], vec![0, 1, 2, 3], vec![3, 1]);
        let logits = |network: &Classifier| to_host(network.forward(&input, Mode::Eval).logits);
        assert_eq!(logits(&fresh), logits(&network));

        let original = PretrainedEncoder::read(&fixture("model.safetensors")).unwrap();
        assert!(original.tensors.keys().eq(given.tensors.keys()));
        // Here a text has one segment, whose vector is part of those of the positions.
        let joined = ["position_embeddings", "token_type_embeddings"];
        for (name, weights) in &original.tensors {
            let same = weights.values == given.tensors[name].values;
            assert_eq!(same, !joined.iter().any(|part| name.contains(part)), "{name}");
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let mut encoder = PretrainedEncoder::read(&fixture("model.safetensors")).unwrap();
        let lost = encoder.tensors.remove("encoder.layer.1.attention.self.key.bias").unwrap();
        encoder.tensors.insert("encoder.layer.2.attention.self.key.bias".to_owned(), lost);
        let error = network(Pooling::Mean, 13).with_pretrained(&encoder).unwrap_err().to_string();
        for part in [
            "model.safetensors: ",
            "`encoder.layer.0.intermediate.dense.weight` is [12, 8], needs [13, 8]",
            "; and 3 more",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
        let error = network(Pooling::Mean, 12).with_pretrained(&encoder).unwrap_err().to_string();
        assert!(error.contains("`encoder.layer.1.attention.self.key.bias` [8] is missing"), "{error}");
        assert!(error.contains("`encoder.layer.2.attention.self.key.bias` has no place"), "{error}");
    }

    #[test]
    fn a_file_of_another_kind_is_refused() {
        let error = PretrainedEncoder::read(&fixture("config.json")).unwrap_err().to_string();
        assert!(error.contains("config.json: is not a safetensors file"), "{error}");
        let error = PretrainedEncoder::read(&fixture("nothing")).unwrap_err().to_string();
        assert!(error.contains("nothing: "), "{error}");
    }
}
