//! A Burn module of your own trains, copies one expert, prunes another and goes on.
use burn::module::{Module, Param};
use burn::tensor::{Device, Distribution, Tensor, activation::softmax};
use moelt_surgery::optim::{AdamW, Optimizer, ParamGroup};
use moelt_surgery::schema::{ExpertAxes, ExpertAxis, LayerKind, Layout, Plan};
use moelt_surgery::{Trainable, apply};

#[derive(Module, Debug)]
struct Mixture {
    router: Param<Tensor<2>>,  // [experts, d]
    experts: Param<Tensor<3>>, // [experts, d, d]
}

impl ExpertAxes for Mixture {
    fn expert_axes(&self) -> Vec<ExpertAxis> {
        vec![ExpertAxis::router("router"), ExpertAxis::output("experts").without_hidden()]
    }
}

fn train(mixture: Trainable<Mixture>, steps: std::ops::RangeInclusive<u64>) -> Trainable<Mixture> {
    steps.fold(mixture, |mixture, step| {
        let Mixture { router, experts } = &mixture.module;
        let x = Tensor::<2>::random([64, 4], Distribution::Normal(0.0, 1.0), &router.device());
        let weights = softmax(x.clone().matmul(router.val().transpose()), 1).transpose();
        let y = x.clone().unsqueeze::<3>().matmul(experts.val()) * weights.unsqueeze_dim(2);
        let loss = (y.sum_dim(0).squeeze_dim::<2>(0) - x.abs()).square().mean();
        let gradients = mixture.gradients(loss);
        mixture.step(&gradients, 1e-2, step)
    })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Device::flex().autodiff();
    let router = Param::from_tensor(Tensor::random([3, 4], Distribution::Default, &device));
    let experts = Param::from_tensor(Tensor::random([3, 4, 4], Distribution::Default, &device));
    let optimizer = Optimizer::new(AdamW::default(), ParamGroup::default());
    let mixture = train(Trainable::new(Mixture { router, experts }, optimizer), 1..=50);

    let layout = Layout::uniform(1, LayerKind::TopK { k: 3 }, 3);
    let plan = Plan::new(50).copy_expert(2, 0.01).prune(0).check(&layout, 2..=8)?;
    let mixture = train(apply(&mixture, &plan, 7)?.trainable, 51..=100);
    let steps = &mixture.optimizer.state()["experts"].steps;
    println!("experts {:?} after {steps:?} steps", plan.after().layers()[0].experts);
    Ok(())
}
