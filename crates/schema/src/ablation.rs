//! An ablation as data: which cells, with which configs, and what they are to show.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Comparison, Digest, RunConfig};

/// Version of `plan.json`.
pub const PLAN_FORMAT: u32 = 3;

/// What arms are compared by: the accuracy on the verdict split, a fraction.
pub const METRIC: &str = "verdict accuracy";

/// `plan.json`: written before the first cell runs, never changed afterwards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AblationPlan {
    /// [`PLAN_FORMAT`].
    pub format: u32,
    /// Name of the folder under `runs/`.
    pub name: String,
    /// Version of moelt that planned it.
    pub moelt: String,
    /// Hash of the sources that cells run and of what they are built with.
    pub code: Digest,
    /// Hash of each file that cells read examples from, by its path from the workspace's root. None where
    /// the config determines the examples.
    pub data: BTreeMap<String, Digest>,
    /// What comparisons are about: [`METRIC`].
    pub metric: String,
    /// Resamples of each comparison's bootstrap.
    pub resamples: u64,
    /// What is going to be judged.
    pub comparisons: Vec<Comparison>,
    /// Every cell, arms in the order asked for, seeds ascending.
    pub cells: Vec<Cell>,
}

/// One (arm, seed) with everything that determines it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// `<arm>-s<seed>-<first digits of the config's hash>`: also its folder's name.
    pub id: String,
    /// The arm's name.
    pub arm: String,
    /// The seed.
    pub seed: u64,
    /// Hash of `config`.
    pub digest: Digest,
    /// The resolved config.
    pub config: RunConfig,
    /// Ids of the cells that must be finished first: the config names their run folders.
    #[serde(default)]
    pub needs: Vec<String>,
}

impl Cell {
    /// The cell of a resolved config, which names arm and seed. It needs no other.
    pub fn new(config: RunConfig) -> Self {
        let digest = Digest::of_json(&config);
        let id = format!("{}-s{}-{}", config.arm, config.seed, digest.short());
        Self { id, arm: config.arm.clone(), seed: config.seed, digest, config, needs: Vec::new() }
    }

    /// The same cell, to be run after the cells with these ids.
    pub fn after(self, needs: Vec<String>) -> Self {
        Self { needs, ..self }
    }
}

/// The number of experts of an arm of the frozen sweep, `frozen-N`; none of any other arm. There is one way to
/// write it: `frozen-04` is no arm.
pub fn frozen_size(arm: &str) -> Option<usize> {
    let n = arm.strip_prefix("frozen-")?;
    n.parse().ok().filter(|size: &usize| size.to_string() == n)
}

impl AblationPlan {
    /// Hash of the plan: goes into every report.
    pub fn digest(&self) -> Digest {
        Digest::of_json(self)
    }

    /// The arms, in order of first appearance.
    pub fn arms(&self) -> Vec<&str> {
        let mut arms: Vec<&str> = Vec::new();
        for cell in &self.cells {
            if !arms.contains(&cell.arm.as_str()) {
                arms.push(&cell.arm);
            }
        }
        arms
    }
}
