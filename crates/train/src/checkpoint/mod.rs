//! Checkpoints: strict, hashed, atomic, and probed at every load.
//!
//! A checkpoint is a folder. `manifest.json` names the hash of every other file and holds a probe;
//! `manifest.blake3` holds the hash of the manifest; the pointer files `latest` and `best` name a
//! checkpoint with the hash of its manifest. So no byte of it can change unnoticed.

mod error;
mod exported;
mod files;
mod hugging_face;
mod model;
mod names;
mod probe;
mod rounding;
mod store;
mod tensors;
mod whole;

pub use error::{CheckpointError, KeyMismatch};
pub use exported::ExportedModel;
pub use files::Checkpoint;
pub use hugging_face::NoSuchNetwork;
pub use model::{LoadedModel, resolve_checkpoint};
pub use names::ExpertNames;
pub(crate) use probe::{inputs_of, make_probe, probe_inputs};
pub use store::CheckpointStore;
