//! The chart of a cell's training: which experts lived when and how much they did, losses, gradient norm and entropies.

use std::collections::BTreeMap;

use moelt_schema::{CellResult, ExpertId, LayerId, Layout as Experts};
use plotly::{
    HeatMap, Layout, Scatter,
    common::{ColorScalePalette, DashType, Font, Line, Mode},
    layout::AxisType,
};

use super::{
    chart::{Chart, Drawing, View, axis, rounded},
    experts::{label, routed},
    source::CellSource,
};
use crate::{LogRouting, LogValidation, LogWindow, TrainingLog};

/// Windows of a cell that are shown.
const WINDOWS: usize = 60;

/// Numbers that the chart may hold over all cells: about 2 MB.
const BUDGET: usize = 350_000;

/// A view per cell, and why some have none.
pub(super) fn chart(source: &CellSource) -> (Chart, Vec<String>) {
    let (mut views, mut missing) = (Vec::new(), Vec::new());
    let mut cells = source.within(BUDGET, cost);
    // A reader sees the first one first.
    cells.sort_by_key(|(_, result)| result.edits.plans.is_empty());
    let left_out = source.finished().count() - cells.len();
    for (cell, result) in cells {
        match (source.log)(cell) {
            Ok(log) => views.push(View::of_cell(cell, plot(result, &log.thinned(WINDOWS)))),
            Err(reason) => missing.push(reason),
        }
    }
    if left_out > 0 {
        missing.push(format!(
            "{left_out} cells are left out, the last seeds of each arm: the page would be too large"
        ));
    }
    let chart = Chart {
        id: "training-chart",
        caption: "The share of the tokens that each expert got (yellow: more), a row per expert that ever was, empty before its birth and \
                  after its death, with layer, id and behind the arrow its parent; below it losses, the gradient norm before clipping, and the \
                  routing and load entropy of each router. At most 60 windows of the log are shown.",
        choice: "Cell",
        height: 760,
        views,
    };
    (chart, missing)
}

/// Numbers of a cell: its losses and entropies, and the load of every expert that ever was.
fn cost(result: &CellResult) -> usize {
    let layers = result.layout.layers().len();
    WINDOWS * (8 + 4 * layers + result.edits.initial.n_experts() + result.edits.plans.len())
}

fn plot(result: &CellResult, log: &TrainingLog) -> Drawing {
    let mut plot = Drawing::new(panels());
    add_load(&mut plot, result, &log.windows);
    let windows = |of: fn(&LogWindow) -> f64| log.windows.iter().map(move |window| (window.step, of(window)));
    let validations =
        |of: fn(&LogValidation) -> f64| log.validations.iter().map(move |one| (one.step, of(one)));
    let mut add = |name: &str, panel: &str, look: Line, points: Vec<(u64, f64)>| {
        let (x, y) = points.into_iter().map(|(step, value)| (step, rounded(value, 4))).unzip();
        let line = Scatter::<u64, f64>::new(x, y).mode(Mode::Lines).name(name);
        plot.add(line.line(look.width(1.5)).y_axis(panel));
    };
    add("training loss", "y2", Line::new().color("#0a7bc2"), windows(|window| window.loss).collect());
    add("validation loss", "y2", Line::new().color("#d55e00"), validations(|one| one.loss).collect());
    add("gradient norm", "y3", Line::new().color("#8a6fd1"), windows(|window| window.grad_norm).collect());
    for layer in 0..log.windows.first().map_or(0, |window| window.layers.len()) {
        let entropy = |of: fn(&LogRouting) -> f64| {
            let point = |window: &LogWindow| Some((window.step, of(window.layers.get(layer)?)));
            log.windows.iter().filter_map(point).collect()
        };
        let (routing, load) =
            (format!("routing entropy, layer {layer}"), format!("load entropy, layer {layer}"));
        add(&routing, "y4", Line::new().color("#009e73"), entropy(|one| one.routing_entropy));
        add(&load, "y4", Line::new().color("#e69f00").dash(DashType::Dash), entropy(|one| one.load_entropy));
    }
    plot
}

/// Load, losses, gradient norm and entropies, from the top to the bottom.
fn panels() -> Layout {
    let panel = |title: &str, from: f64, to: f64| axis(title).domain(&[from, to]).anchor("x");
    Layout::new()
        .show_legend(true)
        .x_axis(axis("step").anchor("y4"))
        .y_axis(panel("", 0.56, 1.0).type_(AxisType::Category).tick_font(Font::new().size(10)))
        .y_axis2(panel("loss, nats", 0.37, 0.52))
        .y_axis3(panel("gradient norm", 0.18, 0.33))
        .y_axis4(panel("entropy, nats", 0.0, 0.14))
}

/// A heat map with a row per expert that ever was: empty before its birth and after its death.
fn add_load(plot: &mut Drawing, result: &CellResult, windows: &[LogWindow]) {
    let mut rows: BTreeMap<(LayerId, ExpertId), Vec<Option<f64>>> = BTreeMap::new();
    for (at, (window, layout)) in windows.iter().zip(layouts(result, windows)).enumerate() {
        for ((layer, experts), routing) in routed(&layout).zip(&window.layers) {
            for (expert, share) in experts.iter().zip(&routing.utilization) {
                let row = rows.entry((layer, *expert)).or_insert_with(|| vec![None; windows.len()]);
                row[at] = Some(rounded(100.0 * share, 1));
            }
        }
    }
    if rows.is_empty() {
        return;
    }
    // Drawn from the bottom to the top.
    let labels = rows.keys().rev().map(|(layer, expert)| label(result, *layer, *expert)).collect();
    let steps = windows.iter().map(|window| window.step).collect();
    let map = HeatMap::new(steps, labels, rows.into_values().rev().collect());
    plot.add(
        map.zmin(0.0)
            .color_scale(ColorScalePalette::Cividis.into())
            .show_scale(false)
            .hover_on_gaps(false)
            .hover_template("%{y}<br>step %{x}: %{z} % of the tokens<extra></extra>"),
    );
}

/// The layout that each window ended with: the edits of its last step came after it.
fn layouts(result: &CellResult, windows: &[LogWindow]) -> Vec<Experts> {
    let mut edits = result.edits.layouts().map_while(Result::ok).peekable();
    let mut now = result.edits.initial.clone();
    let mut at = |window: &LogWindow| {
        while let Some((_, layout)) = edits.next_if(|(step, _)| *step < window.step) {
            now = layout;
        }
        now.clone()
    };
    windows.iter().map(&mut at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{grown, plan, result};

    #[test]
    fn a_window_has_the_experts_of_its_own_steps() {
        let plan = plan(&["rule"], 1);
        let result = grown(result(&plan.cells[0], 0.9), &[20, 30]);
        let window = |step| LogWindow { step, loss: 0.1, grad_norm: 1.0, layers: Vec::new() };
        let windows: Vec<LogWindow> = [10, 20, 30, 40].map(window).into();
        let counts: Vec<usize> = layouts(&result, &windows).iter().map(Experts::n_experts).collect();
        assert_eq!(counts, [4, 4, 5, 6], "what is edited after step 20 is there at step 30");
        assert_eq!(label(&result, LayerId(0), ExpertId(0)), "L0 E0");
    }
}
