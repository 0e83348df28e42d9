//! Domains on a page: how right each arm is on each of them, and which domain each expert serves.

use std::collections::BTreeSet;

use moelt_schema::{Cell, CellResult, DomainRouting};
use plotly::{HeatMap, common::ColorScalePalette, layout::AxisType};

use super::{
    chart::{Chart, Drawing, View, axes, axis, rounded, words},
    experts::{label, routed},
    source::CellSource,
};
use crate::{
    ArmReport, DomainEffect, Report, Summary,
    render::{Column, Document, Table, arms::none, domains::shown},
    report::purity::several_experts,
};

/// Numbers that the chart may hold over all cells: about half a megabyte.
const BUDGET: usize = 100_000;

/// The domains that a report shows.
fn domains(report: &Report) -> Vec<&DomainEffect> {
    report.domains.iter().flat_map(|domains| shown(&domains.domains)).collect()
}

/// Accuracy of every arm on every domain; nothing where there are no domains.
pub(super) fn accuracies(report: &Report, source: &CellSource) -> Document {
    let (mut document, domains) = (Document::default(), domains(report));
    if domains.is_empty() {
        return document;
    }
    let columns = domains.iter().map(|domain| Column::right(&domain.name));
    let finished = || report.arms.iter().filter(|arm| arm.results.is_some());
    let row = |arm: &ArmReport| {
        let accuracies = domains.iter().map(|domain| accuracy(source, &arm.arm, domain.domain));
        [arm.title()].into_iter().chain(accuracies).collect()
    };
    let table = Table {
        columns: [Column::left("arm")].into_iter().chain(columns).collect(),
        rows: finished().map(row).collect(),
    };
    document.arm_table(table, finished().map(|arm| arm.arm.as_str()));
    document.paragraph("Test accuracy in percent by arm and domain, mean over seeds.");
    document
}

/// Mean over the seeds of an arm, percent.
fn accuracy(source: &CellSource, arm: &str, domain: u32) -> String {
    let of_arm = source.finished().filter(|(cell, _)| cell.arm == arm);
    let on_domain = of_arm.filter_map(|(_, result)| {
        Some(result.test.per_domain.iter().find(|one| one.domain == domain)?.accuracy)
    });
    Summary::of(on_domain).map_or_else(none, |summary| format!("{:.2}", summary.percent().mean))
}

/// A view per cell with several experts to route to.
pub(super) fn chart(report: &Report, source: &CellSource) -> Chart {
    let domains = domains(report);
    let mut cells = source.within(BUDGET, |result| result.layout.n_experts() * domains.len());
    cells.retain(|(_, result)| !domains.is_empty() && several_experts(result).is_some());
    // A reader sees the first one first.
    cells.sort_by_key(|(_, result)| result.edits.plans.is_empty());
    let view = |(cell, result): (&Cell, &CellResult)| View::of_cell(cell, experts(result, &domains));
    Chart {
        id: "expert-domains-chart",
        caption: "Which domain each expert serves: of the tokens that an expert of the judged checkpoint got, the share that is of each \
                  domain (yellow: more).",
        choice: "Cell",
        height: 420,
        views: cells.into_iter().map(view).collect(),
    }
}

/// A row per expert, in router order from the top.
fn experts(result: &CellResult, domains: &[&DomainEffect]) -> Drawing {
    let (mut labels, mut rows) = (Vec::new(), Vec::new());
    for (router, (layer, experts)) in routed(&result.layout).enumerate() {
        for (place, expert) in experts.iter().enumerate() {
            labels.push(label(result, layer, *expert));
            rows.push(shares(&result.routing, domains, router, place));
        }
    }
    // A chart draws the first row at the bottom.
    labels.reverse();
    rows.reverse();
    let category = || axis("").type_(AxisType::Category);
    let mut plot = Drawing::new(axes(category().n_ticks(domains.len()), category()));
    let map = HeatMap::new(distinct(domains), labels, rows).zmin(0.0).zmax(100.0).show_scale(false);
    let told = "%{y}: %{z} % of its tokens are of %{x}<extra></extra>";
    plot.add(map.color_scale(ColorScalePalette::Cividis.into()).hover_on_gaps(false).hover_template(told));
    plot
}

/// The parts of an expert's tokens that are of each domain, percent; none of no tokens.
fn shares(
    routing: &[DomainRouting],
    domains: &[&DomainEffect],
    router: usize,
    place: usize,
) -> Vec<Option<f64>> {
    let tokens = |domain: &DomainRouting| domain.tokens_per_expert.get(router)?.get(place).copied();
    let all: f64 = routing.iter().filter_map(tokens).sum();
    let share = |domain: &&DomainEffect| {
        let own = tokens(routing.iter().find(|routing| routing.domain == domain.domain)?)?;
        (all > 0.0).then(|| rounded(100.0 * own / all, 1))
    };
    domains.iter().map(share).collect()
}

/// Names, with the number where two domains share one: a chart would draw them as one.
fn distinct(domains: &[&DomainEffect]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut names = Vec::new();
    for DomainEffect { domain, name, .. } in domains {
        let is_new = seen.insert(name);
        names.push(words(&if is_new { name.clone() } else { format!("{name} ({domain})") }));
    }
    names
}
