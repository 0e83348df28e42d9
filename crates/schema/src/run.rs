//! What a run writes down: events, checkpoints, its result, and where they lie.

mod event;
mod flops;
mod machine;
mod manifest;
mod manifest_check;
mod metrics;
mod policy_state;
mod result;
mod routing;
mod routing_warning;
mod run_dir;
mod taught_head;

pub use self::{
    event::{DecisionKind, EditEffect, Event, EventRecord, StopReason, Wall},
    flops::Flops,
    machine::Machine,
    manifest::{
        BestSoFar, CHECKPOINT_FORMAT, ControlGradients, DecisionWindow, EventsPosition, Inherited, LayerSums,
        LoopState, Manifest, Probe, RampIn, Unrouted, WindowState,
    },
    metrics::{DomainAccuracy, Metrics, Prediction},
    policy_state::{
        EffectRecord, GateState, GatesState, HeadState, LayerMemory, NetworkState, PolicyState,
        SplitAndDropState, Stage,
    },
    result::{
        CellResult, DomainRouting, LastCheckpoint, RESULT_FORMAT, ResultError, SplitSizes, TimeAccuracy,
    },
    routing::RoutingStats,
    routing_warning::RoutingWarning,
    run_dir::{AtomicFile, RunDir, create_folders, sync_folder, write_atomically},
    taught_head::{
        ForecastErrors, TAUGHT_FORMAT, TaughtError, TaughtFile, TaughtHead, Teaching, TeachingRanges,
    },
};
