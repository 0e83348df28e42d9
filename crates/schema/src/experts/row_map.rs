//! Where each expert of a layer comes from: the one thing that parameters, moments, steps, averages and
//! windows all follow.

use crate::{ExpertId, RouterShift};

/// Where the weights of one new row come from. Positions are those before the edit.
#[derive(Clone, Debug, PartialEq)]
pub enum RowSource {
    /// The row at this position, with everything that is remembered of it.
    Keep(usize),
    /// The same, with half of its router probability: a parent that was split.
    Halve(usize),
    /// The same with its router row and bias moved by so much: a parent that was split along a direction.
    Shifted(usize, RouterShift),
    /// The same with these hidden units drawn anew around a mean token.
    Redrawn {
        /// Whose row it is.
        expert: ExpertId,
        /// Its position.
        old: usize,
        /// The units, ascending.
        units: Vec<usize>,
        /// The mean token.
        centre: Vec<f32>,
    },
    /// A new expert.
    New {
        /// Whose row it is.
        expert: ExpertId,
        /// How it begins.
        start: RowStart,
    },
    /// The row at `into` averaged with others.
    Merge {
        /// Position of the expert that stays.
        into: usize,
        /// Positions of the experts that go, with their weights in the average.
        from: Vec<(usize, f64)>,
    },
}

/// How a new row begins. Positions are those before the edit.
#[derive(Clone, Debug, PartialEq)]
pub enum RowStart {
    /// From the expert's own streams.
    Fresh,
    /// From its own streams, the router's row in this direction.
    Aimed(Vec<f32>),
    /// As a copy, with noise of this standard deviation relative to the RMS of each tensor.
    Copy {
        /// Position of the parent.
        parent: usize,
        /// Relative standard deviation.
        noise: f64,
    },
    /// As the other half of a split parent.
    Half(usize),
    /// As the other half of one that was split along a direction, with its router row and bias moved by so much.
    Shifted(usize, RouterShift),
    /// As a copy some of whose hidden units are drawn anew.
    Upcycled {
        /// Position of the dense expert.
        parent: usize,
        /// Fraction of the hidden units drawn anew.
        reinit: f64,
    },
}

impl RowStart {
    /// Position of the expert it is made from.
    pub fn parent(&self) -> Option<usize> {
        match self {
            Self::Fresh | Self::Aimed(_) => None,
            Self::Copy { parent, .. }
            | Self::Half(parent)
            | Self::Shifted(parent, _)
            | Self::Upcycled { parent, .. } => Some(*parent),
        }
    }
}

impl RowSource {
    /// Position before the edit of an expert that goes on as it was.
    pub fn kept(&self) -> Option<usize> {
        match self {
            Self::Keep(old) | Self::Halve(old) | Self::Shifted(old, _) | Self::Redrawn { old, .. } => {
                Some(*old)
            }
            Self::New { .. } | Self::Merge { .. } => None,
        }
    }

    /// Position before the edit of the expert that it is, was made from, or is the rest of.
    pub fn origin(&self) -> Option<usize> {
        match self {
            Self::Merge { into: old, .. } => Some(*old),
            Self::New { start, .. } => start.parent(),
            Self::Keep(_) | Self::Halve(_) | Self::Shifted(..) | Self::Redrawn { .. } => self.kept(),
        }
    }
}

/// For one layer: the source of every row, in the new order.
#[derive(Clone, Debug, PartialEq)]
pub struct RowMap {
    /// Experts before.
    pub n_old: usize,
    /// The experts after.
    pub rows: Vec<RowSource>,
}

impl RowMap {
    /// Whether every expert stays where and what it is.
    pub fn is_identity(&self) -> bool {
        self.rows.len() == self.n_old
            && self.rows.iter().enumerate().all(|(position, row)| *row == RowSource::Keep(position))
    }

    /// Values that were summed per expert, moved along: a merged expert has the sum of its parts, a new one
    /// has seen nothing.
    pub fn remap_sums(&self, sums: &[f64]) -> Vec<f64> {
        let row = |source: &RowSource| match source {
            RowSource::Merge { into, from } => {
                sums[*into] + from.iter().map(|(old, _)| sums[*old]).sum::<f64>()
            }
            kept_or_new => kept_or_new.kept().map_or(0.0, |old| sums[old]),
        };
        self.rows.iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_follow_their_experts() {
        let fresh = RowSource::New { expert: ExpertId(9), start: RowStart::Fresh };
        let merge = RowSource::Merge { into: 0, from: vec![(2, 0.5)] };
        let map = RowMap { n_old: 3, rows: vec![RowSource::Keep(1), merge, fresh] };
        assert_eq!(map.remap_sums(&[1.0, 2.0, 4.0]), [2.0, 5.0, 0.0]);
        assert!(!map.is_identity());
        assert!(RowMap { n_old: 1, rows: vec![RowSource::Keep(0)] }.is_identity());
    }
}
