//! What a policy adds to router biases for one step. The model of that step is a model of its own, made for it and dropped after it:
//! nothing has to be put back, and what is evaluated, edited and saved never knows of it. That is how it differs from a
//! ramp-in ([`crate::ramp_ins`]), which is part of the model as it stands.

use moelt_control::StepBiases;
use moelt_model::Classifier;
use moelt_optim::NamedGradients;
use moelt_schema::{ExpertAxes, ExpertRole, LayerId};

/// The same model with something added to its router biases.
///
/// # Panics
/// When a layer has no top-k router, or another number of experts.
pub(crate) fn with_step_biases(model: &Classifier, added: &StepBiases) -> Classifier {
    with(model, added, Classifier::with_biases)
}

/// The same on an autodiff device, with a gradient by what was added.
///
/// # Panics
/// When a layer has no top-k router, or another number of experts.
pub(crate) fn with_tracked_step_biases(model: &Classifier, added: &StepBiases) -> Classifier {
    with(model, added, Classifier::with_tracked_biases)
}

fn with(
    model: &Classifier,
    added: &StepBiases,
    set: fn(Classifier, LayerId, &[f32]) -> Classifier,
) -> Classifier {
    added.iter().fold(model.clone(), |model, (layer, added)| {
        let biases = model.biases(*layer);
        let (n_experts, given) = (biases.len(), added.len());
        assert_eq!(n_experts, given, "step biases of layer {} must be [{n_experts}]", layer.0);
        let biases: Vec<f32> = biases.iter().zip(added).map(|(bias, added)| bias + added).collect();
        set(model, *layer, &biases)
    })
}

/// Takes the gradients by what was added out of those of the step, which trains no bias. A bias that reached nothing has 0.
pub(crate) fn take_bias_gradients(
    model: &Classifier,
    added: &StepBiases,
    gradients: &mut NamedGradients,
) -> StepBiases {
    if added.is_empty() {
        return StepBiases::new();
    }
    let axes = model.expert_axes();
    let biases = axes.iter().filter(|axis| axis.role == ExpertRole::RouterBias);
    let taken = biases.filter_map(|axis| {
        let n_experts = added.get(&axis.layer)?.len();
        Some((axis.layer, gradients.take(&axis.param).unwrap_or_else(|| vec![0.0; n_experts])))
    });
    taken.collect()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use moelt_control::CLOSED;
    use moelt_schema::RunConfig;

    use super::*;
    use crate::{Prepared, StepReport, TrainState};

    const LAYER: LayerId = LayerId(1);

    /// The report of a first step, in a network of two layers, in which all experts see all tokens: the loss is smooth in the biases.
    fn step(top_k: usize, added: &StepBiases) -> (TrainState, StepReport) {
        let config = format!(
            "[data.planted]\ntrain = 64\nvalidation = 16\ntest = 16\n[model]\nd_model = 8\nd_ff = 4\nn_layers = 2\n\
             embedding_std = 1.0\ntop_k = {top_k}\n[model.routing.top_k]\nn_experts = 3\n[train]\nload_balancing_coef = 0.0\n"
        );
        let config = RunConfig::from_toml(&config).unwrap();
        let mut prepared = Prepared::new(&config).unwrap();
        let batch = prepared.train.at(0);
        let state = TrainState::new(&config, &prepared, &Device::flex());
        state.train_step_with(&batch, &config, 10, None, added)
    }

    fn added(biases: [f32; 3]) -> StepBiases {
        StepBiases::from([(LAYER, biases.to_vec())])
    }

    #[test]
    fn the_gradient_by_a_bias_is_that_of_differences() {
        let at = [0.2, -0.3, 0.1];
        let (_, report) = step(3, &added(at));
        let gradients = &report.bias_gradients[&LAYER];
        assert!(gradients.iter().any(|gradient| gradient.abs() > 1e-4), "{gradients:?}");
        // Adding the same to all logits changes nothing.
        assert!(gradients.iter().sum::<f32>().abs() < 1e-6);
        for (expert, gradient) in gradients.iter().enumerate() {
            let loss = |by: f32| {
                let mut biases = at;
                biases[expert] += by;
                step(3, &added(biases)).1.loss
            };
            let difference = (loss(0.05) - loss(-0.05)) / 0.1;
            assert!((f64::from(*gradient) - difference).abs() < 2e-5, "{expert}: {gradient} {difference}");
        }
    }

    #[test]
    fn a_step_leaves_biases_as_they_were_and_trains_no_closed_expert() {
        let (before, _) = step(1, &StepBiases::new());
        let fresh = |state: &TrainState| state.model().layer(LAYER).experts.w_in.val().into_data();
        for top_k in [1, 2] {
            let (after, report) = step(top_k, &added([0.0, CLOSED, CLOSED]));
            assert_eq!(after.model().biases(LAYER), [0.0; 3]);
            assert!(report.is_finite());
            assert_eq!(report.bias_gradients[&LAYER][1..], [0.0, 0.0]);
            let (w_in, other) = (fresh(&after), fresh(&before));
            let (w_in, other) = (w_in.as_slice::<f32>().unwrap(), other.as_slice::<f32>().unwrap());
            let expert = w_in.len() / 3;
            // Another run of the same seed began with the same experts, and trained all that got a token.
            assert_ne!(w_in[..expert], other[..expert]);
            assert_eq!(steps_of(&after), [1, 0, 0], "top-{top_k}");
        }
        assert_eq!(step(1, &StepBiases::new()).1.bias_gradients, StepBiases::new());
    }

    /// Optimizer steps of each expert. (Where one alone is open its router row has nothing to learn.)
    fn steps_of(state: &TrainState) -> Vec<u64> {
        state.trainable.optimizer.state()["layers.1.experts.w_in"].steps.clone()
    }
}
