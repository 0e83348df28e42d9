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
                check_experts(config, splits)?;
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

/// Every domain needs an expert of its own: from the start or, where experts come with the domains of a stream, in time.
fn check_experts(config: &RunConfig, splits: &Splits) -> Result<(), DataError> {
    let (n_experts, n_domains) = (config.model.routing.n_experts(), splits.domains.len());
    let key = "model.routing.assigned.n_experts";
    let wrong = |key: &str, message: String| Err(ConfigFault::new(key, message).into());
    if config.control.policy.is_frozen() {
        let message =
            format!("is {n_experts}, but the texts are of {n_domains} domains; each needs an expert");
        return if n_experts < n_domains { wrong(key, message) } else { Ok(()) };
    }
    let of_stream = splits.drift.as_ref().is_some_and(|drift| !drift.has_texts_of_times());
    if !of_stream || n_experts != 1 {
        let message = "grow with the domains of a stream (data.csv.stream) from 1 expert on";
        return wrong(key, format!("is {n_experts}; experts that come with domains {message}"));
    }
    let most = config.control.edits.max_experts;
    if most < n_domains {
        return wrong("control.edits.max_experts", format!("is {most}, but {n_domains} domains arrive"));
    }
    Ok(())
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
