//! `plan.json`: written once; an ablation is what it was planned to be.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result, anyhow, bail};
use moelt_schema::{AblationPlan, Cell, CollapseRule, Comparison, write_atomically};
use serde_json::Value;

use super::{AblationFolder, binary, inputs};
use crate::Site;

/// Reads the plan of a folder.
///
/// # Errors
/// When there is none, none of this version, or one that was altered.
pub(super) fn read(site: &Site, folder: &AblationFolder) -> Result<AblationPlan> {
    let path = folder.plan();
    let missing = || {
        let there = names_there(site);
        format!("{} (make a plan first: {} plan{there})", path.display(), site.command())
    };
    let text = fs::read_to_string(&path).with_context(missing)?;
    AblationPlan::from_json(&text).map_err(|message| anyhow!("{}: {message}", path.display()))
}

/// The ablations that could be meant: `; or name one that is there: night, planted-standard`.
fn names_there(site: &Site) -> String {
    const SHOWN: usize = 20;
    let names = AblationFolder::names(site);
    let more = names.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if names.is_empty() { String::new() } else { format!("; or name one that is there: {shown}{more}") }
}

/// Whether cells that run now run what was planned.
///
/// # Errors
/// When the code or a file that cells read has changed since, or is gone.
pub(super) fn check_unchanged(site: &Site, folder: &AblationFolder, plan: &AblationPlan) -> Result<()> {
    let now = AblationPlan {
        code: binary::code(site, folder, plan)?,
        data: inputs::digests(site, &plan.cells)?,
        ..plan.clone()
    };
    settle(site, folder, &now)
}

/// Writes the plan, or finds that the same one is there.
///
/// # Errors
/// When another plan is there; the message says what differs.
pub(super) fn settle(site: &Site, folder: &AblationFolder, plan: &AblationPlan) -> Result<()> {
    let path = folder.plan();
    if !path.exists() {
        let json = serde_json::to_vec_pretty(plan)?;
        return write_atomically(&path, &json).with_context(|| path.display().to_string());
    }
    if let Some(difference) = difference(&read(site, folder)?, plan) {
        bail!(
            "{} is another plan: {difference}. A plan never changes; choose another --name, or remove {}",
            site.shown(&path),
            site.shown(path.parent().unwrap_or(&path))
        );
    }
    Ok(())
}

/// What distinguishes the plan that is there from the one asked for; none when nothing does.
fn difference(there: &AblationPlan, asked: &AblationPlan) -> Option<String> {
    if there == asked {
        return None;
    }
    if there.moelt != asked.moelt {
        return Some(format!("it was made by moelt {}, this is {}", there.moelt, asked.moelt));
    }
    if there.code != asked.code {
        let (then, now) = (there.code.short(), asked.code.short());
        return Some(format!("it was planned with other code ({then}…, now {now}…)"));
    }
    let missing = |from: &AblationPlan, other: &AblationPlan| {
        let lacks = |cell: &&Cell| find(other, cell).is_none();
        from.cells.iter().find(lacks).map(|cell| format!("{} seed {}", cell.arm, cell.seed))
    };
    if let Some(cell) = missing(there, asked) {
        return Some(format!("it has {cell}, which is not asked for now"));
    }
    if let Some(cell) = missing(asked, there) {
        return Some(format!("it lacks {cell}"));
    }
    let config = there.cells.iter().find_map(|cell| config_difference(cell, find(asked, cell)?));
    let difference = config.or_else(|| data_difference(there, asked));
    let difference = difference.or_else(|| verdict_difference(there, asked));
    Some(difference.unwrap_or_else(|| "its cells are in another order".to_owned()))
}

/// The first file that has changed, come or gone.
fn data_difference(there: &AblationPlan, asked: &AblationPlan) -> Option<String> {
    let short = |plan: &AblationPlan, file| {
        plan.data.get(file).map_or("not read".to_owned(), |digest| format!("{}…", digest.short()))
    };
    let files = there.data.keys().chain(asked.data.keys());
    let file = files.into_iter().find(|file| there.data.get(*file) != asked.data.get(*file))?;
    let (then, now) = (short(there, file), short(asked, file));
    Some(format!("it was planned with another {file} ({then}, now {now})"))
}

/// The first thing that is to be judged otherwise.
fn verdict_difference(there: &AblationPlan, asked: &AblationPlan) -> Option<String> {
    if there.resamples != asked.resamples {
        return Some(format!("it judges by {} resamples, now {}", there.resamples, asked.resamples));
    }
    if there.collapse != asked.collapse {
        let shown = |rule: &CollapseRule| {
            let CollapseRule { below, rate, depth } = rule;
            format!("below {below}, rate {rate}, depth {depth}")
        };
        let (then, now) = (shown(&there.collapse), shown(&asked.collapse));
        return Some(format!("it was planned with another rule of collapse ({then}; now {now})"));
    }
    let lacks = |from: &AblationPlan, other: &AblationPlan| {
        from.comparisons.iter().find(|one| !other.comparisons.contains(one)).cloned()
    };
    let shown = |c: &Comparison| format!("{} ({c}, alpha {}, family {})", c.name, c.alpha, c.family);
    let gone = lacks(there, asked).map(|c| format!("it has {}, which is not declared now", shown(&c)));
    let new = || lacks(asked, there).map(|c| format!("it lacks {}", shown(&c)));
    let order = || (there.comparisons != asked.comparisons).then(|| "they are in another order".to_owned());
    let what = gone.or_else(new).or_else(order)?;
    Some(format!("it was planned with other comparisons: {what}"))
}

/// The cell of the same arm and seed.
fn find<'a>(plan: &'a AblationPlan, cell: &Cell) -> Option<&'a Cell> {
    plan.cells.iter().find(|other| (&other.arm, other.seed) == (&cell.arm, cell.seed))
}

/// The first key that two configs set differently.
fn config_difference(there: &Cell, asked: &Cell) -> Option<String> {
    let (there_keys, asked_keys) = (keys(there), keys(asked));
    let (key, value) = there_keys.iter().find(|(key, value)| asked_keys.get(*key) != Some(*value))?;
    let now = asked_keys.get(key).map_or("nothing".to_owned(), Value::to_string);
    Some(format!("{} seed {} has {key} = {value} there and {now} now", there.arm, there.seed))
}

/// A config as dotted keys with their values.
fn keys(cell: &Cell) -> BTreeMap<String, Value> {
    fn flatten(prefix: &str, value: Value, keys: &mut BTreeMap<String, Value>) {
        match value {
            Value::Object(fields) => {
                fields
                    .into_iter()
                    .for_each(|(name, value)| flatten(&format!("{prefix}.{name}"), value, keys));
            }
            value => {
                keys.insert(prefix.trim_start_matches('.').to_owned(), value);
            }
        }
    }
    let mut keys = BTreeMap::new();
    flatten("", serde_json::to_value(&cell.config).unwrap_or_default(), &mut keys);
    keys
}

#[cfg(test)]
mod tests {
    use moelt_schema::{ClaimKind, Digest, Metric, PLAN_FORMAT, RunConfig};

    use super::*;

    fn plan(cells: &[(&str, u64, usize)]) -> AblationPlan {
        let cell = |&(arm, seed, d_ff): &(&str, u64, usize)| {
            let mut config = RunConfig { arm: arm.to_owned(), seed, ..RunConfig::default() };
            config.model.d_ff = d_ff;
            Cell::new(config)
        };
        AblationPlan {
            format: PLAN_FORMAT,
            name: "test".into(),
            moelt: "0.1.0".into(),
            code: Digest::of_bytes(b"code"),
            data: BTreeMap::from([("dev.tsv".to_owned(), Digest::of_bytes(b"data"))]),
            resamples: 100,
            collapse: CollapseRule::default(),
            comparisons: vec![Comparison {
                name: "moe against dense".into(),
                metric: Metric::Accuracy,
                arm: "moe".into(),
                against: vec!["dense".into()],
                kind: ClaimKind::Superiority,
                margin: 0.005,
                alpha: 0.05,
                family: "baselines".into(),
            }],
            cells: cells.iter().map(cell).collect(),
        }
    }

    #[test]
    fn the_difference_is_named() {
        let there = plan(&[("dense", 0, 8), ("moe", 0, 8)]);
        let difference = |asked: &AblationPlan| difference(&there, asked);
        assert_eq!(difference(&there.clone()), None);
        let data = there.data["dev.tsv"].short();
        let data_gone = format!("it was planned with another dev.tsv ({data}…, now not read)");
        let laxer = CollapseRule { rate: 0.2, ..there.collapse };
        let cases = [
            (plan(&[("dense", 0, 8), ("moe", 0, 9)]), "moe seed 0 has model.d_ff = 8 there and 9 now"),
            (plan(&[("dense", 0, 8)]), "it has moe seed 0, which is not asked for now"),
            (plan(&[("dense", 0, 8), ("moe", 0, 8), ("moe", 1, 8)]), "it lacks moe seed 1"),
            (plan(&[("moe", 0, 8), ("dense", 0, 8)]), "its cells are in another order"),
            (
                AblationPlan { moelt: "0.2.0".into(), ..there.clone() },
                "it was made by moelt 0.1.0, this is 0.2.0",
            ),
            (
                AblationPlan { code: Digest::of_bytes(b"new"), ..there.clone() },
                "it was planned with other code (bd124bf3…, now b20ab0a0…)",
            ),
            (AblationPlan { data: BTreeMap::new(), ..there.clone() }, data_gone.as_str()),
            (AblationPlan { resamples: 99, ..there.clone() }, "it judges by 100 resamples, now 99"),
            (
                AblationPlan { collapse: laxer, ..there.clone() },
                "it was planned with another rule of collapse (below 0.02, rate 0.1, depth 0.1; now below 0.02, rate 0.2, depth 0.1)",
            ),
            (
                AblationPlan { comparisons: Vec::new(), ..there.clone() },
                "it was planned with other comparisons: it has moe against dense (superiority by more than 0.50 pp in accuracy, \
                 alpha 0.05, family baselines), which is not declared now",
            ),
        ];
        for (asked, expected) in cases {
            assert_eq!(difference(&asked).as_deref(), Some(expected));
        }
    }
}
