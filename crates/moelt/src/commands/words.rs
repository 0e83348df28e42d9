//! Layers, edits and what they did, and accuracies, in a few words.

use moelt_eval::Interval;
use moelt_schema::{Edit, ExpertId, ExpertInit, LayerKind, LayerLayout, Metrics, Plan};
use moelt_train::EditedCheckpoint;

/// `4 experts, top-2: 0 1 2 3`
pub(super) fn layer(layer: &LayerLayout) -> String {
    let (n, ids) = (layer.n_experts(), ids(&layer.experts));
    match layer.kind {
        LayerKind::Dense => "dense".to_owned(),
        LayerKind::TopAny => format!("{n} experts, top-any: {ids}"),
        LayerKind::Assigned => format!("{n} experts, assigned: {ids}"),
        LayerKind::TopK { k: top_k } => format!("{n} experts, top-{top_k}: {ids}"),
    }
}

/// Of the interval behind an accuracy.
const LEVEL: f64 = 0.95;

/// `83.72 % (n = 872)`, where there is a text to judge by.
pub(super) fn accuracy(metrics: &Metrics) -> String {
    match metrics.n {
        0 => "– (no text to judge by)".to_owned(),
        n => plain(metrics.accuracy, n),
    }
}

/// `83.72 % (n = 872)`.
pub(super) fn plain(accuracy: f64, n: usize) -> String {
    format!("{} (n = {n})", percent(accuracy))
}

/// `83.72 %`, and `<0.01 %` for a share that would look like none.
pub(super) fn percent(share: f64) -> String {
    match format!("{:.2}", 100.0 * share) {
        rounded if share > 0.0 && rounded == "0.00" => "<0.01 %".to_owned(),
        rounded => rounded + " %",
    }
}

/// `84.06 % [81.48, 86.34] (n = 872)`: with the interval over texts, for an accuracy by which nothing was chosen.
pub(super) fn judged(accuracy: f64, n: usize) -> String {
    let Interval { lower, upper, .. } = Interval::of_share(accuracy, n, LEVEL);
    format!("{} [{:.2}, {:.2}] (n = {n})", percent(accuracy), 100.0 * lower, 100.0 * upper)
}

/// How far an edit moved the logits.
pub(super) fn deviation(edited: &EditedCheckpoint) -> String {
    let weights = if edited.checkpoint.manifest.probe.ema_logits.is_some() { "averaged" } else { "trained" };
    format!(
        "deviation   {:.3e} = ‖after − before‖ / ‖before‖ of the {weights} weights' logits on {} texts",
        edited.deviation, edited.texts
    )
}

/// `layer 0: +4 copy of 1, -3; layer 1: 2 into 0`
pub(super) fn plan(plan: &Plan) -> String {
    let mut layers: Vec<_> = plan.edits.iter().map(Edit::layer).collect();
    layers.sort();
    layers.dedup();
    let of = |layer| {
        let edits = plan.edits.iter().filter(|edit| edit.layer() == layer);
        edits.map(edit).collect::<Vec<_>>().join(", ")
    };
    let layers = layers.into_iter().map(|layer| match layer {
        Some(id) => format!("layer {}: {}", id.0, of(layer)),
        None => of(layer),
    });
    layers.collect::<Vec<_>>().join("; ")
}

fn edit(edit: &Edit) -> String {
    match edit {
        Edit::Grow { new, init, .. } => match init {
            ExpertInit::Fresh => format!("+{} fresh", new.0),
            ExpertInit::Aimed { .. } => format!("+{} aimed", new.0),
            ExpertInit::Copy { parent, noise } => format!("+{} copy of {} (noise {noise})", new.0, parent.0),
            ExpertInit::Split { parent } => format!("+{} split of {}", new.0, parent.0),
            ExpertInit::SplitAlong { parent, .. } => {
                format!("+{} split of {} along a direction", new.0, parent.0)
            }
        },
        Edit::Prune { expert, .. } => format!("-{}", expert.0),
        Edit::Merge { from, into, share, .. } => format!("{} into {} (share {share:.3})", from.0, into.0),
        Edit::Upcycle { into, top_k, .. } => format!("upcycled into {}, top-{top_k}", ids(into)),
        Edit::Reorder { order, .. } => format!("reordered to {}", ids(order)),
        Edit::Redraw { expert, units, .. } => format!("{} units of {} redrawn", units.len(), expert.0),
        Edit::Freeze { expert, .. } => format!("{} frozen", expert.0),
        Edit::Thaw { expert, .. } => format!("{} thawed", expert.0),
        Edit::FreezeShared {} => "shared parts frozen".to_owned(),
        Edit::ThawShared {} => "shared parts thawed".to_owned(),
    }
}

fn ids(experts: &[ExpertId]) -> String {
    experts.iter().map(|id| id.0.to_string()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accuracy_that_judges_has_its_interval() {
        assert_eq!(judged(733.0 / 872.0, 872), "84.06 % [81.48, 86.34] (n = 872)");
        assert_eq!(judged(1.0, 6), "100.00 % [60.97, 100.00] (n = 6)");
        assert_eq!(judged(0.0, 1), "0.00 % [0.00, 79.35] (n = 1)");
    }

    #[test]
    fn a_share_that_is_there_does_not_look_like_none() {
        let shares = [0.0, 1e-9, 0.000_049, 0.000_051, 0.125, 1.0].map(percent);
        assert_eq!(shares, ["0.00 %", "<0.01 %", "<0.01 %", "0.01 %", "12.50 %", "100.00 %"]);
    }
}
