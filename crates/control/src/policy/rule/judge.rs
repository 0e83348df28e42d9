//! One layer at one decision: whether it grows, sheds an expert or stays.

use moelt_schema::{Edit, ExpertId, LayerEvidence, LayerMemory, Limits, RuleConfig};

use super::{band::Band, can_prune};
use crate::{
    edits::{NewIds, allows, describe},
    layer_view::LayerView,
    moves::init,
    saliency::Saliencies,
    timing::cooling_until,
};

/// A layer before its judge.
pub(super) struct Judge<'a> {
    pub(super) config: &'a RuleConfig,
    pub(super) limits: Limits,
    /// The decision, counted from 1.
    pub(super) decision: u64,
    pub(super) layer: &'a LayerView<'a>,
    pub(super) saliencies: &'a Saliencies,
}

/// What becomes of it, and why.
pub(super) struct Ruling {
    pub(super) edit: Option<Edit>,
    pub(super) reason: String,
}

impl Judge<'_> {
    /// Counts the window in `memory` and decides.
    pub(super) fn judge(
        &self,
        memory: &mut LayerMemory,
        new_ids: &mut NewIds,
        evidence: &mut LayerEvidence,
    ) -> Ruling {
        if let Some(waiting) = self.waiting(memory) {
            self.note(memory, evidence);
            return Ruling { edit: None, reason: format!("layer {}: {waiting}", self.layer.id.0) };
        }
        self.count(memory);
        self.note(memory, evidence);
        let edit = self.prune(memory).or_else(|| self.grow(memory, new_ids));
        let what = edit.as_ref().map_or_else(|| format!("keeps {} experts", self.layer.n()), describe);
        let reason =
            format!("layer {} {what}: {}; {}", self.layer.id.0, self.growing(memory), self.pruning(memory));
        if edit.is_some() {
            *memory = LayerMemory { last_edit: Some(self.decision), ..LayerMemory::default() };
        }
        Ruling { edit, reason }
    }

    /// Why the window does not count.
    fn waiting(&self, memory: &LayerMemory) -> Option<String> {
        if let Some(until) = cooling_until(self.config.cooldown, memory, self.decision) {
            let now = self.decision;
            return Some(format!("cooling down through decision {until}, this is decision {now}"));
        }
        (self.layer.sums.tokens <= 0.0).then(|| "no tokens were routed since the last decision".to_owned())
    }

    fn count(&self, memory: &mut LayerMemory) {
        memory.asked_to_grow = self.grow_band().count(memory.asked_to_grow);
        let count = |(expert, value): &(ExpertId, f64)| {
            let before = asked(memory, *expert);
            let count = self.prune_band(*expert, *value).count(before);
            (count > 0).then_some((*expert, count))
        };
        memory.asked_to_prune = self.saliencies.values().iter().filter_map(count).collect();
    }

    fn note(&self, memory: &LayerMemory, evidence: &mut LayerEvidence) {
        evidence.note("asked_to_grow", memory.asked_to_grow as f64);
        for (expert, windows) in &memory.asked_to_prune {
            evidence.note(format!("asked_to_prune.{}", expert.0), *windows as f64);
        }
    }

    fn grow_band(&self) -> Band {
        let RuleConfig { grow_above, grow_load_above, hysteresis, .. } = *self.config;
        if !allows(&self.limits, self.layer.n() + 1) {
            return Band::Off;
        }
        let unsure = Band::above(self.layer.routing_entropy(), grow_above, hysteresis);
        unsure.and(Band::above(self.layer.load_entropy(), grow_load_above, hysteresis))
    }

    /// Whether an expert asks to be pruned. What several experts cost together is not the sum of what each
    /// costs alone; so of measured losses only the smallest asks, and the others wait in the dead band.
    fn prune_band(&self, expert: ExpertId, value: f64) -> Band {
        if !value.is_finite() {
            return Band::Off;
        }
        let is_weakest = self.saliencies.weakest().is_some_and(|(weakest, _)| weakest == expert);
        match Band::below(value, self.config.prune_below, self.config.hysteresis) {
            Band::Asks if self.saliencies.are_measured() && !is_weakest => Band::Dead,
            band => band,
        }
    }

    /// Windows that must ask: one at least.
    fn confirm(&self) -> u64 {
        self.config.confirm.max(1)
    }

    fn prune(&self, memory: &LayerMemory) -> Option<Edit> {
        let (expert, value) = self.saliencies.weakest()?;
        let due = self.prune_band(expert, value) == Band::Asks
            && asked(memory, expert) >= self.confirm()
            && can_prune(&self.limits, self.layer);
        due.then_some(Edit::Prune { layer: self.layer.id, expert })
    }

    fn grow(&self, memory: &LayerMemory, new_ids: &mut NewIds) -> Option<Edit> {
        if self.grow_band() != Band::Asks || memory.asked_to_grow < self.confirm() {
            return None;
        }
        let parent = self.layer.busiest();
        let init = init(self.config.new_expert, parent);
        Some(Edit::Grow { layer: self.layer.id, new: new_ids.take(), init })
    }

    /// The signals that growing rests on, for people.
    fn growing(&self, memory: &LayerMemory) -> String {
        let (n, confirm) = (self.layer.n(), self.confirm());
        let asked = format!("asked to grow in {} of {confirm} windows", memory.asked_to_grow);
        if !allows(&self.limits, n + 1) {
            return format!("at most {} experts are allowed", self.limits.max);
        }
        if n == 1 {
            return format!("a single expert says nothing about routing and counts as unsure, {asked}");
        }
        format!(
            "routing entropy {:.3} of ln {n} (grows above {}), load entropy {:.3} (grows above {}), {asked}",
            self.layer.routing_entropy(),
            self.config.grow_above,
            self.layer.load_entropy(),
            self.config.grow_load_above,
        )
    }

    /// The signals that pruning rests on, for people.
    fn pruning(&self, memory: &LayerMemory) -> String {
        if !can_prune(&self.limits, self.layer) {
            return format!("at least {} experts stay", self.limits.min.max(1));
        }
        let weakest = self.saliencies.weakest().map(|(expert, value)| {
            format!(
                "weakest is expert {}, {} (pruned below {}), asked to go in {} of {} windows",
                expert.0,
                self.saliencies.describe(value),
                self.config.prune_below,
                asked(memory, expert),
                self.confirm(),
            )
        });
        let unknown = self.saliencies.unknown();
        let unknown = (!unknown.is_empty()).then(|| {
            let ids: Vec<String> = unknown.iter().map(|id| id.0.to_string()).collect();
            format!("no finite number for expert {}", ids.join(" "))
        });
        let parts: Vec<String> = weakest.into_iter().chain(unknown).collect();
        if parts.is_empty() { "no expert was measured".to_owned() } else { parts.join(", ") }
    }
}

/// Windows in a token that asked to prune `expert`.
fn asked(memory: &LayerMemory, expert: ExpertId) -> u64 {
    memory.asked_to_prune.get(&expert).copied().unwrap_or(0)
}
