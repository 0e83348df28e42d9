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
    /// An interval needs a standard deviation, and that needs two seeds.
    #[error("{what} has {n} seed(s); a comparison needs at least 2")]
    TooFewSeeds {
        /// Which side of the comparison.
        what: &'static str,
        /// How many it has.
        n: usize,
    },
}
