//! Candidates trained on forks, with or without a head that says which are worth it.

use serde::{Deserialize, Serialize};

use super::{EntropyLabels, NewExpertConfig, Saliency};
use crate::{
    MAX_STEPS, Move, RunRef,
    config::{
        ConfigFault,
        bounds::{at_least_zero, at_most, count, positive, share},
        choice::choice,
    },
};

/// How candidates are proposed, trained on forks and compared with keeping the experts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LookaheadConfig {
    /// Decisions after an edit of a layer before the next one.
    pub cooldown: u64,
    /// Moves to choose among.
    pub candidates: Vec<Move>,
    /// Layers whose moves are weighed at one decision. They take turns, as nothing that a router shows foretells which is worth it:
    /// those that have had the fewest. A decision then costs as much with many layers as with so few. None: all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers_at_once: Option<usize>,
    /// By what the experts that would be pruned are chosen.
    pub saliency: Saliency,
    /// How new experts begin.
    #[serde(deserialize_with = "choice")]
    pub new_expert: NewExpertConfig,
    /// Steps that a candidate trains before it is compared with keeping. A new expert needs time to show its use; a
    /// short horizon sees its cost alone. 0: the immediate effect.
    pub horizon: u64,
    /// Steps between two looks at whether a candidate has clearly lost and stops; 0: none stops early.
    pub race_every: u64,
    /// λ: validation loss, nats, that an expert must save to be worth having.
    pub expert_cost: f64,
    /// Standard errors between a measured gain and its bounds: a move is made when its lower bound beats keeping.
    pub confidence: f64,
    /// Standard deviation of a measured gain that training luck makes, nats: added in quadrature to the standard error that
    /// single texts give. `placebo_forks` measures an upper bound.
    pub training_luck: f64,
    /// A head that predicts effects, and has candidates trained only where it is unsure; none: all are trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<EffectHeadConfig>,
    /// For studies of what labels and statistics know; decisions do not look at it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub study: Option<StudyConfig>,
}

impl Default for LookaheadConfig {
    fn default() -> Self {
        Self {
            cooldown: 2,
            candidates: Move::ALL.to_vec(),
            layers_at_once: None,
            saliency: Saliency::Utilization,
            new_expert: NewExpertConfig::default(),
            horizon: 150,
            race_every: 0,
            expert_cost: 1e-3,
            confidence: 2.0,
            training_luck: 0.0,
            head: None,
            study: None,
        }
    }
}

impl LookaheadConfig {
    pub(super) fn check(&self) -> Result<(), ConfigFault> {
        at_most("cooldown", self.cooldown, MAX_STEPS)?;
        self.check_candidates()?;
        self.layers_at_once.iter().try_for_each(|layers| count("layers_at_once", *layers as u64, 1_000))?;
        self.saliency.check_unmeasured()?;
        self.new_expert.check()?;
        at_most("horizon", self.horizon, MAX_STEPS)?;
        at_most("race_every", self.race_every, MAX_STEPS)?;
        at_least_zero("expert_cost", self.expert_cost)?;
        at_least_zero("confidence", self.confidence)?;
        at_least_zero("training_luck", self.training_luck)?;
        if let Some(head) = &self.head {
            head.check().map_err(|fault| fault.within("head"))?;
        }
        if let Some(study) = &self.study {
            study.check().map_err(|fault| fault.within("study"))?;
        }
        Ok(())
    }

    fn check_candidates(&self) -> Result<(), ConfigFault> {
        let refused = |message: String| Err(ConfigFault::new("candidates", message));
        if self.candidates.is_empty() {
            let message =
                "is empty; name moves, such as [\"grow\", \"prune\"], or set control.policy = \"frozen\"";
            return refused(message.to_owned());
        }
        let repeated =
            (1..self.candidates.len()).find(|at| self.candidates[..*at].contains(&self.candidates[*at]));
        match repeated {
            Some(at) => refused(format!("names `{}` twice", self.candidates[at].name())),
            None => Ok(()),
        }
    }
}

/// A head that predicts the effect of moves. It applies a move untrained where it is sure, has one trained on a fork
/// where knowing promises enough, and learns from what was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EffectHeadConfig {
    /// Runs whose measured effects it has learnt before it begins: their folders. In a phase file `{lookahead}` stands
    /// for the cells of arm `lookahead` with all *other* seeds.
    pub records_of: Vec<RunRef>,
    /// A head that was taught before, on other data: its file (`moelt control teach`), or `shipped` for the one in this
    /// program. It learns no more, neither from other runs nor from what it has measured, and `lr` and `hidden` are those
    /// that it was taught with. None: the head learns in the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taught: Option<String>,
    /// A move is made unmeasured whose gain is above 0 with a probability above this one, by the errors that the head
    /// made so far; 1: never.
    pub act_above: f64,
    /// … and else measured when knowing its effect promises so many nats.
    pub ask_above: f64,
    /// Its own learning rate.
    pub lr: f64,
    /// Hidden units of its networks.
    pub hidden: usize,
}

impl Default for EffectHeadConfig {
    fn default() -> Self {
        Self { records_of: Vec::new(), taught: None, act_above: 0.9, ask_above: 0.002, lr: 1e-2, hidden: 16 }
    }
}

impl EffectHeadConfig {
    /// What [`Self::taught`] says for the head that is part of this program.
    pub const SHIPPED: &str = "shipped";

    fn check(&self) -> Result<(), ConfigFault> {
        share("act_above", self.act_above)?;
        at_least_zero("ask_above", self.ask_above)?;
        positive("lr", self.lr)?;
        count("hidden", self.hidden as u64, 65_536)?;
        match &self.taught {
            Some(file) if file.is_empty() => {
                Err(ConfigFault::new("taught", "is empty; name a file, or `shipped`, or leave it out"))
            }
            Some(_) if !self.records_of.is_empty() => {
                let message = "names a head that learns no more, but records_of names runs to learn from; leave one of \
                               them out";
                Err(ConfigFault::new("taught", message))
            }
            _ => Ok(()),
        }
    }
}

/// Whatever is measured is measured again on other batches and other validation texts, and what labels would say is
/// written down beside it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StudyConfig {
    /// Thresholds of the labels made of entropies.
    pub entropy_labels: EntropyLabels,
    /// Training texts whose gradients are looked at before every measurement, and on whose tokens the split test is made: growth
    /// criteria. 0: none.
    pub criteria_texts: usize,
}

impl StudyConfig {
    fn check(&self) -> Result<(), ConfigFault> {
        self.entropy_labels.check().map_err(|fault| fault.within("entropy_labels"))?;
        at_most("criteria_texts", self.criteria_texts as u64, 1_000_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_tried_is_refused_by_key() {
        let check = |change: &dyn Fn(&mut LookaheadConfig)| {
            let mut config =
                LookaheadConfig { head: Some(EffectHeadConfig::default()), ..Default::default() };
            change(&mut config);
            config.check().map_err(|fault| fault.key)
        };
        let refused = |key: &str| Err(key.to_owned());
        assert_eq!(check(&|_| {}), Ok(()));
        assert_eq!(check(&|c| c.candidates.clear()), refused("candidates"));
        assert_eq!(check(&|c| c.layers_at_once = Some(0)), refused("layers_at_once"));
        assert_eq!(check(&|c| c.candidates.push(Move::Grow)), refused("candidates"));
        assert_eq!(check(&|c| c.saliency = Saliency::Loss), refused("saliency"));
        assert_eq!(check(&|c| c.expert_cost = -1.0), refused("expert_cost"));
        assert_eq!(check(&|c| c.confidence = f64::NAN), refused("confidence"));
        assert_eq!(
            check(&|c| c.head = Some(EffectHeadConfig { hidden: 0, ..Default::default() })),
            refused("head.hidden")
        );
        assert_eq!(
            check(&|c| c.head = Some(EffectHeadConfig { lr: 0.0, ..Default::default() })),
            refused("head.lr")
        );
        let taught = |file: &str| EffectHeadConfig { taught: Some(file.to_owned()), ..Default::default() };
        assert_eq!(check(&|c| c.head = Some(taught("heads/mine.json"))), Ok(()));
        assert_eq!(check(&|c| c.head = Some(taught(""))), refused("head.taught"));
        let both = EffectHeadConfig { records_of: vec!["runs/x".to_owned().into()], ..taught("shipped") };
        assert_eq!(check(&|c| c.head = Some(both.clone())), refused("head.taught"));
    }
}
