//! The first update of a new expert: at most `lr`, and what it would be under its parents' step count.

use moelt_surgery::{
    Trainable,
    optim::{AdamW, Optimizer, ParamGroup},
    schema::{ExpertAxes, ExpertInit, ExpertRole},
};

use crate::support::{FULL_SOFTMAX, LR, Run, copy, grow};

/// The new expert of layer 0 and of layer 1.
const NEW: usize = 3;

/// A step on a loss whose gradient is 0.3 for every element of every expert.
fn constant_step(run: &mut Run) {
    let layers = run.toy().layers.iter();
    let sum = |layer: &crate::toy::ToyLayer| {
        let router = layer.router.as_ref().unwrap().weight.val().sum();
        router
            + layer.w_in.val().sum()
            + layer.b_in.val().sum()
            + layer.w_out.val().sum()
            + layer.b_out.val().sum()
    };
    let loss = layers.map(sum).reduce(|a, b| a + b).unwrap().mul_scalar(0.3);
    run.step_on(loss);
}

/// Experts with 50 steps, and one that was just born in each layer.
fn grown(init: &dyn Fn() -> ExpertInit) -> Run {
    let mut run = Run::new(FULL_SOFTMAX, 3, 2);
    let no_decay = ParamGroup { weight_decay: 0.0, ..ParamGroup::default() };
    let optimizer = Optimizer::new(AdamW::default(), no_decay);
    run.trainable = Trainable::new(run.toy().clone(), optimizer).with_average(0.9, 2);
    (0..50).for_each(|_| constant_step(&mut run));
    let run = run.edited(vec![grow(0, 3, init()), grow(1, 4, init())]);
    for state in run.state().values() {
        assert_eq!(state.steps, [50, 50, 50, 0]);
    }
    run
}

/// Sizes of one more update of the new experts, in units of `lr`, by parameter.
fn updates(mut run: Run) -> Vec<(String, Vec<f64>)> {
    let before = run.clone();
    constant_step(&mut run);
    let of_axis = |axis: moelt_surgery::schema::ExpertAxis| {
        let values =
            |run: &Run| run.remembered(&axis.param, axis.axis, NEW).weights.into_iter().map(f32::from_bits);
        let moved = values(&before).zip(values(&run)).map(|(a, b)| f64::from((a - b).abs()) / LR).collect();
        (axis.param, moved)
    };
    let trained =
        |axis: &moelt_surgery::schema::ExpertAxis| axis.role.is_trained() && axis.role != ExpertRole::Other;
    run.toy().expert_axes().into_iter().filter(trained).map(of_axis).collect()
}

#[test]
fn a_new_expert_and_its_router_row_move_by_no_more_than_lr() {
    let inits: [&dyn Fn() -> ExpertInit; 2] = [&|| ExpertInit::Fresh, &|| copy(1, 0.01)];
    for init in inits {
        let updates = updates(grown(init));
        assert_eq!(updates.len(), 10);
        for (param, moved) in updates {
            assert!(moved.iter().all(|moved| *moved <= 1.0 + 1e-5), "{param}: {moved:?}");
            assert!(moved.iter().all(|moved| *moved > 0.99), "{param}: {moved:?}");
        }
    }
}

/// What the row's own count is for: `(1 − β₁) / √(1 − β₂) = 3.16` once both corrections have worn off.
#[test]
fn under_an_old_count_the_first_update_would_be_3_2_times_lr() {
    let mut run = grown(&|| ExpertInit::Fresh);
    run.trainable.optimizer.state_mut().values_mut().for_each(|state| state.steps[NEW] = 10_000);
    for (param, moved) in updates(run) {
        assert!(moved.iter().all(|moved| (3.0..3.3).contains(moved)), "{param}: {moved:?}");
    }
}
