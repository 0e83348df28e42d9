//! Named, counter-based random streams.
//!
//! A random number depends on (seed, stream, index) alone, never on how many were drawn before:
//! resuming needs no hidden state, and arms of an ablation share every stream they do not vary.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// What a stream of random numbers is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Order of the training examples; index: epoch.
    DataOrder,
    /// Dropout masks; index: step.
    Dropout,
    /// Initial weights of everything but the experts; index: which parameter.
    InitShared,
    /// Initial weights of an expert and of its router row; index: see the model.
    InitExpert,
    /// Generated data; index: which split.
    Planted,
    /// Which examples are held out; index 0.
    Split,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Self::DataOrder => "data-order",
            Self::Dropout => "dropout",
            Self::InitShared => "init-shared",
            Self::InitExpert => "init-expert",
            Self::Planted => "planted",
            Self::Split => "split",
        }
    }
}

/// All random streams of one seed.
///
/// ```
/// use moelt_schema::{Stream, Streams};
/// use rand::Rng;
/// let streams = Streams::new(7);
/// let draw = |index| streams.rng(Stream::Dropout, index).next_u64();
/// assert_eq!(draw(3), draw(3));
/// assert_ne!(draw(3), draw(4));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streams {
    seed: u64,
}

impl Streams {
    /// The streams of `seed`.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The generator of `stream` at `index`, always from its beginning.
    pub fn rng(&self, stream: Stream, index: u64) -> ChaCha8Rng {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"moelt stream 1\0");
        hasher.update(stream.name().as_bytes());
        hasher.update(&self.seed.to_le_bytes());
        hasher.update(&index.to_le_bytes());
        ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn streams_indices_and_seeds_are_independent() {
        let first = |seed, stream, index| Streams::new(seed).rng(stream, index).next_u64();
        let reference = first(1, Stream::DataOrder, 0);
        assert_eq!(reference, first(1, Stream::DataOrder, 0));
        assert_ne!(reference, first(2, Stream::DataOrder, 0));
        assert_ne!(reference, first(1, Stream::Dropout, 0));
        assert_ne!(reference, first(1, Stream::DataOrder, 1));
    }
}
