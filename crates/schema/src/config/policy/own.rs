//! A policy of the program that embeds moelt.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A policy of the program that embeds moelt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnConfig {
    /// What the program calls it.
    pub name: String,
    /// Its parameters, which only it knows.
    #[serde(default)]
    pub parameters: BTreeMap<String, f64>,
}

impl OwnConfig {
    /// The policy called so, without parameters.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), parameters: BTreeMap::new() }
    }
}
