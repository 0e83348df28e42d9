//! Everything that changes while a run trains, and one step of it.

use burn::{
    module::Module,
    nn::loss::CrossEntropyLossConfig,
    tensor::{Device, Int, Tensor, TensorData},
};
use moelt_control::{StatsWindow, StepBiases};
use moelt_data::TokenBatch;
use moelt_model::{AuxLosses, Classifier, ClassifierConfig, Mode, ModelInput, ModelOutput};
use moelt_optim::{AdamW, Optimizer, Schedule, WeightAverage, take_gradients};
use moelt_schema::{
    ControlGradients, EditLog, Flops, LayerSums, Layout, LoopState, OptimConfig, RunConfig, Stream, Streams,
};
use moelt_surgery::Trainable;

use crate::{
    LoadedModel, Prepared, TrainError,
    evaluate::{add_sums, model_input},
    extra_gradient::ExtraGradient,
    groups::{EMBEDDING, param_groups},
    step_biases::{take_bias_gradients, with_tracked_step_biases},
};

/// What a training step costs in forward passes: the backward pass has two matrix products for each one.
pub(crate) const FORWARDS_PER_STEP: u64 = 3;

/// Model, optimizer, average and loop state, after `step` steps. A clone is a fork: it trains on its own.
#[derive(Clone)]
pub struct TrainState {
    /// Steps done.
    pub step: u64,
    /// The experts.
    pub layout: Layout,
    /// How they came to be the experts.
    pub edits: EditLog,
    /// The weights under training, on an autodiff device, their optimizer and, when averaging is on, the averaged
    /// weights.
    pub trainable: Trainable<Classifier>,
    /// Best evaluation, window sums, seconds.
    pub progress: LoopState,
    pub(crate) streams: Streams,
}

/// What one step tells the loop.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// Mean cross entropy of the batch before the step, nats.
    pub loss: f64,
    /// Norm of the gradients that are clipped, before clipping.
    pub grad_norm: f64,
    /// Routing sums of each MoE layer.
    pub routing: Vec<LayerSums>,
    /// The derivative of what the step minimised by everything that was added to router biases for it.
    pub bias_gradients: StepBiases,
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
        Self {
            step: 0,
            progress: LoopState::default(),
            edits: EditLog::new(layout.clone()),
            layout,
            trainable: averaged(Trainable::new(model, new_optimizer(config)), &config.optim),
            streams: Streams::new(config.seed),
        }
    }

    /// The state that a checkpoint holds.
    pub fn restore(loaded: LoadedModel) -> Self {
        let (config, manifest) = (&loaded.checkpoint.config, &loaded.checkpoint.manifest);
        let optim = &config.optim;
        let average = loaded.average.map(|a| WeightAverage::with_state(a, optim.ema_decay, optim.ema_every));
        let optimizer = new_optimizer(config).with_state(loaded.optimizer);
        Self {
            step: manifest.step,
            layout: manifest.layout.clone(),
            edits: manifest.edits.clone(),
            trainable: Trainable { average, ..Trainable::new(loaded.trained.train(), optimizer) },
            progress: manifest.state.clone(),
            streams: Streams::new(manifest.seed),
        }
    }

    /// A fork without the average: for those who start it over.
    pub(crate) fn without_average(&self) -> Self {
        let Self { step, layout, edits, trainable, progress, streams } = self;
        let Trainable { module, optimizer, average: _ } = trainable;
        Self {
            step: *step,
            layout: layout.clone(),
            edits: edits.clone(),
            trainable: Trainable { module: module.clone(), optimizer: optimizer.clone(), average: None },
            progress: progress.clone(),
            streams: *streams,
        }
    }

    /// The same with an average that starts over, when averaging is on; it takes in every step, as there may be few.
    pub(crate) fn with_new_average(self, optim: &OptimConfig) -> Self {
        let trainable = averaged(self.trainable, &OptimConfig { ema_every: 1, ..optim.clone() });
        Self { trainable, ..self }
    }

    /// The weights under training.
    pub fn model(&self) -> &Classifier {
        &self.trainable.module
    }

    /// The model that is evaluated: averaged weights when averaging is on, without autodiff.
    ///
    /// # Errors
    /// When the average does not fit the model.
    pub fn evaluated(&self) -> Result<Classifier, TrainError> {
        Ok(self.trainable.evaluated()?)
    }

    /// Takes one optimizer step on `batch`, of a run of `total` steps, and adds it to the window. A loss or
    /// gradient that is not finite leaves the weights as they were; the report says so.
    pub fn train_step(self, batch: &TokenBatch, config: &RunConfig, total: u64) -> (Self, StepReport) {
        self.train_step_with(batch, config, total, None, &StepBiases::new())
    }

    /// The same with something that may add to the gradient, and with what is `added` to router biases for this step.
    pub(crate) fn train_step_with(
        mut self,
        batch: &TokenBatch,
        config: &RunConfig,
        total: u64,
        hook: Option<&dyn ExtraGradient>,
        added: &StepBiases,
    ) -> (Self, StepReport) {
        self.ramp_in(config.control.edits.ramp_in);
        let (model, input, used_rows) =
            with_tracked_step_biases(self.model(), added).with_used_rows(&model_input(batch));
        let output = self.train_forward(&model, &input);
        let Objective { objective, losses } = Objective::of(&output, batch, config);
        let loss = losses.task;
        let mut gradients = take_gradients(&model, objective.backward());
        let bias_gradients = take_bias_gradients(&model, added, &mut gradients);
        let extra = hook.and_then(|hook| {
            let (step, ramping_in) = (self.step + 1, &self.ramping_in());
            let window = StatsWindow { step, total_steps: total, sums: &output.routing, loss, ramping_in };
            hook.extra(&window, &self.progress.policy, &self.layout)
        });
        // With the same noise, as the first pass has been gone back through.
        let second = extra.as_ref().map(|_| self.train_forward(&model, &input));
        let passes = output.flops + second.as_ref().map_or(Flops::default(), |output| output.flops);
        let joint = extra.zip(second).map(|(extra, output)| extra.join(&model, &mut gradients, &output));
        // It shares its weights: with it still there, the step would copy them.
        drop(model);
        let gradients = gradients.of_rows(EMBEDDING, used_rows);
        let gradients = self.trainable.without_frozen(gradients, &self.layout);
        // All at first: on a device they are read back at once.
        let all = gradients.norm(|_| true);
        let clipped = self.trainable.optimizer.clipped_norm(&gradients);
        // The clipped norm is what is reported, unless a gradient outside it is not a number.
        let grad_norm = if all.is_finite() { clipped } else { all };
        let report = StepReport { loss, grad_norm, routing: output.routing, bias_gradients };
        self.progress.flops += passes * FORWARDS_PER_STEP;
        if !report.is_finite() {
            return (self, report);
        }
        let lr = schedule(config, total).at(self.step + 1);
        self.step += 1;
        self.trainable = self.trainable.step(&gradients, lr, self.step);
        self.balance(config.train.balance_bias_rate, &report.routing, added);
        self.add_to_window(&report, &losses, joint);
        (self, report)
    }

    /// A forward pass with the noise of the step to come.
    fn train_forward(&self, model: &Classifier, input: &ModelInput) -> ModelOutput {
        let mut rng = self.streams.rng(Stream::Dropout, self.step);
        model.forward(input, Mode::Train(&mut rng))
    }

    fn add_to_window(&mut self, report: &StepReport, losses: &Losses, joint: Option<ControlGradients>) {
        let LoopState { window, decision_window, .. } = &mut self.progress;
        window.steps += 1;
        window.loss += report.loss;
        window.grad_norm += report.grad_norm;
        window.load_balancing_loss += losses.load_balancing;
        window.router_z_loss += losses.router_z;
        window.diversity_loss += losses.diversity;
        window.simplicity_loss += losses.simplicity;
        if let Some(joint) = joint {
            window.control.get_or_insert_default().add(&joint);
        }
        add_sums(&mut window.layers, &report.routing);
        decision_window.steps += 1;
        decision_window.loss += report.loss;
        add_sums(&mut decision_window.layers, &report.routing);
    }
}

/// What a step minimises, and its parts.
struct Objective {
    /// `[1]`
    objective: Tensor<1>,
    losses: Losses,
}

/// Losses of a step as numbers, those beside the task unweighted; 0 where the model has no such loss.
struct Losses {
    /// Mean cross entropy, nats.
    task: f64,
    load_balancing: f64,
    router_z: f64,
    diversity: f64,
    simplicity: f64,
}

impl Objective {
    fn of(output: &ModelOutput, batch: &TokenBatch, config: &RunConfig) -> Self {
        let task = task_loss(output.logits.clone(), &batch.labels);
        let losses = Losses::read(&task, &output.aux_losses);
        let train = &config.train;
        let objective = match &output.aux_loss {
            Some(aux) => task + aux.clone() * train.load_balancing_coef,
            None => task,
        };
        let objective = match &output.aux_losses.router_z {
            Some(router_z) if train.router_z_coef > 0.0 => objective + router_z.clone() * train.router_z_coef,
            _ => objective,
        };
        Self { objective, losses }
    }
}

impl Losses {
    /// Reads all of them back at once.
    fn read(task: &Tensor<1>, aux: &AuxLosses) -> Self {
        let AuxLosses { load_balancing, router_z, diversity, simplicity } = aux;
        let aux = [load_balancing, router_z, diversity, simplicity].map(Option::as_ref);
        let there = std::iter::once(task).chain(aux.into_iter().flatten());
        let read = Tensor::cat(there.map(|loss| loss.clone().inner()).collect(), 0);
        let read: Vec<f32> = read.try_into_vec_as().expect("losses are f32 on every backend");
        let mut read = read.into_iter().map(f64::from);
        let mut next = || read.next().expect("a number for each loss");
        let task = next();
        let [load_balancing, router_z, diversity, simplicity] = aux.map(|loss| loss.map_or(0.0, |_| next()));
        Self { task, load_balancing, router_z, diversity, simplicity }
    }
}

/// Mean cross entropy, `[1]`, nats.
///
/// # Shapes
/// - logits: `[texts, n_classes]`
pub(crate) fn task_loss(logits: Tensor<2>, labels: &[u32]) -> Tensor<1> {
    let (device, n) = (logits.device(), labels.len());
    let labels: Vec<i64> = labels.iter().map(|label| i64::from(*label)).collect();
    let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [n]), &device);
    CrossEntropyLossConfig::new().init(&device).forward(logits, labels)
}

/// The learning-rate schedule of a run of `total` steps.
pub(crate) fn schedule(config: &RunConfig, total: u64) -> Schedule {
    let optim = &config.optim;
    Schedule { kind: optim.schedule, lr: optim.lr, warmup: optim.warmup, total }
}

/// `trainable` with an average that begins now, when averaging is on.
fn averaged(trainable: Trainable<Classifier>, optim: &OptimConfig) -> Trainable<Classifier> {
    if optim.ema_decay > 0.0 { trainable.with_average(optim.ema_decay, optim.ema_every) } else { trainable }
}

fn new_optimizer(config: &RunConfig) -> Optimizer {
    let optim = &config.optim;
    let adamw = AdamW { beta1: optim.beta1, beta2: optim.beta2, eps: optim.eps };
    Optimizer::new(adamw, param_groups(optim, config.model.n_layers)).with_clip_norm(optim.clip_norm)
}

/// A loss, `[1]`, as a number.
pub(crate) fn scalar(x: &Tensor<1>) -> f64 {
    f64::from(x.clone().inner().into_scalar::<f32>())
}
