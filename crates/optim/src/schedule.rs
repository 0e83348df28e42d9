//! The learning rate as a pure function of the step.

use moelt_schema::ScheduleKind;

/// Linear warm-up, then a shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// Shape after warm-up.
    pub kind: ScheduleKind,
    /// Peak learning rate.
    pub lr: f64,
    /// Fraction of `total` steps that it rises.
    pub warmup: f64,
    /// All steps.
    pub total: u64,
}

impl Schedule {
    /// Learning rate of step `step`, from 1 to `total`. The first step is above 0; a falling shape
    /// reaches 0 one step after the last.
    pub fn at(&self, step: u64) -> f64 {
        let warmup = (self.warmup * self.total as f64).ceil();
        let step = step.clamp(1, self.total.max(1)) as f64;
        if step <= warmup {
            return self.lr * step / warmup;
        }
        let progress = (step - warmup) / (self.total as f64 - warmup + 1.0);
        self.lr
            * match self.kind {
                ScheduleKind::Constant => 1.0,
                ScheduleKind::Linear => 1.0 - progress,
                ScheduleKind::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(kind: ScheduleKind, step: u64) -> f64 {
        Schedule { kind, lr: 1.0, warmup: 0.2, total: 10 }.at(step)
    }

    #[test]
    fn warm_up_then_shape() {
        assert_eq!([1, 2].map(|s| at(ScheduleKind::Linear, s)), [0.5, 1.0]);
        assert!((at(ScheduleKind::Linear, 10) - 1.0 / 9.0).abs() < 1e-12);
        assert_eq!(at(ScheduleKind::Constant, 10), 1.0);
        assert!(
            (at(ScheduleKind::Cosine, 10) - 0.5 * (1.0 + (8.0 * std::f64::consts::PI / 9.0).cos())).abs()
                < 1e-12
        );
    }
}
