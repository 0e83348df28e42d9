//! Keys of earlier versions, so that an old file is refused with today's name.

use toml::{Table, Value};

/// Earlier keys and what they are called now.
const RENAMED: &[(&str, &str)] = &[
    ("data.kind", "data, such as `data = \"sst2\"` or a table `[data.sst2]`"),
    ("data.planted.selection", "data.planted.validation"),
    ("data.planted.verdict", "data.planted.test"),
    ("data.sst2.selection_fraction", "data.sst2.validation_fraction"),
    ("data.csv.selection", "data.csv.validation"),
    ("data.csv.verdict", "data.csv.test"),
    ("data.csv.selection_fraction", "data.csv.validation_fraction"),
    ("data.csv.verdict_fraction", "data.csv.test_fraction"),
    ("data.csv.bad_rows", "data.csv.bad_lines"),
    ("model.kind", "model.routing, one of `dense`, `top_k` and `top_any`"),
    ("model.conv_width", "model.encoder, such as `encoder.conv = { width = 3 }` or `encoder = \"bag\"`"),
    ("model.n_experts", "model.routing.top_k.n_experts (or model.routing.top_any.n_experts)"),
    ("train.epochs", "train.budget.epochs"),
    ("train.flops_of", "train.budget.flops_of"),
    ("start.run", "start.weights.run (or start.size.run)"),
    ("start.take", "start, one of `scratch`, `weights` and `size`"),
    ("control.every", "control.edits.every"),
    ("control.warmup", "control.edits.warmup"),
    ("control.until", "control.edits.until"),
    ("control.min_experts", "control.edits.min_experts"),
    ("control.max_experts", "control.edits.max_experts"),
    ("control.opening", "control.edits.ramp_in"),
    ("control.cooldown", "a parameter of the policy, such as control.policy.rule.cooldown"),
    ("control.confirm", "control.policy.rule.confirm"),
    ("control.hysteresis", "control.policy.rule.hysteresis"),
    ("control.grow_above", "control.policy.rule.grow_above"),
    ("control.grow_load_above", "control.policy.rule.grow_load_above"),
    ("control.prune_below", "control.policy.rule.prune_below"),
    ("control.saliency", "a parameter of the policy, such as control.policy.rule.saliency"),
    ("control.init", "a parameter of the policy, such as control.policy.rule.new_expert"),
    ("control.noise", "a parameter of the policy, such as control.policy.rule.new_expert.copy.noise"),
    ("control.edits_of", "control.policy.placebo_time.edits_of (or control.policy.placebo_surgery.edits_of)"),
    ("control.horizon", "control.policy.lookahead.horizon"),
    ("control.race_every", "control.policy.lookahead.race_every"),
    ("control.expert_cost", "control.policy.lookahead.expert_cost"),
    ("control.confidence", "control.policy.lookahead.confidence"),
    ("control.candidates", "control.policy.lookahead.candidates"),
    ("control.replicate", "control.policy.lookahead.study, a table"),
    ("control.records_of", "control.policy.lookahead.head.records_of"),
    ("control.act_above", "control.policy.lookahead.head.act_above"),
    ("control.ask_above", "control.policy.lookahead.head.ask_above"),
    ("control.head_lr", "control.policy.lookahead.head.lr (or control.policy.label_head.lr)"),
    ("control.head_hidden", "control.policy.lookahead.head.hidden (or control.policy.label_head.hidden)"),
    ("control.labels", "control.policy.label_head.labels"),
    ("control.joint", "control.policy.label_head.labels.entropy.joint"),
    ("control.policy.head", "control.policy.lookahead.head or control.policy.label_head"),
];

/// A key of an earlier version that a config sets, and what it is called now.
pub(super) fn renamed(config: &Table) -> Option<(&'static str, &'static str)> {
    let is_set = |old: &str| {
        let mut parts = old.split('.');
        let first = parts.next().and_then(|part| config.get(part));
        // `policy = "head"` chooses as a table `[policy.head]` does.
        let chooses = |value: &Value, part: &str| value.as_str() == Some(part);
        parts
            .fold(first, |value, part| value.filter(|value| chooses(value, part)).or(value?.get(part)))
            .is_some()
    };
    RENAMED.iter().find(|(old, _)| is_set(old)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RunConfig, resolved_toml};

    #[test]
    fn no_key_of_today_counts_as_an_earlier_one() {
        let config = toml::from_str(&resolved_toml(&RunConfig::default())).unwrap();
        assert_eq!(renamed(&config), None);
        let old = toml::from_str("[data]\nkind = \"csv\"\n[data.csv]\ntrain = \"x.csv\"\n").unwrap();
        assert_eq!(renamed(&old).unwrap().0, "data.kind");
    }
}
