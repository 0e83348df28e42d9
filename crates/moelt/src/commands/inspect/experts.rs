//! Every expert of a checkpoint: where it comes from, how long it has trained, what it does.

use std::collections::BTreeMap;

use moelt_eval::render::{Column, Table};
use moelt_optim::{HostTensor, Rows, export};
use moelt_schema::{ExpertAxes, ExpertAxis, ExpertId, ExpertRole, LayerId, Lineage, RoutingStats};
use moelt_train::LoadedModel;
use serde::Serialize;

use crate::commands::window::routing;

/// One expert.
#[derive(Serialize)]
pub(super) struct ExpertFacts {
    layer: LayerId,
    expert: ExpertId,
    lineage: Option<Lineage>,
    /// Optimizer steps, of the parameter that took most: one whose hidden units are all off still trains its
    /// output bias. None without optimizer state.
    steps: Option<u64>,
    /// Of its weights, without the router's.
    norm: f64,
    /// On its router logit; none without a top-k router.
    bias: Option<f32>,
    /// On the same where experts are chosen; none without a top-k router.
    balance_bias: Option<f32>,
    /// What its router did over the window that the checkpoint has counted; none without one.
    routed: Option<Routed>,
}

/// Its figures of [`RoutingStats`].
#[derive(Serialize)]
struct Routed {
    utilization: f64,
    mean_expert_weight: f64,
    weighted_norm: f64,
    router_mass: f64,
}

/// All experts, layer by layer, in router order.
pub(super) fn experts(loaded: &LoadedModel) -> Vec<ExpertFacts> {
    let manifest = &loaded.checkpoint.manifest;
    let (axes, tensors) = (loaded.trained.expert_axes(), export(&loaded.trained));
    let stats: BTreeMap<LayerId, RoutingStats> =
        routing(manifest).into_iter().map(|(layer, sums)| (layer, RoutingStats::from_sums(sums))).collect();
    let of_layer = |(layer, layout): (LayerId, &moelt_schema::LayerLayout)| {
        let axes: Vec<&ExpertAxis> = axes.iter().filter(|axis| is_body(axis, layer)).collect();
        let (biases, balance_biases) = (loaded.trained.biases(layer), loaded.trained.balance_biases(layer));
        let states: Vec<_> = axes.iter().filter_map(|axis| loaded.optimizer.get(&axis.param)).collect();
        let fact = |(position, expert): (usize, &ExpertId)| ExpertFacts {
            layer,
            expert: *expert,
            lineage: manifest.edits.lineage(layer, *expert),
            steps: states.iter().filter_map(|state| state.steps.get(position).copied()).max(),
            norm: norm(&axes, &tensors, position),
            bias: biases.get(position).copied(),
            balance_bias: balance_biases.get(position).copied(),
            routed: stats.get(&layer).map(|stats| Routed::of(stats, position)),
        };
        layout.experts.iter().enumerate().map(fact).collect::<Vec<_>>()
    };
    (0..).map(LayerId).zip(manifest.layout.layers()).flat_map(of_layer).collect()
}

fn is_body(axis: &ExpertAxis, layer: LayerId) -> bool {
    axis.layer == layer && matches!(axis.role, ExpertRole::Input | ExpertRole::Output)
}

/// Norm of one row of all these parameters.
fn norm(axes: &[&ExpertAxis], tensors: &BTreeMap<String, HostTensor>, position: usize) -> f64 {
    let square = |axis: &&ExpertAxis| {
        let HostTensor { shape, data } = &tensors[&axis.param];
        let stretches = Rows::new(shape, axis.axis).stretches(position);
        stretches.flat_map(|stretch| &data[stretch]).map(|v| f64::from(*v).powi(2)).sum::<f64>()
    };
    axes.iter().map(square).sum::<f64>().sqrt()
}

impl Routed {
    fn of(stats: &RoutingStats, position: usize) -> Self {
        Self {
            utilization: stats.utilization[position],
            mean_expert_weight: stats.mean_expert_weight[position],
            weighted_norm: stats.weighted_norm[position],
            router_mass: stats.router_mass[position],
        }
    }
}

impl ExpertFacts {
    fn row(&self) -> Vec<String> {
        let number = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.3}"));
        let routed = |of: fn(&Routed) -> f64| number(self.routed.as_ref().map(of));
        vec![
            self.expert.0.to_string(),
            self.lineage.as_ref().map_or("–".to_owned(), Lineage::to_string),
            self.steps.map_or("–".to_owned(), |steps| steps.to_string()),
            number(Some(self.norm)),
            routed(|routed| routed.utilization),
            routed(|routed| routed.mean_expert_weight),
            routed(|routed| routed.weighted_norm),
            routed(|routed| routed.router_mass),
            number(self.bias.map(f64::from)),
            number(self.balance_bias.map(f64::from)),
        ]
    }
}

/// The experts of one layer, for people.
pub(super) fn table(experts: &[ExpertFacts], layer: LayerId) -> Table {
    let numbers = [
        "steps",
        "norm",
        "utilization",
        "mean weight",
        "weighted norm",
        "router mass",
        "bias",
        "balance bias",
    ];
    let columns = [Column::left("expert"), Column::left("lineage")].into_iter();
    Table {
        columns: columns.chain(numbers.map(Column::right)).collect(),
        rows: experts.iter().filter(|facts| facts.layer == layer).map(ExpertFacts::row).collect(),
    }
}
