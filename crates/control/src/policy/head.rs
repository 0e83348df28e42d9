//! A control head decides: one that learns labels, or one that learns measured effects.

mod counterfactual;
mod labelled;

pub(super) use self::{counterfactual::Counterfactual, labelled::Labelled};
