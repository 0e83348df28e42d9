//! The experts stay.

use moelt_schema::{Evidence, Layout, PolicyState};

use crate::{Decision, Policy, StatsWindow};

/// Keeps the experts, whatever happens.
pub(super) struct Frozen {
    state: PolicyState,
}

impl Frozen {
    pub(super) fn new(state: PolicyState) -> Self {
        Self { state }
    }
}

impl Policy for Frozen {
    fn decide(&mut self, _: &StatsWindow<'_>, layout: &Layout) -> Decision {
        self.state.decisions += 1;
        let evidence = Evidence::default().with("n_experts", layout.n_experts() as f64);
        Decision::keep("the policy is frozen: the experts stay", evidence)
    }

    fn state(&self) -> PolicyState {
        self.state.clone()
    }
}

#[cfg(test)]
mod tests {
    use moelt_schema::{LayerKind, LayerSums};

    use super::*;
    use crate::Action;

    #[test]
    fn nothing_changes_and_says_so() {
        let layout = Layout::uniform(2, LayerKind::TopK { k: 1 }, 3);
        let sums = [LayerSums::zeros(3), LayerSums::zeros(3)];
        let mut frozen = Frozen::new(PolicyState::default());
        let decision = frozen.decide(
            &StatsWindow { step: 5, total_steps: 9, sums: &sums, loss: 1.0, ramping_in: &[] },
            &layout,
        );
        assert_eq!(decision.action, Action::Keep);
        assert_eq!(decision.evidence.numbers["n_experts"], 6.0);
        assert_eq!(frozen.state().decisions, 1);
    }
}
