//! Text classifier with Mixture-of-Experts layers whose experts lie stacked on one axis.
//!
//! Embedding → convolution over tokens (optional) → residual expert layers → pooling → classifier,
//! or pooling before the expert layers when sequences are routed. Everything up to pooling works on
//! the real tokens of a batch, laid end to end: padding does not exist where it could be routed,
//! counted or normalised.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod activation;
mod axes;
mod classifier;
mod conv;
mod dispatch;
mod embedding;
mod experts;
mod flops;
mod host;
mod init;
mod input;
mod losses;
mod mixture;
mod mode;
mod moe;
mod pooling;
mod router;
mod sizes;
mod top_any;

pub use activation::Activation;
pub use classifier::{Classifier, ClassifierConfig, ModelOutput};
pub use conv::TokenConv;
pub use dispatch::Dispatch;
pub use embedding::TokenEmbedding;
pub use experts::Experts;
pub use input::ModelInput;
pub use losses::{diversity_and_simplicity_loss, load_balancing_loss, mean_entropy, routing_entropy};
pub use mode::Mode;
pub use moe::{LayerRouting, MoeLayer, MoeLayerConfig, MoeOutput};
pub use pooling::pool;
pub use router::{Routed, Router};
pub use top_any::{RoutedAny, TopAnyRouter};
