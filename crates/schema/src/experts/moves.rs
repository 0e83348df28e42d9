//! Kinds of edits that policies choose among.

use serde::{Deserialize, Serialize};

/// A kind of edit of one layer. That the experts stay is always the alternative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Move {
    /// One new expert.
    Grow,
    /// A new expert for each one, as far as the limits allow.
    Double,
    /// The least salient expert goes.
    Prune,
    /// The less salient half goes, as far as the limits allow.
    Halve,
}

impl Move {
    /// Every move, in the order of the head's inputs.
    pub const ALL: [Self; 4] = [Self::Grow, Self::Double, Self::Prune, Self::Halve];

    /// As a config and the evidence of a decision name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Grow => "grow",
            Self::Double => "double",
            Self::Prune => "prune",
            Self::Halve => "halve",
        }
    }
}
