//! Tensors by name, and their safetensors form.

use std::{collections::BTreeMap, path::Path};

use moelt_optim::HostTensor;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::{CheckpointError, KeyMismatch};

/// A tensor of a checkpoint file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Stored {
    /// Weights and moments.
    F32(HostTensor),
    /// Step counts, one dimension.
    U64(Vec<u64>),
}

pub(crate) type StoredTensors = BTreeMap<String, Stored>;

impl Stored {
    fn shape(&self) -> Vec<usize> {
        match self {
            Self::F32(tensor) => tensor.shape.clone(),
            Self::U64(values) => vec![values.len()],
        }
    }

    /// The values of weights and moments.
    pub(crate) fn values(&self) -> Option<&[f32]> {
        match self {
            Self::F32(tensor) => Some(&tensor.data),
            Self::U64(_) => None,
        }
    }

    /// Weights or moments.
    pub(crate) fn into_f32(self) -> Option<HostTensor> {
        match self {
            Self::F32(tensor) => Some(tensor),
            Self::U64(_) => None,
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::F32(tensor) => tensor.data.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Self::U64(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        }
    }

    fn dtype(&self) -> Dtype {
        match self {
            Self::F32(_) => Dtype::F32,
            Self::U64(_) => Dtype::U64,
        }
    }

    /// Shape and type, for comparison and for messages.
    fn form(&self) -> String {
        match self {
            Self::F32(_) => format!("{:?}", self.shape()),
            Self::U64(_) => format!("{:?} of u64", self.shape()),
        }
    }
}

/// Values of weights and moments in all of them.
pub(crate) fn n_values(tensors: &StoredTensors) -> u128 {
    tensors.values().filter_map(Stored::values).map(|values| values.len() as u128).sum()
}

/// The safetensors form; the same tensors give the same bytes.
pub(crate) fn to_bytes(tensors: &StoredTensors) -> Vec<u8> {
    let bytes: Vec<_> = tensors.iter().map(|(name, stored)| (name, stored, stored.to_bytes())).collect();
    let views = bytes.iter().map(|(name, stored, bytes)| {
        let view =
            TensorView::new(stored.dtype(), stored.shape(), bytes).expect("sizes follow from the shape");
        (name.as_str(), view)
    });
    safetensors::serialize(views, None).expect("names and sizes are sound")
}

/// Reads the safetensors form. `path` stands in errors.
pub(crate) fn from_bytes(bytes: &[u8], path: &Path) -> Result<StoredTensors, CheckpointError> {
    let malformed = |message: String| CheckpointError::Malformed { path: path.into(), message };
    let file =
        SafeTensors::deserialize(bytes).map_err(|e| malformed(format!("is not a safetensors file: {e}")))?;
    file.iter()
        .map(|(name, view)| {
            let stored = stored(&view).ok_or_else(|| {
                malformed(format!("tensor `{name}` is {:?} {:?}", view.dtype(), view.shape()))
            })?;
            Ok((name.to_owned(), stored))
        })
        .collect()
}

fn stored(view: &TensorView<'_>) -> Option<Stored> {
    match (view.dtype(), view.shape()) {
        (Dtype::F32, shape) => {
            let data = view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            Some(Stored::F32(HostTensor { shape: shape.to_vec(), data }))
        }
        (Dtype::U64, [_]) => Some(Stored::U64(
            view.data().as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect(),
        )),
        _ => None,
    }
}

/// Refuses tensors that are not exactly those of `expected`, by name, type and shape.
pub(crate) fn check_keys(
    found: &StoredTensors,
    expected: &StoredTensors,
    path: &Path,
) -> Result<(), CheckpointError> {
    let without = |a: &StoredTensors, b: &StoredTensors| -> Vec<String> {
        a.keys().filter(|name| !b.contains_key(*name)).cloned().collect()
    };
    let misshapen = expected.iter().filter_map(|(name, needed)| {
        let (needed, found) = (needed.form(), found.get(name)?.form());
        (needed != found).then(|| (name.clone(), needed, found))
    });
    let mismatch = KeyMismatch {
        missing: without(expected, found),
        unexpected: without(found, expected),
        misshapen: misshapen.collect(),
    };
    if mismatch.is_empty() { Ok(()) } else { Err(CheckpointError::Keys { path: path.into(), mismatch }) }
}

/// Refuses values that no run can have after `step` steps: one that is not finite, a mean of squares below 0, a
/// count of more steps than there were.
pub(crate) fn check_values(tensors: &StoredTensors, step: u64, path: &Path) -> Result<(), CheckpointError> {
    let wrong = |(name, stored): (&String, &Stored)| match stored {
        Stored::F32(tensor) => {
            let squares = name.starts_with("moment_2.");
            let wrong = |v: &&f32| !v.is_finite() || (squares && **v < 0.0);
            let value = tensor.data.iter().find(wrong)?;
            let needed = if squares { "finite and at least 0" } else { "finite" };
            Some(format!("tensor `{name}` has {value}; must be {needed}"))
        }
        Stored::U64(counts) => {
            let count = counts.iter().find(|count| **count > step)?;
            Some(format!("tensor `{name}` counts {count}, but the checkpoint is of step {step}"))
        }
    };
    match tensors.iter().find_map(wrong) {
        Some(message) => Err(CheckpointError::Malformed { path: path.into(), message }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_survive_the_file_bit_by_bit() {
        let weights = HostTensor { shape: vec![2, 2], data: vec![1.0, -0.0, f32::MIN_POSITIVE / 2.0, 3e38] };
        let tensors = StoredTensors::from([
            ("w".to_owned(), Stored::F32(weights)),
            ("steps".to_owned(), Stored::U64(vec![0, u64::MAX])),
        ]);
        let bytes = to_bytes(&tensors);
        let back = from_bytes(&bytes, Path::new("x")).unwrap();
        assert_eq!(to_bytes(&back), bytes);
        assert_eq!(back, tensors);
        assert!(from_bytes(&bytes[..bytes.len() - 1], Path::new("x")).is_err());
    }

    #[test]
    fn values_that_no_run_can_have_are_named() {
        let message = |name: &str, stored: Stored| {
            let tensors = StoredTensors::from([(name.to_owned(), stored)]);
            check_values(&tensors, 9, Path::new("x")).map_err(|error| error.to_string())
        };
        let floats = |value: f32| Stored::F32(HostTensor { shape: vec![2], data: vec![0.0, value] });
        assert_eq!(message("w", floats(-1.0)), Ok(()));
        assert_eq!(message("steps.w", Stored::U64(vec![9])), Ok(()));
        let cases = [
            ("w", floats(f32::NAN), "x: tensor `w` has NaN; must be finite"),
            ("moment_2.w", floats(-1.0), "x: tensor `moment_2.w` has -1; must be finite and at least 0"),
            (
                "steps.w",
                Stored::U64(vec![3, 10]),
                "x: tensor `steps.w` counts 10, but the checkpoint is of step 9",
            ),
        ];
        for (name, stored, expected) in cases {
            assert_eq!(message(name, stored), Err(expected.to_owned()));
        }
    }
}
