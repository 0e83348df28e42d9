//! What every split consists of.

use serde::Serialize;

/// A text and its class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Example {
    /// The text, as it came.
    pub text: String,
    /// Index into [`Splits::classes`](crate::Splits::classes).
    pub label: u32,
    /// Where the text comes from, when the data set knows it.
    pub domain: Option<u32>,
    /// At which evaluation time the model is asked about it, from 1 to [`Drift::times`](moelt_schema::Drift::times); only in the
    /// validation and test splits of a data set that drifts.
    #[serde(skip_serializing_if = "Option::is_none")] // The hash of data that does not drift is as ever.
    pub time: Option<u32>,
}

impl Example {
    /// A text of a class, by its index into [`Splits::classes`](crate::Splits::classes).
    pub fn new(text: impl Into<String>, label: u32) -> Self {
        Self { text: text.into(), label, domain: None, time: None }
    }
}
