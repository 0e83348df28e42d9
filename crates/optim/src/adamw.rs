//! The AdamW update of one stretch of values.

use rayon::prelude::*;

use crate::parallel::{PART, widest};

/// AdamW (Loshchilov & Hutter 2019) with PyTorch's formula and defaults.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// First-moment decay.
    pub beta1: f64,
    /// Second-moment decay.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
}

impl Default for AdamW {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8 }
    }
}

/// Weights with their moments: slices of equal length.
#[derive(Debug)]
pub(crate) struct Values<'a> {
    pub weights: &'a mut [f32],
    pub moment_1: &'a mut [f32],
    pub moment_2: &'a mut [f32],
}

/// What a step does to each value: everything that is the same for all values of a stretch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Update {
    beta1: f32,
    beta2: f32,
    eps: f32,
    /// What the first moment is multiplied by.
    step: f32,
    /// What the root of the second moment is multiplied by.
    root: f32,
    /// What weights are multiplied by.
    shrink: f32,
    /// What gradients are multiplied by.
    scale: f32,
}

impl AdamW {
    /// Step number `t` (from 1), with gradients multiplied by `scale` (clipping).
    ///
    /// `w ← w (1 − lr · decay) − lr · m̂ / (√v̂ + eps)`, `m̂ = m / (1 − β₁ᵗ)`, `v̂ = v / (1 − β₂ᵗ)`
    pub(crate) fn at(&self, t: u64, lr: f64, decay: f64, scale: f32) -> Update {
        let [bias_1, bias_2] = self.biases(t);
        Update {
            beta1: self.beta1 as f32,
            beta2: self.beta2 as f32,
            eps: self.eps as f32,
            step: (lr / bias_1) as f32,
            root: (1.0 / bias_2) as f32,
            shrink: (1.0 - lr * decay) as f32,
            scale,
        }
    }

    /// What the first moment and the root of the second one are divided by in step number `t`, as both averages began at 0:
    /// `1 − β₁ᵗ` and `√(1 − β₂ᵗ)`.
    pub(crate) fn biases(&self, t: u64) -> [f64; 2] {
        [1.0 - power(self.beta1, t), (1.0 - power(self.beta2, t)).sqrt()]
    }
}

impl Update {
    /// Updates a stretch in place.
    pub(crate) fn apply(&self, values: Values<'_>, gradients: &[f32]) {
        let Values { weights, moment_1, moment_2 } = values;
        if weights.len() <= PART {
            return self.apply_to_part(weights, moment_1, moment_2, gradients);
        }
        let values = weights.par_chunks_mut(PART).zip(moment_1.par_chunks_mut(PART));
        let values = values.zip(moment_2.par_chunks_mut(PART)).zip(gradients.par_chunks(PART));
        values.for_each(|(((w, m), v), g)| self.apply_to_part(w, m, v, g));
    }

    fn apply_to_part(
        &self,
        weights: &mut [f32],
        moment_1: &mut [f32],
        moment_2: &mut [f32],
        gradients: &[f32],
    ) {
        let values = weights.iter_mut().zip(moment_1).zip(moment_2).zip(gradients);
        widest(|| values.for_each(|(((w, m), v), g)| self.apply_to_value(w, m, v, *g)));
    }

    /// Updates a stretch whose gradients are zero.
    pub(crate) fn apply_without_gradients(&self, values: Values<'_>) {
        let Values { weights, moment_1, moment_2 } = values;
        let values = weights.iter_mut().zip(moment_1).zip(moment_2);
        widest(|| values.for_each(|((w, m), v)| self.apply_to_value(w, m, v, 0.0)));
    }

    #[inline(always)] // the loops around it have to see through it
    fn apply_to_value(&self, w: &mut f32, m: &mut f32, v: &mut f32, gradient: f32) {
        let Self { beta1, beta2, eps, step, root, shrink, scale } = *self;
        let g = gradient * scale;
        *m = beta1 * *m + (1.0 - beta1) * g;
        *v = beta2 * *v + (1.0 - beta2) * g * g;
        *w = *w * shrink - step * *m / (v.sqrt() * root + eps);
    }
}

/// `base^t`; beyond the range of `powi` the power of a number below 1 is 0 anyway.
fn power(base: f64, t: u64) -> f64 {
    base.powi(i32::try_from(t).unwrap_or(i32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs steps `from..` of one value with the given gradients; the state starts as zeros.
    fn run(gradients: &[f32], from: u64, lr: f64, decay: f64, start: f32) -> f32 {
        let (mut w, mut m, mut v) = ([start], [0.0], [0.0]);
        for (t, g) in (from..).zip(gradients) {
            let values = Values { weights: &mut w, moment_1: &mut m, moment_2: &mut v };
            AdamW::default().at(t, lr, decay, 1.0).apply(values, &[*g]);
        }
        w[0]
    }

    // p = torch.nn.Parameter(torch.tensor([0.5])); o = torch.optim.AdamW([p], lr=0.1, weight_decay=0.01)
    // for g in (1.0, -2.0, 0.5): p.grad = torch.tensor([g]); o.step()
    // By hand: after step 1: 0.5·0.999 − 0.1 = 0.3995;
    // step 2: m = −0.11, v = 0.004999, m̂ = −0.578947, √v̂ = 1.581376: 0.3995·0.999 + 0.0366104 = 0.4357109
    // step 3: m = −0.049, v = 0.005244001, m̂ = −0.1808118, √v̂ = 1.322781: 0.4357109·0.999 + 0.0136691 = 0.4489442
    #[test]
    fn three_hand_worked_steps() {
        let w = run(&[1.0, -2.0, 0.5], 1, 0.1, 0.01, 0.5);
        assert!((w - 0.448_944_2).abs() < 1e-6, "{w}");
    }

    #[test]
    fn the_first_step_is_at_most_lr_and_3_2_times_that_under_an_old_counter() {
        let own = run(&[0.3], 1, 1e-2, 0.0, 0.0).abs();
        assert!(own <= 1e-2 * (1.0 + 1e-5), "{own}");
        let shared = run(&[0.3], 10_000, 1e-2, 0.0, 0.0).abs();
        assert!((shared / own - 3.162).abs() < 0.01, "{}", shared / own);
    }
}
