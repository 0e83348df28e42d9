//! Which groups a text may belong to, where experts are assigned by groups and no router learns the way.

use moelt_data::{DataError, Example, Splits, TextGroups};
use moelt_schema::{AssignedBy, ConfigFault, RunConfig};

/// How texts get their groups.
#[derive(Clone, Debug, PartialEq)]
pub struct Grouping {
    by: AssignedBy,
    groups: TextGroups,
}

impl Grouping {
    /// Learnt of training texts; none where a router learns the way.
    ///
    /// # Errors
    /// When experts are assigned by domains and a text has none.
    pub(crate) fn learn(config: &RunConfig, splits: &Splits) -> Result<Option<Self>, DataError> {
        let Some(by) = config.model.routing.assigned_by() else { return Ok(None) };
        let texts: Vec<&str> = splits.train.iter().map(|example| example.text.as_str()).collect();
        let groups = match by {
            AssignedBy::Clusters => {
                TextGroups::clustered(&texts, config.model.routing.n_experts(), config.seed)
            }
            AssignedBy::Domain | AssignedBy::GuessedDomain => {
                TextGroups::named(&texts, &domains(splits)?, splits.domains.len())
            }
        };
        Ok(Some(Self { by, groups }))
    }

    /// What a checkpoint keeps of it.
    pub(crate) fn new(by: AssignedBy, groups: TextGroups) -> Self {
        Self { by, groups }
    }

    /// The same, as JSON.
    pub(crate) fn to_json(&self) -> String {
        self.groups.to_json()
    }

    /// The groups of a training text, the likeliest first.
    pub(crate) fn of_training(&self, example: &Example) -> Vec<u32> {
        match (self.by, example.domain) {
            (AssignedBy::Domain | AssignedBy::GuessedDomain, Some(domain)) => vec![domain],
            _ => self.groups.ranked(&example.text),
        }
    }

    /// The groups of a text that was not trained on, the likeliest first: its domain where that may be known.
    pub(crate) fn of_new(&self, text: &str, domain: Option<u32>) -> Vec<u32> {
        match (self.by, domain) {
            (AssignedBy::Domain, Some(domain)) => vec![domain],
            _ => self.groups.ranked(text),
        }
    }
}

/// The domain of every training text.
fn domains(splits: &Splits) -> Result<Vec<u32>, DataError> {
    let domains: Option<Vec<u32>> = splits.train.iter().map(|example| example.domain).collect();
    domains.ok_or_else(|| {
        let message = "assigns experts by domains, but the texts have none; name their column in data.csv.domain_column, or \
                       assign by \"clusters\"";
        ConfigFault::new("model.routing.assigned.by", message).into()
    })
}
