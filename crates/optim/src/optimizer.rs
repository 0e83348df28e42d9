//! One optimizer step over a module: clipping, AdamW, and steps counted per row where asked.

use std::collections::BTreeMap;

use burn::module::Module;

use crate::{
    AdamW, NamedGradients, ParamGroup, ParamGroups, Rows, adamw::Values, gradients::values, host::map_params,
};

/// What the optimizer remembers of one parameter. It exists from the first gradient on.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamState {
    /// Shape of the parameter and of both moments.
    pub shape: Vec<usize>,
    /// Mean of gradients.
    pub moment_1: Vec<f32>,
    /// Mean of squared gradients.
    pub moment_2: Vec<f32>,
    /// Steps taken: one count, or one per row along the group's `row_axis`.
    pub steps: Vec<u64>,
}

/// AdamW over a module's parameters. It knows how each of them is updated and what it remembers of it, both by
/// path: a clone, an edit or a checkpoint takes everything along.
#[derive(Clone, Debug)]
pub struct Optimizer {
    adamw: AdamW,
    clip_norm: f64,
    groups: ParamGroups,
    state: BTreeMap<String, ParamState>,
}

impl Optimizer {
    /// An optimizer without state, for parameters of these groups. Gradients are not clipped.
    pub fn new(adamw: AdamW, groups: impl Into<ParamGroups>) -> Self {
        Self { adamw, clip_norm: 0.0, groups: groups.into(), state: BTreeMap::new() }
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
        &self.state
    }

    /// The same, to be edited along with the parameters it is of.
    pub fn state_mut(&mut self) -> &mut BTreeMap<String, ParamState> {
        &mut self.state
    }

    /// Continues from a saved state.
    pub fn with_state(self, state: BTreeMap<String, ParamState>) -> Self {
        Self { state, ..self }
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
        let clip_scale =
            if self.clip_norm > 0.0 { self.clip_scale(self.clipped_norm(gradients)) } else { 1.0 };
        map_params(module, |path, shape, weights| {
            let Some(gradient) = gradients.0.get(path) else { return };
            let group = self.groups.of(path);
            let scale = if group.clip { clip_scale as f32 } else { 1.0 };
            let weights = weights.as_mut_slice().expect("moelt trains in f32");
            self.update(path, shape, &group, weights, values(gradient), lr, scale);
        })
    }

    #[allow(clippy::too_many_arguments)] // the one place where everything about a parameter meets
    fn update(
        &mut self,
        path: &str,
        shape: &[usize],
        group: &ParamGroup,
        weights: &mut [f32],
        gradient: &[f32],
        lr: f64,
        scale: f32,
    ) {
        let rows = group.row_axis.map_or(Rows::whole(weights.len()), |axis| Rows::new(shape, axis));
        let state = self.state.entry(path.to_owned()).or_insert_with(|| ParamState::new(shape, rows.len()));
        assert_eq!(state.shape, shape, "optimizer state of `{path}` is that of another shape");
        assert_eq!(state.steps.len(), rows.len(), "optimizer steps of `{path}` are those of other rows");
        for (row, steps) in state.steps.iter_mut().enumerate() {
            let touched = |stretch: std::ops::Range<usize>| gradient[stretch].iter().any(|g: &f32| *g != 0.0);
            if group.row_axis.is_some() && !rows.stretches(row).any(touched) {
                continue;
            }
            *steps += 1;
            for stretch in rows.stretches(row) {
                let values = Values {
                    weights: &mut weights[stretch.clone()],
                    moment_1: &mut state.moment_1[stretch.clone()],
                    moment_2: &mut state.moment_2[stretch.clone()],
                };
                let (lr, decay) = (lr * group.lr_scale, group.weight_decay);
                self.adamw.update(*steps, lr, decay, scale, values, &gradient[stretch]);
            }
        }
    }
}

impl ParamState {
    /// Nothing remembered yet.
    pub fn new(shape: &[usize], rows: usize) -> Self {
        let n = shape.iter().product();
        Self { shape: shape.to_vec(), moment_1: vec![0.0; n], moment_2: vec![0.0; n], steps: vec![0; rows] }
    }
}

#[cfg(test)]
mod tests {
    use burn::{
        module::Param,
        tensor::{Device, Tensor},
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
