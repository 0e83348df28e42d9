//! A module with all that training remembers of it.

use burn::{module::Module, tensor::Tensor};
use moelt_optim::{ImportError, NamedGradients, Optimizer, WeightAverage, take_gradients};
use moelt_schema::{ExpertAxes, LayerLayout, Layout};

/// What is trained and edited as one: a module, its optimizer and, if there are some, its averaged weights. A clone
/// is a fork: it trains on its own.
#[derive(Clone, Debug)]
pub struct Trainable<M> {
    /// The weights under training, on an autodiff device.
    pub module: M,
    /// Its optimizer, groups of parameters included.
    pub optimizer: Optimizer,
    /// The averaged weights, when there are some.
    pub average: Option<WeightAverage>,
}

impl<M: Module + ExpertAxes> Trainable<M> {
    /// A module and its optimizer, without an average. From now on the optimizer counts the steps of every expert
    /// by itself, as the module's axes say.
    pub fn new(module: M, mut optimizer: Optimizer) -> Self {
        for axis in module.expert_axes() {
            optimizer.groups_mut().set_row_axis(&axis.param, Some(axis.axis));
        }
        Self { module, optimizer, average: None }
    }

    /// The same with an average that begins at the weights and takes them in every `every` steps, those of every expert
    /// counted by itself: see [`WeightAverage`].
    pub fn with_average(self, decay: f64, every: u64) -> Self {
        let axes = self.module.expert_axes();
        let row_axis = |path: &str| axes.iter().find(|axis| axis.param == path).map(|axis| axis.axis);
        let average = WeightAverage::new(&self.module, decay, every, row_axis);
        Self { average: Some(average), ..self }
    }

    /// The gradients of a loss, `[1]`, that the module took part in.
    pub fn gradients(&self, loss: Tensor<1>) -> NamedGradients {
        take_gradients(&self.module, loss.backward())
    }

    /// The same gradients without those of what `layout` says is frozen: a step leaves it as it is, moments and step counts
    /// included.
    pub fn without_frozen(&self, gradients: NamedGradients, layout: &Layout) -> NamedGradients {
        if layout.all_trained() {
            return gradients;
        }
        let axes = self.module.expert_axes();
        let of_expert = |path: &str| axes.iter().any(|axis| axis.param == path);
        let gradients = if layout.shared_frozen() { gradients.only(of_expert) } else { gradients };
        axes.iter().fold(gradients, |gradients, axis| {
            let frozen = layout.layer(axis.layer).map(LayerLayout::frozen_positions).unwrap_or_default();
            gradients.without_rows(&axis.param, axis.axis, &frozen)
        })
    }

    /// The `step`-th step of training, from 1: the optimizer's, and the average's.
    ///
    /// # Panics
    /// When optimizer or average are not those of the module: an edit that forgot them.
    pub fn step(mut self, gradients: &NamedGradients, lr: f64, step: u64) -> Self {
        self.module = self.optimizer.step(self.module, gradients, lr);
        if let Some(average) = &mut self.average {
            average.update(&self.module, step);
        }
        self
    }

    /// The module to be evaluated: without autodiff, with averaged weights when there are some.
    ///
    /// # Errors
    /// When the average is not that of the module.
    pub fn evaluated(&self) -> Result<M, ImportError> {
        let module = self.module.valid();
        match &self.average {
            Some(average) => average.apply(module),
            None => Ok(module),
        }
    }
}
