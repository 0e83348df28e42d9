//! How a run is configured. Every key can be set in a TOML file or with `--set key=value`.
//!
//! A key that holds one of several kinds, such as `data` or `control.policy`, is an enum whose variants own their
//! parameters and the check of them: a parameter of a kind that was not chosen cannot be written. Defaults are the
//! smallest thing that works; recipes live in `configs/`.

mod activation;
mod bounds;
mod choice;
mod control;
mod data;
mod drift;
mod error;
mod fault;
mod file;
mod meant;
mod model;
mod optim;
mod policy;
mod renamed;
mod run_ref;
mod source;
mod start;
mod text;
mod train;

use serde::{Deserialize, Serialize};

use self::{bounds::toml_numbers, choice::choice};
use crate::Digest;

pub use self::{
    activation::Activation,
    control::{ControlConfig, EditsConfig},
    data::{BadLines, CsvConfig, DataConfig, PlantedConfig, Sst2Config, StreamKind},
    drift::{Asked, Drift, Stretch, TaskStart},
    error::ConfigError,
    fault::ConfigFault,
    file::{config_differences, load_config, resolved_toml},
    model::{
        AssignedBy, ConvConfig, EncoderConfig, ExpertBlockRule, ExpertBlocks, ModelConfig, NormPlacement,
        Pooling, Positions, PretrainedFiles, RouterInput, RoutingConfig, TransformerConfig, Unit,
        UpcycleConfig, VectorFiles, other_files,
    },
    optim::{EmbeddingUpdate, OptimConfig, ScheduleKind},
    policy::{
        ArrivalConfig, DescentConfig, DropConfig, EarlyHalvingConfig, EffectHeadConfig, EliminationOrder,
        EntropyLabels, Halves, KnownBy, L0GatesConfig, LabelConfig, LabelHeadConfig, LookaheadConfig,
        NestedConfig, NewExpertConfig, OwnConfig, PlaceboConfig, PlaceboForksConfig, PolicyConfig,
        RuleConfig, Saliency, SplitAndDropConfig, SplitConfig, StudyConfig,
    },
    run_ref::{OtherRun, RunRef, Takes},
    source::{ConfigFiles, ConfigText},
    start::StartConfig,
    text::{SubwordConfig, TextConfig},
    train::{Budget, MAX_STEPS, TrainConfig},
};

/// One run: an arm with a seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunConfig {
    /// The arm's name in tables.
    pub arm: String,
    /// The phase of the research log that the arm repeats, such as `7a`; empty: none. `--phases` takes it for the
    /// arm's name, and reports show it beside.
    pub phase: String,
    /// Seed of all random streams.
    pub seed: u64,
    /// Which texts.
    #[serde(deserialize_with = "choice")]
    pub data: DataConfig,
    /// How texts become tokens.
    pub text: TextConfig,
    /// The network.
    pub model: ModelConfig,
    /// Optimizer, schedule, averaging.
    pub optim: OptimConfig,
    /// The loop.
    pub train: TrainConfig,
    /// What the run starts from.
    #[serde(deserialize_with = "choice")]
    pub start: StartConfig,
    /// Whether and how experts come and go.
    pub control: ControlConfig,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            arm: "run".to_owned(),
            phase: String::new(),
            seed: 0,
            data: DataConfig::default(),
            text: TextConfig::default(),
            model: ModelConfig::default(),
            optim: OptimConfig::default(),
            train: TrainConfig::default(),
            start: StartConfig::default(),
            control: ControlConfig::default(),
        }
    }
}

impl RunConfig {
    /// Hash of everything that determines the run.
    pub fn digest(&self) -> Digest {
        Digest::of_json(self)
    }

    /// Refuses values that no run can work with.
    ///
    /// # Errors
    /// The key and what is wrong with its value.
    pub fn check(&self) -> Result<(), ConfigFault> {
        check_arm(&self.arm)?;
        self.data.check().map_err(|fault| fault.within("data"))?;
        self.text.check().map_err(|fault| fault.within("text"))?;
        self.model.check().map_err(|fault| fault.within("model"))?;
        self.optim.check().map_err(|fault| fault.within("optim"))?;
        self.train.check().map_err(|fault| fault.within("train"))?;
        self.control.check().map_err(|fault| fault.within("control"))?;
        let values = serde_json::to_value(self).expect("a config is a table of plain values");
        toml_numbers("", &values)?;
        self.check_together()
    }

    /// What single sections cannot see.
    fn check_together(&self) -> Result<(), ConfigFault> {
        if self.train.patience > 0 && self.drifts() {
            let message = "stops early, but where domains come and go every evaluation is of other texts, so that none \
                           is better than another; set it to 0";
            return Err(ConfigFault::new("train.patience", message));
        }
        if self.control.policy.is_told() && !self.drifts() {
            let message =
                "is told when domains arrive, but none does; set data.csv.stream or data.planted.live";
            return Err(ConfigFault::new("control.policy.arrival.known_by", message));
        }
        let clustered = self.model.routing.assigned_by() == Some(AssignedBy::Clusters);
        if clustered && !self.control.policy.is_frozen() {
            let message =
                "are as many clusters as there are experts at the start; set control.policy = \"frozen\"";
            return Err(ConfigFault::new("model.routing.assigned.by", message));
        }
        if matches!(self.train.budget, Budget::FlopsOf(_)) && !self.control.policy.is_frozen() {
            let message = "is set, but what a run spends is not known while its experts change; set control.policy = \
                           \"frozen\"";
            return Err(ConfigFault::new("train.budget.flops_of", message));
        }
        if self.model.expert_choice && self.train.balance_bias_rate > 0.0 {
            let message = "is above 0, but with model.expert_choice loads are even by choice; set one of the two to its default";
            return Err(ConfigFault::new("train.balance_bias_rate", message));
        }
        self.check_positions()?;
        match self.start {
            // The experts are known when it starts.
            StartConfig::Scratch {} if self.model.upcycle.is_some() => Ok(()),
            StartConfig::Scratch {} => self.control.check_layout(&self.model.initial_layout()),
            StartConfig::Weights { .. } | StartConfig::Size { .. } => Ok(()),
        }
    }

    /// Every token of a text needs a position.
    fn check_positions(&self) -> Result<(), ConfigFault> {
        let transformer = self.model.encoder.transformer();
        let Some(Positions::Learned { n_positions }) = transformer.map(|transformer| &transformer.positions)
        else {
            return Ok(());
        };
        if self.text.max_tokens > *n_positions {
            let message = format!(
                "is {}, more than model.encoder.transformer.positions.learned.n_positions = {n_positions}",
                self.text.max_tokens
            );
            return Err(ConfigFault::new("text.max_tokens", message));
        }
        Ok(())
    }

    /// The runs that it takes something from.
    pub fn other_runs(&self) -> impl Iterator<Item = OtherRun<'_>> {
        let records =
            |run| OtherRun { key: "control.policy.lookahead.head.records_of", run, takes: Takes::Records };
        let start = self.start.other_run().into_iter();
        start
            .chain(self.control.policy.edits_of())
            .chain(self.train.budget.other_run())
            .chain(self.control.policy.records_of().iter().map(records))
    }
}

/// An arm's name is also that of a folder.
fn check_arm(arm: &str) -> Result<(), ConfigFault> {
    let fits = |c: char| c.is_alphanumeric() || "-_.+ ".contains(c);
    if arm.chars().all(fits) && arm.chars().any(char::is_alphanumeric) && arm.len() <= 100 {
        return Ok(());
    }
    let message =
        format!("is {arm:?}; it names a folder: letters, digits and any of `-_.+`, 100 bytes at most");
    Err(ConfigFault::new("arm", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_pass_their_own_check() {
        assert_eq!(RunConfig::default().check(), Ok(()));
    }

    #[test]
    fn a_value_out_of_range_is_named() {
        let mut config = RunConfig::default();
        config.model.row_dropout = 1.0;
        assert_eq!(config.check().unwrap_err().key, "model.row_dropout");
        type Change = fn(&mut RunConfig);
        let changes: [(Change, &str); 6] = [
            (|c| c.model.router_jitter = 1.0, "model.router_jitter"),
            (|c| c.model.capacity_factor = Some(0.0), "model.capacity_factor"),
            (
                |c| (c.model.capacity_factor, c.model.expert_choice) = (Some(1.0), true),
                "model.capacity_factor",
            ),
            (|c| c.train.router_z_coef = -0.1, "train.router_z_coef"),
            (|c| c.train.balance_bias_rate = f64::NAN, "train.balance_bias_rate"),
            (|c| (c.train.balance_bias_rate, c.model.expert_choice) = (0.1, true), "train.balance_bias_rate"),
        ];
        for (change, key) in changes {
            let mut config = RunConfig::default();
            change(&mut config);
            assert_eq!(config.check().unwrap_err().key, key);
        }
    }

    #[test]
    fn an_arm_names_a_folder() {
        let fault = |arm: &str| RunConfig { arm: arm.to_owned(), ..RunConfig::default() }.check().err();
        assert_eq!(["a", "frozen-4", "7b.1 é"].map(fault), [None, None, None]);
        for arm in ["", "..", "../x", "a/b", "a\\b", "a\nb"] {
            assert_eq!(fault(arm).unwrap().key, "arm", "{arm}");
        }
    }

    #[test]
    fn every_value_counts_in_the_hash() {
        let config = RunConfig::default();
        let other = RunConfig { seed: 1, ..config.clone() };
        assert_ne!(config.digest(), other.digest());
    }

    #[test]
    fn early_stopping_is_refused_where_data_drift() {
        let mut config = RunConfig::default();
        config.train.patience = 3;
        assert_eq!(config.check(), Ok(()));
        config.data =
            DataConfig::Planted(PlantedConfig { live: vec![[0.0, 1.0]; 4], ..PlantedConfig::default() });
        assert_eq!(config.check().unwrap_err().key, "train.patience");
    }

    #[test]
    fn a_run_that_starts_from_another_is_judged_by_that_ones_experts() {
        let mut config = RunConfig::default();
        config.control.policy = PolicyConfig::Rule(RuleConfig::default());
        config.model.routing = RoutingConfig::Dense {};
        assert_eq!(config.check().unwrap_err().key, "control.policy");
        config.start = StartConfig::Weights { run: RunRef::Folder("edited/upcycled".into()) };
        assert_eq!(config.check(), Ok(()));
    }

    #[test]
    fn operations_of_another_run_are_a_budget_for_frozen_experts_alone() {
        let mut config = RunConfig::default();
        config.train.budget = Budget::FlopsOf(RunRef::Folder("runs/x".into()));
        assert_eq!(config.check(), Ok(()));
        config.control.policy = PolicyConfig::Rule(RuleConfig::default());
        assert_eq!(config.check().unwrap_err().key, "train.budget.flops_of");
    }

    #[test]
    fn numbers_far_beyond_any_use_are_refused_by_key_before_anything_is_made_of_them() {
        type Change = fn(&mut RunConfig);
        let planted = |change: fn(&mut PlantedConfig)| {
            let mut planted = PlantedConfig::default();
            change(&mut planted);
            DataConfig::Planted(planted)
        };
        let lookahead = |change: fn(&mut LookaheadConfig)| {
            let mut lookahead =
                LookaheadConfig { head: Some(EffectHeadConfig::default()), ..Default::default() };
            change(&mut lookahead);
            PolicyConfig::Lookahead(lookahead)
        };
        let refused = |config: &RunConfig, key: &str| {
            let fault = config.check().unwrap_err();
            assert_eq!(fault.key, key);
            assert!(fault.message.contains("must be at most"), "{fault}");
        };
        let cases: [(Change, &str); 10] = [
            (|c| c.seed = u64::MAX, "seed"),
            (|c| c.model.d_model = 1_000_000_000, "model.d_model"),
            (|c| c.model.d_ff = usize::MAX, "model.d_ff"),
            (|c| c.model.shared_d_ff = usize::MAX, "model.shared_d_ff"),
            (|c| c.model.n_layers = 1_000_000_000_000, "model.n_layers"),
            (
                |c| c.model.routing = RoutingConfig::TopK { n_experts: 1_000_000_000_000 },
                "model.routing.top_k.n_experts",
            ),
            (|c| c.model.top_k = usize::MAX, "model.top_k"),
            (
                |c| c.model.encoder = EncoderConfig::Conv(ConvConfig { width: 100_000_001 }),
                "model.encoder.conv.width",
            ),
            (|c| c.train.batch_size = usize::MAX, "train.batch_size"),
            (|c| c.text.subwords.max_parts = usize::MAX, "text.subwords.max_parts"),
        ];
        for (change, key) in cases {
            let mut config = RunConfig::default();
            change(&mut config);
            refused(&config, key);
        }
        let data = planted(|planted| planted.train = 1_000_000_000_000_000);
        refused(&RunConfig { data, ..RunConfig::default() }, "data.planted.train");
        type ChangePolicy = fn(&mut LookaheadConfig);
        let policies: [(ChangePolicy, &str); 2] = [
            (|lookahead| lookahead.horizon = u64::MAX, "horizon"),
            (|lookahead| lookahead.head.as_mut().unwrap().hidden = usize::MAX, "head.hidden"),
        ];
        for (change, key) in policies {
            let control = ControlConfig { policy: lookahead(change), ..ControlConfig::default() };
            let key = format!("control.policy.lookahead.{key}");
            refused(&RunConfig { control, ..RunConfig::default() }, &key);
        }
    }
}
