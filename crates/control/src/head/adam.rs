//! Adam (Kingma & Ba 2015), on one list of weights.

use moelt_schema::NetworkState;

const BETA1: f32 = 0.9;
const BETA2: f32 = 0.999;
const EPS: f32 = 1e-8;

/// One update. A gradient that is not finite is left out: it would stay in the moments for ever.
pub(super) fn update(state: &mut NetworkState, gradient: &[f32], lr: f32) {
    if !gradient.iter().all(|value| value.is_finite()) {
        return;
    }
    state.updates += 1;
    let time = state.updates.min(i32::MAX as u64) as i32;
    let (scale1, scale2) = (1.0 - BETA1.powi(time), 1.0 - BETA2.powi(time));
    let moments = state.first.iter_mut().zip(&mut state.second);
    for ((weight, (first, second)), g) in state.weights.iter_mut().zip(moments).zip(gradient) {
        *first = BETA1 * *first + (1.0 - BETA1) * g;
        *second = BETA2 * *second + (1.0 - BETA2) * g * g;
        *weight -= lr * (*first / scale1) / ((*second / scale2).sqrt() + EPS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hand_worked_updates() {
        let mut state = NetworkState { weights: vec![1.0], first: vec![0.0], second: vec![0.0], updates: 0 };
        // The first update is one learning rate long, whatever the gradient is.
        update(&mut state, &[4.0], 0.1);
        assert!((state.weights[0] - 0.9).abs() < 1e-6);
        // m = 0.9 · 0.4 − 0.1 · 2 = 0.16, v = 0.999 · 0.016 + 0.001 · 4 = 0.019984;
        // 0.16 / 0.19 = 0.84211, √(0.019984 / 0.001999) = 3.16180: 0.1 · 0.26634.
        update(&mut state, &[-2.0], 0.1);
        assert!((state.weights[0] - (0.9 - 0.026_634)).abs() < 1e-5, "{}", state.weights[0]);
    }

    #[test]
    fn what_is_no_number_changes_nothing() {
        let mut state = NetworkState { weights: vec![1.0], first: vec![0.5], second: vec![0.5], updates: 3 };
        let before = state.clone();
        update(&mut state, &[f32::NAN], 0.1);
        assert_eq!(state, before);
    }
}
