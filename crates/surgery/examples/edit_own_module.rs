//! A module that is none of moelt's trains, copies one expert, prunes another and goes on.

use burn::module::{Module, Param};
use burn::tensor::{Device, Distribution, Tensor, activation::softmax};
use moelt_surgery::optim::{AdamW, Optimizer, ParamGroup};
use moelt_surgery::schema::{ExpertAxes, ExpertAxis, LayerKind, Layout, Plan};
use moelt_surgery::{Trainable, apply};

#[derive(Module, Debug)]
struct Mixture {
    router: Param<Tensor<2>>, // [experts, d]
    w1: Param<Tensor<3>>,     // [experts, d, hidden]
    w2: Param<Tensor<3>>,     // [experts, hidden, d]
}

impl ExpertAxes for Mixture {
    fn expert_axes(&self) -> Vec<ExpertAxis> {
        vec![ExpertAxis::router("router"), ExpertAxis::input("w1"), ExpertAxis::output("w2")]
    }
}

fn train(mut mixture: Trainable<Mixture>, steps: std::ops::RangeInclusive<u64>) -> Trainable<Mixture> {
    for step in steps {
        let Mixture { router, w1, w2 } = &mixture.module;
        let x = Tensor::<2>::random([64, 4], Distribution::Normal(0.0, 1.0), &router.device());
        let gates = softmax(x.clone().matmul(router.val().transpose()), 1).transpose().unsqueeze_dim(2);
        let y = x.clone().unsqueeze::<3>().matmul(w1.val()).tanh().matmul(w2.val()) * gates;
        let loss = (y.sum_dim(0).squeeze_dim::<2>(0) - x.sin()).square().mean();
        println!("step {step}: loss {:.3}", loss.clone().into_scalar::<f32>());
        let gradients = mixture.gradients(loss);
        mixture = mixture.step(&gradients, 1e-2, step);
    }
    mixture
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (device, normal) = (Device::flex().autodiff(), Distribution::Normal(0.0, 0.5));
    let router = Param::from_tensor(Tensor::random([3, 4], normal, &device));
    let w1 = Param::from_tensor(Tensor::random([3, 4, 8], normal, &device));
    let w2 = Param::from_tensor(Tensor::random([3, 8, 4], normal, &device));
    let optimizer = Optimizer::new(AdamW::default(), ParamGroup::default());
    let mixture = train(Trainable::new(Mixture { router, w1, w2 }, optimizer).with_average(0.99, 1), 1..=50);

    let layout = Layout::uniform(1, LayerKind::Moe { top_k: 3 }, 3);
    let plan = Plan::new(50).copy_expert(2, 0.01).prune(0).check(&layout, 2..=8)?;
    let mixture = train(apply(&mixture, &plan, 7)?.trainable, 51..=100);
    println!("experts now: {:?}", plan.after().layers()[0].experts);
    assert_eq!(mixture.optimizer.state()["w1"].steps, [100, 100, 50]);
    Ok(())
}
