//! What both placebos follow.

use serde::{Deserialize, Serialize};

use crate::RunRef;

/// What both placebos follow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlaceboConfig {
    /// The run whose edits are followed: its folder; in a phase file `{arm}`.
    pub edits_of: RunRef,
}
