//! Growth criteria by hand.

use moelt_schema::{Stream, Streams};

use super::*;

fn close(value: f64, expected: f64) {
    assert!((value - expected).abs() < 1e-9, "{value}, not {expected}");
}

fn rng() -> impl Rng {
    Streams::new(1).rng(Stream::RandomUnits, 0)
}

/// One hidden unit, one column: inputs ±1 in turn, `times` of each; the unit is 1 for both, its gradient 0.
fn expert(times: usize, gradients: [f32; 2]) -> ExpertGradients {
    ExpertGradients {
        tokens: 2 * times,
        inputs: [1.0, -1.0].repeat(times),
        hidden: vec![1.0; 2 * times],
        hidden_gradients: vec![0.0; 2 * times],
        gradients: gradients.repeat(times),
        d_model: 1,
        d_ff: 1,
        d_sums: 1,
    }
}

/// A token's gradient is (h, 1) ⊗ g = (g, g): with g = ±1 the squares are 2, the mean is 0. Along the input it turns by
/// mean(x · (g, g)) = (1, 1), of length √2.
#[test]
fn tokens_that_cancel_one_another() {
    let turn = expert(50, [1.0, -1.0]).turn(1.0, &mut Flops::default());
    close(turn.conflict, 1.0);
    close(turn.variance, 2.0);
    close(turn.direction, 2f64.sqrt());
}

#[test]
fn tokens_that_agree() {
    let turn = expert(50, [0.5, 0.5]).turn(1.0, &mut Flops::default());
    [turn.conflict, turn.variance, turn.direction].into_iter().for_each(|value| close(value, 0.0));
    close(expert(50, [0.0, 0.0]).turn(1.0, &mut Flops::default()).conflict, 0.0);
}

/// Gradients of incoming weights count too: (x, 1) ⊗ dh = (±dh, dh), squares 2 dh², mean (0, dh).
#[test]
fn incoming_weights_count() {
    let mut expert = expert(50, [0.0, 0.0]);
    expert.hidden_gradients = vec![3.0; 100];
    let turn = expert.turn(1.0, &mut Flops::default());
    close(turn.conflict, 0.5);
    close(turn.variance, 9.0);
    // Σ x · (x dh, dh) / n = (dh, 0).
    close(turn.direction, 3.0);
}

/// With gates a token's gradient is (x, 1) ⊗ (dh, dg): of dh = 3 and dg = 4 the squares are 2 · 25, the mean of ±1 is 0 and of 1 is 1.
#[test]
fn incoming_weights_of_gates_count() {
    let mut expert = expert(50, [0.0, 0.0]);
    (expert.hidden_gradients, expert.d_sums) = ([3.0, 4.0].repeat(100), 2);
    let turn = expert.turn(1.0, &mut Flops::default());
    close(turn.conflict, 0.5);
    close(turn.variance, 25.0);
    close(turn.direction, 5.0);
}

/// The products are those of gradients written out: two columns, two units.
#[test]
fn products_are_those_of_gradients_written_out() {
    let expert = ExpertGradients {
        tokens: 2,
        inputs: vec![1.0, 2.0, -1.0, 0.5],
        hidden: vec![0.0, 3.0, 1.0, 1.0],
        hidden_gradients: vec![0.0, 1.0, 2.0, -1.0],
        gradients: vec![0.5, -1.0, 1.0, 1.0],
        d_model: 2,
        d_ff: 2,
        d_sums: 2,
    };
    let outer = |a: [f64; 3], b: [f64; 2]| a.into_iter().flat_map(move |a| b.map(|b| a * b));
    let one: Vec<f64> =
        outer([1.0, 2.0, 1.0], [0.0, 1.0]).chain(outer([0.0, 3.0, 1.0], [0.5, -1.0])).collect();
    let two: Vec<f64> =
        outer([-1.0, 0.5, 1.0], [2.0, -1.0]).chain(outer([1.0, 1.0, 1.0], [1.0, 1.0])).collect();
    let product: f64 = one.iter().zip(&two).map(|(a, b)| a * b).sum();
    let squares = |of: &[f64]| of.iter().map(|value| value * value).sum::<f64>();
    let mean: Vec<f64> = one.iter().zip(&two).map(|(a, b)| (a + b) / 2.0).collect();
    let turn = expert.turn(1.0, &mut Flops::default());
    close(turn.variance, (squares(&one) + squares(&two)) / 2.0 - squares(&mean));
    close(squares(&mean), (squares(&one) + squares(&two) + 2.0 * product) / 4.0);
}

/// |x| is what neither an affine function of x nor a constant unit can do, and two ReLU units can.
#[test]
fn what_the_expert_cannot_do_is_a_gap_and_what_it_can_is_none() {
    let inputs: Vec<f32> = (0..400).map(|i| ((i * 37 % 400) as f32 - 199.5) / 100.0).collect();
    let of = |gradient: fn(f32) -> f32| {
        let gradients = inputs.iter().map(|x| gradient(*x)).collect();
        let n = inputs.len();
        let expert = ExpertGradients {
            tokens: n,
            inputs: inputs.clone(),
            hidden: vec![0.0; n],
            hidden_gradients: vec![0.0; n],
            gradients,
            d_model: 1,
            d_ff: 1,
            d_sums: 1,
        };
        expressivity_gap(&expert, &mut rng(), &mut Flops::default())
    };
    assert!(of(f32::abs) > 0.2, "{}", of(f32::abs));
    assert!(of(|x| 2.0 * x + 1.0).abs() < 0.01, "{}", of(|x| 2.0 * x + 1.0));
}

/// Inputs (1, −1, …), gradients (1, 0, …): the mean of (x, 1) ⊗ g is (½, ½), of length 1/√2.
#[test]
fn hand_worked_layer() {
    let expert = expert(50, [1.0, -1.0]);
    let layer = LayerGradients {
        loss: 0.5,
        inputs: expert.inputs.clone(),
        gradients: [1.0, 0.0].repeat(50),
        d_model: 1,
        experts: vec![expert],
    };
    let (criteria, flops) = growth_criteria(&layer, 0.25, &mut rng());
    let criteria = criteria.unwrap();
    close(criteria.gradmax, 0.5f64.sqrt());
    close(criteria.split_direction, 2f64.sqrt());
    assert_eq!((criteria.loss, criteria.split_gain), (0.5, 0.25));
    assert!(flops > 0);
}

#[test]
fn without_tokens_or_numbers_there_are_no_criteria() {
    let few = expert(10, [1.0, -1.0]);
    let layer =
        LayerGradients { loss: 0.5, inputs: vec![1.0], gradients: vec![1.0], d_model: 1, experts: vec![few] };
    assert_eq!(growth_criteria(&layer, 0.0, &mut rng()).0, None);
    let mut broken = expert(50, [1.0, -1.0]);
    broken.gradients[3] = f32::NAN;
    let layer = LayerGradients { experts: vec![broken], ..layer };
    assert_eq!(growth_criteria(&layer, 0.0, &mut rng()).0, None);
}
