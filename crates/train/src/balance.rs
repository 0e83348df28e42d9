//! Balance biases: loads are evened out by how experts are chosen, without a loss that pulls at what is trained (Wang et al. 2024).

use std::collections::{BTreeMap, BTreeSet};

use moelt_control::{CLOSED, StepBiases};
use moelt_schema::{LayerId, LayerKind, LayerLayout, LayerSums, RoutingWarning};

use crate::TrainState;

impl TrainState {
    /// Moves the balance bias of every expert behind a top-k router by `rate`, given the routing sums of the step that was just
    /// taken and what was `added` to router biases for it. Experts that are frozen, ramp in or were closed stay where they are: their
    /// load does not say what the router thinks of them.
    pub(crate) fn balance(&mut self, rate: f64, routing: &[LayerSums], added: &StepBiases) {
        if rate == 0.0 {
            return;
        }
        let mut model = self.model().clone();
        for (layer, sums) in self.by_layer(routing) {
            let biases = model.balance_biases(layer);
            if !biases.is_empty() {
                let moved = balanced(&biases, &sums.tokens_per_expert, &self.staying(layer, added), rate);
                model = model.with_balance_biases(layer, &moved);
            }
        }
        self.trainable.module = model;
        if let Some(average) = &mut self.trainable.average {
            average.copy_untrained(&self.trainable.module);
        }
    }

    /// Positions of the experts of a layer whose load says nothing.
    fn staying(&self, layer: LayerId, added: &StepBiases) -> BTreeSet<usize> {
        let Some(layout) = self.layout.layer(layer) else { return BTreeSet::new() };
        let ramping_in = self.ramping_in();
        let ramps =
            layout.experts.iter().enumerate().filter(|(_, expert)| ramping_in.contains(&(layer, **expert)));
        let closed =
            added.get(&layer).into_iter().flatten().enumerate().filter(|(_, added)| **added == CLOSED);
        let ramps = ramps.map(|(position, _)| position).chain(closed.map(|(position, _)| position));
        ramps.chain(layout.frozen_positions()).collect()
    }

    /// What the last window shows that somebody should look at.
    pub(crate) fn routing_warnings(&self) -> Vec<RoutingWarning> {
        let sums: BTreeMap<LayerId, &LayerSums> = self.by_layer(&self.progress.last_window).collect();
        let biases = |layer| self.model().balance_biases(layer);
        RoutingWarning::all(&self.layout, &sums, &self.progress.ramp_ins, biases)
    }

    /// Routing sums by the layers they are of: all that have a router.
    fn by_layer<'a>(&'a self, sums: &'a [LayerSums]) -> impl Iterator<Item = (LayerId, &'a LayerSums)> {
        let routed = |(_, layout): &(LayerId, &LayerLayout)| layout.kind != LayerKind::Dense;
        let layers = (0..).map(LayerId).zip(self.layout.layers()).filter(routed);
        layers.map(|(layer, _)| layer).zip(sums)
    }
}

/// The balance biases after a step: each rises by `rate` where its expert got fewer tokens than the mean, and falls where it got
/// more. Then all that move are shifted alike, so that the mean of the layer is 0: only differences matter, and none may run away.
fn balanced(biases: &[f32], tokens: &[f64], staying: &BTreeSet<usize>, rate: f64) -> Vec<f32> {
    let moving: Vec<usize> = (0..biases.len()).filter(|expert| !staying.contains(expert)).collect();
    let mean = moving.iter().map(|expert| tokens[*expert]).sum::<f64>() / moving.len() as f64;
    let mut moved = biases.to_vec();
    for expert in &moving {
        moved[*expert] += match tokens[*expert].total_cmp(&mean) {
            std::cmp::Ordering::Less => rate as f32,
            std::cmp::Ordering::Equal => 0.0,
            std::cmp::Ordering::Greater => -rate as f32,
        };
    }
    let shift = moved.iter().sum::<f32>() / moving.len() as f32;
    moving.iter().for_each(|expert| moved[*expert] -= shift);
    moved
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: &[f32], expected: &[f32]) {
        let near = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-6);
        assert!(near && found.len() == expected.len(), "{found:?} {expected:?}");
    }

    #[test]
    fn hand_worked_biases() {
        let none = BTreeSet::new();
        // Mean 4: down, up, unmoved, up; then all shifted by −(0.1 / 4).
        close(&balanced(&[0.0; 4], &[9.0, 1.0, 4.0, 2.0], &none, 0.1), &[-0.125, 0.075, -0.025, 0.075]);
        // An expert was pruned: what is left is centred again.
        close(&balanced(&[0.3, 0.1], &[5.0, 5.0], &none, 0.1), &[0.1, -0.1]);
        close(&balanced(&[0.0], &[5.0], &none, 0.1), &[0.0]);
    }

    #[test]
    fn experts_that_stay_are_neither_moved_nor_counted() {
        // Without expert 0 the mean is 3: up and down; those two are shifted by −0.6 / 2, so that the sum is 0.
        let staying = BTreeSet::from([0]);
        close(&balanced(&[0.6, 0.0, 0.0], &[90.0, 1.0, 5.0], &staying, 0.1), &[0.6, -0.2, -0.4]);
        let all = BTreeSet::from([0, 1]);
        close(&balanced(&[0.5, -0.25], &[1.0, 2.0], &all, 0.1), &[0.5, -0.25]);
    }
}
