//! The chart of experts over time: a line per cell, with what each edit did.

use moelt_schema::{CellResult, Edit};
use plotly::{
    Scatter,
    common::{HoverInfo, Line, LineShape, Marker, Mode},
};

use super::{
    chart::{Chart, Drawing, View, axes, axis, lines},
    palette::{Look, looks},
    source::CellSource,
};
use crate::{ArmReport, ExpertHistory, Report};

/// So many edits of one step are told one by one.
const TOLD: usize = 6;

/// A line per cell of the arms that edited; without a view where none did.
pub(super) fn chart(report: &Report, source: &CellSource) -> Chart {
    let most = report
        .experts_over_time
        .iter()
        .flat_map(|history| &history.counts)
        .map(|count| count.n_experts)
        .max();
    // No tick lies between two numbers of experts.
    let every = most.map_or(1, |most| most.div_ceil(8));
    let y = axis("experts over all layers").dtick(every as f64);
    let mut plot = Drawing::new(axes(axis("step"), y));
    for (arm, look) in report.arms.iter().zip(looks(&report.arms)) {
        for history in report.experts_over_time.iter().filter(|history| history.arm == arm.arm) {
            let is_its = |result: &CellResult| (&result.arm, result.seed) == (&history.arm, history.seed);
            if let Some((_, result)) = source.finished().find(|(_, result)| is_its(result)) {
                plot.add(line(arm, &look, history, result));
            }
        }
    }
    let view = View::new("all cells", plot);
    Chart {
        id: "history-chart",
        caption: "A line per cell of the arms that edited. Each mark is a step with edits, and tells on hover which experts were born of \
                  which parent and which went; the last one is the judged checkpoint where it came later.",
        choice: "",
        height: 380,
        views: if report.experts_over_time.is_empty() { Vec::new() } else { vec![view] },
    }
}

fn line(
    arm: &ArmReport,
    look: &Look,
    history: &ExpertHistory,
    result: &CellResult,
) -> Box<Scatter<u64, usize>> {
    let counts = || history.counts.iter();
    let end = (history.judged_at, history.judged_with);
    let points = counts().map(|count| (count.step, count.n_experts));
    // A checkpoint that was judged before the last edit has no place at the end.
    let last = counts().last().is_some_and(|count| count.step < end.0).then_some(end);
    let (x, y): (Vec<u64>, Vec<usize>) = points.chain(last).unzip();
    let told = |(&step, &n): (&u64, &usize)| {
        let mut told =
            vec![format!("{}, seed {}", arm.title(), history.seed), format!("step {step}: {n} experts")];
        told.extend(edits(result, step));
        if step == end.0 {
            told.push(format!("judged here with {}", end.1));
        }
        lines(&told)
    };
    let told = x.iter().zip(&y).map(told).collect();
    Scatter::new(x, y)
        .mode(Mode::LinesMarkers)
        .line(Line::new().width(1.5).color(look.colour).shape(LineShape::Hv))
        .marker(Marker::new().size(5).color(look.colour).symbol(look.symbol.clone()))
        .opacity(0.6)
        .legend_group(arm.arm.as_str())
        .hover_info(HoverInfo::Text)
        .hover_text_array(told)
}

/// The edits of a step in words.
fn edits(result: &CellResult, step: u64) -> Vec<String> {
    let plans = result.edits.plans.iter().filter(|plan| plan.step == step);
    let mut told: Vec<String> = plans.flat_map(|plan| &plan.edits).filter_map(edit).collect();
    let more = told.len().saturating_sub(TOLD);
    told.truncate(TOLD);
    told.extend((more > 0).then(|| format!("and {more} more")));
    told
}

/// Births, deaths and mergers; the other edits leave the experts as they are.
fn edit(edit: &Edit) -> Option<String> {
    match edit {
        Edit::Grow { layer, new, init } => {
            let parent = init.parent().map_or("fresh".to_owned(), |parent| format!("from {}", parent.0));
            Some(format!("layer {}: expert {} is born, {parent}", layer.0, new.0))
        }
        Edit::Prune { layer, expert } => Some(format!("layer {}: expert {} goes", layer.0, expert.0)),
        Edit::Merge { layer, from, into, .. } => {
            Some(format!("layer {}: expert {} goes, merged into {}", layer.0, from.0, into.0))
        }
        Edit::Upcycle { layer, into, .. } => {
            Some(format!("layer {}: a dense expert becomes {}", layer.0, into.len()))
        }
        Edit::Reorder { .. } | Edit::Redraw { .. } | Edit::Freeze { .. } | Edit::Thaw { .. } => None,
        Edit::FreezeShared {} | Edit::ThawShared {} => None,
    }
}
