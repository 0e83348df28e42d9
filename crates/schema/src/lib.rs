//! Everything that passes between moelt's crates as data or lies on disk.
//!
//! This crate holds the words the other crates share and nothing that acts on them: which experts
//! exist ([`Layout`]) and how that changes ([`Plan`], [`RowMap`]), what a router did ([`RoutingStats`]), how a run is configured ([`RunConfig`]),
//! what it wrote down ([`Event`], [`Manifest`], [`CellResult`]), what an ablation consists of
//! ([`AblationPlan`]) and how tables are delimited ([`Dialect`]). It knows no tensor library, so that readers of run folders need none.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod ablation;
mod config;
mod dialect;
mod digest;
mod experts;
mod run;
mod stream;
mod text_file;

pub use self::{
    ablation::{AblationPlan, Cell, ClaimKind, CollapseRule, Comparison, Metric, PLAN_FORMAT},
    config::{
        Activation, ArrivalConfig, Asked, AssignedBy, BadLines, Budget, ConfigError, ConfigFault,
        ConfigFiles, ConfigText, ControlConfig, ConvConfig, CsvConfig, DataConfig, DescentConfig, Drift,
        DropConfig, EarlyHalvingConfig, EditsConfig, EffectHeadConfig, EliminationOrder, EmbeddingUpdate,
        EncoderConfig, EntropyLabels, ExpertBlockRule, ExpertBlocks, Halves, KnownBy, L0GatesConfig,
        LabelConfig, LabelHeadConfig, LookaheadConfig, MAX_STEPS, ModelConfig, NestedConfig, NewExpertConfig,
        NormPlacement, OptimConfig, OtherRun, OwnConfig, PlaceboConfig, PlaceboForksConfig, PlantedConfig,
        PolicyConfig, Pooling, Positions, PretrainedFiles, RouterInput, RoutingConfig, RuleConfig, RunConfig,
        RunRef, Saliency, ScheduleKind, SplitAndDropConfig, SplitConfig, Sst2Config, StartConfig, StreamKind,
        Stretch, StudyConfig, SubwordConfig, Takes, TaskStart, TextConfig, TrainConfig, TransformerConfig,
        Unit, UpcycleConfig, VectorFiles, config_differences, load_config, other_files, resolved_toml,
    },
    dialect::Dialect,
    digest::{Digest, DigestError},
    experts::{
        Birth, CheckedPlan, Edit, EditLog, EffectEvidence, Evidence, ExpertAxes, ExpertAxis, ExpertId,
        ExpertInit, ExpertRole, Features, ForecastEvidence, GrowthCriteria, Label, Labels, LayerEvidence,
        LayerId, LayerKind, LayerLayout, Layout, LayoutError, Limits, Lineage, Merged, Move, Plan, PlanDraft,
        PlanError, ReplayError, ReplicateEvidence, RouterShift, RowInit, RowMap, RowSource, RowStart,
        TrialEvidence,
    },
    run::{
        AtomicFile, BestSoFar, CHECKPOINT_FORMAT, CellResult, ControlGradients, DecisionKind, DecisionWindow,
        DomainAccuracy, DomainRouting, EditEffect, EffectRecord, Event, EventRecord, EventsPosition, Flops,
        ForecastErrors, GateState, GatesState, HeadState, Inherited, LastCheckpoint, LayerMemory, LayerSums,
        LoopState, Machine, Manifest, Metrics, NetworkState, PolicyState, Prediction, Probe, RESULT_FORMAT,
        RampIn, ResultError, RoutingStats, RoutingWarning, RunDir, SplitAndDropState, SplitSizes, Stage,
        StopReason, TAUGHT_FORMAT, TaughtError, TaughtFile, TaughtHead, Teaching, TeachingRanges,
        TimeAccuracy, Unrouted, Wall, WindowState, create_folders, sync_folder, write_atomically,
    },
    stream::{Stream, Streams, uniform},
    text_file::{TO_UTF8, read_text},
};
