//! What a policy may ask to look at without training anything, and what is found.

use std::collections::BTreeMap;

use moelt_schema::{EliminationOrder, ExpertId, GrowthCriteria, LayerId};

use crate::{SplitEvidence, StepBiases};

/// What is to be looked at.
#[derive(Clone, Debug, PartialEq)]
pub enum Look {
    /// Which experts of each layer would be missed least, one after the other: see [`eliminate`] and [`eliminate_in_order`].
    Elimination {
        /// Layers.
        layers: Vec<LayerId>,
        /// Validation texts.
        texts: usize,
        /// Experts that stay.
        locked: Vec<(LayerId, ExpertId)>,
        /// Which goes next.
        order: EliminationOrder,
    },
    /// The split test on tokens of training texts that no step has seen in this order.
    Splits(TokensToTest),
    /// How often hidden units of these experts fire on the tokens that they get.
    Units {
        /// The experts.
        experts: Vec<(LayerId, ExpertId)>,
        /// Training texts.
        texts: usize,
    },
    /// The loss with something added to router biases, as a step would have it.
    Losses {
        /// What is added, once for each loss.
        biases: Vec<StepBiases>,
        /// Validation texts.
        texts: usize,
    },
    /// What gradients and the split test say about growing each layer, on training texts that no step has seen in this order.
    Criteria(TokensToTest),
}

/// On how many tokens experts are tested.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokensToTest {
    /// Training texts that are sent through the model.
    pub texts: usize,
    /// Tokens of all experts of a layer together: those that promise most come first.
    pub tokens: usize,
    /// Tokens of one expert, at most.
    pub tokens_per_expert: usize,
}

/// What was found, in the order of what was asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Findings {
    /// One per layer.
    Elimination(Vec<Elimination>),
    /// Every expert that was looked at.
    Splits(Vec<TestedExpert>),
    /// One per expert.
    Units(Vec<FiringUnits>),
    /// Mean validation loss with each of the biases, nats.
    Losses(Vec<f64>),
    /// Of each layer that has them.
    Criteria(Vec<(LayerId, GrowthCriteria)>),
}

/// Sets of experts of a layer, each with one expert less than the one before it.
#[derive(Clone, Debug, PartialEq)]
pub struct Elimination {
    /// The layer.
    pub layer: LayerId,
    /// First all experts.
    pub sets: Vec<Eliminated>,
    /// Where experts go by it: mean of router weight × output norm over the tokens that each got of the texts, as a fraction of the
    /// even share.
    pub saliency: BTreeMap<ExpertId, f64>,
}

/// A set of experts, and the loss with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Eliminated {
    /// Those that are left.
    pub experts: Vec<ExpertId>,
    /// Mean validation loss with every token sent to the best of them, nats.
    pub loss: f64,
}

/// An expert, and what the split test says of it.
#[derive(Clone, Debug, PartialEq)]
pub struct TestedExpert {
    /// The layer.
    pub layer: LayerId,
    /// The expert.
    pub expert: ExpertId,
    /// Its part of the layer's tokens.
    pub utilization: f64,
    /// Mean loss of the texts of its tokens, nats.
    pub loss: f64,
    /// What the test says; none where there were too few tokens, or others came first.
    pub evidence: Option<SplitEvidence>,
}

/// How often the hidden units of an expert fire.
#[derive(Clone, Debug, PartialEq)]
pub struct FiringUnits {
    /// The layer.
    pub layer: LayerId,
    /// The expert.
    pub expert: ExpertId,
    /// Part of its tokens for which each unit is above 0; none of an expert without tokens.
    pub share: Vec<f64>,
    /// Mean of its tokens, as it sees them: `[d_model]`.
    pub centre: Vec<f32>,
}

/// Greedy backward elimination: from all experts, always goes the one without which the loss is lowest, until one is left or all
/// that are left are locked. `loss` judges a set, given as a word for each expert whether it is there.
///
/// Up to sixteen experts all are judged anew each time: `n (n + 1) / 2` judgements. Of more, the cheapest is judged anew until one costs no
/// more than the next did when that was judged last: what an expert costs hardly falls while others go.
///
/// ```
/// use moelt_control::eliminate;
/// // Experts 0 and 2 each save a nat; expert 1 does nothing.
/// let loss = |there: &[bool]| 2.0 - f64::from(u8::from(there[0])) - f64::from(u8::from(there[2]));
/// let sets = eliminate(&[false; 3], loss);
/// assert_eq!(sets[0], (vec![true; 3], 0.0));
/// assert_eq!(sets[1], (vec![true, false, true], 0.0));
/// assert_eq!((sets.len(), sets[2].1), (3, 1.0));
/// ```
pub fn eliminate(locked: &[bool], mut loss: impl FnMut(&[bool]) -> f64) -> Vec<(Vec<bool>, f64)> {
    /// So many experts are judged anew whenever one has gone.
    const FEW: usize = 16;
    let mut there = vec![true; locked.len()];
    let mut sets = vec![(there.clone(), loss(&there))];
    let mut may_go: Vec<usize> = (0..locked.len()).filter(|expert| !locked[*expert]).collect();
    let mut open: Vec<Without> = Vec::new();
    while sets.len() < locked.len() {
        let now = sets[sets.len() - 1].1;
        let judge = |expert| {
            there[expert] = false;
            let without = or_worst(loss(&there));
            there[expert] = true;
            Without { expert, loss: without, cost: or_worst(without - now) }
        };
        let left = locked.len() + 1 - sets.len();
        if sets.len() == 1 || left <= FEW {
            open = may_go.iter().copied().map(judge).collect();
            open.sort_by(|one, other| one.loss.total_cmp(&other.loss));
        } else {
            bring_cheapest_forward(&mut open, judge);
        }
        if open.is_empty() {
            break;
        }
        let gone = open.remove(0);
        may_go.retain(|expert| *expert != gone.expert);
        there[gone.expert] = false;
        sets.push((there.clone(), gone.loss));
    }
    sets
}

/// A set without one more expert.
struct Without {
    expert: usize,
    loss: f64,
    /// What it cost to do without it when that was judged.
    cost: f64,
}

/// Judges the first anew until it is no dearer than the next; `open` is in order of cost.
fn bring_cheapest_forward(open: &mut Vec<Without>, mut judge: impl FnMut(usize) -> Without) {
    while !open.is_empty() {
        let first = judge(open.remove(0).expert);
        let place = open.partition_point(|other| other.cost < first.cost);
        open.insert(place, first);
        if place == 0 {
            return;
        }
    }
}

/// A loss that is no number is the worst.
fn or_worst(loss: f64) -> f64 {
    if loss.is_finite() { loss } else { f64::INFINITY }
}

/// Backward elimination in a given order: from all experts, one after the other goes, until one is left or all that are left are
/// locked. It takes `n` judgements for `n` experts.
///
/// ```
/// use moelt_control::eliminate_in_order;
/// let loss = |there: &[bool]| there.iter().filter(|there| !**there).count() as f64;
/// let sets = eliminate_in_order(&[2, 0, 1], &[false; 3], loss);
/// assert_eq!(sets, [(vec![true; 3], 0.0), (vec![true, true, false], 1.0), (vec![false, true, false], 2.0)]);
/// ```
pub fn eliminate_in_order(
    order: &[usize],
    locked: &[bool],
    mut loss: impl FnMut(&[bool]) -> f64,
) -> Vec<(Vec<bool>, f64)> {
    let mut there = vec![true; locked.len()];
    let mut sets = vec![(there.clone(), loss(&there))];
    let mut goes = order.iter().copied().filter(|expert| !locked[*expert]);
    while sets.len() < locked.len() {
        let Some(expert) = goes.next() else { break };
        there[expert] = false;
        sets.push((there.clone(), or_worst(loss(&there))));
    }
    sets
}

/// In which order experts are tested, given as tokens and mean loss: those first whose loss above the lowest, times their tokens, is
/// largest. Experts with fewer than `least` tokens are not tested.
///
/// ```
/// # use moelt_control::promising;
/// assert_eq!(promising(&[(500, 0.2), (400, 0.6), (20, 2.0), (900, 0.3)], 100), [1, 3, 0]);
/// ```
pub fn promising(experts: &[(usize, f64)], least: usize) -> Vec<usize> {
    /// Experts at the lowest loss may hide two truths as well: a part of it counts.
    const OF_LOWEST: f64 = 0.7;
    let tested = || experts.iter().enumerate().filter(|(_, (tokens, _))| *tokens >= least);
    let lowest = tested().map(|(_, (_, loss))| *loss).fold(f64::INFINITY, f64::min);
    let promise = |at: &usize| experts[*at].0 as f64 * (experts[*at].1 - OF_LOWEST * lowest);
    let mut order: Vec<usize> = tested().map(|(at, _)| at).collect();
    order.sort_by(|one, other| promise(other).total_cmp(&promise(one)));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_locked_stays() {
        let sets =
            eliminate(&[true, false, true], |there| there.iter().filter(|there| !**there).count() as f64);
        assert_eq!(sets.last().unwrap().0, [true, false, true]);
        assert_eq!(eliminate(&[true], |_| 0.5), [(vec![true], 0.5)]);
    }

    #[test]
    fn in_a_given_order_what_is_locked_is_passed_over() {
        let sets = eliminate_in_order(&[1, 0, 2], &[false, true, false], |_| f64::NAN);
        let there: Vec<Vec<bool>> = sets.iter().map(|(there, _)| there.clone()).collect();
        assert_eq!(there, [vec![true; 3], vec![false, true, true], vec![false, true, false]]);
        assert_eq!(sets[1].1, f64::INFINITY, "a loss that is no number is the worst");
    }

    /// Experts 2 e and 2 e + 1 are twins: each is free as long as the other is there, and the last of a pair costs e + 1.
    #[test]
    fn of_many_experts_no_twin_follows_the_other() {
        let judged = std::cell::Cell::new(0);
        let loss = |there: &[bool]| {
            judged.set(judged.get() + 1);
            let lost = there.chunks(2).enumerate().filter(|(_, twins)| !twins[0] && !twins[1]);
            lost.map(|(pair, _)| pair as f64 + 1.0).sum()
        };
        let sets = eliminate(&[false; 40], loss);
        assert!(sets.iter().take(21).all(|(_, loss)| *loss == 0.0), "one of each pair goes for nothing");
        assert_eq!(
            sets.iter().skip(21).take(3).map(|(_, loss)| *loss).collect::<Vec<f64>>(),
            [1.0, 3.0, 6.0]
        );
        assert_eq!(sets.len(), 40);
        assert!(judged.get() < 300, "{} of 820", judged.get());
    }

    /// Without 0 the loss is lowest; then 2 goes, because 1 and 2 do the same and 1 does it better.
    #[test]
    fn hand_worked_order() {
        let loss = |there: &[bool]| match there {
            [true, true, true] => 0.30,
            [false, true, true] => 0.31,
            [false, true, false] => 0.32,
            _ => 0.90,
        };
        let left: Vec<usize> = eliminate(&[false; 3], loss)
            .iter()
            .map(|(there, _)| there.iter().filter(|t| **t).count())
            .collect();
        assert_eq!(left, [3, 2, 1]);
        assert_eq!(eliminate(&[false; 3], loss)[2], (vec![false, true, false], 0.32));
    }
}
