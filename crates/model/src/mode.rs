//! Training or evaluation, and the noise that only training has.

use burn::tensor::{Device, Tensor, TensorData};
use rand::Rng;
use rand_distr::{Distribution, Uniform};

/// How a forward pass runs. Noise comes from the caller's generator, never from a global one, so
/// that a step can be repeated exactly.
pub enum Mode<'a> {
    /// No noise.
    Eval,
    /// Dropout masks are drawn from this generator, in the order of the forward pass.
    Train(&'a mut dyn Rng),
}

impl Mode<'_> {
    /// Whether there is noise.
    pub(crate) fn is_training(&self) -> bool {
        matches!(self, Self::Train(_))
    }

    /// Zeroes each value with probability `rate` and scales the rest by `1/(1 − rate)`
    /// (Srivastava et al. 2014); the identity in evaluation.
    pub fn dropout<const D: usize>(&mut self, x: Tensor<D>, rate: f64) -> Tensor<D> {
        match self.dropout_mask(rate, x.dims(), &x.device()) {
            Some(mask) => x * mask,
            None => x,
        }
    }

    /// What [`Self::dropout`] multiplies by; none: nothing is dropped.
    pub fn dropout_mask<const D: usize>(
        &mut self,
        rate: f64,
        shape: [usize; D],
        device: &Device,
    ) -> Option<Tensor<D>> {
        let mask = self.mask(rate, shape.iter().product())?;
        Some(Tensor::from_data(TensorData::new(mask, shape), device))
    }

    /// Numbers from `U(1 − by, 1 + by)` to multiply with; none in evaluation or where `by` is 0.
    pub fn jitter<const D: usize>(
        &mut self,
        by: f64,
        shape: [usize; D],
        device: &Device,
    ) -> Option<Tensor<D>> {
        let Self::Train(rng) = self else { return None };
        let (least, most) = (1.0 - by as f32, 1.0 + by as f32);
        let uniform = Uniform::new(least, most).ok()?;
        let drawn: Vec<f32> = uniform.sample_iter(rng).take(shape.iter().product()).collect();
        Some(Tensor::from_data(TensorData::new(drawn, shape), device))
    }

    /// Which of `n` things stay, when each is left out with probability `rate`; none: all of them.
    pub fn keep(&mut self, n: usize, rate: f64) -> Option<Vec<bool>> {
        Some(self.mask(rate, n)?.into_iter().map(|scale| scale > 0.0).collect())
    }

    /// `n` values that are 0 with probability `rate` (to 1/65536) and `1/(1 − rate)` otherwise.
    fn mask(&mut self, rate: f64, n: usize) -> Option<Vec<f32>> {
        let threshold = (rate * 65536.0).round();
        match self {
            Self::Train(rng) if threshold > 0.0 => {
                let mut bytes = vec![0u8; 2 * n];
                rng.fill_bytes(&mut bytes);
                let keep = (65536.0 / (65536.0 - threshold)) as f32;
                let value = |pair: &[u8]| {
                    let drawn = u16::from_le_bytes([pair[0], pair[1]]);
                    if f64::from(drawn) < threshold { 0.0 } else { keep }
                };
                Some(bytes.chunks_exact(2).map(value).collect())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use moelt_schema::{Stream, Streams};

    use super::*;

    #[test]
    fn dropout_keeps_the_mean_and_repeats_from_the_same_generator() {
        let device = Device::flex();
        let drop = || {
            let mut rng = Streams::new(1).rng(Stream::Dropout, 0);
            let x = Tensor::<2>::ones([100, 100], &device);
            Mode::Train(&mut rng).dropout(x, 0.25).try_into_vec_as::<f32>().unwrap()
        };
        let values = drop();
        let mean = values.iter().sum::<f32>() / 1e4;
        assert!((mean - 1.0).abs() < 0.03, "{mean}");
        assert!(values.iter().all(|v| *v == 0.0 || (*v - 4.0 / 3.0).abs() < 1e-6));
        assert_eq!(values, drop());
    }

    #[test]
    fn jitter_lies_evenly_around_1_and_repeats_from_the_same_generator() {
        let jitter = |by| {
            let mut rng = Streams::new(1).rng(Stream::Dropout, 0);
            let drawn = Mode::Train(&mut rng).jitter(by, [100, 100], &Device::flex());
            drawn.map(|drawn| drawn.try_into_vec_as::<f32>().unwrap())
        };
        let values = jitter(0.25).unwrap();
        let mean = values.iter().sum::<f32>() / 1e4;
        // The standard error is 0.25 / √3 / 100.
        assert!((mean - 1.0).abs() < 0.006, "{mean}");
        assert!(values.iter().all(|v| (0.75..1.25).contains(v)) && values.iter().any(|v| *v < 0.76));
        assert_eq!(jitter(0.25).unwrap(), values);
        assert!(jitter(0.0).is_none());
    }

    #[test]
    fn evaluation_has_no_noise() {
        let x = Tensor::<2>::ones([3, 4], &Device::flex());
        assert_eq!(Mode::Eval.dropout(x, 0.5).sum().into_scalar::<f32>(), 12.0);
        assert!(Mode::Eval.keep(3, 0.5).is_none());
        assert!(Mode::Eval.jitter(0.5, [3], &Device::flex()).is_none());
    }
}
