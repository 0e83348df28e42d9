//! What a policy adds to router biases for one step. The model of that step is a model of its own, made for it and dropped after it:
//! nothing has to be put back, and what is evaluated, edited and saved never knows of it. That is how it differs from a
//! ramp-in ([`crate::ramp_ins`]), which is part of the model as it stands.

use moelt_control::StepBiases;
use moelt_model::Classifier;

/// The same model with something added to its router biases.
///
/// # Panics
/// When a layer has no top-k router, or another number of experts.
pub(crate) fn with_step_biases(model: &Classifier, added: &StepBiases) -> Classifier {
    added.iter().fold(model.clone(), |model, (layer, added)| {
        let biases = model.biases(*layer);
        let (n_experts, given) = (biases.len(), added.len());
        assert_eq!(n_experts, given, "step biases of layer {} must be [{n_experts}]", layer.0);
        let biases: Vec<f32> = biases.iter().zip(added).map(|(bias, added)| bias + added).collect();
        model.with_biases(*layer, &biases)
    })
}
