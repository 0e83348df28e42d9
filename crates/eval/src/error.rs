//! What can be wrong with predictions, results and baselines.

use moelt_schema::ReplayError;

/// Input that cannot be evaluated.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// A file of predictions that moelt did not write like this.
    #[error("{name}:{line}: {message}")]
    Predictions {
        /// The file.
        name: String,
        /// The line, from 1.
        line: u64,
        /// What is wrong there.
        message: String,
    },
    /// An event log that moelt did not write like this.
    #[error("{name}:{line}: {message}")]
    Events {
        /// The file.
        name: String,
        /// The line, from 1.
        line: u64,
        /// What is wrong there.
        message: String,
    },
    /// Cells of one ablation that saw different data: their numbers must not stand in one table.
    #[error(
        "cells {first} and {other} were not run on the same data (other digest, split sizes or Bayes \
         accuracy): has a file changed since? Remove the folder of the stale one and run it again"
    )]
    MixedData {
        /// A cell.
        first: String,
        /// Another one.
        other: String,
    },
    /// A result whose edits cannot have happened.
    #[error("cell {cell}: {cause}. Remove its folder and run it again")]
    Edits {
        /// The cell.
        cell: String,
        /// Which edit, and why.
        cause: ReplayError,
    },
    /// Scores of one seed that do not fit those of the others.
    #[error("seed {seed}: {message}")]
    Scores {
        /// The seed.
        seed: u64,
        /// What is wrong with its scores.
        message: String,
    },
    /// Two arms that cannot be compared seed by seed and example by example.
    #[error("the arms cannot be paired: {message}")]
    Unpaired {
        /// What does not fit.
        message: String,
    },
    /// An arm of which a comparison asks for something that its cells do not have.
    #[error("{arm} {reason}")]
    NoValue {
        /// The arm.
        arm: String,
        /// Why it has none.
        reason: &'static str,
    },
    /// A comparison that was declared so that it cannot be judged.
    #[error("comparison {name}: {message}")]
    Declared {
        /// The comparison.
        name: String,
        /// What is wrong with it.
        message: String,
    },
    /// The spread over examples needs two of them.
    #[error("{n} example(s); a comparison needs at least 2")]
    TooFewExamples {
        /// How many there are.
        n: usize,
    },
    /// An interval needs a standard deviation, and that needs two seeds.
    #[error("{what} has {n} seed(s); a comparison needs at least 2")]
    TooFewSeeds {
        /// Which side of the comparison.
        what: &'static str,
        /// How many it has.
        n: usize,
    },
}
