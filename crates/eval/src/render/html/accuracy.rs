//! The chart: accuracy against number of experts, or against cost. Every seed is a dot, the frozen sweep a band, and an arm that
//! edited experts a path from where it began to where it ended.

use moelt_schema::CellResult;
use plotly::{
    Scatter,
    common::{Fill, HoverInfo, Line, Marker, MarkerSymbol, Mode},
    layout::AxisType,
};

use super::{
    chart::{Chart, Drawing, View, axes, axis, lines, rounded},
    palette::{Look, looks},
    source::CellSource,
};
use crate::{ArmReport, ArmResults, Report, render::arms::gigaflops};

/// What a chart has on its horizontal axis.
struct Against {
    name: &'static str,
    title: &'static str,
    /// Of a cell.
    cell: fn(&CellResult) -> f64,
    /// Where the cell began; none where there is no such thing.
    start: Option<fn(&CellResult) -> f64>,
    /// Of an arm.
    mean: fn(&ArmResults) -> f64,
}

const VIEWS: [Against; 2] = [
    Against {
        name: "number of experts",
        title: "experts over all layers of the judged checkpoint",
        cell: |result| result.layout.n_experts() as f64,
        start: Some(|result| result.edits.initial.n_experts() as f64),
        mean: |results| results.n_experts.mean,
    },
    Against {
        name: "cost of training",
        title: "GFLOP that training the cell itself computed",
        cell: |result| result.flops.computed as f64 / 1e9,
        start: None,
        mean: |results| results.flops.mean / 1e9,
    },
];

/// Both views; none while no cell is finished.
pub(super) fn chart(report: &Report, source: &CellSource) -> Chart {
    let any = source.finished().next().is_some();
    let view = |against: &Against| View::new(against.name, against.plot(report, source));
    Chart {
        id: "accuracy-chart",
        caption: "A dot is a seed, by its accuracy on the test split. The grey band is the frozen sweep, mean ± standard deviation. Where an arm \
                  edited experts, a line leads from the number it began with (ring) to the number it was judged with, at the accuracy \
                  it ended with. Arms that share a number stand a little beside one another. Both axes of the plot zoom by dragging.",
        choice: "Accuracy against",
        height: 460,
        views: VIEWS.iter().filter(|_| any).map(view).collect(),
    }
}

impl Against {
    fn plot(&self, report: &Report, source: &CellSource) -> Drawing {
        let x = axis(self.title).type_(AxisType::Log).dtick(f64::log10(2.0));
        let mut plot = Drawing::new(axes(x, axis("accuracy on test, %")));
        self.add_band(&mut plot, &report.arms);
        for (at, (arm, look)) in report.arms.iter().zip(looks(&report.arms)).enumerate() {
            let cells: Vec<&CellResult> =
                source.finished().filter(|(cell, _)| cell.arm == arm.arm).map(|(_, result)| result).collect();
            // Costs differ by themselves.
            let beside = if self.start.is_some() { 1.0 + 0.008 * (at % 7) as f64 - 0.024 } else { 1.0 };
            self.add_paths(&mut plot, arm, &look, &cells, beside);
            plot.add(self.dots(arm, &look, &cells, beside));
        }
        plot
    }

    /// Mean ± standard deviation of the frozen sizes.
    fn add_band(&self, plot: &mut Drawing, arms: &[ArmReport]) {
        let frozen = arms.iter().filter(|arm| arm.sweep.is_some());
        let mut points: Vec<(f64, f64, f64)> = frozen
            .filter_map(|arm| {
                let results = arm.results.as_ref()?;
                let accuracy = results.test_accuracy.percent();
                Some((rounded((self.mean)(results), 6), accuracy.mean, accuracy.sd.unwrap_or(0.0)))
            })
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let edge = |sign: f64| {
            let x = points.iter().map(|point| point.0).collect();
            let y = points.iter().map(|(_, mean, sd)| rounded(mean + sign * sd, 3)).collect();
            Scatter::new(x, y).mode(Mode::Lines).hover_info(HoverInfo::Skip)
        };
        let hidden = || Line::new().width(0.0);
        plot.add(edge(1.0).line(hidden()));
        let fill = edge(-1.0).line(hidden()).fill(Fill::ToNextY);
        plot.add(fill.fill_color("rgba(138,143,152,0.18)"));
        plot.add(edge(0.0).line(Line::new().width(1.5).color("#8a8f98")));
    }

    /// From where cells began to where they ended, and a ring at the beginning.
    fn add_paths(
        &self,
        plot: &mut Drawing,
        arm: &ArmReport,
        look: &Look,
        cells: &[&CellResult],
        beside: f64,
    ) {
        let Some(start) = self.start else { return };
        let moved: Vec<&&CellResult> = cells.iter().filter(|cell| !cell.edits.plans.is_empty()).collect();
        if moved.is_empty() {
            return;
        }
        let at = |value: f64| Some(rounded(value * beside, 4));
        let height = |cell: &CellResult| Some(percent(cell));
        let x = moved.iter().flat_map(|cell| [at(start(cell)), at((self.cell)(cell)), None]).collect();
        let y = moved.iter().flat_map(|cell| [height(cell), height(cell), None]).collect();
        let line = Scatter::new(x, y).mode(Mode::Lines).line(Line::new().width(1.0).color(look.colour));
        plot.add(line.opacity(0.45).legend_group(arm.arm.as_str()).hover_info(HoverInfo::Skip));
        let (x, y) = (moved.iter().map(|cell| at(start(cell))), moved.iter().map(|cell| height(cell)));
        let marker = Marker::new().size(6).color(look.colour).symbol(MarkerSymbol::CircleOpen);
        let ring = Scatter::new(x.collect(), y.collect()).mode(Mode::Markers).marker(marker);
        plot.add(ring.opacity(0.7).legend_group(arm.arm.as_str()).hover_info(HoverInfo::Skip));
    }

    fn dots(
        &self,
        arm: &ArmReport,
        look: &Look,
        cells: &[&CellResult],
        beside: f64,
    ) -> Box<Scatter<f64, f64>> {
        let x = cells.iter().map(|cell| rounded((self.cell)(cell) * beside, 6)).collect();
        let y = cells.iter().map(|cell| percent(cell)).collect();
        let told = |cell: &&CellResult| {
            let (begun, ended) = (cell.edits.initial.n_experts(), cell.layout.n_experts());
            let experts = match cell.edits.plans.len() {
                0 => format!("experts: {ended}"),
                plans => format!("experts: {begun} → {ended}, edited {plans} times"),
            };
            let cost = format!("{} GFLOP", gigaflops(cell.flops.computed as f64));
            lines(&[
                format!("{}, seed {}", arm.title(), cell.seed),
                format!("{:.2} % on test", percent(cell)),
                experts,
                cost,
            ])
        };
        let marker = Marker::new().size(8).color(look.colour).symbol(look.symbol.clone());
        Scatter::new(x, y)
            .mode(Mode::Markers)
            .marker(marker.line(Line::new().width(0.5).color("rgba(255,255,255,0.7)")))
            .opacity(0.85)
            .legend_group(arm.arm.as_str())
            .hover_info(HoverInfo::Text)
            .hover_text_array(cells.iter().map(told).collect())
    }
}

fn percent(cell: &CellResult) -> f64 {
    rounded(100.0 * cell.test.accuracy, 3)
}
