//! Which rows are added to which sums.

use std::sync::Arc;

/// Row `from[i]` is added to sum `into[i]`, for every i.
#[derive(Clone, Debug)]
pub(super) struct Pairs {
    from: Arc<[u32]>,
    into: Arc<[u32]>,
    pub(super) n_sums: usize,
}

impl Pairs {
    pub(super) fn new(from: &[u32], into: &[u32], n_sums: usize) -> Self {
        Self { from: from.into(), into: into.into(), n_sums }
    }

    /// The way back: what each of `n_rows` rows gets is the sum over the sums that it was added to.
    pub(super) fn back(&self, n_rows: usize) -> Self {
        Self { from: self.into.clone(), into: self.from.clone(), n_sums: n_rows }
    }

    pub(super) fn terms(&self) -> Terms {
        Terms::new(&self.from, &self.into, self.n_sums)
    }
}

/// The rows of each sum, in the order in which they are added.
pub(super) struct Terms {
    /// Where the rows of a sum begin, and after the last one where they end.
    pub(super) starts: Vec<u32>,
    pub(super) rows: Vec<u32>,
}

impl Terms {
    /// By counting.
    fn new(from: &[u32], into: &[u32], n_sums: usize) -> Self {
        let mut starts = vec![0; n_sums + 1];
        into.iter().for_each(|sum| starts[*sum as usize + 1] += 1);
        for sum in 0..n_sums {
            starts[sum + 1] += starts[sum];
        }
        let (mut next, mut rows) = (starts.clone(), vec![0; from.len()]);
        for (row, sum) in from.iter().zip(into) {
            let at = &mut next[*sum as usize];
            rows[*at as usize] = *row;
            *at += 1;
        }
        Self { starts, rows }
    }

    #[cfg(any(test, feature = "flex"))]
    pub(super) fn of(&self, sum: usize) -> &[u32] {
        &self.rows[self.starts[sum] as usize..self.starts[sum + 1] as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hand_worked_terms_there_and_back() {
        let pairs = Pairs::new(&[7, 3, 7, 5], &[2, 0, 0, 2], 4);
        let of = |pairs: &Pairs| -> Vec<Vec<u32>> {
            (0..pairs.n_sums).map(|sum| pairs.terms().of(sum).to_vec()).collect()
        };
        assert_eq!(of(&pairs), [vec![3, 7], vec![], vec![7, 5], vec![]]);
        let nothing = Vec::new;
        let back = [nothing(), nothing(), nothing(), vec![0], nothing(), vec![2], nothing(), vec![2, 0]];
        assert_eq!(of(&pairs.back(8)), back);
    }
}
