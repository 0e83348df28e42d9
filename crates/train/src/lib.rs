//! The training loop, strict checkpoints, bit-exact resume and the run folder.
