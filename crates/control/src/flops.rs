//! What looking costs.

/// FLOPs of the matrix products so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flops(pub(crate) u64);

impl Flops {
    /// Adds the product of an `[m, k]` by a `[k, n]` matrix: a multiplication and an addition for each of
    /// `m · k · n`.
    pub(crate) fn product(&mut self, m: usize, k: usize, n: usize) {
        let [m, k, n] = [m, k, n].map(|size| size as u64);
        self.0 = self.0.saturating_add(m.saturating_mul(k).saturating_mul(n).saturating_mul(2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_add_up() {
        let mut flops = Flops::default();
        flops.product(3, 4, 5);
        flops.product(1, 1, 1);
        assert_eq!(flops, Flops(2 * 60 + 2));
    }
}
