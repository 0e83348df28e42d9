//! What is added to router biases for one step alone.

use std::collections::BTreeMap;

use moelt_schema::LayerId;

/// For some layers with top-k routing what is added to the router bias of each expert for one step, in router order. Layers that are
/// not named have nothing added.
pub type StepBiases = BTreeMap<LayerId, Vec<f32>>;

/// Added to its router bias it keeps every token from an expert. One expert of a layer must be left. With more experts per token than
/// are left a token still goes to closed ones, with weight 0: they compute, add nothing and learn nothing.
pub const CLOSED: f32 = f32::NEG_INFINITY;
