//! Cells that build on other cells: `{rule}` in a phase's config becomes a run folder of this ablation.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail, ensure};
use moelt_schema::{Budget, Cell, PolicyConfig, RunConfig, RunRef, StartConfig};

use super::folder::AblationFolder;

/// Makes cells of the configs of all arms and seeds, in their order. Where a config names an arm in braces, the
/// run folder of that arm's cell with the same seed takes its place, so that the cell's id tells what it builds
/// on; where a head names the arm in `records_of`, those of its cells with all other seeds.
///
/// # Errors
/// When an arm named is not among the configs (`name_of` is the name of an arm that is called so, if there is one),
/// or arms need one another in a circle.
pub(super) fn link(
    ablation: &str,
    configs: Vec<RunConfig>,
    name_of: impl Fn(&str) -> Result<String>,
) -> Result<Vec<Cell>> {
    let keys: Vec<Key> = configs.iter().map(|config| (config.arm.clone(), config.seed)).collect();
    let configs = keys.iter().cloned().zip(configs).collect();
    let mut linker = Linker { ablation, keys: &keys, configs, name_of, cells: BTreeMap::new() };
    keys.iter().map(|key| linker.cell(key, &mut Vec::new())).collect()
}

/// Arm and seed.
type Key = (String, u64);

struct Linker<'a, F> {
    ablation: &'a str,
    /// As asked for.
    keys: &'a [Key],
    configs: BTreeMap<Key, RunConfig>,
    name_of: F,
    /// The cells made so far.
    cells: BTreeMap<Key, Cell>,
}

impl<F: Fn(&str) -> Result<String>> Linker<'_, F> {
    /// A cell, made after those it needs. `chain` holds the arms that are waiting for it.
    fn cell(&mut self, key: &Key, chain: &mut Vec<String>) -> Result<Cell> {
        if let Some(cell) = self.cells.get(key) {
            return Ok(cell.clone());
        }
        let (arm, seed) = key;
        let circle = chain.iter().skip_while(|waiting| *waiting != arm).map(String::as_str);
        let circle: Vec<&str> = circle.chain([arm.as_str()]).collect();
        ensure!(circle.len() == 1, "arms need one another: {}", circle.join(" → "));
        chain.push(arm.clone());
        let mut config = self.configs[key].clone();
        let mut needs = Vec::new();
        for (run, verb) in single_runs(&mut config) {
            let RunRef::Arm { arm: called, inside } = &*run else { continue };
            let needed = self.planned(arm, verb, called)?;
            let id = self.cell(&(needed, *seed), chain)?.id;
            *run = self.folder_of(&id, inside);
            needs.push(id);
        }
        if let Some(records_of) = records_of(&mut config) {
            for run in std::mem::take(records_of) {
                let RunRef::Arm { arm: called, inside } = &run else {
                    records_of.push(run);
                    continue;
                };
                let needed = self.planned(arm, "learns from", called)?;
                for other in self.keys.iter().filter(|(arm, other)| *arm == needed && other != seed) {
                    let id = self.cell(other, chain)?.id;
                    records_of.push(self.folder_of(&id, inside));
                    needs.push(id);
                }
            }
        }
        let mut seen = BTreeSet::new();
        needs.retain(|id: &String| seen.insert(id.clone()));
        chain.pop();
        let cell = Cell::new(config).after(needs);
        self.cells.insert(key.clone(), cell.clone());
        Ok(cell)
    }

    fn folder_of(&self, id: &str, inside: &str) -> RunRef {
        RunRef::Folder(format!("{}{inside}", AblationFolder::run_of(self.ablation, id)))
    }

    /// The arm that `arm` needs, which must be among those asked for.
    fn planned(&self, arm: &str, verb: &str, called: &str) -> Result<String> {
        let mut arms: Vec<&str> = self.keys.iter().map(|(arm, _)| arm.as_str()).collect();
        arms.dedup();
        if arms.contains(&called) {
            return Ok(called.to_owned());
        }
        let needed = match (self.name_of)(called) {
            Ok(name) if arms.contains(&name.as_str()) => return Ok(name),
            Ok(name) => name,
            Err(unknown) => bail!("arm `{arm}` {verb} `{{{called}}}`: {unknown}"),
        };
        let with_it = arms.into_iter().flat_map(|known| {
            let before = (known == arm).then_some(needed.as_str());
            before.into_iter().chain([known])
        });
        bail!(
            "arm `{arm}` {verb} `{needed}`, which is not among the arms; add it: --phases {}",
            with_it.collect::<Vec<_>>().join(",")
        );
    }
}

/// The single runs that a config builds on, each with what it does with it.
fn single_runs(config: &mut RunConfig) -> Vec<(&mut RunRef, &'static str)> {
    let mut runs = Vec::new();
    match &mut config.start {
        StartConfig::Weights { run } | StartConfig::Size { run } => runs.push((run, "starts from")),
        StartConfig::Scratch {} => {}
    }
    if let PolicyConfig::PlaceboTime(placebo) | PolicyConfig::PlaceboSurgery(placebo) =
        &mut config.control.policy
    {
        runs.push((&mut placebo.edits_of, "follows the edits of"));
    }
    if let Budget::FlopsOf(run) = &mut config.train.budget {
        runs.push((run, "spends what is spent by"));
    }
    runs
}

/// The runs that a head has learnt from before it begins.
fn records_of(config: &mut RunConfig) -> Option<&mut Vec<RunRef>> {
    match &mut config.control.policy {
        PolicyConfig::Lookahead(lookahead) => Some(&mut lookahead.head.as_mut()?.records_of),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;
    use moelt_schema::{EffectHeadConfig, LookaheadConfig, PlaceboConfig};

    use super::*;

    /// A config of `arm` that starts from `run` and follows `edits_of`.
    fn config(arm: &str, run: &str, edits_of: &str) -> RunConfig {
        let mut config = RunConfig { arm: arm.to_owned(), seed: 3, ..RunConfig::default() };
        if !run.is_empty() {
            config.start = StartConfig::Weights { run: run.to_owned().into() };
        }
        if !edits_of.is_empty() {
            let edits_of = edits_of.to_owned().into();
            config.control.policy = PolicyConfig::PlaceboTime(PlaceboConfig { edits_of });
        }
        config
    }

    fn linked(configs: &[RunConfig]) -> Result<Vec<Cell>> {
        let name_of = |arm: &str| match arm {
            "x" => Err(anyhow!("no arm `x`")),
            "7a" => Ok("rule".to_owned()),
            arm => Ok(arm.to_owned()),
        };
        link("test", configs.to_vec(), name_of)
    }

    #[test]
    fn arms_in_braces_become_run_folders_in_any_order() {
        let cells = linked(&[
            config("grandchild", "{child}/checkpoints/step-00000100", ""),
            config("child", "{frozen-4}", "{frozen-4}"),
            config("frozen-4", "", "some/other/run"),
        ])
        .unwrap();
        let ids: Vec<&str> = cells.iter().map(|cell| cell.id.as_str()).collect();
        assert!(ids[0].starts_with("grandchild-s3-") && ids[2].starts_with("frozen-4-s3-"), "{ids:?}");
        let runs = |cell: &Cell| -> Vec<String> {
            cell.config.other_runs().map(|other| other.run.to_string()).collect()
        };
        assert_eq!(runs(&cells[0]), [format!("runs/test/cells/{}/checkpoints/step-00000100", ids[1])]);
        assert_eq!(runs(&cells[1]), vec![format!("runs/test/cells/{}", ids[2]); 2]);
        assert_eq!(cells[0].needs, [ids[1]]);
        assert_eq!(cells[1].needs, [ids[2]]);
        assert_eq!(cells[2].needs, [""; 0]);
        assert_eq!(runs(&cells[2]), ["some/other/run"]);
        assert!(cells.iter().all(|cell| cell.digest == cell.config.digest()));
    }

    #[test]
    fn records_are_those_of_all_other_seeds() {
        let learner = |seed| {
            let mut config = RunConfig { seed, ..config("head", "", "") };
            let records_of = ["some/run", "{lookahead}"].map(|run| run.to_owned().into()).into();
            let head = Some(EffectHeadConfig { records_of, ..EffectHeadConfig::default() });
            let lookahead = LookaheadConfig { head, ..LookaheadConfig::default() };
            config.control.policy = PolicyConfig::Lookahead(lookahead);
            config
        };
        let teacher = |seed| RunConfig { seed, ..config("lookahead", "", "") };
        let cells =
            linked(&[learner(1), learner(2), learner(3), teacher(1), teacher(2), teacher(3)]).unwrap();
        let run = |at: usize| format!("runs/test/cells/{}", cells[at].id);
        let records = |cell: &Cell| -> Vec<String> {
            cell.config.control.policy.records_of().iter().map(RunRef::to_string).collect()
        };
        assert_eq!(records(&cells[0]), ["some/run".to_owned(), run(4), run(5)]);
        assert_eq!(records(&cells[1]), ["some/run".to_owned(), run(3), run(5)]);
        assert_eq!(cells[2].needs, [cells[3].id.clone(), cells[4].id.clone()]);
        let alone = linked(&[learner(1), teacher(1)]).unwrap();
        assert_eq!(records(&alone[0]), ["some/run"]);
        let message = linked(&[learner(1)]).unwrap_err().to_string();
        assert!(message.starts_with("arm `head` learns from `lookahead`, which is not among"), "{message}");
    }

    #[test]
    fn what_cannot_be_linked_is_said() {
        let message = |configs: &[RunConfig]| linked(configs).unwrap_err().to_string();
        assert_eq!(
            message(&[config("moe", "", ""), config("rule-continued", "{rule}", "")]),
            "arm `rule-continued` starts from `rule`, which is not among the arms; add it: --phases moe,rule,rule-continued"
        );
        assert_eq!(
            message(&[config("rule-continued", "", "{x}")]),
            "arm `rule-continued` follows the edits of `{x}`: no arm `x`"
        );
        let circle = [config("a", "{b}", ""), config("b", "", "{c}"), config("c", "{b}", "")];
        assert_eq!(message(&circle), "arms need one another: b → c → b");
        assert_eq!(message(&[config("a", "{a}", "")]), "arms need one another: a → a");
        let by_log = linked(&[config("rule", "", ""), config("a", "{7a}", "")]).unwrap();
        assert_eq!(by_log[1].needs, [by_log[0].id.clone()]);
    }
}
