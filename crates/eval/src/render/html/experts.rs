//! What experts are called on a page.

use moelt_schema::{Birth, CellResult, ExpertId, LayerId, LayerKind, Layout};

/// The experts of the layers with a router, in router order.
pub(super) fn routed(layout: &Layout) -> impl Iterator<Item = (LayerId, &[ExpertId])> {
    let routed = (0..).zip(layout.layers()).filter(|(_, layer)| layer.kind != LayerKind::Dense);
    routed.map(|(at, layer)| (LayerId(at), layer.experts.as_slice()))
}

/// `L0 E8 ← 1`: layer and expert, with the one it came from.
pub(super) fn label(result: &CellResult, layer: LayerId, expert: ExpertId) -> String {
    let lineage = result.edits.lineage(layer, expert);
    let from = match lineage.map(|lineage| lineage.birth) {
        Some(Birth::Copy { parent, .. } | Birth::Split { parent, .. } | Birth::Upcycled { parent, .. }) => {
            format!(" ← {}", parent.0)
        }
        Some(Birth::Initial | Birth::Fresh { .. }) | None => String::new(),
    };
    format!("L{} E{}{from}", layer.0, expert.0)
}
