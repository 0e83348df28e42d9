//! A network of one's own with an expert layer, trained for some steps on random data.

use burn::module::{Module, ModuleMapper, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Distribution, Gradients, Tensor};
use moelt_model::{MoeLayer, MoeLayerConfig};

#[derive(Module, Debug)]
struct Net {
    moe: MoeLayer,
    head: Linear,
}

/// Plain gradient descent: any optimizer of Burn modules does.
struct Descent(Gradients, f64);

impl ModuleMapper for Descent {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(gradient) = param.val().grad_remove(&mut self.0) else { return param };
        param.map(|weight| Tensor::from_inner(weight.inner() - gradient * self.1).require_grad())
    }
}

fn main() {
    let device = Device::flex().autodiff();
    let moe = MoeLayerConfig::new(8, 16).with_n_experts(4).init(&device);
    let mut net = Net { moe, head: LinearConfig::new(8, 1).init(&device) };
    for step in 1..=100 {
        let x = Tensor::<2>::random([64, 8], Distribution::Normal(0.0, 1.0), &device);
        let output = net.moe.forward(x.clone());
        let task = (net.head.forward(output.x) - x.sum_dim(1).sin()).square().mean();
        let balance = output.aux_losses.load_balancing.expect("top-k layers have this loss");
        if step % 20 == 0 {
            let tokens = output.routing.expect("the layer has a router").tokens;
            println!(
                "step {step}: loss {:.3}, rows per expert {tokens:?}",
                task.clone().into_scalar::<f32>()
            );
        }
        net = net.map(&mut Descent((task + balance * 0.01).backward(), 0.05));
    }
}
