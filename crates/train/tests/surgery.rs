//! Edits in the middle of training, with the library alone: what they cost, what they leave behind, and how a
//! new expert begins.

#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

use std::{collections::BTreeMap, fs, path::Path};

use burn::tensor::Device;
use moelt_optim::{HostTensor, Rows, export};
use moelt_schema::{
    Activation, Edit, EventsPosition, Evidence, ExpertAxes, ExpertId, ExpertInit, ExpertRole, LayerId,
    Limits, Plan, Probe, RampIn, RunConfig,
};
use moelt_train::{CheckpointStore, LoadedModel, Prepared, TrainState};
use safetensors::SafeTensors;
use tempfile::TempDir;

/// Two layers of four experts. The policy is never asked; with one, sums are kept for it.
const CONFIG: &str = "
[data.planted]
train = 320
validation = 64
test = 64
[model]
d_model = 8
d_ff = 6
n_layers = 2
[optim]
lr = 0.02
warmup = 0.0
schedule = 'constant'
ema_decay = 0.9
[train]
batch_size = 16
[control.policy.rule]
";

const TOTAL: u64 = 1000;
const LAYERS: [LayerId; 2] = [LayerId(0), LayerId(1)];
const ACTIVATIONS: [Activation; 3] = [Activation::Relu, Activation::Gelu, Activation::Swiglu];
const TENSORS: [&str; 3] = ["model.safetensors", "average.safetensors", "optimizer.safetensors"];

/// A run without a folder.
struct Run {
    config: RunConfig,
    prepared: Prepared,
    state: TrainState,
}

impl Run {
    fn new(ramping_in: u64) -> Self {
        Self::with(Activation::Relu, ramping_in, |_| ())
    }

    fn with(activation: Activation, ramping_in: u64, change: fn(&mut RunConfig)) -> Self {
        let mut config = RunConfig::from_toml(CONFIG).unwrap();
        (config.model.activation, config.control.edits.ramp_in) = (activation, ramping_in);
        change(&mut config);
        let prepared = Prepared::new(&config).unwrap();
        let mut state = TrainState::new(&config, &prepared, &Device::flex());
        state.progress.total_steps = TOTAL;
        Self { config, prepared, state }
    }

    fn train(&mut self, steps: u64) {
        for _ in 0..steps {
            let batch = self.prepared.train.at(self.state.step);
            let (state, report) = self.state.clone().train_step(&batch, &self.config, TOTAL);
            assert!(report.is_finite());
            self.state = state;
        }
    }

    fn edit(&mut self, edits: Vec<Edit>) {
        let (step, evidence) = (self.state.step, Evidence::default());
        let plan = Plan { step, edits, reason: "test".into(), evidence };
        let plan = plan.check(&self.state.layout, Limits::default()).unwrap();
        self.state.edit(&plan, self.config.control.edits.ramp_in).unwrap();
    }

    /// Grows an expert in each layer; gives their ids.
    fn grow(&mut self, init: &ExpertInit) -> [ExpertId; 2] {
        let next = self.state.layout.next_id().0;
        let new = [ExpertId(next), ExpertId(next + 1)];
        let grow = |(layer, new)| Edit::Grow { layer, new, init: init.clone() };
        self.edit(LAYERS.into_iter().zip(new).map(grow).collect());
        new
    }

    fn experts(&self, layer: LayerId) -> &[ExpertId] {
        &self.state.layout.layer(layer).unwrap().experts
    }

    fn position(&self, layer: LayerId, expert: ExpertId) -> usize {
        self.experts(layer).iter().position(|id| *id == expert).unwrap()
    }

    /// Writes a checkpoint into a store and gives its folder.
    fn save(&self, folder: &Path) -> std::path::PathBuf {
        let store = CheckpointStore::open(folder, 1).unwrap();
        let mut checkpoint =
            self.state.checkpoint(&self.config, &self.prepared, None, EventsPosition::default()).unwrap();
        store.save(&mut checkpoint, false).unwrap()
    }

    /// Every bit of weights, averaged weights and optimizer, as they would be saved.
    fn bits(&self) -> [Vec<u8>; 3] {
        let folder = TempDir::new().unwrap();
        let checkpoint = self.save(folder.path());
        TENSORS.map(|name| fs::read(checkpoint.join(name)).unwrap())
    }

    /// What trained and averaged weights make of a few texts.
    fn probe(&self) -> Probe {
        let position = EventsPosition::default();
        self.state.checkpoint(&self.config, &self.prepared, None, position).unwrap().manifest.probe
    }

    fn weights(&self) -> BTreeMap<String, HostTensor> {
        export(self.state.model())
    }
}

/// `‖after − before‖ / ‖before‖`
fn deviation(before: &[Vec<f32>], after: &[Vec<f32>]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let (before, after) = (before.concat(), after.concat());
    let difference = norm(&mut before.iter().zip(&after).map(|(a, b)| f64::from(b - a)));
    difference / norm(&mut before.iter().map(|v| f64::from(*v)))
}

fn reorder(run: &mut Run, orders: [Vec<ExpertId>; 2]) {
    run.edit(LAYERS.into_iter().zip(orders).map(|(layer, order)| Edit::Reorder { layer, order }).collect());
}

/// At ten points of a run its experts change places and change back. If router rows, biases, optimizer,
/// averages or windows did not move along, or moved anything else, the runs would part.
#[test]
fn surgery_that_cancels_out_leaves_a_run_bit_identical_to_a_frozen_one() {
    for activation in [Activation::Relu, Activation::Swiglu] {
        assert_edits_cancel_out([0, 1].map(|_| Run::with(activation, 60, |_| ())));
    }
}

fn assert_edits_cancel_out([mut frozen, mut edited]: [Run; 2]) {
    for run in [&mut frozen, &mut edited] {
        run.train(10);
        run.grow(&ExpertInit::Fresh);
    }
    for point in 0..10 {
        frozen.train(19);
        edited.train(19);
        let there = LAYERS.map(|layer| edited.experts(layer).to_vec());
        let mut changed = there.clone();
        changed[0].rotate_left(point % 4 + 1);
        changed[1].swap(point % 4, 4);
        let before = edited.weights();
        reorder(&mut edited, changed);
        assert_ne!(edited.weights(), before);
        reorder(&mut edited, there);
        assert_eq!(edited.bits(), frozen.bits(), "point {point}");
        assert_eq!(edited.state.progress, frozen.state.progress, "point {point}");
    }
    frozen.train(19);
    edited.train(19);
    assert_eq!(edited.bits(), frozen.bits());
    assert_eq!(edited.state.progress, frozen.state.progress);
    assert_eq!(edited.state.layout, frozen.state.layout);
    assert_eq!((edited.state.edits.plans.len(), frozen.state.edits.plans.len()), (21, 1));
}

/// Tensors and bytes of each tensor file of a checkpoint.
fn sizes(checkpoint: &Path) -> [(usize, usize); 3] {
    TENSORS.map(|name| {
        let bytes = fs::read(checkpoint.join(name)).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        (tensors.len(), tensors.iter().map(|(_, view)| view.data().len()).sum())
    })
}

#[test]
fn a_hundred_rounds_of_growing_pruning_saving_and_loading_leave_nothing_behind() {
    let folder = TempDir::new().unwrap();
    let mut run = Run::new(3);
    run.train(2);
    let first = sizes(&run.save(folder.path()));
    for round in 0..100 {
        let parent = run.experts(LayerId(0))[0];
        let copy = ExpertInit::Copy { parent, noise: 0.1 };
        let new = run.state.layout.next_id();
        let init = if round % 2 == 0 { ExpertInit::Fresh } else { copy };
        run.edit(vec![Edit::Grow { layer: LayerId(0), new, init }]);
        run.train(1);
        // Sometimes the one that is ramping in goes again, sometimes the oldest.
        let gone = if round % 3 == 0 { new } else { parent };
        run.edit(vec![Edit::Prune { layer: LayerId(0), expert: gone }]);
        let path = run.save(folder.path());
        assert_eq!(sizes(&path), first, "round {round}");
        let loaded = LoadedModel::load(&path, &Device::flex().autodiff()).unwrap();
        let restored = TrainState::restore(loaded);
        assert_eq!(restored.progress, run.state.progress, "round {round}");
        assert!(restored.progress.ramp_ins.len() <= 2, "{:?}", restored.progress.ramp_ins);
        let kept = std::mem::replace(&mut run.state, restored);
        assert_eq!(run.weights(), export(kept.model()), "round {round}");
        assert_eq!(run.state.trainable.optimizer.state(), kept.trainable.optimizer.state(), "round {round}");
        assert_eq!(run.state.edits, kept.edits, "round {round}");
        run.train(1);
    }
    assert_eq!(run.state.layout.next_id(), ExpertId(4 + 100));
    assert_eq!(run.experts(LayerId(0)).len(), 4);
}

/// What was saved after a step, and loaded: the same run to the last bit, whatever was edited before.
#[test]
fn an_edited_run_that_is_saved_and_loaded_goes_on_bit_by_bit() {
    const LAYER: LayerId = LayerId(0);
    for activation in ACTIVATIONS {
        let folder = TempDir::new().unwrap();
        let mut run = Run::with(activation, 3, |_| ());
        run.train(5);
        let before = run.bits();
        let copy = ExpertInit::Copy { parent: ExpertId(1), noise: 0.1 };
        for edit in [
            Edit::Grow { layer: LAYER, new: run.state.layout.next_id(), init: copy },
            Edit::Prune { layer: LAYER, expert: ExpertId(0) },
            Edit::Merge { layer: LAYER, from: ExpertId(2), into: ExpertId(3), share: 0.5 },
            Edit::Grow { layer: LAYER, new: ExpertId(5), init: ExpertInit::Split { parent: ExpertId(3) } },
        ] {
            run.edit(vec![edit]);
            run.train(2);
            let loaded = LoadedModel::load(&run.save(folder.path()), &Device::flex().autodiff()).unwrap();
            let mut resumed = Run::with(activation, 3, |_| ());
            resumed.state = TrainState::restore(loaded);
            run.train(3);
            resumed.train(3);
            assert_eq!(resumed.bits(), run.bits(), "{activation:?}");
        }
        assert_ne!(run.bits(), before);
        assert_eq!(run.experts(LAYER).len(), 4);
    }
}

/// Where every expert serves every token, halves of an expert do together what it did.
#[test]
fn a_split_keeps_the_function() {
    for activation in ACTIVATIONS {
        let mut run = Run::with(activation, 0, |config| config.model.top_k = 16);
        run.train(20);
        let before = run.probe();
        run.grow(&ExpertInit::Split { parent: ExpertId(2) });
        let moved = deviation(&before.logits, &run.probe().logits);
        assert!(moved <= 1e-6, "{activation:?}: {moved}");
    }
}

#[test]
fn an_expert_that_is_let_in_changes_nothing_at_first_and_is_all_in_at_the_end() {
    const OPENING: u64 = 20;
    for init in [ExpertInit::Fresh, ExpertInit::Copy { parent: ExpertId(1), noise: 0.1 }] {
        let mut run = Run::new(OPENING);
        run.train(30);
        let before = run.probe();
        let new = run.grow(&init);
        let after = run.probe();
        assert!(deviation(&before.logits, &after.logits) <= 1e-5);
        let [before, after] = [before, after].map(|probe| probe.ema_logits.unwrap());
        assert!(deviation(&before, &after) <= 1e-5);
        run.state.progress.window.layers.clear();
        run.train(1);
        let tokens = |run: &Run, layer: usize| {
            let position = run.position(LAYERS[layer], new[layer]);
            run.state.progress.window.layers[layer].tokens_per_expert[position]
        };
        assert_eq!([0, 1].map(|layer| tokens(&run, layer)), [0.0, 0.0]);
        for age in 1..=OPENING {
            let biases = biases_of(&run, new);
            let closing = (((age - 1) as f32) / OPENING as f32).ln().max(-30.0);
            assert!(biases.iter().all(|bias| (bias - closing).abs() < 1e-6), "age {age}: {biases:?}");
            run.train(1);
        }
        assert_eq!(biases_of(&run, new).map(f32::to_bits), [0, 0]);
        assert_eq!(run.state.progress.ramp_ins, []);
        assert!([0, 1].iter().all(|layer| tokens(&run, *layer) > 0.0), "{init:?}");
    }
}

/// Router biases of an expert of each layer. Those of the averaged model must be the same.
fn biases_of(run: &Run, experts: [ExpertId; 2]) -> [f32; 2] {
    let averaged = run.state.evaluated().unwrap();
    [0, 1].map(|layer| {
        let biases = run.state.model().biases(LAYERS[layer]);
        assert_eq!(averaged.biases(LAYERS[layer]), biases);
        biases[run.position(LAYERS[layer], experts[layer])]
    })
}

/// Growing one expert is no step for another that is ramping in: what an edit does to the output is its own.
#[test]
fn growing_leaves_the_openings_of_others_alone() {
    let mut run = Run::new(20);
    run.train(5);
    let first = run.grow(&ExpertInit::Fresh);
    run.train(5);
    let (before, biases) = (run.probe(), biases_of(&run, first));
    let second = run.grow(&ExpertInit::Fresh);
    assert_eq!(biases_of(&run, first), biases);
    assert!(deviation(&before.logits, &run.probe().logits) <= 1e-5);
    let since = |ramping_in: &RampIn| ramping_in.since;
    let ramp_ins: Vec<u64> = run.state.progress.ramp_ins.iter().map(since).collect();
    assert_eq!(ramp_ins, [5, 10, 5, 10]);
    run.train(20);
    assert_eq!(biases_of(&run, first), [0.0; 2]);
    assert!(biases_of(&run, second).iter().all(|bias| *bias < 0.0));
}

/// An expert that has ramped in half, in layer 0, and its bias.
fn half_open() -> (Run, ExpertId, f32) {
    let mut run = Run::new(20);
    run.train(5);
    let [expert, _] = run.grow(&ExpertInit::Fresh);
    run.train(11);
    let bias = bias_of(&run, expert);
    assert!((bias - 0.5f32.ln()).abs() < 1e-6, "{bias}");
    (run, expert, bias)
}

/// Router bias of an expert of layer 0.
fn bias_of(run: &Run, expert: ExpertId) -> f32 {
    run.state.model().biases(LayerId(0))[run.position(LayerId(0), expert)]
}

#[test]
fn a_copy_of_an_expert_that_has_half_ramped_in_ramps_in_entirely_too() {
    for ramping_in in [0, 20] {
        let (mut run, parent, bias) = half_open();
        let new = run.state.layout.next_id();
        run.config.control.edits.ramp_in = ramping_in;
        let init = ExpertInit::Copy { parent, noise: 0.1 };
        run.edit(vec![Edit::Grow { layer: LayerId(0), new, init }]);
        // Without a ramp-in of its own it is as far open as its parent.
        let begins = if ramping_in == 0 { bias } else { -30.0 };
        assert_eq!([bias_of(&run, parent), bias_of(&run, new)], [bias, begins]);
        run.config.control.edits.ramp_in = 20;
        run.train(21);
        assert_eq!([bias_of(&run, parent), bias_of(&run, new)], [0.0; 2]);
    }
}

#[test]
fn a_ramp_in_does_not_stay_in_those_that_are_merged() {
    let (mut run, open, _) = half_open();
    let into = ExpertId(0);
    run.edit(vec![Edit::Merge { layer: LayerId(0), from: open, into, share: 0.5 }]);
    assert_eq!(bias_of(&run, into), 0.0);

    let (mut run, open, bias) = half_open();
    run.edit(vec![Edit::Merge { layer: LayerId(0), from: into, into: open, share: 0.5 }]);
    assert_eq!(bias_of(&run, open), bias);
    run.train(21);
    assert_eq!(bias_of(&run, open), 0.0);
}

#[test]
fn the_first_update_of_a_new_expert_and_its_router_row_is_at_most_lr() {
    for (activation, axes) in [(Activation::Relu, 5), (Activation::Swiglu, 7)] {
        let run = Run::with(activation, 0, |config| config.optim.weight_decay = 0.0);
        assert_first_update_is_at_most_lr(run, axes);
    }
}

/// `n_axes` parameters of a layer are trained row by row.
fn assert_first_update_is_at_most_lr(mut run: Run, n_axes: usize) {
    run.train(100);
    let new = run.grow(&ExpertInit::Copy { parent: ExpertId(0), noise: 0.1 });
    let before = run.weights();
    run.train(1);
    let after = run.weights();
    let trained = |role: ExpertRole| role.is_trained() && role != ExpertRole::Other;
    let axes: Vec<_> =
        run.state.model().expert_axes().into_iter().filter(|axis| trained(axis.role)).collect();
    assert_eq!(axes.len(), 2 * n_axes);
    for axis in axes {
        let position = run.position(axis.layer, new[axis.layer.0 as usize]);
        assert_eq!(run.state.trainable.optimizer.state()[&axis.param].steps[position], 1, "{}", axis.param);
        let (before, after) = (&before[&axis.param], &after[&axis.param]);
        let row = Rows::new(&before.shape, axis.axis).stretches(position).flatten();
        let moved: Vec<f64> =
            row.map(|i| (f64::from(after.data[i]) - f64::from(before.data[i])).abs()).collect();
        let most = moved.iter().copied().fold(0.0, f64::max);
        assert!(most <= run.config.optim.lr * (1.0 + 1e-5), "{}: {most}", axis.param);
        assert!(most > 0.9 * run.config.optim.lr, "{}: {most}", axis.param);
    }
}
