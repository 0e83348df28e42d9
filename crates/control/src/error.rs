//! Why a policy cannot be made.

/// A policy that cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A placebo without edits to follow.
    #[error("{policy} follows the edits of another run, and none were given; set its edits_of")]
    NoScript {
        /// The policy as a config names it.
        policy: &'static str,
    },
    /// A policy of the program that embeds moelt, which this program does not have.
    #[error("this program has no policy `{name}`: {}", those_there(known))]
    NotOwn {
        /// What a config calls it.
        name: String,
        /// Those there are.
        known: Vec<String>,
    },
    /// A head whose remembered networks or records are of another size.
    #[error(
        "the state holds another head than control.policy describes; resume with the config and the version of moelt \
         that wrote the checkpoint"
    )]
    OtherHead,
    /// A placebo whose run has no decision left for some plan of its script.
    #[error(
        "{policy} follows {plans} plans, the last at decision {last}; this run has {decisions} decisions. Give it \
         as many steps as the run it follows, and the same control.edits.every"
    )]
    ScriptTooLong {
        /// The policy as a config names it.
        policy: &'static str,
        /// Plans of the script.
        plans: usize,
        /// The decision at which the last of them would come.
        last: u64,
        /// Decisions of the run.
        decisions: u64,
    },
}

fn those_there(names: &[String]) -> String {
    match names {
        [] => "it has no policies of its own; run it with the program that has it".to_owned(),
        names => format!("it has {}", names.join(", ")),
    }
}
