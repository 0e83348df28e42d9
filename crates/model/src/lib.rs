//! Text classifier with Mixture-of-Experts layers whose experts lie stacked on one axis.
//!
//! Embedding → convolution over tokens (optional) → residual expert layers → pooling → classifier,
//! or pooling before the expert layers when sequences are routed. In a transformer there is self-attention before each layer. Everything up to pooling works on
//! the real tokens of a batch, laid end to end: padding does not exist where it could be routed,
//! counted or normalised.
//!
//! Experts come and go while a model trains. So the number of experts is a size of tensors and nothing else: no field
//! holds it, one parameter per kind has all experts on its first axis, and an edit is a change of rows. A forward pass
//! keeps nothing either. Losses and routing sums are what it returns.
//!
//! [`MoeLayer`] knows nothing of texts and can be part of any Burn module:
//!
//! ```
//! use burn::{module::Module, nn::{Linear, LinearConfig}, tensor::{Device, Tensor}};
//! use moelt_model::{MoeLayer, MoeLayerConfig, MoeOutput};
//!
//! #[derive(Module, Debug)]
//! struct Net {
//!     moe: MoeLayer,
//!     head: Linear,
//! }
//!
//! let device = Device::flex();
//! let net = Net {
//!     moe: MoeLayerConfig::new(8, 16).with_n_experts(4).init(&device),
//!     head: LinearConfig::new(8, 2).init(&device),
//! };
//! let MoeOutput { x, aux_losses, routing, .. } = net.moe.forward(Tensor::ones([5, 8], &device));
//! assert_eq!(net.head.forward(x).dims(), [5, 2]);
//! assert_eq!(routing.unwrap().tokens_per_expert.iter().sum::<f64>(), 10.0, "five tokens, two experts each");
//! assert!(aux_losses.total().unwrap().into_scalar::<f32>() > 0.0);
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod attention;
mod axes;
mod classifier;
mod conv;
mod embedding;
mod flops;
mod host;
mod init;
mod input;
mod layer;
mod mode;
mod norm;
mod pooling;
mod positions;
mod pretrained;
mod rows;
mod sizes;

pub use attention::SelfAttention;
pub use classifier::{Classifier, ClassifierConfig, ModelOutput, Rerouting};
pub use conv::TokenConv;
pub use embedding::TokenEmbedding;
pub use input::ModelInput;
pub use layer::{
    AssignedRouter, AuxLosses, Choice, DensePass, Dispatch, Experts, LayerContext, MoeLayer, MoeLayerConfig,
    MoeOutput, RoutedTokens, RoutedTopAny, RoutedTopK, Router, RouterProbabilities, TopAnyDispatch,
    TopAnyRouter, TopKRouter, diversity_loss, load_balancing_loss, mean_entropy, router_z_loss,
    routing_entropy, simplicity_loss,
};
pub use mode::Mode;
pub use norm::LayerNorm;
pub use pooling::Pool;
pub use positions::PositionEmbedding;
pub use pretrained::{PretrainedEncoder, PretrainedError, WordVectors};
pub use rows::rows_of;
