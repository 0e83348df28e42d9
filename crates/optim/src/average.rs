//! Exponential moving average of the weights: what is evaluated.

use std::{borrow::Cow, collections::BTreeMap};

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};

use crate::{
    HostTensor, ImportError, Rows, export,
    host::{Visited, check, computes_on_host, map_params, visit_params},
    import,
    mirror::{Mirror, Resident},
    transfer::{flat, read},
};

/// Every `every` steps `a ← (d (1 − dⁿ⁻¹) a + (1 − d) w) / (1 − dⁿ)`, with `d = decay^every` at the n-th
/// update: the bias-corrected average (as Adam's moments are), kept normalised. It is a weighted mean of
/// the weights seen so far and owes nothing to the initial ones. Before the first update of all it is the
/// weights themselves.
///
/// Rows with a life of their own count their own updates: the average of an expert that was born late is
/// that of its own weights, and before its first update the weights it was born with. Parameters that are not trained are copied.
///
/// It lies where the weights do; whoever asks for [`Self::state`] has it read back.
#[derive(Clone, Debug)]
pub struct WeightAverage {
    decay: f64,
    every: u64,
    state: Mirror<ResidentAverage>,
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

    /// Takes `new` in, as an update or, before the first one, in place of what was there.
    fn update(&mut self, new: &HostTensor, decay: f64, counts: bool) {
        let rows = Rows::of(&self.weights.shape, self.row_axis);
        for (row, keep) in kept(&mut self.updates, decay, counts).into_iter().enumerate() {
            for stretch in rows.stretches(row) {
                let pairs = self.weights.data[stretch.clone()].iter_mut().zip(&new.data[stretch]);
                pairs.for_each(|(a, w)| *a = keep * *a + (1.0 - keep) * w);
            }
        }
    }
}

/// Counts an update of every row, if it counts, and says what share of its average each of them keeps.
fn kept(updates: &mut [u64], decay: f64, counts: bool) -> Vec<f32> {
    let of_row = |updates: &mut u64| {
        *updates += u64::from(counts);
        let n = (*updates).max(1) as f64;
        (decay * (1.0 - decay.powf(n - 1.0)) / (1.0 - decay.powf(n))) as f32
    };
    updates.iter_mut().map(of_row).collect()
}

/// [`AverageState`] on a device, weights in one row. What it counts stays on the host.
#[derive(Clone, Debug)]
struct ResidentAverage {
    shape: Vec<usize>,
    weights: Tensor<1>,
    row_axis: Option<usize>,
    updates: Vec<u64>,
}

impl Resident for ResidentAverage {
    type Host = AverageState;

    fn read_back(&self) -> AverageState {
        let Self { shape, weights, row_axis, updates } = self.clone();
        AverageState { weights: HostTensor { shape, data: read(weights) }, row_axis, updates }
    }

    fn upload(host: &AverageState, device: &Device) -> Self {
        let AverageState { weights: HostTensor { shape, data }, row_axis, updates } = host.clone();
        Self { shape, weights: flat(data, device), row_axis, updates }
    }

    fn device(&self) -> Device {
        self.weights.device()
    }
}

impl ResidentAverage {
    /// These weights, before the first update.
    fn new(param: &dyn Visited, row_axis: Option<usize>) -> Self {
        let shape = param.shape();
        let rows = Rows::of(&shape, row_axis).len();
        Self { shape, weights: param.flat(), row_axis, updates: vec![0; rows] }
    }

    /// Takes new weights in, as [`AverageState::update`] does.
    fn update(&mut self, new: Tensor<1>, decay: f64, counts: bool) {
        let rows = Rows::of(&self.shape, self.row_axis);
        let keep = flat(kept(&mut self.updates, decay, counts), &new.device()).reshape([1, -1, 1]);
        let of_rows = |values: Tensor<1>| values.reshape(rows.view());
        let average = of_rows(self.weights.clone()) * keep.clone() + of_rows(new) * (-keep + 1.0);
        self.weights = average.reshape([-1]);
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
        let on_host = module.devices().first().is_none_or(computes_on_host);
        Self::new_at(on_host, module, decay, every, row_axis)
    }

    /// The same on the host or not.
    fn new_at<M: Module>(
        on_host: bool,
        module: &M,
        decay: f64,
        every: u64,
        row_axis: impl Fn(&str) -> Option<usize>,
    ) -> Self {
        if on_host {
            let of_param = |(path, weights): (String, HostTensor)| {
                let state = AverageState::new(weights, row_axis(&path));
                (path, state)
            };
            return Self::with_state(export(module).into_iter().map(of_param).collect(), decay, every);
        }
        let mut state = BTreeMap::new();
        visit_params(module, |path, param| {
            let average = ResidentAverage::new(param, row_axis(&path));
            state.insert(path, average);
        });
        Self { decay, every: every.max(1), state: Mirror::resident(state) }
    }

    /// Continues from a saved state.
    pub fn with_state(state: BTreeMap<String, AverageState>, decay: f64, every: u64) -> Self {
        Self { decay, every: every.max(1), state: Mirror::on_host(state) }
    }

    /// The average of every parameter, by path.
    pub fn state(&self) -> &BTreeMap<String, AverageState> {
        self.state.host()
    }

    /// The same, to be edited along with the parameters it is of.
    pub fn state_mut(&mut self) -> &mut BTreeMap<String, AverageState> {
        self.state.host_mut()
    }

    /// The average of one parameter; that of others stays where it is.
    pub fn state_of(&self, path: &str) -> Option<Cow<'_, AverageState>> {
        self.state.get(path)
    }

    /// Puts another average in the place of one parameter's, or none; that of others stays where it is.
    pub fn set_state_of(&mut self, path: &str, state: Option<AverageState>) {
        self.state.set(path, state);
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
        self.visit(module, |path, average, param| {
            let average = average.unwrap_or_else(|| panic!("no average of `{path}`"));
            assert_eq!(average.shape(), param.shape(), "average of `{path}` is that of another shape");
            match average {
                Average::Host(average) if param.is_trained() => average.update(&param.value(), decay, counts),
                Average::Resident(average) if param.is_trained() => {
                    average.update(param.flat(), decay, counts)
                }
                untrained => untrained.copy(param),
            }
        });
    }

    /// Takes over what is not trained and was set anew.
    pub fn copy_untrained<M: Module>(&mut self, module: &M) {
        self.visit(module, |_, average, param| {
            if let Some(average) = average.filter(|_| !param.is_trained()) {
                average.copy(param);
            }
        });
    }

    /// Shows every parameter with its average, where it has one.
    fn visit<M: Module>(
        &mut self,
        module: &M,
        mut visit: impl FnMut(String, Option<Average<'_>>, &dyn Visited),
    ) {
        let device = module.devices().first().map(|device| device.clone().inner());
        let lies_there = self.state.if_resident().is_some();
        let mut all = match device.filter(|device| lies_there || !computes_on_host(device)) {
            Some(device) => Averages::Resident(self.state.resident_mut(&device)),
            None => Averages::Host(self.state.host_mut()),
        };
        visit_params(module, |path, param| {
            let average = all.get_mut(&path);
            visit(path, average, param);
        });
    }

    /// `module` with the averaged weights.
    ///
    /// # Errors
    /// When the module's parameters are not those of the average.
    pub fn apply<M: Module>(&self, module: M) -> Result<M, ImportError> {
        let Some(resident) = self.state.if_resident() else {
            let of_param = |(path, state): (&String, &AverageState)| (path.clone(), state.weights.clone());
            return import(module, self.state().iter().map(of_param).collect());
        };
        check(&module, &resident.iter().map(|(path, average)| (&**path, &*average.shape)).collect())?;
        Ok(map_params(module, |path, _, values: &mut Tensor<1>| *values = resident[path].weights.clone()))
    }
}

/// The averages of all parameters, wherever they lie.
enum Averages<'a> {
    Host(&'a mut BTreeMap<String, AverageState>),
    Resident(&'a mut BTreeMap<String, ResidentAverage>),
}

impl Averages<'_> {
    fn get_mut(&mut self, path: &str) -> Option<Average<'_>> {
        match self {
            Self::Host(all) => all.get_mut(path).map(Average::Host),
            Self::Resident(all) => all.get_mut(path).map(Average::Resident),
        }
    }
}

/// The average of one parameter.
enum Average<'a> {
    Host(&'a mut AverageState),
    Resident(&'a mut ResidentAverage),
}

impl Average<'_> {
    fn shape(&self) -> &[usize] {
        match self {
            Self::Host(average) => &average.weights.shape,
            Self::Resident(average) => &average.shape,
        }
    }

    /// Makes the weights themselves the average.
    fn copy(self, param: &dyn Visited) {
        match self {
            Self::Host(average) => average.weights = param.value(),
            Self::Resident(average) => average.weights = param.flat(),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::{nn::LinearConfig, tensor::TensorData};

    use super::*;

    /// A linear map with one input and two outputs whose weights are `value`.
    fn fill(value: f32) -> burn::nn::Linear {
        let linear = LinearConfig::new(1, 2).init(&Device::flex().autodiff());
        map_params(linear, |_, _, data: &mut TensorData| {
            data.as_mut_slice::<f32>().unwrap().fill(value);
        })
    }

    fn average(row_axis: Option<usize>) -> WeightAverage {
        average_at(true, row_axis)
    }

    fn average_at(on_host: bool, row_axis: Option<usize>) -> WeightAverage {
        let of_weight = |path: &str| row_axis.filter(|_| path == "weight");
        WeightAverage::new_at(on_host, &fill(100.0), 0.5f64.sqrt(), 2, of_weight)
    }

    #[test]
    fn hand_worked_average() {
        hand_worked(average(None));
    }

    #[test]
    fn hand_worked_average_where_the_weights_lie() {
        let average = average_at(false, None);
        assert!(average.state.if_resident().is_some());
        hand_worked(average);
    }

    fn hand_worked(mut average: WeightAverage) {
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
        for on_host in [true, false] {
            untrained_is_copied(average_at(on_host, None));
        }
    }

    fn untrained_is_copied(mut average: WeightAverage) {
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

    #[test]
    fn an_average_where_the_weights_lie_is_that_of_the_host() {
        let weights = |of: fn(usize) -> f32| HostTensor { shape: vec![2, 3], data: (0..6).map(of).collect() };
        for row_axis in [None, Some(0), Some(1)] {
            let mut host = AverageState::new(weights(|i| i as f32), row_axis);
            if let Some(late) = host.updates.last_mut().filter(|_| row_axis.is_some()) {
                *late = 7;
            }
            let mut resident = ResidentAverage::upload(&host, &Device::flex());
            for (new, counts) in [(weights(|i| 1.0 - i as f32), true), (weights(|_| 5.0), true)] {
                host.update(&new, 0.9, counts);
                resident.update(flat(new.data, &Device::flex()), 0.9, counts);
            }
            let read_back = resident.read_back();
            assert_eq!(read_back.updates, host.updates);
            let pairs = read_back.weights.data.iter().zip(&host.weights.data);
            assert!(pairs.clone().all(|(a, b)| (a - b).abs() < 1e-6), "{read_back:?}, {host:?}");
        }
    }
}
