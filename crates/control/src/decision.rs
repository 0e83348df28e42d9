//! What a policy sees, and what it answers.

use moelt_schema::{Choice, Edit, Evidence, ExpertId, LayerId, LayerSums};

/// What a policy sees at a decision point.
#[derive(Clone, Copy, Debug)]
pub struct StatsWindow<'a> {
    /// Optimizer steps done.
    pub step: u64,
    /// Optimizer steps the run takes unless it stops early.
    pub total_steps: u64,
    /// Routing sums of each layer that is not dense, in layer order, over the steps since the last decision.
    pub sums: &'a [LayerSums],
    /// Mean task loss of these steps, nats: without auxiliary losses.
    pub loss: f64,
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
    /// Candidates are tried on forks first; [`Policy::observe`](crate::Policy::observe) is told what they did.
    Measure(Trial),
}

/// Candidates to be tried. Each is applied to a fork of its own, alone; then the fork trains on the batches
/// that a fork which keeps its experts trains on too, and both predict the same validation texts.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// The candidates. All are numbered from the layout as it is: they may share ids of new experts.
    pub candidates: Vec<Vec<Edit>>,
    /// Steps that every fork trains, unless [`race`](crate::race) stops it; 0: none.
    pub steps: u64,
}

/// What a head that is not isolated asks of a live router, for the joint negative control: the gradient of its
/// cross entropy at one batch. The trainer multiplies it by α (`control.joint`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LiveGradient {
    /// The layer.
    pub layer: LayerId,
    /// The head's cross entropy at this batch, nats.
    pub loss: f64,
    /// Its derivative by the layer's routing entropy / ln n; 0 with a single expert, where that is a constant.
    pub routing_entropy: f64,
    /// Its derivative by the layer's load entropy / ln n; likewise.
    pub load_entropy: f64,
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

/// A candidate of a [`Trial`] and what it did, against keeping the experts.
#[derive(Clone, Debug, PartialEq)]
pub struct MeasuredEffect {
    /// The candidate, as it was asked for.
    pub edits: Vec<Edit>,
    /// Steps that both forks trained: fewer than asked for when the race was over sooner.
    pub steps: u64,
    /// Mean validation loss of the fork that kept its experts, nats.
    pub loss_keep: f64,
    /// Mean validation loss of the candidate's fork on the same texts, nats.
    pub loss: f64,
    /// Standard error of `loss - loss_keep`, from the differences of single texts, nats.
    pub standard_error: f64,
    /// The measurement once more, when `control.replicate` asks for it.
    pub replicate: Option<Replicate>,
}

/// A second measurement that shares neither training batches nor validation texts with the first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Replicate {
    /// Validation loss of the candidate's fork minus that of the fork that kept, nats.
    pub difference: f64,
    /// Standard error of `difference`, nats.
    pub standard_error: f64,
}

impl MeasuredEffect {
    /// Validation loss with the edits minus without them, nats: below 0 when they help.
    pub fn loss_increase(&self) -> f64 {
        self.loss - self.loss_keep
    }
}
