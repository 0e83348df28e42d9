//! What the routers did before a checkpoint, as far as it has kept count.

use std::collections::BTreeMap;

use moelt_schema::{LayerId, LayerKind, LayerSums, Manifest};

/// Routing sums of the layers with a router. A checkpoint may hold two windows, one since the last line of
/// the event log and one since the last decision: this is the longer. Empty when neither has begun.
pub(super) fn routing(manifest: &Manifest) -> BTreeMap<LayerId, &LayerSums> {
    let rows = |sums: &[LayerSums]| sums.iter().map(|sums| sums.rows).sum::<f64>();
    let (logged, decided) = (&manifest.state.window.layers, &manifest.state.decision_window);
    let longer = if rows(decided) > rows(logged) { decided } else { logged };
    let layers = (0..).map(LayerId).zip(manifest.layout.layers());
    let routed = layers.filter(|(_, layer)| layer.kind != LayerKind::Dense).map(|(id, _)| id);
    routed.zip(longer).filter(|(_, sums)| sums.rows > 0.0).collect()
}
