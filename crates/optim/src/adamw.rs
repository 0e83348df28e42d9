//! The AdamW update of one stretch of values.

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
pub(crate) struct Values<'a> {
    pub weights: &'a mut [f32],
    pub moment_1: &'a mut [f32],
    pub moment_2: &'a mut [f32],
}

impl AdamW {
    /// Step number `t` (from 1) in place, with gradients multiplied by `scale` (clipping).
    ///
    /// `w ← w (1 − lr · decay) − lr · m̂ / (√v̂ + eps)`, `m̂ = m / (1 − β₁ᵗ)`, `v̂ = v / (1 − β₂ᵗ)`
    pub(crate) fn update(
        &self,
        t: u64,
        lr: f64,
        decay: f64,
        scale: f32,
        values: Values<'_>,
        gradients: &[f32],
    ) {
        let (b1, b2, eps) = (self.beta1 as f32, self.beta2 as f32, self.eps as f32);
        let step = (lr / (1.0 - power(self.beta1, t))) as f32;
        let root = (1.0 / (1.0 - power(self.beta2, t)).sqrt()) as f32;
        let shrink = (1.0 - lr * decay) as f32;
        let Values { weights, moment_1, moment_2 } = values;
        for (((w, m), v), g) in weights.iter_mut().zip(moment_1).zip(moment_2).zip(gradients) {
            let g = g * scale;
            *m = b1 * *m + (1.0 - b1) * g;
            *v = b2 * *v + (1.0 - b2) * g * g;
            *w = *w * shrink - step * *m / (v.sqrt() * root + eps);
        }
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
            AdamW::default().update(t, lr, decay, 1.0, values, &[*g]);
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
