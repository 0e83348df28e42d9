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
                  edited experts, a line leads from the number it began with (ring) to the dot: the number and the accuracy that it was \
                  judged with. The line is level, since nothing was asked about the test split before. Arms that share a number stand a \
                  little beside one another. Both axes of the plot zoom by dragging.",
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

    /// From where cells began to their dots, and a ring at the beginning.
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
        let at = |value: f64| Some(place(value, beside));
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
        let x = cells.iter().map(|cell| place((self.cell)(cell), beside)).collect();
        let y = cells.iter().map(|cell| percent(cell)).collect();
        let told = |cell: &&CellResult| {
            let cost = format!("{} GFLOP", gigaflops(cell.flops.computed as f64));
            lines(&[
                format!("{}, seed {}", arm.title(), cell.seed),
                format!("{:.2} % on test", percent(cell)),
                experts(cell),
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

/// Where a number lies that several arms may share.
fn place(value: f64, beside: f64) -> f64 {
    rounded(value * beside, 6)
}

/// Of the judged checkpoint: what the tables show.
fn percent(cell: &CellResult) -> f64 {
    rounded(100.0 * cell.test.accuracy, 3)
}

/// How the experts of the judged checkpoint came to be, and whether others came later.
fn experts(cell: &CellResult) -> String {
    let (begun, judged) = (cell.edits.initial.n_experts(), cell.layout.n_experts());
    let plans = cell.edits.plans.len();
    // A plan of the step of a checkpoint comes after it.
    let before = cell.edits.plans.iter().filter(|plan| plan.step < cell.best_step).count();
    match (before, plans - before) {
        (0, 0) => format!("experts: {judged}"),
        (before, 0) => format!("experts: {begun} → {judged}, edited {before} times"),
        (before, after) => format!(
            "experts: {begun} → {judged}, edited {before} times before the judged checkpoint and {after} times after it"
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fixtures::{NOTHING, grown, outcomes_of, plan, result};

    /// Two seeds of `rule`, 92 and 93 % on test (the last checkpoints: 90 and 91 %). The first one has 5 experts when it is judged,
    /// at step 90, and 6 at the end.
    #[test]
    fn a_path_ends_at_the_dot_that_the_tables_speak_of() {
        let plan = plan(&["frozen-1", "rule"], 2);
        let mut results: Vec<CellResult> =
            plan.cells.iter().zip([0.80, 0.81, 0.92, 0.93]).map(|(cell, at)| result(cell, at)).collect();
        let judged = grown(results[2].clone(), &[30]);
        results[2] = CellResult { layout: judged.layout, ..grown(results[2].clone(), &[30, 95]) };
        let outcomes = outcomes_of(&plan, results);
        let report = Report::new(&plan, &outcomes, &NOTHING, plan.code).unwrap();
        let source = CellSource {
            plan: &plan,
            outcomes: &outcomes,
            log: &|_| Err(String::new()),
            command: &|_| String::new(),
        };
        let page = chart(&report, &source).data().0;
        let json = page.split("</script>").next().unwrap().split_once('>').unwrap().1;
        let drawing: Value = serde_json::from_str(json).unwrap();
        let traces = drawing["data"].as_array().unwrap();
        let of_rule: Vec<&Value> = traces.iter().filter(|trace| trace["legendgroup"] == "rule").collect();
        let [line, ring, dots] = of_rule.as_slice() else { panic!("{of_rule:?}") };
        // The second arm stands beside its number by -1.6 %: 4 experts at 3.936, 5 at 4.92.
        assert_eq!((&line["x"], &line["y"]), (&json!([3.936, 4.92, null]), &json!([92.0, 92.0, null])));
        assert_eq!((&ring["x"], &ring["y"]), (&json!([3.936]), &json!([92.0])));
        assert_eq!((&dots["x"], &dots["y"]), (&json!([4.92, 3.936]), &json!([92.0, 93.0])));
        let told = dots["hovertext"][0].as_str().unwrap();
        let experts = "4 → 5, edited 1 times before the judged checkpoint and 1 times after it";
        assert!(told.contains("92.00 % on test") && told.contains(experts), "{told}");
        let rule = report.arms[1].results.as_ref().unwrap();
        assert!((100.0 * rule.test_accuracy.mean - 92.5).abs() < 1e-9);
        assert!((rule.n_experts.mean - 4.5).abs() < 1e-12, "as many as in the tables");
    }
}
