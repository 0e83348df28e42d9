//! Cells that build on other cells: `{rule}` in a phase's config becomes a run folder of this ablation.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail, ensure};
use moelt_schema::{Cell, RunConfig};

use super::folder::AblationFolder;

/// Makes cells of the configs of all arms and seeds, in their order. Where a config names an arm in braces, the
/// run folder of that arm's cell with the same seed takes its place, so that the cell's id tells what it builds
/// on; where it names the arm in `control.records_of`, those of its cells with all other seeds.
///
/// # Errors
/// When an arm named is not among the configs (`check_phase` says whether there is such a phase at all),
/// or arms need one another in a circle.
pub(super) fn link(
    ablation: &str,
    configs: Vec<RunConfig>,
    check_phase: impl Fn(&str) -> Result<()>,
) -> Result<Vec<Cell>> {
    let keys: Vec<Key> = configs.iter().map(|config| (config.arm.clone(), config.seed)).collect();
    let configs = keys.iter().cloned().zip(configs).collect();
    let mut linker = Linker { ablation, keys: &keys, configs, check_phase, cells: BTreeMap::new() };
    keys.iter().map(|key| linker.cell(key, &mut Vec::new())).collect()
}

/// Arm and seed.
type Key = (String, u64);

struct Linker<'a, F> {
    ablation: &'a str,
    /// As asked for.
    keys: &'a [Key],
    configs: BTreeMap<Key, RunConfig>,
    check_phase: F,
    /// The cells made so far.
    cells: BTreeMap<Key, Cell>,
}

impl<F: Fn(&str) -> Result<()>> Linker<'_, F> {
    /// A cell, made after those it needs. `chain` holds the arms that are waiting for it.
    fn cell(&mut self, key: &Key, chain: &mut Vec<String>) -> Result<Cell> {
        if let Some(cell) = self.cells.get(key) {
            return Ok(cell.clone());
        }
        let (arm, seed) = key;
        let circle = chain.iter().skip_while(|waiting| *waiting != arm).map(String::as_str);
        let circle: Vec<&str> = circle.chain([arm.as_str()]).collect();
        ensure!(circle.len() == 1, "phases need one another: {}", circle.join(" → "));
        chain.push(arm.clone());
        let mut config = self.configs[key].clone();
        let mut needs = Vec::new();
        let named = [
            (&mut config.start.run, "starts from"),
            (&mut config.control.edits_of, "follows the edits of"),
            (&mut config.train.flops_of, "spends what is spent by"),
        ];
        for (value, verb) in named {
            let Some((before, needed, after)) = named_arm(value) else { continue };
            self.check_planned(arm, verb, needed)?;
            let id = self.cell(&(needed.to_owned(), *seed), chain)?.id;
            *value = format!("{before}{}{after}", AblationFolder::run_of(self.ablation, &id));
            needs.push(id);
        }
        for value in std::mem::take(&mut config.control.records_of) {
            let Some((before, needed, after)) = named_arm(&value) else {
                config.control.records_of.push(value);
                continue;
            };
            self.check_planned(arm, "learns from", needed)?;
            for other in self.keys.iter().filter(|(arm, other)| arm == needed && other != seed) {
                let id = self.cell(other, chain)?.id;
                let run = AblationFolder::run_of(self.ablation, &id);
                config.control.records_of.push(format!("{before}{run}{after}"));
                needs.push(id);
            }
        }
        let mut seen = BTreeSet::new();
        needs.retain(|id: &String| seen.insert(id.clone()));
        chain.pop();
        let cell = Cell::new(config).after(needs);
        self.cells.insert(key.clone(), cell.clone());
        Ok(cell)
    }

    /// Whether the arm that `arm` needs is among those asked for.
    fn check_planned(&self, arm: &str, verb: &str, needed: &str) -> Result<()> {
        let mut arms: Vec<&str> = self.keys.iter().map(|(arm, _)| arm.as_str()).collect();
        arms.dedup();
        if arms.contains(&needed) {
            return Ok(());
        }
        if let Err(unknown) = (self.check_phase)(needed) {
            bail!("phase `{arm}` {verb} `{{{needed}}}`: {unknown}");
        }
        let with_it = arms.into_iter().flat_map(|known| {
            let before = (known == arm).then_some(needed);
            before.into_iter().chain([known])
        });
        bail!(
            "phase `{arm}` {verb} `{needed}`, which is not among the phases; add it: --phases {}",
            with_it.collect::<Vec<_>>().join(",")
        );
    }
}

/// The arm in braces, and what stands before and after it.
fn named_arm(value: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = value.split_once('{')?;
    let (arm, after) = rest.split_once('}')?;
    Some((before, arm, after))
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    /// A config of `arm` that starts from `run` and follows `edits_of`.
    fn config(arm: &str, run: &str, edits_of: &str) -> RunConfig {
        let mut config = RunConfig { arm: arm.to_owned(), seed: 3, ..RunConfig::default() };
        config.start.run = run.to_owned();
        config.control.edits_of = edits_of.to_owned();
        config
    }

    fn linked(configs: &[RunConfig]) -> Result<Vec<Cell>> {
        let check = |arm: &str| if arm == "x" { Err(anyhow!("no phase `x`")) } else { Ok(()) };
        link("test", configs.to_vec(), check)
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
        let start = |cell: &Cell| cell.config.start.run.clone();
        assert_eq!(start(&cells[0]), format!("runs/test/cells/{}/checkpoints/step-00000100", ids[1]));
        assert_eq!(start(&cells[1]), format!("runs/test/cells/{}", ids[2]));
        assert_eq!(cells[1].config.control.edits_of, start(&cells[1]));
        assert_eq!(cells[0].needs, [ids[1]]);
        assert_eq!(cells[1].needs, [ids[2]]);
        assert_eq!(cells[2].needs, [""; 0]);
        assert_eq!(cells[2].config.control.edits_of, "some/other/run");
        assert!(cells.iter().all(|cell| cell.digest == cell.config.digest()));
    }

    #[test]
    fn records_are_those_of_all_other_seeds() {
        let learner = |seed| {
            let mut config = RunConfig { seed, ..config("head", "", "") };
            config.control.records_of = vec!["some/run".to_owned(), "{lookahead}".to_owned()];
            config
        };
        let teacher = |seed| RunConfig { seed, ..config("lookahead", "", "") };
        let cells =
            linked(&[learner(1), learner(2), learner(3), teacher(1), teacher(2), teacher(3)]).unwrap();
        let run = |at: usize| format!("runs/test/cells/{}", cells[at].id);
        assert_eq!(cells[0].config.control.records_of, ["some/run".to_owned(), run(4), run(5)]);
        assert_eq!(cells[1].config.control.records_of, ["some/run".to_owned(), run(3), run(5)]);
        assert_eq!(cells[2].needs, [cells[3].id.clone(), cells[4].id.clone()]);
        let alone = linked(&[learner(1), teacher(1)]).unwrap();
        assert_eq!(alone[0].config.control.records_of, ["some/run"]);
        let message = linked(&[learner(1)]).unwrap_err().to_string();
        assert!(message.starts_with("phase `head` learns from `lookahead`, which is not among"), "{message}");
    }

    #[test]
    fn what_cannot_be_linked_is_said() {
        let message = |configs: &[RunConfig]| linked(configs).unwrap_err().to_string();
        assert_eq!(
            message(&[config("moe", "", ""), config("rule-continued", "{rule}", "")]),
            "phase `rule-continued` starts from `rule`, which is not among the phases; add it: --phases q2,7a,7b3"
        );
        assert_eq!(
            message(&[config("rule-continued", "", "{x}")]),
            "phase `rule-continued` follows the edits of `{x}`: no phase `x`"
        );
        let circle = [config("a", "{b}", ""), config("b", "", "{c}"), config("c", "{b}", "")];
        assert_eq!(message(&circle), "phases need one another: b → c → b");
        assert_eq!(message(&[config("a", "{a}", "")]), "phases need one another: a → a");
    }
}
