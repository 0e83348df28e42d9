//! Exponential moving average of the weights: what is evaluated.

use std::collections::BTreeMap;

use burn::module::Module;

use crate::{HostTensor, ImportError, Rows, export, host::visit_params, import};

/// Every `every` steps `a ← (d (1 − dⁿ⁻¹) a + (1 − d) w) / (1 − dⁿ)`, with `d = decay^every` at the n-th
/// update: the bias-corrected average (as Adam's moments are), kept normalised. It is a weighted mean of
/// the weights seen so far and owes nothing to the initial ones. Before the first update of all it is the
/// weights themselves.
///
/// Rows with a life of their own count their own updates: the average of an expert that was born late is
/// that of its own weights, and before its first update the weights it was born with. Parameters that are not trained are copied.
#[derive(Clone, Debug)]
pub struct WeightAverage {
    decay: f64,
    every: u64,
    state: BTreeMap<String, AverageState>,
}

/// The average of one parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct AverageState {
    /// The averaged weights.
    pub weights: HostTensor,
    /// Axis of rows that count their own updates, if there is one.
    pub row_axis: Option<usize>,
    /// Updates taken: one count, or one per row.
    pub updates: Vec<u64>,
}

impl AverageState {
    /// These weights, before the first update.
    pub fn new(weights: HostTensor, row_axis: Option<usize>) -> Self {
        let rows = row_axis.map_or(1, |axis| weights.shape[axis]);
        Self { weights, row_axis, updates: vec![0; rows] }
    }

    fn rows(&self) -> Rows {
        let HostTensor { shape, data } = &self.weights;
        self.row_axis.map_or(Rows::whole(data.len()), |axis| Rows::new(shape, axis))
    }

    /// Takes `new` in, as an update or, before the first one, in place of what was there.
    fn update(&mut self, new: &HostTensor, decay: f64, counts: bool) {
        let rows = self.rows();
        for (row, updates) in self.updates.iter_mut().enumerate() {
            *updates += u64::from(counts);
            let n = (*updates).max(1) as f64;
            let keep = (decay * (1.0 - decay.powf(n - 1.0)) / (1.0 - decay.powf(n))) as f32;
            for stretch in rows.stretches(row) {
                let pairs = self.weights.data[stretch.clone()].iter_mut().zip(&new.data[stretch]);
                pairs.for_each(|(a, w)| *a = keep * *a + (1.0 - keep) * w);
            }
        }
    }
}

impl WeightAverage {
    /// An average that starts at the module's weights. `row_axis` names the axis of a parameter's rows
    /// that count their own updates.
    pub fn new<M: Module>(
        module: &M,
        decay: f64,
        every: u64,
        row_axis: impl Fn(&str) -> Option<usize>,
    ) -> Self {
        let with_axis = |(path, weights): (String, HostTensor)| {
            let state = AverageState::new(weights, row_axis(&path));
            (path, state)
        };
        Self::with_state(export(module).into_iter().map(with_axis).collect(), decay, every)
    }

    /// Continues from a saved state.
    pub fn with_state(state: BTreeMap<String, AverageState>, decay: f64, every: u64) -> Self {
        Self { decay, every: every.max(1), state }
    }

    /// The average of every parameter, by path.
    pub fn state(&self) -> &BTreeMap<String, AverageState> {
        &self.state
    }

    /// The same, to be edited along with the parameters it is of.
    pub fn state_mut(&mut self) -> &mut BTreeMap<String, AverageState> {
        &mut self.state
    }

    /// Takes the weights after step `step` (from 1) into the average, every `every` steps.
    ///
    /// # Panics
    /// When the module's parameters are not those of the average: an edit that forgot it.
    pub fn update<M: Module>(&mut self, module: &M, step: u64) {
        let counts = step.is_multiple_of(self.every);
        if step > self.every && !counts {
            return;
        }
        let decay = self.decay.powf(self.every as f64);
        visit_params(module, |path, param| {
            let average = self.state.get_mut(&path).unwrap_or_else(|| panic!("no average of `{path}`"));
            let new = param.value();
            assert_eq!(average.weights.shape, new.shape, "average of `{path}` is that of another shape");
            if param.is_trained() {
                average.update(&new, decay, counts);
            } else {
                average.weights = new;
            }
        });
    }

    /// Takes over what is not trained and was set anew.
    pub fn copy_untrained<M: Module>(&mut self, module: &M) {
        visit_params(module, |path, param| {
            if let Some(average) = self.state.get_mut(&path).filter(|_| !param.is_trained()) {
                average.weights = param.value();
            }
        });
    }

    /// `module` with the averaged weights.
    ///
    /// # Errors
    /// When the module's parameters are not those of the average.
    pub fn apply<M: Module>(&self, module: M) -> Result<M, ImportError> {
        import(module, self.state.iter().map(|(path, state)| (path.clone(), state.weights.clone())).collect())
    }
}

#[cfg(test)]
mod tests {
    use burn::{nn::LinearConfig, tensor::Device};

    use super::*;
    use crate::host::map_params;

    /// A linear map with one input and two outputs whose weights are `value`.
    fn fill(value: f32) -> burn::nn::Linear {
        map_params(LinearConfig::new(1, 2).init(&Device::flex().autodiff()), |_, _, data| {
            data.as_mut_slice::<f32>().unwrap().fill(value);
        })
    }

    fn average(row_axis: Option<usize>) -> WeightAverage {
        WeightAverage::new(&fill(100.0), 0.5f64.sqrt(), 2, |path| row_axis.filter(|_| path == "weight"))
    }

    #[test]
    fn hand_worked_average() {
        let mut average = average(None);
        let value = |average: &WeightAverage| average.state()["weight"].weights.data[0];
        average.update(&fill(1.0), 1); // before the first update: the weights themselves
        assert_eq!(value(&average), 1.0);
        average.update(&fill(3.0), 2); // the first takes all
        assert_eq!(value(&average), 3.0);
        average.update(&fill(50.0), 3); // not its turn
        average.update(&fill(6.0), 4); // d = ½: weights ⅓ and ⅔
        assert!((value(&average) - 5.0).abs() < 1e-6);
        average.update(&fill(12.0), 6); // weights 1/7, 2/7, 4/7
        assert!((value(&average) - 9.0).abs() < 1e-6);
        assert_eq!(export(&average.apply(fill(0.0)).unwrap())["weight"].data[0], value(&average));
    }

    #[test]
    fn a_row_that_begins_later_averages_its_own_weights_only() {
        let mut average = average(Some(1));
        for step in [2, 4] {
            average.update(&fill(3.0), step);
        }
        average.state_mut().get_mut("weight").unwrap().updates[1] = 0;
        average.update(&fill(6.0), 6);
        let state = &average.state()["weight"];
        assert_eq!(state.updates, [3, 1]);
        // d = ½ after 3, 3: weights 3/7 and 4/7; the second row takes all of 6.
        assert!((state.weights.data[0] - 33.0 / 7.0).abs() < 1e-6);
        assert_eq!(state.weights.data[1], 6.0);
    }

    #[test]
    fn what_is_not_trained_is_copied() {
        let mut average = average(None);
        average.update(&fill(1.0), 2);
        let mut module = fill(9.0);
        module.weight = module.weight.set_require_grad(false);
        average.update(&module, 4);
        assert_eq!(average.state()["weight"].weights.data, [9.0, 9.0]);
        module.weight = module.weight.map(|weight| weight * 2.0).set_require_grad(false);
        average.copy_untrained(&module);
        assert_eq!(average.state()["weight"].weights.data, [18.0, 18.0]);
        assert!(average.state()["bias"].weights.data[0] < 9.0);
    }
}
