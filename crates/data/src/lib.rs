//! From raw text to padded batches: readers, splits, vocabulary, the planted generator.
