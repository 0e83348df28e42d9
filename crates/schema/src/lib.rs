//! Everything that passes between moelt's crates as data or lies on disk.
//!
//! This crate holds the words the other crates share and nothing that acts on them: which experts
//! exist ([`Layout`]) and how that changes ([`Plan`], [`RowMap`]), what a router did ([`RoutingStats`]), how a run is configured ([`RunConfig`]),
//! what it wrote down ([`Event`], [`Manifest`], [`CellResult`]) and what an ablation consists of
//! ([`AblationPlan`]). It knows no tensor library, so that readers of run folders need none.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod ablation;
mod axes;
mod comparison;
mod config;
mod digest;
mod drift;
mod edit;
mod edit_log;
mod event;
mod evidence;
mod features;
mod flops;
mod layout;
mod manifest;
mod manifest_check;
mod metrics;
mod plan_check;
mod plan_draft;
mod plan_error;
mod policy_state;
mod result;
mod routing;
mod row_map;
mod run_dir;
mod stream;

pub use ablation::{AblationPlan, Cell, METRIC, PLAN_FORMAT};
pub use axes::{ExpertAxes, ExpertAxis, ExpertRole, RowInit};
pub use comparison::{ClaimKind, Comparison};
pub use config::{
    BadLines, Budget, ConfigError, ConfigFault, ConfigFiles, ConfigText, ControlConfig, CsvConfig,
    DataConfig, EditsConfig, EffectHeadConfig, EntropyLabels, LabelConfig, LabelHeadConfig, LookaheadConfig,
    ModelConfig, Move, NewExpertConfig, OptimConfig, OwnConfig, PlaceboConfig, PlantedConfig, PolicyConfig,
    Pooling, RoutingConfig, RuleConfig, RunConfig, RunRef, Saliency, ScheduleKind, Sst2Config, StartConfig,
    StudyConfig, SubwordConfig, TextConfig, TrainConfig, Unit, config_differences, load_config,
    resolved_toml,
};
pub use digest::{Digest, DigestError};
pub use drift::{Drift, Stretch};
pub use edit::{Edit, ExpertInit, Plan};
pub use edit_log::{Birth, EditLog, Lineage, Merged, ReplayError};
pub use event::{DecisionKind, EditEffect, Event, EventRecord, StopReason, Wall};
pub use evidence::{
    EffectEvidence, Evidence, ForecastEvidence, Label, Labels, LayerEvidence, ReplicateEvidence,
    TrialEvidence,
};
pub use features::Features;
pub use flops::Flops;
pub use layout::{ExpertId, LayerId, LayerKind, LayerLayout, Layout, LayoutError};
pub use manifest::{
    BestSoFar, CHECKPOINT_FORMAT, ControlGradients, DecisionWindow, EventsPosition, Inherited, LayerSums,
    LoopState, MAX_STEPS, Manifest, Probe, RampIn, Unrouted, WindowState,
};
pub use metrics::{DomainAccuracy, Metrics, Prediction};
pub use plan_check::{CheckedPlan, Limits};
pub use plan_draft::PlanDraft;
pub use plan_error::PlanError;
pub use policy_state::{EffectRecord, HeadState, LayerMemory, NetworkState, PolicyState};
pub use result::{CellResult, LastCheckpoint, RESULT_FORMAT, ResultError, SplitSizes, TimeAccuracy};
pub use routing::RoutingStats;
pub use row_map::{RowMap, RowSource, RowStart};
pub use run_dir::{RunDir, create_folders, sync_folder, write_atomically};
pub use stream::{Stream, Streams, uniform};
