//! The joint negative control: the control head's loss reaches the backbone through the live router.
//!
//! Everywhere else the head is isolated by its type: it sees and holds numbers, never tensors, so that there is
//! no way for a gradient. Here its loss's derivatives by the two entropies, numbers again, are put in front of the
//! live entropies: by the chain rule that has the gradient of the head's loss.

use moelt_control::{LiveGradient, StatsWindow, live_gradient};
use moelt_model::{ModelOutput, mean_entropy, routing_entropy};
use moelt_schema::{Layout, PolicyState, RunConfig};

use crate::extra_gradient::{Extra, ExtraGradient};

/// The head whose loss is part of the backbone's.
pub(crate) struct Joint<'a> {
    config: &'a RunConfig,
}

impl<'a> Joint<'a> {
    /// None unless the config asks for it.
    pub(crate) fn of(config: &'a RunConfig) -> Option<Self> {
        (config.control.policy.joint() > 0.0).then_some(Self { config })
    }
}

impl ExtraGradient for Joint<'_> {
    fn extra(&self, window: &StatsWindow<'_>, policy: &PolicyState, layout: &Layout) -> Option<Extra> {
        let control = &self.config.control;
        let asked = live_gradient(control, self.config.seed, policy, window, layout);
        (!asked.is_empty()).then(|| of_entropies(asked, control.policy.joint()))
    }
}

/// The derivatives in front of the live entropies, times α.
fn of_entropies(asked: Vec<LiveGradient>, alpha: f64) -> Extra {
    let loss = asked.iter().map(|live| live.loss).sum();
    let objective = move |output: &ModelOutput| {
        let terms = asked.iter().filter_map(|live| {
            let (_, probs) = output.router_probs.iter().find(|(layer, _)| *layer == live.layer)?;
            let routing = routing_entropy(probs.clone()) * (alpha * live.routing_entropy);
            Some(routing + mean_entropy(probs.clone()) * (alpha * live.load_entropy))
        });
        terms.reduce(|sum, term| sum + term)
    };
    Extra { loss, objective: Box::new(objective) }
}

#[cfg(test)]
mod tests {
    use burn::{
        module::{Module, ModuleVisitor, Param},
        tensor::{Device, Tensor, TensorData},
    };
    use moelt_model::{Mode, ModelInput};
    use moelt_optim::{HostTensor, NamedGradients, export, replace, take_gradients};
    use moelt_schema::{ControlGradients, LayerId, RunConfig};
    use moelt_surgery::Trainable;

    use super::*;
    use crate::{Prepared, TrainState, evaluate::model_input};

    /// All experts see all rows: the entropies are smooth in the weights.
    const CONFIG: &str = "
        [data.planted]
        train = 64
        validation = 16
        test = 16
        [model]
        d_model = 8
        d_ff = 4
        n_layers = 2
        top_k = 3
        [model.routing.top_k]
        n_experts = 3
    ";
    const ALPHA: f64 = 3.0;

    fn asked() -> Vec<LiveGradient> {
        let live = |layer, routing_entropy, load_entropy| LiveGradient {
            layer: LayerId(layer),
            loss: 0.5,
            routing_entropy,
            load_entropy,
        };
        vec![live(0, 0.7, -1.3), live(1, -0.4, 0.9)]
    }

    fn forward(state: &TrainState, input: &ModelInput) -> ModelOutput {
        state.model().forward(input, Mode::Eval)
    }

    /// `α · Σ (dr · routing entropy / ln n + dl · entropy of the mean / ln n)`, in double precision.
    fn objective(state: &TrainState, input: &ModelInput) -> f64 {
        let output = forward(state, input);
        let terms = asked().into_iter().zip(output.router_probs).map(|(live, (layer, probs))| {
            assert_eq!(live.layer, layer);
            let [rows, n] = probs.dims();
            let probs: Vec<f32> = probs.inner().try_into_vec_as().unwrap();
            let probs: Vec<f64> = probs.into_iter().map(f64::from).collect();
            let entropy = |p: &[f64]| -p.iter().map(|p| p * p.ln()).sum::<f64>() / (n as f64).ln();
            let routing = probs.chunks(n).map(entropy).sum::<f64>() / rows as f64;
            let mean: Vec<f64> =
                (0..n).map(|at| probs.chunks(n).map(|row| row[at]).sum::<f64>() / rows as f64).collect();
            live.routing_entropy * routing + live.load_entropy * entropy(&mean)
        });
        ALPHA * terms.sum::<f64>()
    }

    /// The gradients of `direction · parameter`: the direction itself, to be multiplied with others.
    fn along(state: &TrainState, path: &str, direction: &HostTensor) -> NamedGradients {
        struct Along<'a> {
            path: Vec<String>,
            wanted: &'a str,
            direction: &'a HostTensor,
            objective: Option<Tensor<1>>,
        }
        impl ModuleVisitor for Along<'_> {
            fn enter_module(&mut self, name: &str, container: &str) {
                if !container.starts_with("Enum:") {
                    self.path.push(name.to_owned());
                }
            }
            fn exit_module(&mut self, _: &str, container: &str) {
                if !container.starts_with("Enum:") {
                    self.path.pop();
                }
            }
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                if self.path.join(".") == self.wanted {
                    let HostTensor { shape, data } = self.direction.clone();
                    let direction = Tensor::from_data(TensorData::new(data, shape), &param.val().device());
                    self.objective = Some((param.val() * direction).sum());
                }
            }
        }
        let mut along = Along { path: Vec::new(), wanted: path, direction, objective: None };
        state.model().visit(&mut along);
        take_gradients(state.model(), along.objective.unwrap().backward())
    }

    fn setting() -> (TrainState, ModelInput) {
        let config = RunConfig::from_toml(CONFIG).unwrap();
        let mut prepared = Prepared::new(&config).unwrap();
        let state = TrainState::new(&config, &prepared, &Device::flex());
        let input = model_input(&prepared.train.at(0));
        (state, input)
    }

    #[test]
    fn the_joined_gradient_is_that_of_finite_differences() {
        const STEP: f32 = 1e-2;
        let (state, input) = setting();
        let mut gradients = NamedGradients::default();
        let norms =
            of_entropies(asked(), ALPHA).join(state.model(), &mut gradients, &forward(&state, &input));
        assert_eq!((norms.loss, norms.task_norm, norms.cosine), (1.0, 0.0, 0.0));
        assert!((norms.control_norm - gradients.norm(|_| true)).abs() < 1e-12);
        let weights = export(state.model());
        let routers: Vec<&String> = weights.keys().filter(|path| path.ends_with("router.weight")).collect();
        assert_eq!(routers.len(), 2);
        let mut largest: f64 = 0.0;
        for path in routers {
            let weight = &weights[path];
            for at in 0..weight.data.len() {
                let mut unit = HostTensor { shape: weight.shape.clone(), data: vec![0.0; weight.data.len()] };
                unit.data[at] = 1.0;
                let gradient = gradients.dot(&along(&state, path, &unit));
                let moved = |by: f32| {
                    let mut weight = weight.clone();
                    weight.data[at] += by;
                    let module = replace(state.model().clone(), [(path.clone(), weight)].into());
                    let trainable = Trainable { module, ..state.trainable.clone() };
                    objective(&TrainState { trainable, ..state.clone() }, &input)
                };
                let difference = (moved(STEP) - moved(-STEP)) / f64::from(2.0 * STEP);
                let error = (gradient - difference).abs();
                assert!(error < 1e-4 + 0.02 * difference.abs(), "{path}[{at}]: {gradient} {difference}");
                largest = largest.max(difference.abs());
            }
        }
        assert!(largest > 0.01, "{largest}");
    }

    #[test]
    fn it_is_added_to_that_of_the_task_and_reaches_no_further_than_the_last_router() {
        let (state, input) = setting();
        let task = || {
            let output = forward(&state, &input);
            take_gradients(state.model(), output.logits.powf_scalar(2.0).sum().backward())
        };
        let mut control = NamedGradients::default();
        of_entropies(asked(), ALPHA).join(state.model(), &mut control, &forward(&state, &input));
        let (before, mut sum) = (task(), task());
        let norms = of_entropies(asked(), ALPHA).join(state.model(), &mut sum, &forward(&state, &input));
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-4 * (1.0 + b.abs()), "{a} {b}");
        close(norms.task_norm, before.norm(|_| true));
        close(norms.control_norm, control.norm(|_| true));
        close(norms.cosine, before.dot(&control) / before.norm(|_| true) / control.norm(|_| true));
        close(sum.dot(&sum), before.dot(&before) + 2.0 * before.dot(&control) + control.dot(&control));
        let reached = |part: &str| control.norm(|path| path.contains(part));
        assert!(reached("router") > 0.0 && reached("embedding") > 0.0 && reached("layers.0.experts") > 0.0);
        assert_eq!([reached("layers.1.experts"), control.norm(|path| path.starts_with("head"))], [0.0, 0.0]);
    }

    #[test]
    fn nothing_asked_is_nothing_joined() {
        let (state, input) = setting();
        let mut gradients = NamedGradients::default();
        let norms =
            of_entropies(Vec::new(), ALPHA).join(state.model(), &mut gradients, &forward(&state, &input));
        assert_eq!((norms, gradients.norm(|_| true)), (ControlGradients::default(), 0.0));
    }
}
