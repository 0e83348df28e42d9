//! Floating-point operations: those that were done, and those of them that were asked for.

use std::{
    fmt,
    iter::Sum,
    ops::{Add, AddAssign, Mul},
};

use serde::{Deserialize, Serialize};

/// Floating-point operations of something that was computed. Sums and products stop at the largest count there is.
///
/// With top-any routing every expert computes every token. Those that the routing did not ask for cost as much as the
/// others, so that they are part of what is `computed`; a kernel that skips them needs `unpadded` alone. Otherwise the two
/// are the same. What a GPU backend pads queues with is in neither: counts do not depend on where a run was computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flops {
    /// What was computed.
    pub computed: u64,
    /// … of which for (token, expert) pairs that the routing asked for, and for everything that is not an expert.
    pub unpadded: u64,
}

impl Flops {
    /// Operations of something that has no padding.
    pub const fn unpadded(operations: u64) -> Self {
        Self { computed: operations, unpadded: operations }
    }

    /// Whether nothing was computed.
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    /// Whether these can be some of the operations of `whole`, where padding only ever adds.
    pub fn is_part_of(self, whole: Self) -> bool {
        let sound = |flops: Self| flops.unpadded <= flops.computed;
        sound(self) && sound(whole) && self.computed <= whole.computed && self.unpadded <= whole.unpadded
    }

    /// What came on top of `before`; 0 where that is more.
    pub fn since(self, before: Self) -> Self {
        Self {
            computed: self.computed.saturating_sub(before.computed),
            unpadded: self.unpadded.saturating_sub(before.unpadded),
        }
    }
}

/// `900 computed, 400 unpadded`.
impl fmt::Display for Flops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} computed, {} unpadded", self.computed, self.unpadded)
    }
}

impl Add for Flops {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            computed: self.computed.saturating_add(other.computed),
            unpadded: self.unpadded.saturating_add(other.unpadded),
        }
    }
}

impl AddAssign for Flops {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// So many times the operations.
impl Mul<u64> for Flops {
    type Output = Self;

    fn mul(self, times: u64) -> Self {
        Self { computed: self.computed.saturating_mul(times), unpadded: self.unpadded.saturating_mul(times) }
    }
}

impl Sum for Flops {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_and_stop_at_the_largest() {
        let padded = Flops { computed: 10, unpadded: 4 };
        assert_eq!(padded + Flops::unpadded(3), Flops { computed: 13, unpadded: 7 });
        assert_eq!(padded * 3, Flops { computed: 30, unpadded: 12 });
        assert_eq!([padded; 2].into_iter().sum::<Flops>(), padded * 2);
        assert_eq!((padded * 3).since(padded), padded * 2);
        let most = Flops::unpadded(u64::MAX);
        assert_eq!((most + padded, most * 2, padded.since(most)), (most, most, Flops::default()));
    }
}
