//! The two directions in which tensors go between a file and a network.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use burn::{module::Param, tensor::Tensor};
use safetensors::{Dtype, tensor::TensorView};

use super::{PretrainedEncoder, PretrainedError, Weights};
use crate::{LayerNorm, host::to_host, init::param};

/// The file on one side of a walk through a network, which names its tensors one by one.
pub(super) trait TensorFile {
    /// The tensor of this name, row-major as the file has it. `here` is what the network holds; what comes back is what it is to
    /// hold instead, if anything.
    fn tensor(&mut self, name: &str, shape: &[usize], here: &dyn Fn() -> Vec<f32>) -> Option<Vec<f32>>;
}

/// A file that is read: what is missing, misshapen or left over is found together.
pub(super) struct Taking<'a> {
    path: &'a Path,
    left: BTreeMap<&'a str, &'a Weights>,
    wrong: Vec<String>,
}

/// A file that is written: nothing changes in the network.
#[derive(Default)]
pub(super) struct Giving(BTreeMap<String, Weights>);

impl TensorFile for Taking<'_> {
    fn tensor(&mut self, name: &str, shape: &[usize], _here: &dyn Fn() -> Vec<f32>) -> Option<Vec<f32>> {
        match self.left.remove(name) {
            Some(weights) if weights.shape == shape => return Some(weights.values.clone()),
            Some(weights) => self.wrong.push(format!("`{name}` is {:?}, needs {shape:?}", weights.shape)),
            None => self.wrong.push(format!("`{name}` {shape:?} is missing")),
        }
        None
    }
}

impl TensorFile for Giving {
    fn tensor(&mut self, name: &str, shape: &[usize], here: &dyn Fn() -> Vec<f32>) -> Option<Vec<f32>> {
        self.0.insert(name.to_owned(), Weights { shape: shape.to_vec(), values: here() });
        None
    }
}

impl<'a> Taking<'a> {
    pub(super) fn from(encoder: &'a PretrainedEncoder) -> Self {
        let left = encoder.tensors.iter().map(|(name, weights)| (name.as_str(), weights)).collect();
        Self { path: &encoder.path, left, wrong: Vec::new() }
    }

    /// Refuses the file if anything was not as it should be.
    pub(super) fn finish(mut self) -> Result<(), PretrainedError> {
        self.wrong.extend(self.left.keys().map(|name| format!("`{name}` has no place in this network")));
        if self.wrong.is_empty() {
            return Ok(());
        }
        const SHOWN: usize = 5;
        let more = self.wrong.len().saturating_sub(SHOWN);
        let mut message = self.wrong.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
        if more > 0 {
            message += &format!("; and {more} more");
        }
        Err(PretrainedError::Malformed { path: self.path.into(), message })
    }
}

impl Giving {
    /// The file, in the form of safetensors.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        let bytes = |weights: &Weights| weights.values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = self
            .0
            .into_iter()
            .map(|(name, weights)| (name, weights.shape.clone(), bytes(&weights)))
            .collect();
        let views = tensors.iter().map(|(name, shape, bytes)| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes)
                .expect("a tensor has the values of its shape");
            (name, view)
        });
        // Without it Python's transformers of some years refuse a file.
        let by_pytorch = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        safetensors::serialize(views, Some(by_pytorch)).expect("names and sizes are sound")
    }
}

/// A vector, alone or of the one expert that there is.
pub(super) fn vector<const D: usize>(file: &mut dyn TensorFile, name: &str, here: &mut Param<Tensor<D>>) {
    let shape = here.dims();
    if let Some(values) = file.tensor(name, &shape[D - 1..], &|| to_host(here.val())) {
        *here = param(values, shape, &here.device());
    }
}

/// A matrix `[inputs, outputs]`, alone or of the one expert that there is; PyTorch has `[outputs, inputs]`.
pub(super) fn matrix<const D: usize>(file: &mut dyn TensorFile, name: &str, here: &mut Param<Tensor<D>>) {
    let shape = here.dims();
    let [inputs, outputs] = [shape[D - 2], shape[D - 1]];
    let there = || transposed(&to_host(here.val()), [inputs, outputs]);
    if let Some(values) = file.tensor(name, &[outputs, inputs], &there) {
        *here = param(transposed(&values, [outputs, inputs]), shape, &here.device());
    }
}

/// A normalisation.
pub(super) fn norm(file: &mut dyn TensorFile, name: &str, here: &mut Option<LayerNorm>) {
    let here = here.as_mut().expect("every norm of a BERT is there");
    vector(file, &format!("{name}.weight"), &mut here.gamma);
    vector(file, &format!("{name}.bias"), &mut here.beta);
}

pub(super) fn transposed(values: &[f32], [rows, columns]: [usize; 2]) -> Vec<f32> {
    (0..columns)
        .flat_map(|column| (0..rows).map(move |row| row * columns + column))
        .map(|at| values[at])
        .collect()
}
