//! The control head: small networks on the host, in plain numbers. They hold no tensor, so that no gradient
//! can pass from them to the backbone; that is the isolation, as a type.

mod adam;
mod classifier;
mod ensemble;
mod forecast;
mod network;

pub use classifier::Classifier;
pub use ensemble::{Ensemble, Predictor};
pub use forecast::Forecast;
pub use network::{Activations, Network};
