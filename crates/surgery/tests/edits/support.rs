//! A run: the toy network, its optimizer, its averaged weights and its layout, trained and edited together.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use moelt_surgery::{
    Applied, Trainable, Undo, apply,
    optim::{AdamW, AverageState, HostTensor, Optimizer, ParamGroup, ParamState, Rows, export, replace},
    schema::{
        CheckedPlan, Edit, Evidence, ExpertId, ExpertInit, LayerId, LayerKind, Layout, Plan, PlanError,
    },
};

use crate::toy::{Toy, Widths};

pub(crate) const LR: f64 = 0.01;
/// For layers in which every expert is chosen.
pub(crate) const FULL_SOFTMAX: LayerKind = LayerKind::TopK { k: usize::MAX };
/// An offset under which an expert gets no token, and a weight of exactly 0 where all are chosen.
pub(crate) const STARVED: f32 = -200.0;

#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) trainable: Trainable<Toy>,
    pub(crate) layout: Layout,
    pub(crate) step: u64,
    pub(crate) widths: Widths,
}

impl Run {
    /// Two layers of width 4 with experts of 3 hidden units.
    pub(crate) fn new(kind: LayerKind, n_experts: usize, seed: u64) -> Self {
        Self::with_widths(kind, n_experts, seed, Widths { d_model: 4, d_ff: 3 })
    }

    pub(crate) fn with_widths(kind: LayerKind, n_experts: usize, seed: u64, widths: Widths) -> Self {
        let layout = Layout::uniform(2, kind, n_experts);
        let toy = Toy::new(&layout, widths, seed, &Device::flex().autodiff());
        let group = ParamGroup { weight_decay: 0.01, ..ParamGroup::default() };
        let trainable = Trainable::new(toy, Optimizer::new(AdamW::default(), group)).with_average(0.9, 2);
        Self { trainable, layout, step: 0, widths }
    }

    pub(crate) fn toy(&self) -> &Toy {
        &self.trainable.module
    }

    /// What the optimizer remembers.
    pub(crate) fn state(&self) -> &BTreeMap<String, ParamState> {
        self.trainable.optimizer.state()
    }

    pub(crate) fn average(&self) -> &BTreeMap<String, AverageState> {
        self.trainable.average.as_ref().unwrap().state()
    }

    pub(crate) fn average_mut(&mut self) -> &mut BTreeMap<String, AverageState> {
        self.trainable.average.as_mut().unwrap().state_mut()
    }

    /// Steps on the mean squared error against fixed targets.
    pub(crate) fn train(&mut self, steps: u64) -> f32 {
        let mut last = 0.0;
        for _ in 0..steps {
            let difference = self.toy().forward(self.batch(0.3)) - self.batch(0.7);
            let loss = difference.powi_scalar(2).mean();
            last = loss.clone().into_scalar::<f32>();
            self.step_on(loss);
        }
        last
    }

    /// One optimizer step on this loss, and the average's update.
    pub(crate) fn step_on(&mut self, loss: Tensor<1>) {
        let gradients = self.trainable.gradients(loss);
        self.step += 1;
        self.trainable = self.trainable.clone().step(&gradients, LR, self.step);
    }

    /// `[32, d_model]`, the same for the same `pace`.
    pub(crate) fn batch(&self, pace: f32) -> Tensor<2> {
        let shape = [32, self.widths.d_model];
        let data = (0..shape[0] * shape[1]).map(|i| (i as f32 * pace).sin()).collect();
        Tensor::from_data(TensorData::new::<f32, _>(data, shape), &self.toy().layers[0].w_in.device())
    }

    pub(crate) fn logits(&self) -> Vec<f32> {
        self.toy().forward(self.batch(0.3)).into_data().try_into_vec::<f32>().unwrap()
    }

    pub(crate) fn check(&self, edits: Vec<Edit>) -> Result<CheckedPlan, PlanError> {
        let plan = Plan { step: self.step, edits, reason: "test".into(), evidence: Evidence::default() };
        plan.check(&self.layout, 1..=6)
    }

    /// The run after a plan, and the way back.
    pub(crate) fn applied(&self, plan: &CheckedPlan) -> (Self, Undo) {
        let Applied { trainable, undo } = apply(&self.trainable, plan, 11).unwrap();
        (Self { trainable, layout: plan.after().clone(), ..self.clone() }, undo)
    }

    pub(crate) fn edited(&self, edits: Vec<Edit>) -> Self {
        self.applied(&self.check(edits).unwrap()).0
    }

    pub(crate) fn undone(&self, undo: &Undo) -> Self {
        let trainable = undo.apply(&self.trainable).unwrap();
        Self { trainable, layout: undo.layout().clone(), ..self.clone() }
    }

    /// Sets the offset of an expert, in the module and, since it is not trained, in the average.
    pub(crate) fn set_bias(&mut self, layer: u32, position: usize, offset: f32) {
        let path = format!("layers.{layer}.router.offset");
        let mut tensor = self.weights()[&path].clone();
        tensor.data[position] = offset;
        self.average_mut().get_mut(&path).unwrap().weights = tensor.clone();
        self.trainable.module = replace(self.toy().clone(), BTreeMap::from([(path, tensor)]));
    }

    pub(crate) fn weights(&self) -> BTreeMap<String, HostTensor> {
        export(self.toy())
    }

    /// Every bit of weights, optimizer state and average.
    pub(crate) fn bits(&self) -> BTreeMap<String, Vec<u64>> {
        let weights =
            self.weights().into_iter().map(|(path, tensor)| ("weights ".to_owned() + &path, bits(&tensor)));
        let state = |(path, state): (&String, &ParamState)| {
            let ParamState { shape, moment_1, moment_2, steps } = state;
            let moments = moment_1.iter().chain(moment_2).map(|value| u64::from(value.to_bits()));
            let shape = shape.iter().map(|size| *size as u64);
            (format!("optimizer {path}"), shape.chain(moments).chain(steps.iter().copied()).collect())
        };
        let state = self.state().iter().map(state);
        let average = self.average().iter().map(|(path, state)| {
            let bits = bits(&state.weights).into_iter().chain(state.updates.iter().copied()).collect();
            (format!("average {path}"), bits)
        });
        weights.chain(state).chain(average).collect()
    }

    /// All that is known of one expert in one parameter: by name, the bits of its values.
    pub(crate) fn remembered(&self, param: &str, axis: usize, position: usize) -> Remembered {
        let weights = &self.weights()[param];
        let values = |data: &[f32]| row(&weights.shape, axis, data, position);
        let state = self.state().get(param);
        let average = &self.average()[param];
        Remembered {
            weights: values(&weights.data),
            moments: state.map(|state| [values(&state.moment_1), values(&state.moment_2)]),
            steps: state.map(|state| state.steps[position]),
            average: values(&average.weights.data),
            updates: average.updates[position],
        }
    }
}

/// What a run knows of one expert in one parameter, values as bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub(crate) weights: Vec<u32>,
    pub(crate) moments: Option<[Vec<u32>; 2]>,
    pub(crate) steps: Option<u64>,
    pub(crate) average: Vec<u32>,
    pub(crate) updates: u64,
}

fn bits(tensor: &HostTensor) -> Vec<u64> {
    let shape = tensor.shape.iter().map(|size| *size as u64);
    shape.chain(tensor.data.iter().map(|value| u64::from(value.to_bits()))).collect()
}

/// Bits of one row.
pub(crate) fn row(shape: &[usize], axis: usize, data: &[f32], position: usize) -> Vec<u32> {
    let stretches = Rows::new(shape, axis).stretches(position);
    stretches.flat_map(|stretch| data[stretch].iter().map(|value| value.to_bits())).collect()
}

/// `‖a − b‖ / ‖a‖`
pub(crate) fn deviation(a: &[f32], b: &[f32]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let difference = norm(&mut a.iter().zip(b).map(|(a, b)| f64::from(a - b)));
    difference / norm(&mut a.iter().map(|value| f64::from(*value)))
}

pub(crate) fn grow(layer: u32, new: u64, init: ExpertInit) -> Edit {
    Edit::Grow { layer: LayerId(layer), new: ExpertId(new), init }
}

pub(crate) fn copy(parent: u64, noise: f64) -> ExpertInit {
    ExpertInit::Copy { parent: ExpertId(parent), noise }
}

pub(crate) fn split(parent: u64) -> ExpertInit {
    ExpertInit::Split { parent: ExpertId(parent) }
}

pub(crate) fn prune(layer: u32, expert: u64) -> Edit {
    Edit::Prune { layer: LayerId(layer), expert: ExpertId(expert) }
}

pub(crate) fn merge(layer: u32, from: u64, into: u64, share: f64) -> Edit {
    Edit::Merge { layer: LayerId(layer), from: ExpertId(from), into: ExpertId(into), share }
}

pub(crate) fn reorder(layer: u32, order: &[u64]) -> Edit {
    Edit::Reorder { layer: LayerId(layer), order: order.iter().copied().map(ExpertId).collect() }
}

pub(crate) fn upcycle(layer: u32, into: &[u64], top_k: usize, reinit: f64) -> Edit {
    let into = into.iter().copied().map(ExpertId).collect();
    Edit::Upcycle { layer: LayerId(layer), into, top_k, reinit }
}
