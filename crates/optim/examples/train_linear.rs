//! A line fitted with AdamW: groups by path, clipping, a schedule and averaged weights.

use burn::nn::LinearConfig;
use burn::tensor::{Device, Distribution, Tensor};
use moelt_optim::{AdamW, Optimizer, ParamGroup, ParamGroups, Schedule, WeightAverage, take_gradients};
use moelt_schema::ScheduleKind;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Device::flex().autodiff();
    let mut linear = LinearConfig::new(3, 1).init(&device);

    let decay = ParamGroup { weight_decay: 0.01, ..ParamGroup::default() };
    let groups = ParamGroups::new(decay).with(["bias"], ParamGroup { weight_decay: 0.0, ..decay });
    let mut optimizer = Optimizer::new(AdamW::default(), groups).with_clip_norm(1.0);
    let mut average = WeightAverage::new(&linear, 0.98, 1, |_| None);
    let schedule = Schedule { kind: ScheduleKind::Cosine, lr: 0.1, warmup: 0.1, total: 200 };

    for step in 1..=200 {
        let x = Tensor::<2>::random([32, 3], Distribution::Normal(0.0, 1.0), &device);
        let loss = (linear.forward(x.clone()) - x.sum_dim(1) - 2.0).square().mean();
        let gradients = take_gradients(&linear, loss.backward());
        linear = optimizer.step(linear, &gradients, schedule.at(step));
        average.update(&linear, step);
    }

    let averaged = average.apply(linear)?;
    let bias = averaged.bias.as_ref().ok_or("a linear map has a bias")?;
    println!("weights {}, bias {}", averaged.weight.val().into_data(), bias.val().into_data());
    let error = averaged.weight.val().sub_scalar(1.0).abs().max().into_scalar::<f32>();
    assert!(error < 0.1, "all weights should be 1, not {error} off");
    Ok(())
}
