//! Moves turned into edits: the candidates of look-ahead and of the heads.

use moelt_schema::{Edit, ExpertId, ExpertInit, LayerId, Layout, Limits, Move, NewExpertConfig, Saliency};

use crate::{
    edits::{NewIds, allows},
    layer_view::LayerView,
    saliency::Saliencies,
};

/// A move of one layer, written down.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) layer: LayerId,
    pub(crate) kind: Move,
    pub(crate) edits: Vec<Edit>,
}

/// Writes moves down as edits, within the limits of a layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Proposer {
    pub(crate) limits: Limits,
    /// By what the experts that go are chosen; none that has to be measured.
    pub(crate) saliency: Saliency,
    pub(crate) new_expert: NewExpertConfig,
}

impl Proposer {
    /// Those of `moves` that the limits allow in a layer, each numbered as if it were the only one. Of two that come
    /// to the same edits the first stays: a layer of two that halves prunes.
    pub(crate) fn candidates(
        &self,
        moves: &[Move],
        layer: &LayerView<'_>,
        layout: &Layout,
    ) -> Vec<Candidate> {
        let mut candidates: Vec<Candidate> = Vec::new();
        for kind in moves {
            let edits = self.edits(*kind, layer, &mut NewIds::of(layout));
            if !edits.is_empty() && candidates.iter().all(|other| other.edits != edits) {
                candidates.push(Candidate { layer: layer.id, kind: *kind, edits });
            }
        }
        candidates
    }

    /// The edits of a move; none when the limits, or experts still ramping in, leave nothing to do.
    pub(crate) fn edits(&self, kind: Move, layer: &LayerView<'_>, new_ids: &mut NewIds) -> Vec<Edit> {
        let edits: Vec<Edit> = match kind {
            Move::Grow => self.grow(layer, vec![layer.busiest()], new_ids),
            Move::Double => self.grow(layer, busiest_first(layer), new_ids),
            Move::Prune => self.prune(layer, 1),
            Move::Halve => self.prune(layer, layer.n() / 2),
        };
        let n = match kind {
            Move::Grow | Move::Double => layer.n() + edits.len(),
            Move::Prune | Move::Halve => layer.n() - edits.len(),
        };
        if allows(&self.limits, n) { edits } else { Vec::new() }
    }

    fn grow(&self, layer: &LayerView<'_>, parents: Vec<ExpertId>, new_ids: &mut NewIds) -> Vec<Edit> {
        let room = self.limits.max.saturating_sub(layer.n());
        let grow =
            |parent| Edit::Grow { layer: layer.id, new: new_ids.take(), init: init(self.new_expert, parent) };
        parents.into_iter().take(room).map(grow).collect()
    }

    /// The `n` least salient experts go, or as many as the limits allow.
    fn prune(&self, layer: &LayerView<'_>, n: usize) -> Vec<Edit> {
        let spare = layer.n().saturating_sub(self.limits.min.max(1));
        let saliencies = Saliencies::new(self.saliency, layer, &[]);
        let weakest = saliencies.weakest_first().into_iter().take(n.min(spare));
        weakest.map(|(expert, _)| Edit::Prune { layer: layer.id, expert }).collect()
    }
}

/// How a new expert begins that takes after `parent`, where it takes after one.
pub(crate) fn init(new_expert: NewExpertConfig, parent: ExpertId) -> ExpertInit {
    match new_expert {
        NewExpertConfig::Fresh {} => ExpertInit::Fresh,
        NewExpertConfig::Copy { noise } => ExpertInit::Copy { parent, noise },
        NewExpertConfig::Split {} => ExpertInit::Split { parent },
    }
}

/// The experts with the most tokens first, without those that are still ramping in.
fn busiest_first(layer: &LayerView<'_>) -> Vec<ExpertId> {
    let by_tokens = layer.layout.experts.iter().copied().zip(&layer.sums.tokens_per_expert);
    let mut by_tokens: Vec<_> = by_tokens.filter(|(expert, _)| !layer.is_ramping_in(*expert)).collect();
    by_tokens.sort_by(|one, other| other.1.total_cmp(one.1));
    by_tokens.into_iter().map(|(expert, _)| expert).collect()
}

#[cfg(test)]
mod tests {
    use moelt_schema::{LayerKind, LayerSums};

    use super::*;
    use crate::StatsWindow;

    /// The candidates of one layer with these tokens per expert, as kinds with the experts they name.
    fn of(proposer: &Proposer, tokens: &[f64], ramping_in: &[u64]) -> Vec<(Move, Vec<u64>)> {
        let layout = Layout::uniform(1, LayerKind::TopK { k: 1 }, tokens.len());
        let routed = tokens.iter().sum();
        let sums =
            LayerSums { tokens: routed, tokens_per_expert: tokens.into(), ..LayerSums::zeros(tokens.len()) };
        let ramping_in: Vec<_> = ramping_in.iter().map(|id| (LayerId(0), ExpertId(*id))).collect();
        let window =
            StatsWindow { step: 1, total_steps: 2, sums: &[sums], loss: 1.0, ramping_in: &ramping_in };
        let layer = &LayerView::all(&window, &layout)[0];
        let id = |edit: &Edit| match edit {
            Edit::Grow { init, .. } => init.parent().unwrap().0,
            Edit::Prune { expert, .. } => expert.0,
            _ => panic!("{edit:?}"),
        };
        let candidates = proposer.candidates(&Move::ALL, layer, &layout).into_iter();
        candidates.map(|candidate| (candidate.kind, candidate.edits.iter().map(id).collect())).collect()
    }

    fn config(min: usize, max: usize) -> Proposer {
        let new_expert = NewExpertConfig::Split {};
        Proposer { limits: Limits { min, max }, saliency: Saliency::Utilization, new_expert }
    }

    #[test]
    fn parents_are_the_busiest_and_the_least_salient_go() {
        let tokens = [3.0, 9.0, 1.0, 5.0, 2.0];
        let all = [
            (Move::Grow, vec![1]),
            (Move::Double, vec![1, 3, 0, 4, 2]),
            (Move::Prune, vec![2]),
            (Move::Halve, vec![2, 4]),
        ];
        assert_eq!(of(&config(1, 16), &tokens, &[]), all);
        let tight = [(Move::Grow, vec![1]), (Move::Double, vec![1, 3]), (Move::Prune, vec![2])];
        assert_eq!(of(&config(4, 7), &tokens, &[]), tight);
        assert_eq!(of(&config(5, 5), &tokens, &[]), []);
    }

    #[test]
    fn the_same_edits_are_one_candidate() {
        assert_eq!(of(&config(1, 16), &[3.0], &[]), [(Move::Grow, vec![0])]);
        let of_two = of(&config(1, 16), &[3.0, 2.0], &[]);
        assert_eq!(of_two, [(Move::Grow, vec![0]), (Move::Double, vec![0, 1]), (Move::Prune, vec![1])]);
    }

    #[test]
    fn experts_that_are_being_let_in_stay() {
        let halve = of(&config(1, 4), &[3.0, 9.0, 0.0, 0.0], &[2, 3]);
        assert_eq!(halve, [(Move::Prune, vec![0]), (Move::Halve, vec![0, 1])]);
    }

    #[test]
    fn new_experts_have_ids_of_their_own() {
        let layout = Layout::uniform(1, LayerKind::TopK { k: 1 }, 2);
        let sums = LayerSums { tokens: 3.0, tokens_per_expert: vec![1.0, 2.0], ..LayerSums::zeros(2) };
        let window = StatsWindow { step: 1, total_steps: 2, sums: &[sums], loss: 1.0, ramping_in: &[] };
        let layer = &LayerView::all(&window, &layout)[0];
        let grow = |id| Edit::Grow { layer: LayerId(0), new: ExpertId(id), init: ExpertInit::Fresh };
        let proposer = Proposer { new_expert: NewExpertConfig::Fresh {}, ..config(1, 16) };
        let candidates = proposer.candidates(&Move::ALL, layer, &layout);
        assert_eq!(
            (&candidates[0].edits[..], &candidates[1].edits[..]),
            (&[grow(2)][..], &[grow(2), grow(3)][..])
        );
    }
}
