//! Who decides about the experts. Each policy owns its parameters and their check.

mod arrival;
mod early_halving;
mod head;
mod l0_gates;
mod lookahead;
mod nested;
mod new_expert;
mod own;
mod placebo;
mod rule;
mod split_and_drop;

use serde::{Deserialize, Serialize};

use super::{ConfigFault, OtherRun, RunRef, Takes};

pub use self::{
    arrival::{ArrivalConfig, KnownBy},
    early_halving::EarlyHalvingConfig,
    head::{EntropyLabels, LabelConfig, LabelHeadConfig},
    l0_gates::L0GatesConfig,
    lookahead::{EffectHeadConfig, LookaheadConfig, StudyConfig},
    nested::NestedConfig,
    new_expert::{NewExpertConfig, Saliency},
    own::OwnConfig,
    placebo::{PlaceboConfig, PlaceboForksConfig},
    rule::RuleConfig,
    split_and_drop::{DescentConfig, DropConfig, EliminationOrder, Halves, SplitAndDropConfig, SplitConfig},
};

/// Who decides about the experts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PolicyConfig {
    /// Nobody: they stay.
    Frozen {},
    /// Thresholds on routing statistics.
    Rule(RuleConfig),
    /// DynMoE's rules (Guo et al. 2024): an expert that no token chose goes; one is added when tokens chose none.
    Dynmoe {},
    /// The edits of another run in their order, at random decision points, on random experts.
    PlaceboTime(PlaceboConfig),
    /// At the times of another run's edits random experts are replaced by fresh ones.
    PlaceboSurgery(PlaceboConfig),
    /// Forks without an edit are trained, each in an order of its own; nothing is ever edited.
    PlaceboForks(PlaceboForksConfig),
    /// Candidates are trained on forks, and the best one that surely beats keeping the experts is applied. With a
    /// head, forks are trained only where it is unsure.
    Lookahead(LookaheadConfig),
    /// A network that learns labels which have seen no effect of an edit. A negative control.
    LabelHead(LabelHeadConfig),
    /// When a task of a stream arrives, one more expert comes and what is there is frozen.
    Arrival(ArrivalConfig),
    /// Experts are split by a test, dropped where nobody misses them, and at last raced against smaller sets.
    SplitAndDrop(SplitAndDropConfig),
    /// All sizes start, and the worse half stops again and again.
    EarlyHalving(EarlyHalvingConfig),
    /// Prefixes of the experts are drawn step by step, and the smallest that does is kept.
    Nested(NestedConfig),
    /// Each expert has a gate that learns whether it is worth its price.
    L0Gates(L0GatesConfig),
    /// A policy of the program that embeds moelt.
    Own(OwnConfig),
}

impl Default for PolicyConfig {
    fn default() -> Self {
        Self::Frozen {}
    }
}

impl PolicyConfig {
    /// Whether the experts stay.
    pub fn is_frozen(&self) -> bool {
        matches!(self, Self::Frozen {})
    }

    /// Whether it ever edits.
    pub fn may_edit(&self) -> bool {
        !self.is_frozen() && !self.is_study() && !matches!(self, Self::PlaceboForks(_))
    }

    /// Its name in a config.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Frozen {} => "frozen",
            Self::Rule(_) => "rule",
            Self::Dynmoe {} => "dynmoe",
            Self::PlaceboTime(_) => "placebo_time",
            Self::PlaceboSurgery(_) => "placebo_surgery",
            Self::PlaceboForks(_) => "placebo_forks",
            Self::Lookahead(_) => "lookahead",
            Self::LabelHead(_) => "label_head",
            Self::Arrival(_) => "arrival",
            Self::SplitAndDrop(_) => "split_and_drop",
            Self::EarlyHalving(_) => "early_halving",
            Self::Nested(_) => "nested",
            Self::L0Gates(_) => "l0_gates",
            Self::Own(_) => "own",
        }
    }

    /// Whether it is told when tasks arrive, and asked just then.
    pub fn is_told(&self) -> bool {
        matches!(self, Self::Arrival(arrival) if arrival.is_told())
    }

    /// Look-ahead's parameters, where candidates are trained on forks.
    pub fn lookahead(&self) -> Option<&LookaheadConfig> {
        match self {
            Self::Lookahead(lookahead) => Some(lookahead),
            _ => None,
        }
    }

    /// Whether it has every measurement made twice.
    pub fn is_study(&self) -> bool {
        self.lookahead().is_some_and(|lookahead| lookahead.study.is_some())
    }

    /// Weight of a head's loss in the loss of the backbone; 0 where no head reaches it.
    pub fn joint(&self) -> f64 {
        match self {
            Self::LabelHead(LabelHeadConfig { labels: LabelConfig::Entropy(labels), .. }) => labels.joint,
            _ => 0.0,
        }
    }

    /// Whether it may learn from every step, and not only at decisions.
    pub fn learns_every_step(&self) -> bool {
        let looks_at_losses = matches!(self, Self::Arrival(arrival) if !arrival.is_told());
        looks_at_losses || matches!(self, Self::LabelHead(_) | Self::Own(_))
    }

    /// The runs whose measured effects its head learns before it begins.
    pub fn records_of(&self) -> &[RunRef] {
        self.lookahead().and_then(|lookahead| lookahead.head.as_ref()).map_or(&[], |head| &head.records_of)
    }

    /// The taught head that it uses: a file, or [`EffectHeadConfig::SHIPPED`].
    pub fn taught(&self) -> Option<&str> {
        self.lookahead()?.head.as_ref()?.taught.as_deref()
    }

    /// The run whose edits it follows.
    pub fn edits_of(&self) -> Option<OtherRun<'_>> {
        let (key, placebo) = match self {
            Self::PlaceboTime(placebo) => ("control.policy.placebo_time.edits_of", placebo),
            Self::PlaceboSurgery(placebo) => ("control.policy.placebo_surgery.edits_of", placebo),
            _ => return None,
        };
        Some(OtherRun { key, run: &placebo.edits_of, takes: Takes::Edits })
    }

    pub(super) fn check(&self) -> Result<(), ConfigFault> {
        let checked = match self {
            Self::Frozen {}
            | Self::Dynmoe {}
            | Self::PlaceboTime(_)
            | Self::PlaceboSurgery(_)
            | Self::Own(_) => Ok(()),
            Self::PlaceboForks(placebo) => placebo.check(),
            Self::Rule(rule) => rule.check(),
            Self::Arrival(arrival) => arrival.check(),
            Self::SplitAndDrop(split_and_drop) => split_and_drop.check(),
            Self::EarlyHalving(halving) => halving.check(),
            Self::Nested(nested) => nested.check(),
            Self::L0Gates(gates) => gates.check(),
            Self::Lookahead(lookahead) => lookahead.check(),
            Self::LabelHead(head) => head.check(),
        };
        checked.map_err(|fault| fault.within(self.name()))
    }
}
