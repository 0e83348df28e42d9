//! Everything that passes between moelt's crates as data or lies on disk.
//!
//! This crate holds the words the other crates share and nothing that acts on them: which experts
//! exist ([`Layout`]) and how that changes ([`Plan`], [`RowMap`]), what a router did ([`RoutingStats`]), how a run is configured ([`RunConfig`]),
//! what it wrote down ([`Event`], [`Manifest`], [`CellResult`]) and what an ablation consists of
//! ([`AblationPlan`]). It knows no tensor library, so that readers of run folders need none.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod ablation;
mod config;
mod digest;
mod experts;
mod run;
mod stream;

pub use self::{
    ablation::{AblationPlan, Cell, ClaimKind, Comparison, METRIC, PLAN_FORMAT},
    config::{
        BadLines, Budget, ConfigError, ConfigFault, ConfigFiles, ConfigText, ControlConfig, CsvConfig,
        DataConfig, Drift, EditsConfig, EffectHeadConfig, EntropyLabels, LabelConfig, LabelHeadConfig,
        LookaheadConfig, ModelConfig, Move, NewExpertConfig, OptimConfig, OtherRun, OwnConfig, PlaceboConfig,
        PlantedConfig, PolicyConfig, Pooling, RoutingConfig, RuleConfig, RunConfig, RunRef, Saliency,
        ScheduleKind, Sst2Config, StartConfig, Stretch, StudyConfig, SubwordConfig, Takes, TextConfig,
        TrainConfig, Unit, config_differences, load_config, resolved_toml,
    },
    digest::{Digest, DigestError},
    experts::{
        Birth, CheckedPlan, Edit, EditLog, ExpertAxes, ExpertAxis, ExpertId, ExpertInit, ExpertRole, LayerId,
        LayerKind, LayerLayout, Layout, LayoutError, Limits, Lineage, Merged, Plan, PlanDraft, PlanError,
        ReplayError, RowInit, RowMap, RowSource, RowStart,
    },
    run::{
        BestSoFar, CHECKPOINT_FORMAT, CellResult, ControlGradients, DecisionKind, DecisionWindow,
        DomainAccuracy, EditEffect, EffectEvidence, EffectRecord, Event, EventRecord, EventsPosition,
        Evidence, Features, Flops, ForecastEvidence, HeadState, Inherited, Label, Labels, LastCheckpoint,
        LayerEvidence, LayerMemory, LayerSums, LoopState, MAX_STEPS, Manifest, Metrics, NetworkState,
        PolicyState, Prediction, Probe, RESULT_FORMAT, RampIn, ReplicateEvidence, ResultError, RoutingStats,
        RunDir, SplitSizes, StopReason, TimeAccuracy, TrialEvidence, Unrouted, Wall, WindowState,
        create_folders, sync_folder, write_atomically,
    },
    stream::{Stream, Streams, uniform},
};
