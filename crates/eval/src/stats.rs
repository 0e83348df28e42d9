//! Numbers of scores: means, paired differences, their calibrated distribution, and the tests beside it.

pub(crate) mod best_of;
pub(crate) mod bootstrap;
pub(crate) mod components;
pub(crate) mod contest;
pub(crate) mod estimate;
pub(crate) mod matrix;
pub(crate) mod mcnemar;
pub(crate) mod metrics;
pub(crate) mod paired;
pub(crate) mod power;
pub(crate) mod rank_correlation;
pub(crate) mod scores;
pub(crate) mod share;
pub(crate) mod skew;
pub(crate) mod sparse_matrix;
pub(crate) mod student;
pub(crate) mod summary;
