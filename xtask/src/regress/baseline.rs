//! `configs/baselines/<dataset>.json`: the accuracies that must not fall.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, ensure};
use moelt_ablate::Settings;
use moelt_eval::Summary;
use moelt_schema::{Digest, write_atomically};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Version of the file.
const FORMAT: u32 = 2;

/// How far an accuracy may fall, as a fraction, unless the file says otherwise.
const MARGIN: f64 = 0.005;

/// The file. Accuracies are fractions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Baseline {
    format: u32,
    /// How far the mean accuracy of an arm may fall, as a fraction.
    pub(super) margin: f64,
    /// What is compared with.
    pub(super) current: Entry,
    /// What was compared with before, oldest first.
    history: Vec<Entry>,
}

/// Accuracies with what they were measured on. The settings are what was asked for and not the
/// resolved configs, so that a new config key does not make a baseline stale.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    /// Day, UTC.
    pub(super) date: String,
    /// Version of moelt.
    pub(super) moelt: String,
    /// Hash of the code that was measured, as in a plan.
    pub(super) code: Digest,
    /// Why it replaced the one before.
    pub(super) reason: String,
    /// Arms, seeds and what was set.
    pub(super) settings: Settings,
    /// Verdict accuracy per arm.
    pub(super) arms: BTreeMap<String, Accuracy>,
}

/// An arm's accuracy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Accuracy {
    /// Over its seeds.
    pub(super) summary: Summary,
    /// Of each seed.
    pub(super) by_seed: BTreeMap<u64, f64>,
}

impl Baseline {
    /// Reads the file; none when it does not exist.
    ///
    /// # Errors
    /// When it exists and is not a baseline.
    pub(super) fn read(path: &Path) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let shown = || path.display().to_string();
        let text = fs::read_to_string(path).with_context(shown)?;
        let baseline: Value = serde_json::from_str(&text).with_context(shown)?;
        // Before the rest: a baseline of another format has other keys.
        ensure!(
            baseline["format"] == FORMAT,
            "{}: has format {}, not {FORMAT}; remove it and make a new one with --update",
            shown(),
            baseline["format"]
        );
        let baseline: Self = serde_json::from_value(baseline).with_context(shown)?;
        ensure!(!baseline.current.arms.is_empty(), "{}: has no arm to compare", shown());
        Ok(Some(baseline))
    }

    /// `entry` as what is compared with from now on; what `old` had moves to the history.
    pub(super) fn replacing(old: Option<Self>, entry: Entry) -> Self {
        let Some(mut baseline) = old else {
            return Self { format: FORMAT, margin: MARGIN, current: entry, history: Vec::new() };
        };
        baseline.history.push(std::mem::replace(&mut baseline.current, entry));
        baseline
    }

    /// Writes the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let json = serde_json::to_string_pretty(self)? + "\n";
        write_atomically(path, json.as_bytes()).with_context(|| path.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(reason: &str) -> Entry {
        Entry {
            date: "2025-01-31".into(),
            moelt: "0.1.0".into(),
            code: Digest::of_bytes(b"code"),
            reason: reason.into(),
            settings: Settings {
                phases: vec!["dense".into()],
                seeds: 3,
                first_seed: 0,
                recipe: None,
                sets: Vec::new(),
                arm_sets: BTreeMap::new(),
            },
            arms: BTreeMap::from([(
                "dense".to_owned(),
                Accuracy {
                    summary: Summary { n: 2, mean: 0.9, sd: Some(0.01) },
                    by_seed: BTreeMap::from([(0, 0.89), (1, 0.91)]),
                },
            )]),
        }
    }

    #[test]
    fn the_history_keeps_what_was_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("planted.json");
        assert_eq!(Baseline::read(&path).unwrap(), None);
        let mut baseline = None;
        for reason in ["first", "second", "third"] {
            Baseline::replacing(baseline, entry(reason)).write(&path).unwrap();
            baseline = Baseline::read(&path).unwrap();
        }
        let baseline = baseline.unwrap();
        assert_eq!((baseline.current.reason.as_str(), baseline.margin), ("third", MARGIN));
        let reasons: Vec<&str> = baseline.history.iter().map(|entry| entry.reason.as_str()).collect();
        assert_eq!(reasons, ["first", "second"]);
    }
}
