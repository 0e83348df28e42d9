//! Exponential moving average of the weights: what is evaluated.

use std::collections::BTreeMap;

use burn::module::Module;

use crate::{HostTensor, ImportError, export, import};

/// Every `every` steps `a ← (d (1 − dⁿ⁻¹) a + (1 − d) w) / (1 − dⁿ)`, with `d = decay^every` at the n-th
/// update: the bias-corrected average (as Adam's moments are), kept normalised. It is a weighted mean of
/// the weights seen so far and owes nothing to the initial ones. Before the first update it is the weights
/// themselves.
#[derive(Clone, Debug)]
pub struct WeightAverage {
    decay: f64,
    every: u64,
    weights: BTreeMap<String, HostTensor>,
}

impl WeightAverage {
    /// An average that starts at the module's weights.
    pub fn new<M: Module>(module: &M, decay: f64, every: u64) -> Self {
        Self::with_weights(export(module), decay, every)
    }

    /// Continues from saved weights.
    pub fn with_weights(weights: BTreeMap<String, HostTensor>, decay: f64, every: u64) -> Self {
        Self { decay, every: every.max(1), weights }
    }

    /// The averaged weights, by path.
    pub fn weights(&self) -> &BTreeMap<String, HostTensor> {
        &self.weights
    }

    /// Takes the weights after step `step` (from 1) into the average, every `every` steps.
    ///
    /// # Panics
    /// When the module's parameters are not those of the average: an edit that forgot it.
    pub fn update<M: Module>(&mut self, module: &M, step: u64) {
        if step > self.every && !step.is_multiple_of(self.every) {
            return;
        }
        let decay = self.decay.powf(self.every as f64);
        let n = (step / self.every).max(1) as f64;
        let keep = (decay * (1.0 - decay.powf(n - 1.0)) / (1.0 - decay.powf(n))) as f32;
        for (path, new) in export(module) {
            let average = self.weights.get_mut(&path).unwrap_or_else(|| panic!("no average of `{path}`"));
            assert_eq!(average.shape, new.shape, "average of `{path}` is that of another shape");
            average.data.iter_mut().zip(&new.data).for_each(|(a, w)| *a = keep * *a + (1.0 - keep) * w);
        }
    }

    /// `module` with the averaged weights.
    ///
    /// # Errors
    /// When the module's parameters are not those of the average.
    pub fn apply<M: Module>(&self, module: M) -> Result<M, ImportError> {
        import(module, self.weights.clone())
    }
}

#[cfg(test)]
mod tests {
    use burn::{nn::LinearConfig, tensor::Device};

    use super::*;
    use crate::host::map_params;

    #[test]
    fn hand_worked_average() {
        let device = Device::flex();
        let fill = |value: f32| {
            map_params(LinearConfig::new(1, 1).init(&device), |_, _, data| {
                data.as_mut_slice::<f32>().unwrap().fill(value);
            })
        };
        let mut average = WeightAverage::new(&fill(100.0), 0.5f64.sqrt(), 2);
        let value = |average: &WeightAverage| average.weights()["weight"].data[0];
        average.update(&fill(1.0), 1); // before the first update: the weights themselves
        assert_eq!(value(&average), 1.0);
        average.update(&fill(3.0), 2); // the first takes all
        assert_eq!(value(&average), 3.0);
        average.update(&fill(50.0), 3); // not its turn
        average.update(&fill(6.0), 4); // d = ½: weights ⅓ and ⅔
        assert!((value(&average) - 5.0).abs() < 1e-6);
        average.update(&fill(12.0), 6); // weights 1/7, 2/7, 4/7
        assert!((value(&average) - 9.0).abs() < 1e-6);
        assert_eq!(export(&average.apply(fill(0.0)).unwrap())["weight"].data, [value(&average)]);
    }
}
