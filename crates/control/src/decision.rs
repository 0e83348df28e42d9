//! What a policy sees, and what it answers.

use moelt_schema::{DecisionKind, Edit, Evidence, ExpertId, LayerId, LayerSums};

use crate::Look;

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
    /// Experts that are still ramping in: what they carry says nothing about their worth yet.
    pub ramping_in: &'a [(LayerId, ExpertId)],
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
    /// Something is looked at first, without training; [`Policy::see`](crate::Policy::see) is told what was found.
    Look(Look),
}

/// Candidates to be tried. Each is applied to a fork of its own, alone; then the fork trains on the batches
/// that a fork which keeps its experts trains on too (or, where asked, on batches of its own), and both predict the same validation texts.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// The candidates. All are numbered from the layout as it is: they may share ids of new experts.
    pub candidates: Vec<Vec<Edit>>,
    /// Steps that every fork trains, unless it leaves a race; 0: none.
    pub steps: u64,
    /// How candidates that clearly lose stop early; none: all train to the end.
    pub race: Option<Race>,
    /// Whether everything is measured once more on other batches and other validation texts.
    pub replicate: bool,
    /// Whether each candidate trains in an order of batches, and with dropout, of its own. Otherwise all train on what the
    /// fork that keeps trains on.
    pub own_orders: bool,
    /// Steps over which the weights of forks are averaged for the comparison, or fewer where the run itself averages over fewer:
    /// single steps scatter more than sizes differ. 0: as the run averages, if it does.
    pub averaged_over: u64,
}

impl Trial {
    /// All candidates train so many steps, once.
    pub fn new(candidates: Vec<Vec<Edit>>, steps: u64) -> Self {
        Self { candidates, steps, race: None, replicate: false, own_orders: false, averaged_over: 0 }
    }
}

/// How candidates that lose stop early. The fork that keeps its experts never does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Race {
    /// Steps between two looks, at least 1.
    pub every: u64,
    /// Who stops at a look.
    pub stop: StopRule,
}

/// Who stops at a look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StopRule {
    /// Candidates that have clearly lost: those that [`race`](crate::race) would stop.
    Clear {
        /// λ: validation loss, nats, that an expert must save.
        expert_cost: f64,
        /// Standard errors between a gain and its bounds.
        confidence: f64,
        /// Standard deviation of a gain that the order of batches alone makes, nats.
        training_luck: f64,
    },
    /// The worse half of those that still run, by loss; of an odd number the smaller half ([`better_half`](crate::better_half)).
    WorseHalf,
}

/// What a head that is not isolated asks of a live router, for the joint negative control: the gradient of its
/// cross entropy at one batch. The trainer multiplies it by α (`joint`).
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
    /// Why, in numbers.
    pub evidence: Evidence,
}

impl Decision {
    /// The experts stay.
    pub fn keep(reason: impl Into<String>, evidence: Evidence) -> Self {
        Self { action: Action::Keep, reason: reason.into(), evidence }
    }

    /// The edits are applied, as one plan; without any the experts stay. [`Plan::new`](moelt_schema::Plan::new) makes
    /// them:
    ///
    /// ```
    /// # use moelt_control::Decision;
    /// # use moelt_schema::{Evidence, LayerKind, Layout, Plan};
    /// let layout = Layout::uniform(1, LayerKind::TopK { k: 2 }, 4);
    /// let edits = Plan::new(100).copy_expert(2, 0.1).prune(0).edits(&layout);
    /// let decision = Decision::apply(edits, "expert 2 does the work of two", Evidence::default());
    /// ```
    pub fn apply(edits: Vec<Edit>, reason: impl Into<String>, evidence: Evidence) -> Self {
        let action = if edits.is_empty() { Action::Keep } else { Action::Apply(edits) };
        Self { action, reason: reason.into(), evidence }
    }

    /// Candidates are tried on forks; [`Policy::observe`](crate::Policy::observe) is told what they did.
    pub fn measure(trial: Trial, reason: impl Into<String>, evidence: Evidence) -> Self {
        Self { action: Action::Measure(trial), reason: reason.into(), evidence }
    }

    /// Something is looked at; [`Policy::see`](crate::Policy::see) is told what was found.
    pub fn look(look: Look, reason: impl Into<String>, evidence: Evidence) -> Self {
        Self { action: Action::Look(look), reason: reason.into(), evidence }
    }

    /// The kind of [`Self::action`], as the event log calls it.
    pub fn kind(&self) -> DecisionKind {
        match self.action {
            Action::Keep => DecisionKind::Keep,
            Action::Apply(_) => DecisionKind::Apply,
            Action::Measure(_) => DecisionKind::Measure,
            Action::Look(_) => DecisionKind::Look,
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
    /// The measurement once more, in a study.
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
