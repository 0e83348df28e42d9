//! A hook that adds to the gradient of the task.

use burn::tensor::Tensor;
use moelt_control::StatsWindow;
use moelt_model::{Classifier, ModelOutput};
use moelt_optim::{NamedGradients, take_gradients};
use moelt_schema::{ControlGradients, Layout, PolicyState};

/// Adds to the gradient of the task: an objective of a second forward pass, whose gradient goes back into the model.
pub(crate) trait ExtraGradient {
    /// What is to be added at a step; none: nothing, and no second pass is made. The window has the sums and the task
    /// loss of this step alone; `policy` is what the policy remembers.
    fn extra(&self, window: &StatsWindow<'_>, policy: &PolicyState, layout: &Layout) -> Option<Extra>;
}

/// An objective, made of the output of a forward pass.
type Objective = dyn Fn(&ModelOutput) -> Option<Tensor<1>>;

/// What an [`ExtraGradient`] adds at one step.
pub(crate) struct Extra {
    /// Its loss, for the log, nats.
    pub(crate) loss: f64,
    /// Its objective, `[1]`; none where the output has nothing that it is about.
    pub(crate) objective: Box<Objective>,
}

impl Extra {
    /// Adds its gradient to that of the task, and says how the two lie to one another. `output` must be of a forward
    /// pass that has not been gone back through.
    pub(crate) fn join(
        &self,
        model: &Classifier,
        task: &mut NamedGradients,
        output: &ModelOutput,
    ) -> ControlGradients {
        let Some(objective) = (self.objective)(output) else { return ControlGradients::default() };
        let control = take_gradients(model, objective.backward());
        let (task_norm, control_norm) = (task.norm(|_| true), control.norm(|_| true));
        let product = task_norm * control_norm;
        let cosine = if product > 0.0 { task.dot(&control) / product } else { 0.0 };
        task.add(control);
        ControlGradients { loss: self.loss, task_norm, control_norm, cosine }
    }
}
