//! A step of a parameter where it lies: the arithmetic of the host by tensor operations, and on GPUs by a kernel. Nothing is read back.

use burn::tensor::{Device, Int, Tensor};
use moelt_kernels::{AdamWConstants, AdamWRows, AdamWValues, adamw_step, touched_rows};

use crate::{
    AdamW, ParamGroup, ParamState, Rows,
    gradients::Gradient,
    mirror::Resident,
    state::check_state,
    transfer::{flat, read, taken, whole},
};

/// [`ParamState`] on a device, values in one row.
#[derive(Clone, Debug)]
pub(crate) struct ResidentState {
    shape: Vec<usize>,
    moment_1: Tensor<1>,
    moment_2: Tensor<1>,
    steps: Tensor<1, Int>,
}

impl Resident for ResidentState {
    type Host = ParamState;

    fn read_back(&self) -> ParamState {
        let Self { shape, moment_1, moment_2, steps } = self.clone();
        let counts = steps.try_into_vec_as::<i64>().expect("steps are whole numbers");
        ParamState {
            shape,
            moment_1: read(moment_1),
            moment_2: read(moment_2),
            steps: counts.into_iter().map(i64::unsigned_abs).collect(),
        }
    }

    fn upload(host: &ParamState, device: &Device) -> Self {
        let ParamState { shape, moment_1, moment_2, steps } = host;
        Self {
            shape: shape.clone(),
            moment_1: flat(moment_1.clone(), device),
            moment_2: flat(moment_2.clone(), device),
            steps: whole(
                steps.iter().map(|steps| i64::try_from(*steps).unwrap_or(i64::MAX)).collect(),
                device,
            ),
        }
    }

    fn device(&self) -> Device {
        self.moment_1.device()
    }
}

/// What a step of every parameter has in common.
#[derive(Debug)]
pub(crate) struct Rule<'a> {
    pub(crate) adamw: AdamW,
    pub(crate) corrections: &'a Corrections,
    pub(crate) lr: f64,
    /// What gradients are multiplied by.
    pub(crate) scale: f64,
}

/// What Adam's bias corrections come to after each number of steps, which no device can say as exactly as the host.
#[derive(Clone, Debug)]
pub(crate) struct Corrections {
    /// What the first moment is multiplied by, but for the learning rate.
    step: Tensor<1>,
    /// What the root of the second moment is multiplied by.
    root: Tensor<1>,
}

impl Corrections {
    /// As many as differ from 1 in `f32`; of very slow averages a million.
    pub(crate) fn new(adamw: AdamW, device: &Device) -> Self {
        const MOST: u64 = 1 << 20;
        let (mut step, mut root) = (vec![0.0], vec![0.0]);
        for t in 1..MOST {
            let of_t = adamw.biases(t).map(|bias| (1.0 / bias) as f32);
            step.push(of_t[0]);
            root.push(of_t[1]);
            if of_t == [1.0, 1.0] {
                break;
            }
        }
        Self { step: flat(step, device), root: flat(root, device) }
    }

    /// Of rows with these steps, `[rows]` each.
    fn at(&self, steps: &Tensor<1, Int>) -> [Tensor<1>; 2] {
        let [last] = self.step.dims().map(|n| n as i64 - 1);
        let place = steps.clone().clamp_max(last);
        [&self.step, &self.root].map(|of| of.clone().select(0, place.clone()))
    }
}

impl ResidentState {
    /// Nothing remembered yet.
    pub(crate) fn new(shape: &[usize], rows: usize, device: &Device) -> Self {
        let zeros = || Tensor::zeros([shape.iter().product::<usize>()], device);
        Self {
            shape: shape.to_vec(),
            moment_1: zeros(),
            moment_2: zeros(),
            steps: Tensor::zeros([rows], device),
        }
    }

    /// Makes sure that it is of a parameter of this shape and these rows.
    pub(crate) fn check(&self, path: &str, shape: &[usize], rows: Rows) {
        check_state(path, [&self.shape, shape], self.steps.dims()[0], rows);
    }

    /// Steps the parameter as its group says.
    ///
    /// # Shapes
    /// - weights: `[n]`, row-major
    pub(crate) fn step(
        &mut self,
        weights: Tensor<1>,
        gradient: &Gradient,
        group: &ParamGroup,
        rule: &Rule<'_>,
    ) -> Tensor<1> {
        let view = Rows::of(&self.shape, group.row_axis).view();
        let gradient = gradient.spread(&self.shape);
        let touched = group.row_axis.map(|_| touched_rows(gradient.clone(), view));
        self.steps = match &touched {
            Some(touched) => self.steps.clone() + touched.clone().int(),
            None => self.steps.clone() + 1,
        };
        let AdamW { beta1, beta2, eps } = rule.adamw;
        let constants = AdamWConstants {
            beta1: beta1 as f32,
            beta2: beta2 as f32,
            eps: eps as f32,
            shrink: (1.0 - rule.lr * group.weight_decay) as f32,
            scale: rule.scale as f32,
        };
        let [step, root] = rule.corrections.at(&self.steps);
        let rows = AdamWRows { view, step: step * rule.lr as f32, root, touched };
        let [moment_1, moment_2] = [&mut self.moment_1, &mut self.moment_2].map(taken);
        let stepped = adamw_step(AdamWValues { weights, moment_1, moment_2 }, gradient, constants, rows);
        (self.moment_1, self.moment_2) = (stepped.moment_1, stepped.moment_2);
        stepped.weights
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use burn::module::{Module, Param};

    use super::*;
    use crate::{HostTensor, Optimizer, ParamGroups, export, gradients::take_gradients_to};

    /// Three experts along axis 0, four along axis 1, a table of which rows are used, and a bias.
    #[derive(Module, Debug)]
    struct Toy {
        experts: Param<Tensor<3>>,
        router: Param<Tensor<2>>,
        table: Param<Tensor<2>>,
        bias: Param<Tensor<1>>,
    }

    fn toy() -> Toy {
        let device = Device::flex().autodiff();
        let param = |value: f32| Tensor::<1>::full([24], value, &device);
        Toy {
            experts: Param::from_tensor(param(1.0).reshape([3, 2, 4])),
            router: Param::from_tensor(param(-0.5).reshape([6, 4])),
            table: Param::from_tensor(param(0.25).reshape([12, 2])),
            bias: Param::from_tensor(param(0.0)),
        }
    }

    fn optimizer(lazy: bool) -> Optimizer {
        let group = ParamGroup { weight_decay: 0.1, ..ParamGroup::default() };
        let along = |row_axis| ParamGroup { row_axis, ..group };
        let apart = ParamGroup { clip: false, lr_scale: 3.0, ..group };
        let groups =
            ParamGroups::new(group).with(["experts"], along(Some(0))).with(["router"], along(Some(1)));
        let groups = groups.with(["table"], along(lazy.then_some(0))).with(["bias"], apart);
        Optimizer::new(AdamW::default(), groups).with_clip_norm(1.0)
    }

    /// A weight for each value of a parameter of 24 values, different in each step, and zeros in some rows of three.
    fn slopes(step: usize, rows: usize) -> Vec<f32> {
        let slope = |i: usize| {
            let row = i / (24 / rows);
            if (row + step).is_multiple_of(3) { 0.0 } else { ((i * 7 + step * 5) % 11) as f32 - 5.0 }
        };
        (0..24).map(slope).collect()
    }

    /// Weights and what is remembered after five steps, in the fourth of which an expert is frozen. The gradient of the table is
    /// that of four rows, others in each step.
    fn trained(on_host: bool, lazy: bool) -> (BTreeMap<String, HostTensor>, BTreeMap<String, ParamState>) {
        let (mut toy, mut optimizer) = (toy(), optimizer(lazy));
        for step in 0..5 {
            let rows: Vec<u32> = (0..4).map(|row| ((row * 5 + step * 3 + 2) % 12) as u32).collect();
            let gradients = gradients(&toy, step, on_host).of_rows("table", rows);
            let gradients = if step == 3 { gradients.without_rows("experts", 0, &[1]) } else { gradients };
            toy = optimizer.step(toy, &gradients, 0.01);
        }
        (export(&toy), optimizer.state().clone())
    }

    fn gradients(toy: &Toy, step: usize, on_host: bool) -> crate::NamedGradients {
        let device = toy.bias.val().device();
        let slopes = |rows: usize| flat(slopes(step, rows), &device);
        let used = toy.table.val().slice(0..4);
        let toy = Toy { table: Param::from_tensor(used.detach()), ..toy.clone() };
        let loss = (toy.experts.val().reshape([24]) * slopes(3)).sum()
            + (toy.router.val().transpose().reshape([24]) * slopes(4)).sum()
            + (toy.table.val().reshape([8]) * slopes(6).slice(0..8)).sum()
            + (toy.bias.val() * slopes(1)).sum();
        take_gradients_to(on_host, &toy, loss.backward())
    }

    fn distance(one: &[f32], other: &[f32]) -> f32 {
        assert_eq!(one.len(), other.len());
        one.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn steps_where_parameters_lie_are_those_of_the_host() {
        for lazy in [false, true] {
            let ((weights, states), (expected, host)) = (trained(false, lazy), trained(true, lazy));
            for (path, tensor) in &expected {
                let far = distance(&weights[path].data, &tensor.data);
                assert!(far < 1e-6, "{path}: {far:e}");
                let (state, host) = (&states[path], &host[path]);
                assert_eq!(state.steps, host.steps, "{path}");
                let far =
                    distance(&state.moment_1, &host.moment_1).max(distance(&state.moment_2, &host.moment_2));
                assert!(far < 1e-6, "{path}: {far:e}");
            }
        }
        let (_, states) = trained(true, true);
        assert!(states["experts"].steps.iter().all(|steps| *steps == 3), "rows without a gradient rest");
    }

    #[test]
    fn what_is_saved_goes_on_as_if_nothing_had_been() {
        let toy = toy();
        let mut one = optimizer(true);
        let step = |toy: Toy, optimizer: &mut Optimizer, at| {
            let gradients = gradients(&toy, at, false).of_rows("table", vec![3, 0, 7, 11]);
            optimizer.step(toy, &gradients, 0.01)
        };
        let toy = step(toy, &mut one, 0);
        let mut saved = optimizer(true).with_state(one.state().clone());
        let (one_more, resumed) = (step(toy.clone(), &mut one, 1), step(toy, &mut saved, 1));
        assert_eq!(export(&one_more), export(&resumed));
        assert_eq!(one.state(), saved.state());
    }

    #[test]
    fn norms_and_products_are_those_of_the_host() {
        let toy = toy();
        let [here, there] = [true, false].map(|on_host| {
            let (mut sum, other) = (gradients(&toy, 0, on_host), gradients(&toy, 1, on_host));
            let product = sum.dot(&other);
            sum.add(other);
            [product, sum.norm(|_| true), sum.norm(|path| path == "router")]
        });
        here.iter().zip(there).for_each(|(a, b)| assert!((a - b).abs() < 1e-4 * a.abs(), "{a} {b}"));
    }
}
