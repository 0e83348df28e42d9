//! An ablation as data: which cells, with which configs, and what they are to show.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{CollapseRule, Comparison, Digest, OtherRun, RunConfig, RunRef};

/// Version of `plan.json`.
pub const PLAN_FORMAT: u32 = 7;

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
    /// Hash of each file that cells read, by its path from the workspace's root: files with examples (none where
    /// the config determines them), and what they take from runs that are no cells of this plan.
    pub data: BTreeMap<String, Digest>,
    /// Resamples of each comparison's bootstrap.
    pub resamples: u64,
    /// Which seed counts as collapsed, and what a GO must exclude.
    pub collapse: CollapseRule,
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
    /// Experts per layer, when the arm belongs to the frozen sweep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sweep: Option<usize>,
    /// Ids of the cells that must be finished first: the config names their run folders.
    #[serde(default)]
    pub needs: Vec<String>,
}

impl Cell {
    /// The cell of a resolved config, which names arm and seed. It needs no other.
    pub fn new(config: RunConfig) -> Self {
        let digest = Digest::of_json(&config);
        let id = format!("{}-s{}-{}", config.arm, config.seed, digest.short());
        Self {
            id,
            arm: config.arm.clone(),
            seed: config.seed,
            digest,
            config,
            sweep: None,
            needs: Vec::new(),
        }
    }

    /// Whether it is the cell of its config, which can be run.
    fn check(&self) -> Result<(), String> {
        let Self { id, arm, seed, digest, .. } = Self::new(self.config.clone());
        if self.digest != digest {
            return Err(format!("digest: is {}, but its config has hash {digest}", self.digest));
        }
        if (&self.arm, self.seed, &self.id) != (&arm, seed, &id) {
            return Err(format!("is not named after its config, `{id}`"));
        }
        if Path::new(id.as_str()).components().count() != 1 {
            return Err("arm: cannot name a folder".to_owned());
        }
        self.config.check().map_err(|fault| fault.to_string())
    }

    /// The same cell, to be run after the cells with these ids.
    pub fn after(self, needs: Vec<String>) -> Self {
        Self { needs, ..self }
    }

    /// The same cell as a size of the frozen sweep.
    pub fn of_sweep(self, n_experts: usize) -> Self {
        Self { sweep: Some(n_experts), ..self }
    }

    /// The runs that the config takes something from and that are no cells of its plan.
    pub fn foreign_runs(&self) -> impl Iterator<Item = OtherRun<'_>> {
        self.config.other_runs().filter(|other| self.needs.iter().all(|id| !leads_to(other.run, id)))
    }

    /// Those of the cells it needs whose measurements it learns before it begins.
    pub fn teachers(&self) -> impl Iterator<Item = &str> {
        let records = self.config.control.policy.records_of();
        let teaches = |id: &&String| records.iter().any(|run| leads_to(run, id));
        self.needs.iter().filter(teaches).map(String::as_str)
    }
}

/// Whether a run is the cell with this id, or a checkpoint in its folder.
fn leads_to(run: &RunRef, id: &str) -> bool {
    run.folder().is_ok_and(|folder| folder.iter().any(|part| part == id))
}

impl AblationPlan {
    /// Hash of the plan: goes into every report.
    pub fn digest(&self) -> Digest {
        Digest::of_json(self)
    }

    /// Reads the text of a `plan.json` and checks it.
    ///
    /// # Errors
    /// When it is no plan, one of another version, or one that was altered. The message does not know the file's name.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let plan: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        // Before the rest: a plan of another format has other keys.
        if plan["format"] != PLAN_FORMAT {
            return Err(format!(
                "has format {}, not {PLAN_FORMAT}: another version of moelt made it. Remove its folder, or plan with \
                 another --name",
                plan["format"]
            ));
        }
        let plan: Self = serde_json::from_value(plan).map_err(|error| error.to_string())?;
        plan.check()?;
        Ok(plan)
    }

    /// Resamples that somebody may ask for: each is kept.
    pub const MAX_RESAMPLES: u64 = 10_000_000;

    /// Refuses a plan that was not planned, such as an altered one: its cells name folders, configs and hashes.
    ///
    /// # Errors
    /// What is wrong: the key, its value and what it must be.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=Self::MAX_RESAMPLES).contains(&self.resamples) {
            return Err(format!("resamples: is {}; must be 1 to {}", self.resamples, Self::MAX_RESAMPLES));
        }
        self.collapse.check()?;
        let mut ids = BTreeSet::new();
        for cell in &self.cells {
            cell.check().map_err(|message| format!("cell `{}`: {message}", cell.id))?;
            if !ids.insert(&cell.id) {
                return Err(format!("cell `{}` is there twice", cell.id));
            }
        }
        let needs = self.cells.iter().flat_map(|cell| cell.needs.iter().map(move |need| (cell, need)));
        match needs.into_iter().find(|(_, need)| !ids.contains(need)) {
            Some((cell, need)) => Err(format!("cell `{}` needs `{need}`, which is no cell", cell.id)),
            None => Ok(()),
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Budget, EffectHeadConfig, LookaheadConfig, PolicyConfig, StartConfig};

    fn plan() -> AblationPlan {
        let cells = [0, 1].map(|seed| Cell::new(RunConfig { seed, ..RunConfig::default() }));
        AblationPlan {
            format: PLAN_FORMAT,
            name: "x".into(),
            moelt: String::new(),
            code: Digest::of_bytes(b""),
            data: BTreeMap::new(),
            resamples: 100,
            collapse: CollapseRule::default(),
            comparisons: Vec::new(),
            cells: cells.into(),
        }
    }

    fn patient(patience: u64) -> RunConfig {
        let mut config = RunConfig::default();
        config.train.patience = patience;
        config
    }

    #[test]
    fn a_plan_that_was_altered_is_refused() {
        assert_eq!(plan().check(), Ok(()));
        type Change = fn(&mut AblationPlan);
        let cases: [(Change, &str); 10] = [
            (|p| p.resamples = u64::MAX, "resamples: is 18446744073709551615"),
            (|p| p.resamples = 0, "resamples: is 0"),
            (|p| p.collapse.rate = 0.0, "collapse.rate: is 0"),
            (|p| p.cells[0].id = "../../x".into(), "cell `../../x`: is not named after its config"),
            (|p| p.cells[0].seed = 5, "is not named after its config"),
            (|p| p.cells[0].config.seed = 5, "digest: is "),
            (|p| p.cells[1] = p.cells[0].clone(), "is there twice"),
            (|p| p.cells[1].needs.push("y".into()), "needs `y`, which is no cell"),
            (|p| p.cells[0] = Cell::new(RunConfig { arm: "../a".into(), ..RunConfig::default() }), "arm: "),
            // Its config could not be written for the cell: TOML has no such number, but JSON does.
            (|p| p.cells[0] = Cell::new(patient(u64::MAX)), "`train.patience`: is 18446744073709551615"),
        ];
        for (change, message) in cases {
            let mut changed = plan();
            change(&mut changed);
            let error = changed.check().unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn runs_of_other_plans_are_told_from_cells_of_this_one() {
        let folder = |path: &str| RunRef::Folder(path.to_owned());
        let run = folder("runs/test/cells/rule-s0-12345678/checkpoints/step-00000100");
        let mut config = RunConfig { start: StartConfig::Weights { run }, ..RunConfig::default() };
        config.train.budget = Budget::FlopsOf(folder("runs/old/rule-s0-123456789"));
        let records_of = vec![folder("runs/test/cells/rule-s0-12345678"), folder("elsewhere")];
        let head = Some(EffectHeadConfig { records_of, ..EffectHeadConfig::default() });
        config.control.policy =
            PolicyConfig::Lookahead(LookaheadConfig { head, ..LookaheadConfig::default() });
        let cell = Cell::new(config).after(vec!["rule-s0-12345678".into()]);
        let foreign: Vec<_> = cell.foreign_runs().map(|other| (other.key, other.run.to_string())).collect();
        let expected = [
            ("train.budget.flops_of", "runs/old/rule-s0-123456789".to_owned()),
            ("control.policy.lookahead.head.records_of", "elsewhere".to_owned()),
        ];
        assert_eq!(foreign, expected);
        assert_eq!(cell.teachers().collect::<Vec<_>>(), ["rule-s0-12345678"]);
    }
}
