//! Splits along a direction, and hidden units drawn anew, with every value written out.

use moelt_surgery::{
    SurgeryError, apply,
    schema::{Edit, ExpertId, ExpertInit, LayerId, LayerKind, RouterShift},
};

use crate::{
    support::{FULL_SOFTMAX, Run, grow},
    values::Edited,
};

fn along(parent: u64, direction: Vec<f32>, constant: f64) -> ExpertInit {
    ExpertInit::SplitAlong { parent: ExpertId(parent), by: RouterShift { direction, constant } }
}

fn redraw(expert: u64, units: Vec<usize>, centre: Vec<f32>) -> Edit {
    Edit::Redraw { layer: LayerId(0), expert: ExpertId(expert), units, centre }
}

/// Rows and biases of the router part by half of the shift either way; the child goes on from its parent's moments.
#[test]
fn the_halves_part_along_the_direction_and_share_what_the_optimizer_remembers() {
    let edited = Edited::by(vec![grow(0, 3, along(1, vec![8.0], 1.0))]);
    edited.assert_weights("w_in", &[4, 1, 2], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 2.0, 3.0]);
    edited.assert_weights("router", &[4, 1], [10.0, 16.0, 30.0, 24.0]);
    edited.assert_weights("offset", &[4], [0.0, -1.5, -2.0, -0.5]);
    assert_eq!(edited.state.moment_1, [1.0, 2.0, 3.0, 2.0, 4.0, 5.0, 6.0, 5.0]);
    assert_eq!(edited.state.steps, [5, 6, 7, 6]);
    assert_eq!(edited.average["router"].weights.data, [110.0, 116.0, 130.0, 124.0]);
    assert_eq!(edited.average["router"].updates, [2, 3, 4, 3]);
}

/// Unit 1 of expert 2: its weight into it is new, its bias puts the centre on its edge, and its moments are forgotten.
#[test]
fn a_redrawn_unit_is_new_and_the_others_stay() {
    let edited = Edited::by(vec![redraw(2, vec![1], vec![3.0])]);
    let (w_in, w_out) = (&edited.weights["w_in"].data, &edited.weights["w_out"].data);
    assert_eq!(w_in[..5], [0.0, 1.0, 2.0, 3.0, 4.0]);
    assert!(![0.0, 5.0].contains(&w_in[5]) && w_in[5].abs() <= 1.0, "U(±1/√1), of a single input: {w_in:?}");
    assert_eq!(w_out[..5], [0.0, 1.0, 2.0, 3.0, 4.0]);
    assert!(w_out[5].abs() <= 0.3 / 2f32.sqrt(), "0.3 · U(±1/√2): {w_out:?}");
    edited.assert_weights("router", &[3, 1], [10.0, 20.0, 30.0]);
    assert_eq!(edited.state.moment_1, [1.0, 2.0, 3.0, 4.0, 5.0, 0.0]);
    assert_eq!(edited.state.moment_2, [7.0, 8.0, 9.0, 10.0, 11.0, 0.0]);
    assert_eq!(edited.state.steps, [5, 6, 7]);
}

#[test]
fn a_bias_puts_the_centre_on_the_units_edge() {
    let run = Run::new(LayerKind::TopK { k: 1 }, 3, 5);
    let centre = vec![0.5, -1.0, 2.0, 0.25];
    let edited = run.edited(vec![redraw(1, vec![0, 2], centre.clone())]);
    let weights = edited.weights();
    let (w_in, b_in) = (&weights["layers.0.w_in"], &weights["layers.0.b_in"].data);
    let (before, d_ff) = (run.weights()["layers.0.b_in"].data.clone(), 3);
    for unit in 0..d_ff {
        let into = |d: usize| w_in.data[(4 + d) * d_ff + unit] * centre[d];
        let product: f32 = (0..4).map(into).sum();
        let bias = b_in[d_ff + unit];
        if unit == 1 {
            assert_eq!(bias, before[d_ff + unit]);
        } else {
            assert!((product + bias).abs() < 1e-5, "unit {unit}: {product} {bias}");
        }
    }
}

#[test]
fn both_can_be_undone_bit_by_bit() {
    let mut before = Run::new(FULL_SOFTMAX, 4, 5);
    before.train(6);
    for edits in [vec![grow(0, 4, along(2, vec![1.0; 4], 0.5))], vec![redraw(3, vec![0], vec![0.1; 4])]] {
        let (run, undo) = before.applied(&before.check(edits).unwrap());
        assert_eq!(run.undone(&undo).bits(), before.bits());
    }
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let run = Run::new(LayerKind::TopK { k: 1 }, 3, 5);
    let refused = |edits| apply(&run.trainable, &run.check(edits).unwrap(), 11).map(drop).unwrap_err();
    let direction = refused(vec![grow(0, 3, along(1, vec![1.0; 3], 0.0))]);
    assert!(matches!(direction, SurgeryError::Direction { expected: 4, found: 3, .. }), "{direction}");
    let centre = refused(vec![redraw(1, vec![0], vec![0.0; 5])]);
    assert!(matches!(centre, SurgeryError::Direction { expected: 4, found: 5, .. }), "{centre}");
    let unit = refused(vec![redraw(1, vec![3], vec![0.0; 4])]);
    assert!(unit.to_string().ends_with("has no hidden unit 3; an expert has 3, counted from 0"), "{unit}");
    let units = run.check(vec![redraw(1, vec![1, 1], vec![0.0; 4])]).unwrap_err().to_string();
    assert_eq!(units, "layer 0: a unit is 1; must be above the one before it");
}
