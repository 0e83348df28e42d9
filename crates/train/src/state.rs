//! Everything that changes while a run trains, and one step of it.

use std::collections::BTreeMap;

use burn::{
    module::Module,
    nn::loss::CrossEntropyLossConfig,
    tensor::{Device, Int, Tensor, TensorData},
};
use moelt_data::TokenBatch;
use moelt_model::{Classifier, ClassifierConfig, Mode};
use moelt_optim::{AdamW, Optimizer, ParamGroup, Schedule, WeightAverage, take_gradients};
use moelt_schema::{EditLog, LayerSums, Layout, LoopState, RunConfig, Stream, Streams};

use crate::{LoadedModel, Prepared, TrainError, evaluate::model_input, param_groups};

/// What a training step costs in forward passes: the backward pass has two matrix products for each one.
const FORWARDS_PER_STEP: u64 = 3;

/// Model, optimizer, average and loop state, after `step` steps. A clone is a fork: it trains on its own.
#[derive(Clone)]
pub struct TrainState {
    /// Steps done.
    pub step: u64,
    /// The experts.
    pub layout: Layout,
    /// How they came to be the experts.
    pub edits: EditLog,
    /// The weights under training, on an autodiff device.
    pub model: Classifier,
    /// Its optimizer.
    pub optimizer: Optimizer,
    /// The averaged weights, when averaging is on.
    pub average: Option<WeightAverage>,
    /// Best evaluation, window sums, seconds.
    pub progress: LoopState,
    pub(crate) groups: BTreeMap<String, ParamGroup>,
    pub(crate) streams: Streams,
}

/// What one step tells the loop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Mean cross entropy of the batch before the step, nats.
    pub loss: f64,
    /// Norm of the gradients that are clipped, before clipping.
    pub grad_norm: f64,
}

impl StepReport {
    /// Whether the step was taken.
    pub fn is_finite(&self) -> bool {
        self.loss.is_finite() && self.grad_norm.is_finite()
    }

    /// What is not finite, when something is not.
    pub(crate) fn not_finite(&self) -> (&'static str, f64) {
        if self.loss.is_finite() { ("gradient norm", self.grad_norm) } else { ("loss", self.loss) }
    }
}

impl TrainState {
    /// The state before the first step, with the config's experts.
    pub fn new(config: &RunConfig, prepared: &Prepared, device: &Device) -> Self {
        Self::with_layout(config, prepared, config.model.initial_layout(), device)
    }

    /// The state before the first step, with these experts.
    pub fn with_layout(config: &RunConfig, prepared: &Prepared, layout: Layout, device: &Device) -> Self {
        let streams = Streams::new(config.seed);
        let classifier = ClassifierConfig {
            model: config.model.clone(),
            layout: layout.clone(),
            n_rows: prepared.vocabulary.n_rows(),
            n_classes: prepared.classes.len(),
        };
        let model = classifier.init(&streams, &device.clone().autodiff());
        Self::from_model(config, layout, model)
    }

    /// The state before the first step of a model on an autodiff device.
    pub(crate) fn from_model(config: &RunConfig, layout: Layout, model: Classifier) -> Self {
        let optim = &config.optim;
        let groups = param_groups(&model, optim);
        let average = (optim.ema_decay > 0.0).then(|| {
            WeightAverage::new(&model, optim.ema_decay, optim.ema_every, |path| groups[path].row_axis)
        });
        Self {
            step: 0,
            groups,
            optimizer: new_optimizer(config),
            progress: LoopState::default(),
            edits: EditLog::new(layout.clone()),
            layout,
            model,
            average,
            streams: Streams::new(config.seed),
        }
    }

    /// The state that a checkpoint holds.
    pub fn restore(loaded: LoadedModel) -> Self {
        let (config, manifest) = (&loaded.checkpoint.config, &loaded.checkpoint.manifest);
        let optim = &config.optim;
        let model = loaded.trained.train();
        Self {
            step: manifest.step,
            layout: manifest.layout.clone(),
            edits: manifest.edits.clone(),
            optimizer: new_optimizer(config).with_state(loaded.optimizer),
            average: loaded.average.map(|a| WeightAverage::with_state(a, optim.ema_decay, optim.ema_every)),
            progress: manifest.state.clone(),
            groups: param_groups(&model, optim),
            streams: Streams::new(manifest.seed),
            model,
        }
    }

    /// The model that is evaluated: averaged weights when averaging is on, without autodiff.
    ///
    /// # Errors
    /// When the average does not fit the model.
    pub fn evaluated(&self) -> Result<Classifier, TrainError> {
        let model = self.model.valid();
        Ok(match &self.average {
            Some(average) => average.apply(model)?,
            None => model,
        })
    }

    /// Takes one optimizer step on `batch`, of a run of `total` steps, and adds it to the window. A loss or
    /// gradient that is not finite leaves the weights as they were; the report says so.
    pub fn train_step(mut self, batch: &TokenBatch, config: &RunConfig, total: u64) -> (Self, StepReport) {
        self.let_in(config.control.opening);
        let mut rng = self.streams.rng(Stream::Dropout, self.step);
        let input = model_input(batch);
        let output = self.model.forward(&input, Mode::Train(&mut rng));
        let labels: Vec<i64> = batch.labels.iter().map(|label| i64::from(*label)).collect();
        let device = output.logits.device();
        let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [batch.batch]), &device);
        let task = CrossEntropyLossConfig::new().init(&device).forward(output.logits, labels);
        let loss = scalar(&task);
        let (objective, balance) = match output.load_balancing_loss {
            Some(aux) => {
                let value = scalar(&aux);
                (task + aux * config.train.load_balancing_coef, value)
            }
            None => (task, 0.0),
        };
        let gradients = take_gradients(&self.model, objective.backward());
        drop(objective);
        let groups = &self.groups;
        let (clipped, all) = (gradients.norm(|path| groups[path].clip), gradients.norm(|_| true));
        // The clipped norm is what is reported, unless a gradient outside it is not a number.
        let grad_norm = if all.is_finite() { clipped } else { all };
        let report = StepReport { loss, grad_norm };
        if !report.is_finite() {
            return (self, report);
        }
        self.progress.flops += FORWARDS_PER_STEP * self.model.forward_flops(&input);
        let lr = schedule(config, total).at(self.step + 1);
        let scale = self.optimizer.clip_scale(grad_norm);
        self.model = self.optimizer.step(self.model, &gradients, lr, scale, |path| groups[path]);
        self.step += 1;
        if let Some(average) = &mut self.average {
            average.update(&self.model, self.step);
        }
        self.add_to_window(report, balance, &output.routing);
        (self, report)
    }

    fn add_to_window(&mut self, report: StepReport, balance: f64, routing: &[LayerSums]) {
        let window = &mut self.progress.window;
        window.steps += 1;
        window.loss += report.loss;
        window.grad_norm += report.grad_norm;
        window.load_balancing_loss += balance;
        add_sums(&mut window.layers, routing);
        add_sums(&mut self.progress.decision_window, routing);
    }
}

/// The learning-rate schedule of a run of `total` steps.
pub(crate) fn schedule(config: &RunConfig, total: u64) -> Schedule {
    let optim = &config.optim;
    Schedule { kind: optim.schedule, lr: optim.lr, warmup: optim.warmup, total }
}

fn new_optimizer(config: &RunConfig) -> Optimizer {
    let optim = &config.optim;
    Optimizer::new(AdamW { beta1: optim.beta1, beta2: optim.beta2, eps: optim.eps }, optim.clip_norm)
}

fn add_sums(window: &mut Vec<LayerSums>, batch: &[LayerSums]) {
    if window.is_empty() {
        *window = batch.to_vec();
    } else {
        window.iter_mut().zip(batch).for_each(|(sums, batch)| sums.add(batch));
    }
}

fn scalar(x: &Tensor<1>) -> f64 {
    f64::from(x.clone().inner().into_scalar::<f32>())
}
