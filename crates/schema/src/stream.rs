//! Named, counter-based random streams.
//!
//! A random number depends on (seed, stream, index) alone, never on how many were drawn before:
//! resuming needs no hidden state, and arms of an ablation share every stream they do not vary.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Uniform};

use crate::{ExpertId, LayerId};

/// What a stream of random numbers is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Order of the training examples; index: epoch.
    DataOrder,
    /// Dropout masks; index: step.
    Dropout,
    /// Initial weights of everything but the experts; index: which parameter.
    InitShared,
    /// Initial weights of an expert and of its router row; index: see [`Streams::expert`].
    InitExpert,
    /// Noise on copied experts and hidden units drawn anew; index: see [`Streams::expert`].
    Surgery,
    /// What a policy leaves to chance; index: which draw.
    Policy,
    /// What a policy adds to router biases for one step; index: the step.
    StepBiases,
    /// Random hidden units that an expressivity gap is measured with; index: the layer.
    RandomUnits,
    /// Initial weights of the control head; index: which of its networks.
    Head,
    /// How often each network of the head sees a measured effect; index: which record of this run, or which other
    /// run in the upper 32 bits.
    HeadBootstrap,
    /// Which measured effects an update of the head sees; index: updates made before, and in the lowest 8 bits which
    /// of its networks.
    HeadBatches,
    /// Labels drawn by chance; index: the step, and the layer in its lowest 16 bits.
    Labels,
    /// Generated data; index: which split.
    Planted,
    /// Which examples are held out; index 0.
    Split,
    /// The seed of a rehearsal; index: the step it begins after.
    Rehearsal,
    /// What a teaching task is like; index: the seed of its data.
    TeachingTasks,
    /// Clusters of texts; index 0: which texts are the sample, then each start of a clustering.
    TextGroups,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Self::DataOrder => "data-order",
            Self::Dropout => "dropout",
            Self::InitShared => "init-shared",
            Self::InitExpert => "init-expert",
            Self::Surgery => "surgery",
            Self::Policy => "policy",
            Self::StepBiases => "step-biases",
            Self::RandomUnits => "random-units",
            Self::Head => "head",
            Self::HeadBootstrap => "head-bootstrap",
            Self::HeadBatches => "head-batches",
            Self::Labels => "labels",
            Self::Planted => "planted",
            Self::Split => "split",
            Self::Rehearsal => "rehearsal",
            Self::TeachingTasks => "teaching-tasks",
            Self::TextGroups => "text-groups",
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

    /// Streams for a rehearsal of what comes after `step`: as good as these, and other ones.
    #[must_use]
    pub fn rehearsal(&self, step: u64) -> Self {
        Self { seed: self.rng(Stream::Rehearsal, step).next_u64() }
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

    /// The generator for one parameter of one expert. It depends on the expert's id, not on its position or
    /// on how many experts there are: models of different size share the experts they have in common, and
    /// an expert that is added later begins as it would have at the start.
    pub fn expert(&self, stream: Stream, layer: LayerId, expert: ExpertId, part: u8) -> ChaCha8Rng {
        self.rng(stream, u64::from(layer.0) << 48 | expert.0 << 8 | u64::from(part))
    }
}

/// A seed stands for its streams.
impl From<u64> for Streams {
    fn from(seed: u64) -> Self {
        Self::new(seed)
    }
}

/// `n` values from `U(−1/√fan_in, 1/√fan_in)`: what keeps variance through a linear map.
pub fn uniform(fan_in: usize, n: usize, rng: &mut impl rand::Rng) -> Vec<f32> {
    let bound = 1.0 / (fan_in.max(1) as f32).sqrt();
    let uniform = Uniform::new_inclusive(-bound, bound).expect("the bound is finite and above 0");
    uniform.sample_iter(rng).take(n).collect()
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
