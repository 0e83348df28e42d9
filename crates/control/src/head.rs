//! The control head: small networks on the host, in plain numbers. They hold no tensor, so that no gradient
//! can pass from them to the backbone; that is the isolation, as a type.

mod adam;
mod ensemble;
mod forecast;
mod held_out;
mod intent;
mod label_network;
mod network;
mod relative;
mod taught;

pub use ensemble::{Ensemble, LEAST_TEACHERS, Predictor};
pub use forecast::Forecast;
pub use held_out::{HeldOut, MeasuredMove, held_out};
pub use intent::Intent;
pub use label_network::LabelNetwork;
pub use network::{Forward, Network};
pub use taught::{FOLDS, SHIPPED, UPDATES, asked, check_taught, forecast, left_out, teach};
