//! Policies of the program that embeds moelt, by name.

use std::{collections::BTreeMap, fmt};

use moelt_schema::{EditsConfig, OwnConfig, PolicyState};

use crate::{Policy, PolicyError};

/// What a policy begins with, or goes on from.
#[derive(Clone, Debug)]
pub struct PolicyStart {
    /// Its name and parameters.
    pub config: OwnConfig,
    /// When experts may be edited, and within which limits. A plan beyond the limits ends the run.
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
        Ok(self.0.get(name).ok_or_else(missing)?(start))
    }
}

impl fmt::Debug for OwnPolicies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
