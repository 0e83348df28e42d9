//! Experts are split where a test finds that two would serve their tokens better than one.

use moelt_schema::{Edit, ExpertId, ExpertInit, Halves, LayerId, SplitConfig, Stage};

use super::{Moment, SplitAndDrop};
use crate::{
    Decision, FiringUnits, Look, SplitEvidence, TestedExpert, TokensToTest,
    edits::{NewIds, allows},
};

impl SplitAndDrop {
    pub(super) fn look_for_splits(&mut self, moment: Moment<'_>) -> Decision {
        let Some(split) = self.config.splits() else {
            return Decision::keep("nothing is ever split", moment.evidence);
        };
        let SplitConfig { texts, tokens, tokens_per_expert, .. } = *split;
        let look = Look::Splits(TokensToTest { texts, tokens, tokens_per_expert });
        Decision::look(look, "tests whether two experts would serve better than one", moment.evidence)
    }

    pub(super) fn split(&mut self, mut moment: Moment<'_>, found: &[TestedExpert]) -> Decision {
        let Some(config) = self.config.splits().cloned() else {
            return Decision::keep("nothing is ever split", moment.evidence);
        };
        found.iter().for_each(|tested| note(&mut moment, tested));
        let mut passed: Vec<(&TestedExpert, f64)> =
            found.iter().filter_map(|tested| Some((tested, promise(tested, &config)?))).collect();
        passed.sort_by(|one, other| other.1.total_cmp(&one.1));
        let edits = self.halved(&moment, passed.into_iter().map(|(tested, _)| tested), &config);
        let halves: Vec<(LayerId, _)> = edits.iter().flat_map(halves_of).collect();
        if halves.is_empty() {
            self.nothing_was_split(&moment);
        } else {
            let memory = self.memory_mut();
            memory.quiet = 0;
            memory.halves.extend(halves.iter().map(|(layer, expert)| (*layer, *expert, moment.step)));
            memory.next = None;
            if config.redraw_below > 0.0 {
                self.then(moment.step, Stage::Redraw { halves });
            }
        }
        let why = format!("{} of {} tested experts pass", edits.len(), tested(found));
        moment.apply(edits, &why)
    }

    fn nothing_was_split(&mut self, moment: &Moment<'_>) {
        let counts_from = self.config.descends().map_or(0, |descent| self.steps(descent.quiet_from));
        let quiet = if moment.step < counts_from { 0 } else { self.memory().quiet + 1 };
        self.memory_mut().quiet = quiet;
        self.rest_or_descend(moment);
    }

    /// One more expert for each that passed, as long as the layer may have one more.
    fn halved<'a>(
        &self,
        moment: &Moment<'_>,
        passed: impl Iterator<Item = &'a TestedExpert>,
        config: &SplitConfig,
    ) -> Vec<Edit> {
        let (limits, mut new_ids, mut edits) = (self.edits.limits(), NewIds::of(moment.layout), Vec::new());
        for TestedExpert { layer, expert, evidence, .. } in passed {
            let grown = edits.iter().filter(|edit: &&Edit| edit.layer() == Some(*layer)).count();
            let n = moment.layer(*layer).map_or(0, |layer| layer.n()) + grown;
            let rests = moment.layer(*layer).is_none_or(|layer| layer.layout.frozen.contains(expert));
            let may_grow = !rests && edits.len() < config.most && allows(&limits, n + 1);
            let Some(evidence) = evidence.as_ref().filter(|_| may_grow) else { continue };
            let parent = *expert;
            let init = match config.halves {
                Halves::Along {} => ExpertInit::SplitAlong { parent, by: evidence.shift.clone() },
                Halves::Copy { noise } => ExpertInit::Copy { parent, noise },
                Halves::Fresh {} => ExpertInit::Fresh,
            };
            edits.push(Edit::Grow { layer: *layer, new: new_ids.take(), init });
        }
        edits
    }

    /// Units that hardly fire on the tokens of their half are drawn anew.
    pub(super) fn redraw(&mut self, moment: Moment<'_>, found: &[FiringUnits]) -> Decision {
        self.memory_mut().next = None;
        self.memory_mut().done = self.config.descends().is_none() && self.is_past_the_last_time(moment.step);
        let below = self.config.splits().map_or(0.0, |split| split.redraw_below);
        let is_trained = |units: &&FiringUnits| {
            moment.layer(units.layer).is_some_and(|layer| !layer.layout.frozen.contains(&units.expert))
        };
        let trained = found.iter().filter(is_trained);
        let edits = trained.filter_map(|FiringUnits { layer, expert, share, centre }| {
            let units: Vec<usize> =
                share.iter().enumerate().filter(|(_, share)| **share < below).map(|(unit, _)| unit).collect();
            let edit =
                Edit::Redraw { layer: *layer, expert: *expert, units: units.clone(), centre: centre.clone() };
            (!units.is_empty()).then_some(edit)
        });
        let edits: Vec<Edit> = edits.collect();
        moment.apply(edits, &format!("units that fire for less than {below} of their tokens"))
    }
}

/// What a split promises to save, nats per token of the layer; none where the evidence is too weak.
fn promise(tested: &TestedExpert, config: &SplitConfig) -> Option<f64> {
    let evidence = tested.evidence.as_ref()?;
    let promise = evidence.gain * tested.utilization;
    let is_fair = (config.share..=1.0 - config.share).contains(&evidence.share);
    (evidence.z() > config.z && promise > config.gain && is_fair).then_some(promise)
}

fn tested(found: &[TestedExpert]) -> usize {
    found.iter().filter(|tested| tested.evidence.is_some()).count()
}

/// Both halves of an expert that was split; of a fresh expert itself alone.
fn halves_of(edit: &Edit) -> Vec<(LayerId, ExpertId)> {
    let Edit::Grow { layer, new, init } = edit else { return Vec::new() };
    init.parent().into_iter().chain([*new]).map(|expert| (*layer, expert)).collect()
}

fn note(
    moment: &mut Moment<'_>,
    TestedExpert { layer, expert, utilization, loss, evidence, .. }: &TestedExpert,
) {
    let mut note =
        |name: &str, value: f64| moment.note(*layer, format!("expert {}: {name}", expert.0), value);
    note("utilization", *utilization);
    note("loss", *loss);
    let Some(SplitEvidence { rows, gain, standard_error, share, .. }) = evidence else { return };
    note("tokens tested", *rows as f64);
    note("gain", *gain);
    note("standard error", *standard_error);
    note("share", *share);
}
