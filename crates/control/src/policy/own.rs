//! Policies of the program that embeds moelt, by name.

use std::{collections::BTreeMap, fmt};

use moelt_schema::{EditsConfig, Evidence, Layout, OwnConfig, PolicyState};

use crate::{Decision, MeasuredEffect, Policy, PolicyError, StatsWindow, timing::Timing};

/// What a policy begins with, or goes on from.
#[derive(Clone, Debug)]
pub struct PolicyStart {
    /// Its name and parameters.
    pub config: OwnConfig,
    /// When experts may be edited: at other times the policy is not asked. And within which limits: a plan beyond them
    /// ends the run.
    pub edits: EditsConfig,
    /// The run's seed.
    pub seed: u64,
    /// Optimizer steps that the run takes unless it stops early.
    pub total_steps: u64,
    /// What the policy remembered when the checkpoint was written; the default at the start.
    pub state: PolicyState,
}

type Make = dyn Fn(&PolicyStart) -> Box<dyn Policy> + Send + Sync;

/// Policies of the program that embeds moelt, by the name that `control.policy.own.name` holds.
#[derive(Default)]
pub struct OwnPolicies(BTreeMap<String, Box<Make>>);

impl OwnPolicies {
    /// The same and one more.
    #[must_use]
    pub fn with<P: Policy + 'static>(
        mut self,
        name: impl Into<String>,
        make: impl Fn(&PolicyStart) -> P + Send + Sync + 'static,
    ) -> Self {
        self.0.insert(name.into(), Box::new(move |start| Box::new(make(start))));
        self
    }

    /// # Errors
    /// When there is none of this name.
    pub(super) fn make(&self, start: &PolicyStart) -> Result<Box<dyn Policy>, PolicyError> {
        let name = &start.config.name;
        let missing = || PolicyError::NotOwn { name: name.clone(), known: self.0.keys().cloned().collect() };
        let policy = self.0.get(name).ok_or_else(missing)?(start);
        Ok(Box::new(Timed { policy, timing: Timing::new(&start.edits, start.total_steps) }))
    }
}

/// A policy that is asked when edits are allowed, as every policy of moelt's is.
struct Timed {
    policy: Box<dyn Policy>,
    timing: Timing,
}

impl Policy for Timed {
    fn decide(&mut self, window: &StatsWindow<'_>, layout: &Layout) -> Decision {
        match self.timing.closed(window.step) {
            Some(reason) => Decision::keep(reason, Evidence::default()),
            None => self.policy.decide(window, layout),
        }
    }

    fn observe(&mut self, window: &StatsWindow<'_>, layout: &Layout, effects: &[MeasuredEffect]) -> Decision {
        self.policy.observe(window, layout, effects)
    }

    fn learn(&mut self, window: &StatsWindow<'_>, layout: &Layout) {
        self.policy.learn(window, layout);
    }

    fn state(&self) -> PolicyState {
        self.policy.state()
    }
}

impl fmt::Debug for OwnPolicies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use moelt_schema::LayerKind;

    use super::*;

    struct Always;

    impl Policy for Always {
        fn decide(&mut self, _: &StatsWindow<'_>, _: &Layout) -> Decision {
            Decision::keep("asked", Evidence::default())
        }
    }

    #[test]
    fn a_policy_of_ones_own_is_asked_when_edits_are_allowed() {
        let edits = EditsConfig { warmup: 0.1, until: 0.5, ..EditsConfig::default() };
        let (config, state) = (OwnConfig::new("always"), PolicyState::default());
        let start = PolicyStart { config, edits, seed: 0, total_steps: 1000, state };
        let mut policy = OwnPolicies::default().with("always", |_| Always).make(&start).unwrap();
        let layout = Layout::uniform(1, LayerKind::TopK { k: 1 }, 2);
        let mut said = |step| {
            let window = StatsWindow { step, total_steps: 1000, sums: &[], loss: 0.0, ramping_in: &[] };
            policy.decide(&window, &layout).reason
        };
        assert_eq!(
            [100, 101, 500, 501].map(&mut said),
            ["warm-up until step 100", "asked", "asked", "no edits after step 500"]
        );
    }
}
