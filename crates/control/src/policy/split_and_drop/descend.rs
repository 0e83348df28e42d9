//! Smaller sets of experts race against the one that is there, and the smallest that is about as good goes on.

use moelt_schema::{DescentConfig, Edit, EliminationOrder, ExpertId, LayerId, Stage};

use super::{Moment, SplitAndDrop, drop::pruned};
use crate::{Decision, Eliminated, Elimination, Look, MeasuredEffect, Race, StopRule, Trial};

/// Half-way those stop that are further behind than about this many times the bound.
const HOPELESS: f64 = 10.0;
/// No further descent begins that would end after this fraction of training.
const END: f64 = 0.7;

impl SplitAndDrop {
    /// The next layer from `from` on that has experts to spare is ordered before step `at`; without one it is done.
    pub(super) fn descend_from(&mut self, moment: &Moment<'_>, from: LayerId, at: u64) {
        let least = self.edits.limits().min.max(1);
        let next = moment.layers.iter().find(|layer| layer.id >= from && layer.n() > least);
        let next = next.filter(|_| at < self.steps(END)).map(|layer| (at, Stage::Order { layer: layer.id }));
        self.memory_mut().done = next.is_none();
        self.memory_mut().next = next;
    }

    pub(super) fn look_for_sets(&mut self, moment: Moment<'_>, layer: LayerId) -> Decision {
        if moment.layer(layer).is_none_or(|layer| layer.n() == 1) {
            self.descend_from(&moment, LayerId(layer.0 + 1), moment.step + 1);
            return Decision::keep(format!("layer {} has no expert to spare", layer.0), moment.evidence);
        }
        let (layers, texts) = (vec![layer], self.config.texts);
        let look = Look::Elimination { layers, texts, locked: Vec::new(), order: EliminationOrder::Loss };
        Decision::look(look, "looks for smaller sets of experts", moment.evidence)
    }

    /// Sets of the sizes that race: two thirds and a half of the experts, and one or a quarter where that is far less.
    pub(super) fn choose_sets(
        &mut self,
        mut moment: Moment<'_>,
        layer: LayerId,
        found: &[Elimination],
    ) -> Decision {
        let sets: &[Eliminated] = found.first().map_or(&[], |found| &found.sets);
        let n = sets.first().map_or(0, |all| all.experts.len());
        let sizes = sizes(n, self.edits.limits().min);
        let racing: Vec<&Eliminated> =
            sets.iter().rev().filter(|set| sizes.contains(&set.experts.len())).collect();
        let Some(all) = sets.first().filter(|all| all.loss.is_finite()) else {
            self.descend_from(&moment, LayerId(layer.0 + 1), moment.step + 1);
            return Decision::keep(format!("layer {} cannot be judged", layer.0), moment.evidence);
        };
        self.remember_loss(all.loss);
        for set in &racing {
            moment.note(layer, format!("loss of {}", set.experts.len()), set.loss);
        }
        if racing.is_empty() {
            self.descend_from(&moment, LayerId(layer.0 + 1), moment.step + 1);
            return Decision::keep(format!("layer {} has no smaller set", layer.0), moment.evidence);
        }
        let sets = racing.iter().map(|set| set.experts.clone()).collect();
        let loss = all.loss;
        self.then(moment.step, Stage::Race { layer, sets, loss });
        Decision::keep(format!("sets of {} race next", words(&racing)), moment.evidence)
    }

    pub(super) fn race(&mut self, moment: Moment<'_>, layer: LayerId, sets: &[Vec<ExpertId>]) -> Decision {
        let Some(DescentConfig { horizon, loss, .. }) = self.config.descends().cloned() else {
            return Decision::keep("there is no descent", moment.evidence);
        };
        let steps = self.steps(horizon).max(2);
        let stop = StopRule::Clear { expert_cost: 0.0, confidence: 1.0, training_luck: HOPELESS * loss };
        let race = Race { every: steps.div_ceil(2), stop };
        let candidates = self.candidates(&moment, layer, sets);
        let trial =
            Trial { race: Some(race), averaged_over: steps.div_ceil(4), ..Trial::new(candidates, steps) };
        Decision::measure(trial, "races smaller sets against the one that is there", moment.evidence)
    }

    fn candidates(&self, moment: &Moment<'_>, layer: LayerId, sets: &[Vec<ExpertId>]) -> Vec<Vec<Edit>> {
        let all = moment.layer(layer).map_or(&[][..], |view| &view.layout.experts);
        sets.iter().map(|left| pruned(layer, all, left)).collect()
    }

    /// The smallest set that is about as good as the best goes on, and fewer still are tried later.
    pub(super) fn finish_race(
        &mut self,
        mut moment: Moment<'_>,
        layer: LayerId,
        sets: &[Vec<ExpertId>],
        loss_of_all: f64,
        effects: &[MeasuredEffect],
    ) -> Decision {
        let Some(descent) = self.config.descends().cloned() else {
            return Decision::keep("there is no descent", moment.evidence);
        };
        let excesses = excesses(effects);
        for (set, excess) in sets.iter().zip(&excesses) {
            moment.note(layer, format!("excess of {}", set.len()), *excess);
        }
        let settled =
            self.memory().lowest_loss.map_or(f64::INFINITY, |lowest| lowest + descent.settled * descent.loss);
        let left = descent.loss - self.memory().descended;
        let passes =
            |at: &usize| excesses[*at] <= left && loss_of_all + effects[*at].loss_increase() <= settled;
        let smallest = (0..excesses.len()).find(passes);
        let Some(smallest) = smallest else {
            self.descend_from(&moment, LayerId(layer.0 + 1), moment.step + 1);
            return moment.apply(Vec::new(), "no smaller set is as good");
        };
        self.memory_mut().descended += excesses[smallest];
        let edits = self.candidates(&moment, layer, sets).swap_remove(smallest);
        let (n, horizon) = (sets[smallest].len(), self.steps(descent.horizon).max(1));
        let tries_again = n > self.edits.limits().min.max(1) && moment.step + 2 * horizon < self.steps(END);
        if tries_again {
            self.memory_mut().next = Some((moment.step + horizon, Stage::Order { layer }));
        } else {
            self.descend_from(&moment, LayerId(layer.0 + 1), moment.step + 1);
        }
        moment.apply(edits, &format!("{n} experts are as good"))
    }
}

/// How far each set is behind the best of a race, nats.
fn excesses(effects: &[MeasuredEffect]) -> Vec<f64> {
    let increases = || effects.iter().map(MeasuredEffect::loss_increase);
    let lowest = increases().filter(|nats| nats.is_finite()).fold(0.0, f64::min);
    increases().map(|nats| nats - lowest).collect()
}

/// Sizes that race against `n` experts.
pub(super) fn sizes(n: usize, least: usize) -> Vec<usize> {
    let quarter = if n > 11 { n / 4 } else { 0 };
    let one = usize::from(n <= 4);
    let sizes = [2 * n / 3, n / 2, quarter, one].into_iter();
    let mut sizes: Vec<usize> = sizes.filter(|size| (least.max(1)..n).contains(size)).collect();
    sizes.dedup();
    sizes
}

fn words(sets: &[&Eliminated]) -> String {
    let sizes: Vec<String> = sets.iter().map(|set| set.experts.len().to_string()).collect();
    sizes.join(" and ")
}
