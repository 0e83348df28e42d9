//! What both placebos share: the edits of another run, and answers to them that are left to chance.

use std::collections::BTreeMap;

use moelt_schema::{
    Edit, EditLog, EditsConfig, Evidence, ExpertId, LayerId, LayerKind, Layout, Limits, Plan, Stream, Streams,
};
use rand::{Rng, seq::SliceRandom};

use crate::{
    Decision, PolicyError,
    edits::{NewIds, allows, change, describe},
    timing::Timing,
};

/// The run that is followed, and what is needed to follow it.
pub(super) struct Script {
    /// Plans that grow, prune or merge, with these edits alone.
    pub(super) plans: Vec<Plan>,
    pub(super) timing: Timing,
    limits: Limits,
    streams: Streams,
}

impl Script {
    pub(super) fn new(log: EditLog, config: &EditsConfig, seed: u64, total_steps: u64) -> Self {
        let mut plans = log.plans;
        for plan in &mut plans {
            plan.edits
                .retain(|edit| matches!(edit, Edit::Grow { .. } | Edit::Prune { .. } | Edit::Merge { .. }));
        }
        plans.retain(|plan| !plan.edits.is_empty());
        let timing = Timing::new(config, total_steps);
        Self { plans, timing, limits: config.limits(), streams: Streams::new(seed) }
    }

    /// Refuses a script whose plans, at the decisions `points`, are not all answered in this run.
    pub(super) fn check(&self, policy: &'static str, points: &[u64]) -> Result<(), PolicyError> {
        let (plans, decisions) = (self.plans.len(), self.timing.n_decisions());
        match points.iter().max() {
            Some(&last) if last > decisions => {
                Err(PolicyError::ScriptTooLong { policy, plans, last, decisions })
            }
            _ => Ok(()),
        }
    }

    /// The chance of one decision; decisions count from 1, index 0 is what is drawn once for the whole run.
    pub(super) fn rng(&self, index: u64) -> impl Rng {
        self.streams.rng(Stream::Policy, index)
    }

    /// Answers the plans at `indices` at a decision: for each layer `stand_ins` gets the script's edits of it
    /// and its experts in random order, and gives edits in their place. What the limits forbid is left out.
    pub(super) fn answer(
        &self,
        indices: &[usize],
        decision: u64,
        layout: &Layout,
        stand_ins: impl Fn(LayerId, &[&Edit], Vec<ExpertId>) -> StandIns,
    ) -> Decision {
        let mut rng = self.rng(decision);
        let mut by_layer: BTreeMap<LayerId, Vec<&Edit>> = BTreeMap::new();
        // What experts share has no random stand-in.
        for edit in indices.iter().flat_map(|index| &self.plans[*index].edits) {
            edit.layer().into_iter().for_each(|layer| by_layer.entry(layer).or_default().push(edit));
        }
        let (mut edits, mut reasons) = (Vec::new(), Vec::new());
        for (layer, script) in by_layer {
            let mut experts = experts(layout, layer);
            experts.shuffle(&mut rng);
            let n = experts.len();
            let mut answer = stand_ins(layer, &script, experts);
            answer.drop_beyond(&self.limits, n);
            reasons.push(self.reason(layer, &answer, script.len(), n));
            edits.extend(answer.0.into_iter().flatten());
        }
        number(&mut edits, layout);
        let place = |edit: &Edit| edit.layer().map_or(String::new(), |layer| format!("layer {} ", layer.0));
        let done = edits.iter().map(|edit| place(edit) + &describe(edit));
        let parts: Vec<String> = done.chain(reasons.into_iter().flatten()).collect();
        let reason = format!("answers {}: {}", self.names(indices), parts.join(", "));
        Decision::apply(edits, reason, self.evidence(decision, indices))
    }

    /// What could not be done.
    fn reason(&self, layer: LayerId, answer: &StandIns, asked: usize, n: usize) -> Option<String> {
        let skipped = asked - answer.0.len();
        let (min, max) = (self.limits.min.max(1), self.limits.max);
        (skipped > 0).then(|| {
            format!("layer {} skips {skipped} of {asked} edits: {n} experts, {min} to {max} allowed", layer.0)
        })
    }

    /// Plans for people: by step and place.
    fn names(&self, indices: &[usize]) -> String {
        let name = |index: &usize| {
            format!("step {} ({} of {})", self.plans[*index].step, index + 1, self.plans.len())
        };
        let names: Vec<String> = indices.iter().map(name).collect();
        format!("the script's plan of {}", names.join(" and of "))
    }

    /// The decision, the plans of the script, and the step of the first that is answered.
    pub(super) fn evidence(&self, decision: u64, indices: &[usize]) -> Evidence {
        let evidence = Evidence::default()
            .with("decision", decision as f64)
            .with("script.plans", self.plans.len() as f64)
            .with("script.answered", indices.len() as f64);
        match indices.first() {
            Some(first) => evidence.with("script.step", self.plans[*first].step as f64),
            None => evidence,
        }
    }
}

/// For each edit of the script that can be answered, in order, the edits in its place. New experts have no
/// id yet.
pub(super) struct StandIns(pub(super) Vec<Vec<Edit>>);

/// The id of a new expert until all edits are known.
pub(super) const NO_ID: ExpertId = ExpertId(u64::MAX);

impl StandIns {
    /// Leaves answers out, the last first, until a layer of `n` experts stays within its limits.
    fn drop_beyond(&mut self, limits: &Limits, n: usize) {
        while !self.0.is_empty() {
            let after = n as i64 + self.0.iter().map(|edits| change(edits)).sum::<i64>();
            let after = usize::try_from(after).unwrap_or(0);
            if allows(limits, after) {
                return;
            }
            let culprit = |edits: &Vec<Edit>| (change(edits) > 0) == (after > limits.max);
            match self.0.iter().rposition(culprit) {
                Some(last) => drop(self.0.remove(last)),
                None => self.0.clear(),
            }
        }
    }
}

/// The experts of a layer that has a router; none otherwise.
fn experts(layout: &Layout, layer: LayerId) -> Vec<ExpertId> {
    let layer = layout.layer(layer).filter(|layer| layer.kind != LayerKind::Dense);
    layer.map(|layer| layer.experts.clone()).unwrap_or_default()
}

fn number(edits: &mut [Edit], layout: &Layout) {
    let mut new_ids = NewIds::of(layout);
    for edit in edits {
        if let Edit::Grow { new, .. } = edit {
            *new = new_ids.take();
        }
    }
}
