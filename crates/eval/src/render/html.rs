//! A report as a page: `report.html`, one file that loads nothing. Its sections are the documents of the other forms, with charts.

mod accuracy;
mod bars;
mod blocks;
mod chart;
mod costs;
mod domains;
mod experts;
mod history;
mod palette;
mod provenance;
mod source;
mod training;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use plotly::Plot;

pub use source::CellSource;

use super::{Block, Document, Text, answer, arms, collapsed, stream, sweep, verdicts};
use crate::{Answer, Report};
use blocks::{anchor, blocks};
use chart::Chart;
use palette::looks;

/// Nothing is loaded from anywhere, whatever a script tries.
const NO_REQUESTS: &str =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:";

/// A part of the page: a document whose first block is its title, and the charts that follow the title.
struct Section {
    document: Document,
    charts: Vec<Chart>,
    /// What is folded at its end.
    folded: Option<(String, Document)>,
}

impl Report {
    /// `report.html`: everything that [`Report::document`] holds, and charts of what `source` knows of single cells. The page is
    /// complete in itself and can be read without a script.
    pub fn to_html(&self, source: &CellSource<'_>) -> String {
        let answer = self.answer();
        let sections: Vec<Section> = sections(self, &answer, source)
            .into_iter()
            .filter(|section| !section.document.blocks.is_empty())
            .collect();
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                (head(&self.name))
                body {
                    (side(self, &sections))
                    main {
                        (header(self, &answer))
                        @for section in &sections { (section.markup()) }
                    }
                    (scripts(&sections))
                }
            }
        };
        page.into_string()
    }
}

/// In reading order.
fn sections(report: &Report, answer: &Answer, source: &CellSource) -> Vec<Section> {
    let (training, missing) = training::chart(source);
    let n_cells = source.finished().count();
    let mut cells = titled("Cells", Document::default());
    cells.paragraph("Each command goes from the folder that the ablation was started in, and writes beside the cell, not over it.");
    vec![
        Section::new(titled("Accuracy and experts", answer::short(report, answer)))
            .with([accuracy::chart(report, source)]),
        Section::new(verdicts::document(report)),
        Section::new(costs::document(report)),
        Section::new(arms::document(&report.arms)),
        Section::new(report.sweep.as_ref().map(sweep::document).unwrap_or_default()),
        Section::new(stream::document(report)),
        Section::new(histories(report)).with([history::chart(report, source)]),
        Section::new(training_notes(&training, missing)).with([training]),
        Section::new(report.signal.as_ref().map(crate::Signal::document).unwrap_or_default()),
        Section::new(on_domains(report, source)).with([domains::chart(report, source)]),
        Section::new(collapsed::document(report)),
        Section::new(report.unfinished_cells()),
        Section::new(provenance::document(report)),
        Section {
            folded: Some((format!("{n_cells} finished cells"), provenance::cells(report, source))),
            ..Section::new(cells)
        },
    ]
}

fn titled(title: &str, rest: Document) -> Document {
    let mut document = Document::default();
    document.heading(2, title).append(rest);
    document
}

fn histories(report: &Report) -> Document {
    let histories = &report.experts_over_time;
    if histories.is_empty() { Document::default() } else { super::history::document(histories) }
}

fn on_domains(report: &Report, source: &CellSource) -> Document {
    let mut document = super::domains::document(report);
    document.append(domains::accuracies(report, source));
    document
}

/// Title, and what the chart lacks; nothing where there is nothing to show.
fn training_notes(chart: &Chart, missing: Vec<String>) -> Document {
    let mut notes = Document::default();
    notes.list(missing);
    if chart.views.is_empty() && notes.blocks.is_empty() {
        notes
    } else {
        titled("Training of single cells", notes)
    }
}

impl Section {
    fn new(document: Document) -> Self {
        Self { document, charts: Vec::new(), folded: None }
    }

    fn with(self, charts: impl Into<Vec<Chart>>) -> Self {
        Self { charts: charts.into(), ..self }
    }

    fn markup(&self) -> Markup {
        let (title, rest) = self.document.blocks.split_at(self.document.blocks.len().min(1));
        html! {
            section {
                (blocks(title))
                @for chart in &self.charts { (chart.place()) }
                (blocks(rest))
                @if let Some((summary, document)) = &self.folded {
                    details { summary { (summary) } (blocks(&document.blocks)) }
                }
            }
        }
    }

    fn titles(&self) -> impl Iterator<Item = &Text> {
        self.document.blocks.iter().filter_map(|block| match block {
            Block::Heading { text, .. } => Some(text),
            _ => None,
        })
    }
}

fn head(name: &str) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            meta http-equiv="Content-Security-Policy" content=(NO_REQUESTS);
            title { (name) " · moelt" }
            style { (PreEscaped(include_str!("html/style.css"))) }
            // Before anything is shown, so that what is for readers without a script does not flash.
            script { "document.documentElement.classList.add('scripted')" }
        }
    }
}

/// A link to each section, and the arms, which can be hidden.
fn side(report: &Report, sections: &[Section]) -> Markup {
    html! {
        nav aria-label="sections and arms" {
            ul.contents {
                @for title in sections.iter().flat_map(Section::titles) {
                    li { a href={ "#" (anchor(title)) } { (title.words()) } }
                }
            }
            div.arms role="group" aria-label="arms that are shown" {
                p { "Arms " span.hint { "click to hide" } }
                @for (arm, look) in report.arms.iter().zip(looks(&report.arms)) {
                    button type="button" aria-pressed="true" data-toggles=(arm.arm) {
                        span style={ "color:" (look.colour) } { (look.glyph) } " " (arm.title())
                    }
                }
            }
        }
    }
}

/// Title, how far the ablation is, and the answer.
fn header(report: &Report, answer: &Answer) -> Markup {
    let (finished, planned) =
        report.arms.iter().fold((0, 0), |(done, all), arm| (done + arm.finished, all + arm.planned));
    html! {
        header {
            h1 { (report.name) }
            p.facts { (report.arms.len()) " arms · " (finished) " of " (planned) " cells finished · plan " code { (report.plan.short()) } }
            div.answer { (blocks(&answer::sentences(report, answer).blocks)) }
            noscript { p.hint { "The charts need JavaScript; the tables hold their numbers." } }
        }
    }
}

/// At the end of the page, where they hold up nothing: the numbers of the charts, plotly.js as a text that is run once the page
/// has been painted, and what draws.
fn scripts(sections: &[Section]) -> Markup {
    html! {
        @for chart in sections.iter().flat_map(|section| &section.charts) { (chart.data()) }
        script type="text/plain" id="plotly" { (PreEscaped(plotly_script())) }
        script { (PreEscaped(include_str!("html/page.js"))) }
    }
}

/// The first script that the crate brings. The second is MathJax, which no chart here needs.
fn plotly_script() -> String {
    let scripts = Plot::offline_js_sources();
    let first = scripts.split("</script>").next().unwrap_or_default();
    first.split_once('>').map_or(first, |(_, script)| script).to_owned()
}

#[cfg(test)]
mod tests;
