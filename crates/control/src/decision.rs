//! What a policy sees, and what it answers.

use moelt_schema::{Choice, Edit, EditEffect, Evidence, ExpertId, LayerId, LayerSums};

/// What a policy sees at a decision point.
#[derive(Clone, Copy, Debug)]
pub struct StatsWindow<'a> {
    /// Optimizer steps done.
    pub step: u64,
    /// Optimizer steps the run takes unless it stops early.
    pub total_steps: u64,
    /// Routing sums of each layer that is not dense, in layer order, over the steps since the last decision.
    pub sums: &'a [LayerSums],
    /// Experts that are still being let in: what they carry says nothing about their worth yet.
    pub opening: &'a [(LayerId, ExpertId)],
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Nothing.
    Keep,
    /// These edits, as one plan.
    Apply(Vec<Edit>),
    /// Each of these candidates is tried on a copy, alone; [`Policy::observe`](crate::Policy::observe) is
    /// told what they did.
    Measure(Vec<Vec<Edit>>),
}

/// An answer, with what it rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// What is to be done.
    pub action: Action,
    /// Why, for people.
    pub reason: String,
    /// Why, in numbers. Names begin with their layer, as in `layer0.n_experts`. Both entropies are parts of
    /// `ln n_experts`; `layer0.saliency.3` is of expert 3, as a part of the even share, or in nats when it is
    /// a measured loss increase. What is not finite is left out.
    pub evidence: Evidence,
}

impl Decision {
    /// Nothing is done.
    pub(crate) fn keep(reason: impl Into<String>, evidence: Evidence) -> Self {
        Self { action: Action::Keep, reason: reason.into(), evidence }
    }

    /// The edits are made, if there are any.
    pub(crate) fn edit(edits: Vec<Edit>, reason: String, evidence: Evidence) -> Self {
        let action = if edits.is_empty() { Action::Keep } else { Action::Apply(edits) };
        Self { action, reason, evidence }
    }

    /// The kind of [`Self::action`], as the event log calls it.
    pub fn choice(&self) -> Choice {
        match self.action {
            Action::Keep => Choice::Keep,
            Action::Apply(_) => Choice::Apply,
            Action::Measure(_) => Choice::Measure,
        }
    }
}

/// A candidate of [`Action::Measure`] and what it did to a copy, with no training between.
#[derive(Clone, Debug, PartialEq)]
pub struct MeasuredEffect {
    /// The candidate, as it was asked for.
    pub edits: Vec<Edit>,
    /// What it did.
    pub effect: EditEffect,
}

impl MeasuredEffect {
    /// Selection loss after minus before, nats: below 0 when the edit helps.
    pub fn loss_increase(&self) -> f64 {
        self.effect.loss_after - self.effect.loss_before
    }
}
