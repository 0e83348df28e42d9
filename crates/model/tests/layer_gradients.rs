//! The gradient at a layer's output, token by token, adds up to those of its experts' parameters.

#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

mod common;

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use common::{DENSE, TOP_K, input, model, model_with};
use moelt_model::{Classifier, Mode};
use moelt_schema::{Activation, LayerId};

/// Some function of the logits that is not the same for all of them.
fn objective(logits: Tensor<2>) -> Tensor<1> {
    (logits.clone() * logits.clone().exp()).sum()
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.inner().try_into_vec_as().unwrap()
}

fn assert_close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-4 * (1.0 + expected.abs()), "{found} {expected}");
    }
}

/// Of output biases it is Σ w g over the tokens of an expert, of input biases Σ of what `hidden_gradient` makes of w g: those
/// of units, and behind them those of their gates.
#[test]
fn it_adds_up_to_the_gradients_of_biases() {
    for activation in [Activation::Relu, Activation::Gelu, Activation::Swiglu] {
        assert_adds_up(&model_with(activation, TOP_K, &Device::flex().autodiff()));
    }
}

fn assert_adds_up(model: &Classifier) {
    let gradients = objective(model.forward(&input(), Mode::Eval).logits).backward();
    for layer in [LayerId(0), LayerId(1)] {
        let (gradient, routed, flops) = model.gradient_at(&input(), layer, objective).unwrap();
        assert!(flops.unpadded > 0);
        let experts = &model.layer(layer).experts;
        let of_outputs = host(experts.b_out.val().grad(&gradients).unwrap());
        let biases = [Some(&experts.b_in), experts.b_gate.as_ref()];
        let of_inputs: Vec<Vec<f32>> =
            biases.into_iter().flatten().map(|bias| host(bias.val().grad(&gradients).unwrap())).collect();
        let (inner, k) = (experts.valid(), routed.dispatch.k());
        let weights = host(routed.expert_weights.clone());
        for expert in 0..4 {
            let (mut output_bias, mut input_bias) = (vec![0.0; 5], vec![0.0; experts.d_sums()]);
            for (pair, _) in
                routed.dispatch.experts().iter().enumerate().filter(|(_, e)| **e as usize == expert)
            {
                let token = pair / k;
                let own = gradient.clone().narrow(0, token, 1) * weights[pair];
                let sums = inner.hidden_sums(expert, routed.inputs.clone().inner().narrow(0, token, 1));
                let back = inner.hidden_gradient(expert, sums, own.clone());
                output_bias.iter_mut().zip(host(own)).for_each(|(sum, value)| *sum += value);
                input_bias.iter_mut().zip(host(back)).for_each(|(sum, value)| *sum += value);
            }
            assert_close(&output_bias, &of_outputs[expert * 5..(expert + 1) * 5]);
            let of_inputs = of_inputs.iter().map(|bias| &bias[expert * 3..(expert + 1) * 3]);
            assert_close(&input_bias, &of_inputs.collect::<Vec<_>>().concat());
        }
    }
}

#[test]
fn a_dense_layer_has_none() {
    let model = model(DENSE, &Device::flex().autodiff());
    assert!(model.gradient_at(&input(), LayerId(0), objective).is_none());
}
