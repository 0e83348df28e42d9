//! The decisions in a run's `events.jsonl`.

use moelt_schema::{DecisionKind, Digest, Evidence, MAX_STEPS};
use serde::{Deserialize, Serialize};

use crate::EvalError;

/// What every line has.
#[derive(Deserialize)]
struct Line {
    event: String,
}

/// What is read of a decision.
#[derive(Deserialize)]
struct Decision {
    step: u64,
    action: DecisionKind,
    evidence: Evidence,
}

/// What a decision rests on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decided {
    /// Optimizer steps done.
    pub step: u64,
    /// In numbers.
    pub evidence: Evidence,
}

impl Decided {
    /// Hash of all decisions of a run.
    pub fn digest(decisions: &[Self]) -> Digest {
        Digest::of_json(&decisions)
    }
}

/// What every decision to keep the experts or to edit them rests on, in order; one to look or to measure comes
/// before its evidence. Lines of other kinds, and fields that are not known here, are passed over. `name` is the
/// file's name for errors.
///
/// # Errors
/// At the first line that is no event, or a decision without step, action or evidence, or of a step beyond all.
///
/// ```
/// let log = r#"{"step":50,"event":"decision","action":"keep","reason":"","evidence":{"layers":[],"numbers":{"a":0.5}}}"#;
/// let decisions = moelt_eval::decisions_from_jsonl(log, "events.jsonl").unwrap();
/// assert_eq!((decisions[0].step, decisions[0].evidence.numbers["a"]), (50, 0.5));
/// ```
pub fn decisions_from_jsonl(text: &str, name: &str) -> Result<Vec<Decided>, EvalError> {
    let mut decisions = Vec::new();
    for (line, json) in (1..).zip(text.lines()) {
        let error = |cause: serde_json::Error| EvalError::Events {
            name: name.to_owned(),
            line,
            message: cause.to_string(),
        };
        if serde_json::from_str::<Line>(json).map_err(error)?.event != "decision" {
            continue;
        }
        let Decision { step, action, evidence } = serde_json::from_str(json).map_err(error)?;
        if step > MAX_STEPS {
            let message = format!("step: is {step}; must be at most {MAX_STEPS}");
            return Err(EvalError::Events { name: name.to_owned(), line, message });
        }
        match action {
            DecisionKind::Keep | DecisionKind::Apply => decisions.push(Decided { step, evidence }),
            DecisionKind::Look | DecisionKind::Measure => {}
        }
    }
    Ok(decisions)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: &str = r#"{"step":1,"event":"decision","action":"keep","reason":"r","evidence":{"layers":[],"numbers":{"a":1.5}},"wall":{},"new":0}"#;

    #[test]
    fn keep_and_apply_are_read_and_the_rest_is_passed_over() {
        let [apply, look, measure] = ["apply", "look", "measure"].map(|action| KEEP.replace("keep", action));
        let text =
            [r#"{"event":"start"}"#, KEEP, r#"{"event":"of a later version"}"#, &look, &measure, &apply];
        let decisions = decisions_from_jsonl(&text.join("\n"), "e").unwrap();
        let decided = Decided { step: 1, evidence: Evidence::default().with("a", 1.5) };
        assert_eq!(decisions, [decided.clone(), decided]);
        assert_eq!(decisions_from_jsonl("", "e").unwrap(), []);
    }

    #[test]
    fn a_malformed_line_is_named() {
        let without = KEEP.replace("evidence", "evidenced");
        let beyond = KEEP.replace("\"step\":1", "\"step\":18446744073709551615");
        for (line, what) in [
            ("{\"event\":\"deci", "EOF"),
            (without.as_str(), "evidence"),
            (beyond.as_str(), "step: is 18446744073709551615"),
            ("{}", "missing field `event`"),
        ] {
            let message = decisions_from_jsonl(&format!("{KEEP}\n{line}\n"), "run/events.jsonl")
                .unwrap_err()
                .to_string();
            assert!(message.starts_with("run/events.jsonl:2: ") && message.contains(what), "{message}");
        }
    }
}
