//! Merging: hidden units lined up, then averaged.
//!
//! Hidden units of a feed-forward network may be permuted freely, so that two experts that compute the same
//! need not look the same. Before averaging, the units of the one are matched with those of the other such
//! that the sum of the inner products of their weights is largest (weight matching: Ainsworth, Hayase &
//! Srinivasa 2023; for experts: Li et al. 2024, MC-SMoE). The assignment is exact (Kuhn–Munkres).

use pathfinding::{kuhn_munkres::kuhn_munkres, matrix::Matrix};

use crate::start::OldParam;

/// For each hidden unit of the expert at `into` the unit of the one at `from` that it is averaged with; none
/// for experts without hidden units.
pub(crate) fn matched_units(params: &[OldParam<'_>], into: usize, from: usize) -> Option<Vec<usize>> {
    let (ours, theirs) = (unit_weights(params, into)?, unit_weights(params, from)?);
    let similarity =
        |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
    let n = ours.len();
    let values: Vec<f64> =
        ours.iter().flat_map(|a| theirs.iter().map(|b| similarity(a, b)).collect::<Vec<_>>()).collect();
    // Kuhn–Munkres works on integers: nine digits, so that a sum over all units cannot overflow.
    let largest = values.iter().fold(0.0_f64, |max, value| max.max(value.abs()));
    let scale = if largest > 0.0 { 1e9 / largest } else { 0.0 };
    let scaled = values.into_iter().map(|value| (value * scale) as i64).collect();
    let weights = Matrix::from_vec(n, n, scaled).expect("one value a pair of units");
    Some(kuhn_munkres(&weights).1)
}

/// Everything that belongs to each hidden unit of an expert: its weights in and out, and its bias.
fn unit_weights(params: &[OldParam<'_>], position: usize) -> Option<Vec<Vec<f32>>> {
    let mut weights: Vec<Vec<f32>> = Vec::new();
    for param in params {
        let Some(units) = param.units() else { continue };
        for (unit, value) in units.into_iter().zip(param.row(position)) {
            if weights.len() <= unit {
                weights.resize(unit + 1, Vec::new());
            }
            weights[unit].push(value);
        }
    }
    (!weights.is_empty()).then_some(weights)
}

/// The row at `into` averaged with others: each `(position, weight, matched units)`.
pub(crate) fn merged_row(
    param: &OldParam<'_>,
    into: usize,
    others: &[(usize, f64, Option<Vec<usize>>)],
) -> Vec<f32> {
    let own = 1.0 - others.iter().map(|(_, weight, _)| weight).sum::<f64>();
    let mut row: Vec<f32> = param.row(into).iter().map(|value| (own * f64::from(*value)) as f32).collect();
    for (position, weight, matched) in others {
        let aligned = aligned(param, *position, matched.as_deref());
        row.iter_mut().zip(aligned).for_each(|(sum, value)| *sum += (*weight * f64::from(value)) as f32);
    }
    row
}

/// An expert's row with its hidden units in the order of those they were matched with.
fn aligned(param: &OldParam<'_>, position: usize, matched: Option<&[usize]>) -> Vec<f32> {
    let row = param.row(position);
    let (Some(units), Some(matched)) = (param.units(), matched) else { return row };
    // The elements of each unit, in order.
    let mut elements: Vec<Vec<f32>> = vec![Vec::new(); matched.len()];
    units.iter().zip(&row).for_each(|(unit, value)| elements[*unit].push(*value));
    let mut taken = vec![0; matched.len()];
    let next = |unit: &usize| {
        let source = matched[*unit];
        taken[*unit] += 1;
        elements[source][taken[*unit] - 1]
    };
    units.iter().map(next).collect()
}

#[cfg(test)]
mod tests {
    use moelt_optim::HostTensor;
    use moelt_schema::{ExpertAxis, ExpertRole, LayerId, RowInit};

    use super::*;

    fn axis(param: &str, hidden: usize, role: ExpertRole) -> ExpertAxis {
        ExpertAxis {
            param: param.into(),
            layer: LayerId(0),
            axis: 0,
            hidden: Some(hidden),
            role,
            init: RowInit::Zeros,
        }
    }

    /// The second expert is the first with its units in the order 2, 0, 1: they compute the same.
    #[test]
    fn permuted_copies_merge_into_themselves() {
        let tensor =
            |shape: [usize; 3], rows: [[f32; 6]; 2]| HostTensor { shape: shape.into(), data: rows.concat() };
        // [experts, d = 2, units = 3] and [experts, units = 3, d = 2].
        let w_in = tensor([2, 2, 3], [[1.0, 5.0, -3.0, 2.0, -4.0, 6.0], [-3.0, 1.0, 5.0, 6.0, 2.0, -4.0]]);
        let w_out = tensor([2, 3, 2], [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [5.0, 6.0, 1.0, 2.0, 3.0, 4.0]]);
        // Gates that are all alike, but for the bias of the first unit.
        let b_gate = HostTensor { shape: vec![2, 3], data: vec![7.0, 1.0, 1.0, 1.0, 7.0, 1.0] };
        let (input, output) = (axis("w_in", 2, ExpertRole::Input), axis("w_out", 1, ExpertRole::Output));
        let gate = axis("b_gate", 1, ExpertRole::Input);
        let params = [
            OldParam { axis: &input, part: 0, tensor: &w_in },
            OldParam { axis: &output, part: 1, tensor: &w_out },
            OldParam { axis: &gate, part: 2, tensor: &b_gate },
        ];
        let matched = matched_units(&params, 0, 1).unwrap();
        assert_eq!(matched, [1, 2, 0]);
        for param in &params {
            let merged = merged_row(param, 0, &[(1, 0.25, Some(matched.clone()))]);
            assert_eq!(merged, param.row(0));
        }
        // Without alignment the average is another expert.
        assert_ne!(merged_row(&params[0], 0, &[(1, 0.25, None)]), params[0].row(0));
    }
}
