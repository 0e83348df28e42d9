//! The control head: small networks on the host, in plain numbers. They hold no tensor, so that no gradient
//! can pass from them to the backbone; that is the isolation, as a type.

mod adam;
mod classifier;
mod ensemble;
mod forecast;
mod held_out;
mod intent;
mod network;

pub use classifier::Classifier;
pub use ensemble::{Ensemble, LEAST_TEACHERS, Predictor};
pub use forecast::Forecast;
pub use held_out::{HeldOut, Measured, held_out};
pub use intent::Intent;
pub use network::{Activations, Network};
