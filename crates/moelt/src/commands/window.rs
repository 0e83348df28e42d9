//! What the routers did before a checkpoint, as far as it has kept count.

use std::collections::BTreeMap;

use moelt_schema::{LayerId, LayerKind, LayerSums, Manifest};

/// Routing sums of the layers with a router. A checkpoint holds the last complete window and what has been
/// counted since it and since the last decision: this is the longest. Empty before the first step.
pub(super) fn routing(manifest: &Manifest) -> BTreeMap<LayerId, &LayerSums> {
    let rows = |sums: &[LayerSums]| sums.iter().map(|sums| sums.tokens).sum::<f64>();
    let state = &manifest.state;
    let windows = [&state.last_window, &state.window.layers, &state.decision_window.layers];
    let longest = windows.into_iter().max_by(|one, other| rows(one).total_cmp(&rows(other)));
    let layers = (0..).map(LayerId).zip(manifest.layout.layers());
    let routed = layers.filter(|(_, layer)| layer.kind != LayerKind::Dense).map(|(id, _)| id);
    routed.zip(longest.into_iter().flatten()).filter(|(_, sums)| sums.tokens > 0.0).collect()
}
