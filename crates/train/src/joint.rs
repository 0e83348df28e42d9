//! The joint negative control: the control head's loss reaches the backbone through the live router.
//!
//! Everywhere else the head is isolated by its type: it sees and holds numbers, never tensors, so that there is
//! no way for a gradient. Here its loss's derivatives by the two entropies, numbers again, are put in front of the
//! live entropies: by the chain rule that has the gradient of the head's loss.

use moelt_control::LiveGradient;
use moelt_model::{ModelOutput, mean_entropy, routing_entropy};
use moelt_optim::{NamedGradients, take_gradients};
use moelt_schema::{ControlGradients, LayerSums};

use crate::TrainState;

/// What a head that is not isolated asks of the routers of a step, given its sums and task loss; nothing of one
/// that is.
pub(crate) type Live<'a> = &'a dyn Fn(&TrainState, &[LayerSums], f64) -> Vec<LiveGradient>;

/// Adds the gradient of α times the head's loss to that of the task. `output` must be of a forward pass that
/// has not been gone back through.
pub(crate) fn join(
    state: &TrainState,
    task: &mut NamedGradients,
    output: &ModelOutput,
    asked: &[LiveGradient],
    alpha: f64,
) -> ControlGradients {
    let terms = asked.iter().filter_map(|live| {
        let (_, probs) = output.router_probs.iter().find(|(layer, _)| *layer == live.layer)?;
        let routing = routing_entropy(probs.clone()) * (alpha * live.routing_entropy);
        Some(routing + mean_entropy(probs.clone()) * (alpha * live.load_entropy))
    });
    let Some(objective) = terms.reduce(|sum, term| sum + term) else {
        return ControlGradients::default();
    };
    let control = take_gradients(&state.model, objective.backward());
    let (task_norm, control_norm) = (task.norm(|_| true), control.norm(|_| true));
    let product = task_norm * control_norm;
    let cosine = if product > 0.0 { task.dot(&control) / product } else { 0.0 };
    task.add(control);
    ControlGradients { loss: asked.iter().map(|live| live.loss).sum(), task_norm, control_norm, cosine }
}
