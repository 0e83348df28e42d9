//! One optimizer step over a module: clipping, AdamW, and steps counted per row where asked.

use std::{borrow::Cow, collections::BTreeMap};

use burn::{
    module::Module,
    tensor::{Tensor, TensorData},
};

use crate::{
    AdamW, NamedGradients, ParamGroup, ParamGroups, ParamState, Rows,
    gradients::Gradient,
    host::map_some,
    mirror::Mirror,
    resident::{Corrections, ResidentState, Rule},
    state::check_state,
    transfer::taken,
};

/// AdamW over a module's parameters. It knows how each of them is updated and what it remembers of it, both by
/// path: a clone, an edit or a checkpoint takes everything along.
///
/// What it remembers lies where the gradients do: a step on a device with memory of its own moves neither. Whoever asks for
/// [`Self::state`] has it read back.
#[derive(Clone, Debug)]
pub struct Optimizer {
    adamw: AdamW,
    clip_norm: f64,
    groups: ParamGroups,
    state: Mirror<ResidentState>,
    /// Of steps on a device, from the first of them on.
    corrections: Option<Corrections>,
}

impl Optimizer {
    /// An optimizer without state, for parameters of these groups. Gradients are not clipped.
    pub fn new(adamw: AdamW, groups: impl Into<ParamGroups>) -> Self {
        let (groups, state) = (groups.into(), Mirror::default());
        Self { adamw, clip_norm: 0.0, groups, state, corrections: None }
    }

    /// The same with gradients scaled down to this norm where theirs is larger; 0: never.
    pub fn with_clip_norm(self, clip_norm: f64) -> Self {
        Self { clip_norm, ..self }
    }

    /// Which parameter is updated how.
    pub fn groups(&self) -> &ParamGroups {
        &self.groups
    }

    /// The same, to be edited along with the parameters they are of.
    pub fn groups_mut(&mut self) -> &mut ParamGroups {
        &mut self.groups
    }

    /// The state of every parameter that has had a gradient, by path.
    pub fn state(&self) -> &BTreeMap<String, ParamState> {
        self.state.host()
    }

    /// The same, to be edited along with the parameters it is of.
    pub fn state_mut(&mut self) -> &mut BTreeMap<String, ParamState> {
        self.state.host_mut()
    }

    /// The state of one parameter, if it has had a gradient; that of others stays where it is.
    pub fn state_of(&self, path: &str) -> Option<Cow<'_, ParamState>> {
        self.state.get(path)
    }

    /// Puts another state in the place of one parameter's, or none; that of others stays where it is.
    pub fn set_state_of(&mut self, path: &str, state: Option<ParamState>) {
        self.state.set(path, state);
    }

    /// Continues from a saved state.
    pub fn with_state(self, state: BTreeMap<String, ParamState>) -> Self {
        Self { state: Mirror::on_host(state), ..self }
    }

    /// Norm of the gradients that are clipped, before clipping.
    pub fn clipped_norm(&self, gradients: &NamedGradients) -> f64 {
        gradients.norm(|path| self.groups.of(path).clip)
    }

    /// What gradients of norm `norm` (over the groups that are clipped) are multiplied by.
    fn clip_scale(&self, norm: f64) -> f64 {
        if self.clip_norm > 0.0 && norm > self.clip_norm { self.clip_norm / norm } else { 1.0 }
    }

    /// Takes one step and returns the module: gradients are clipped, each parameter is updated as its group says.
    /// A parameter without a gradient is not touched.
    ///
    /// # Panics
    /// When a parameter's shape is not the one its state was made for: an edit that forgot the
    /// optimizer.
    pub fn step<M: Module>(&mut self, module: M, gradients: &NamedGradients, lr: f64) -> M {
        if gradients.0.is_empty() {
            return module;
        }
        let clip_scale =
            if self.clip_norm > 0.0 { self.clip_scale(self.clipped_norm(gradients)) } else { 1.0 };
        let step = Step { gradients, lr, clip_scale };
        if gradients.are_resident() {
            self.step_where_it_lies(module, step)
        } else {
            self.step_on_host(module, step)
        }
    }

    fn step_on_host<M: Module>(&mut self, module: M, step: Step<'_>) -> M {
        let Self { adamw, groups, state: states, .. } = self;
        let states = states.host_mut();
        let edit = |gradient: &Gradient, path: &str, shape: &[usize], weights: &mut TensorData| {
            let group = groups.of(path);
            let weights = weights.as_mut_slice().expect("moelt trains in f32");
            let rows = Rows::of(shape, group.row_axis);
            let state = states.entry(path.to_owned()).or_insert_with(|| ParamState::new(shape, rows.len()));
            check_state(path, [&state.shape, shape], state.steps.len(), rows);
            gradient.check(path, shape);
            let update =
                |t| adamw.at(t, step.lr * group.lr_scale, group.weight_decay, step.scale(&group) as f32);
            state.step(weights, gradient, &group, update);
        };
        map_some(module, |path| step.gradients.0.get(path), edit)
    }

    fn step_where_it_lies<M: Module>(&mut self, module: M, step: Step<'_>) -> M {
        let Self { adamw, groups, state: states, corrections, .. } = self;
        let Some(device) = module.devices().first().map(|device| device.clone().inner()) else {
            return module;
        };
        let corrections = &*corrections.get_or_insert_with(|| Corrections::new(*adamw, &device));
        let states = states.resident_mut(&device);
        let edit = |gradient: &Gradient, path: &str, shape: &[usize], weights: &mut Tensor<1>| {
            let group = groups.of(path);
            let rows = Rows::of(shape, group.row_axis);
            let anew = || ResidentState::new(shape, rows.len(), &device);
            let state = states.entry(path.to_owned()).or_insert_with(anew);
            state.check(path, shape, rows);
            gradient.check(path, shape);
            let (lr, scale) = (step.lr * group.lr_scale, step.scale(&group));
            let rule = Rule { adamw: *adamw, corrections, lr, scale };
            *weights = state.step(taken(weights), gradient, &group, &rule);
        };
        map_some(module, |path| step.gradients.0.get(path), edit)
    }
}

/// What a step of all parameters has in common.
#[derive(Clone, Copy)]
struct Step<'a> {
    gradients: &'a NamedGradients,
    lr: f64,
    /// What gradients that are clipped are multiplied by.
    clip_scale: f64,
}

impl Step<'_> {
    /// What the gradients of a group are multiplied by.
    fn scale(&self, group: &ParamGroup) -> f64 {
        if group.clip { self.clip_scale } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use burn::{
        module::Param,
        tensor::{Device, Tensor, TensorData},
    };

    use super::*;
    use crate::{export, take_gradients};

    #[derive(Module, Debug)]
    struct Toy {
        experts: Param<Tensor<2>>,
        idle: Param<Tensor<1>>,
    }

    fn toy(device: &Device) -> Toy {
        Toy {
            experts: Param::from_tensor(Tensor::ones([2, 3], device)),
            idle: Param::from_tensor(Tensor::ones([2], device)),
        }
    }

    fn optimizer() -> Optimizer {
        let group = ParamGroup { weight_decay: 0.1, ..ParamGroup::default() };
        let rows = ParamGroup { row_axis: Some(0), ..group };
        Optimizer::new(AdamW::default(), ParamGroups::new(group).with(["experts"], rows))
    }

    /// A step on a loss whose gradient is 3 and 4 for the first and last value of expert `row`.
    fn step(toy: Toy, optimizer: &mut Optimizer, row: usize) -> Toy {
        let expert = toy.experts.val().narrow(0, row, 1);
        let scale = Tensor::<2>::from_data([[3.0, 0.0, 4.0]], &expert.device());
        let gradients = take_gradients(&toy, (expert * scale).sum().backward());
        assert!((optimizer.clipped_norm(&gradients) - 5.0).abs() < 1e-6);
        optimizer.step(toy, &gradients, 0.01)
    }

    #[test]
    fn rows_without_gradient_are_skipped_and_count_their_own_steps() {
        let mut optimizer = optimizer();
        let mut toy = toy(&Device::flex().autodiff());
        for row in [0, 0, 1] {
            toy = step(toy, &mut optimizer, row);
        }
        let state = &optimizer.state()["experts"];
        assert_eq!(state.steps, [2, 1]);
        let weights = &export(&toy)["experts"].data;
        // Row 1 took one step: decay 0.001, then −lr for either sign of the gradient's size.
        for (value, expected) in weights[3..].iter().zip([0.989, 0.999, 0.989]) {
            assert!((value - expected).abs() < 1e-6, "{value}");
        }
    }

    /// Gradients of `experts`: row by row these, whatever the values.
    fn gradients(rows: &[[f32; 3]]) -> NamedGradients {
        let device = Device::flex().autodiff();
        let n = rows.len();
        let experts = Param::from_tensor(Tensor::<2>::ones([n, 3], &device));
        let module = Toy { experts, ..toy(&device) };
        let rows = Tensor::from_data(TensorData::new(rows.concat(), [n, 3]), &device);
        take_gradients(&module, (module.experts.val() * rows).sum().backward())
    }

    /// Three steps of a table of five rows of which some have a gradient: named, or with zeros for the others.
    fn table(row_axis: Option<usize>, named: bool) -> (Vec<f32>, ParamState) {
        let (device, row) = (Device::flex().autodiff(), |row: u32| [row as f32 + 1.0, -1.0, 0.5]);
        let mut optimizer = Optimizer::new(
            AdamW::default(),
            ParamGroup { weight_decay: 0.1, row_axis, ..ParamGroup::default() },
        );
        let experts = Param::from_tensor(Tensor::<2>::ones([5, 3], &device));
        let mut table = Toy { experts, ..toy(&device) };
        for rows in [vec![3, 1], vec![1], vec![4, 1, 0]] {
            let zeros_between = |at| if rows.contains(&at) { row(at) } else { [0.0; 3] };
            let gradients = match named {
                true => {
                    gradients(&rows.iter().map(|at| row(*at)).collect::<Vec<_>>()).of_rows("experts", rows)
                }
                false => gradients(&(0..5).map(zeros_between).collect::<Vec<_>>()),
            };
            table = optimizer.step(table, &gradients, 0.01);
        }
        (export(&table)["experts"].data.clone(), optimizer.state()["experts"].clone())
    }

    #[test]
    fn a_gradient_of_some_rows_is_one_with_zeros_for_the_others() {
        for (row_axis, steps) in [(None, vec![3]), (Some(0), vec![1, 3, 0, 1, 1])] {
            let named = table(row_axis, true);
            assert_eq!(named, table(row_axis, false));
            assert_eq!(named.1.steps, steps);
        }
    }

    #[test]
    fn a_parameter_without_gradient_has_no_state_and_does_not_move() {
        let mut optimizer = optimizer();
        let toy = step(toy(&Device::flex().autodiff()), &mut optimizer, 0);
        assert!(!optimizer.state().contains_key("idle"));
        assert_eq!(export(&toy)["idle"].data, [1.0, 1.0]);
    }

    #[test]
    fn clipping_scales_the_moments() {
        let mut optimizer = optimizer().with_clip_norm(1.0);
        assert_eq!([optimizer.clip_scale(0.5), optimizer.clip_scale(4.0)], [1.0, 0.25]);
        step(toy(&Device::flex().autodiff()), &mut optimizer, 0);
        let moment = optimizer.state()["experts"].moment_1[0];
        assert!((moment - 0.1 * 3.0 / 5.0).abs() < 1e-6, "{moment}");
    }

    #[test]
    #[should_panic(expected = "that of another shape")]
    fn state_of_another_shape_is_refused() {
        let mut optimizer = optimizer();
        let state = ParamState::new(&[4, 3], 4);
        optimizer = optimizer.with_state(BTreeMap::from([("experts".to_owned(), state)]));
        step(toy(&Device::flex().autodiff()), &mut optimizer, 0);
    }
}
