//! A chart on a page: its place, and its numbers as data for the script.

use maud::{Markup, PreEscaped, html};
use moelt_schema::Cell;
use plotly::{Layout, Trace, Traces, common::Title, layout::Axis};
use serde::Serialize;

/// A chart with one view or several, of which a reader chooses.
pub(super) struct Chart {
    /// Its anchor.
    pub(super) id: &'static str,
    /// What it shows, and how to read it.
    pub(super) caption: &'static str,
    /// What the choice between views is called.
    pub(super) choice: &'static str,
    /// Pixels.
    pub(super) height: usize,
    /// What it can show; the first is shown.
    pub(super) views: Vec<View>,
}

/// One of the things that a chart can show.
pub(super) struct View {
    /// Views of one group are listed together; empty: no group.
    pub(super) group: String,
    /// What it is called in the list.
    pub(super) name: String,
    /// What is drawn.
    drawing: Drawing,
}

/// Traces and axes; fonts and colours of the theme are the script's. The crate's `Plot` would have 7 MB of scripts in every view.
#[derive(Serialize)]
pub(super) struct Drawing {
    data: Traces,
    layout: Layout,
}

impl Drawing {
    /// Without traces.
    pub(super) fn new(layout: Layout) -> Self {
        Self { data: Traces::new(), layout }
    }

    /// Above those that are there.
    pub(super) fn add(&mut self, trace: Box<dyn Trace>) {
        self.data.push(trace);
    }

    fn json(&self) -> String {
        serde_json::to_string(self).expect("numbers, texts and lists of them have a JSON form")
    }
}

impl View {
    /// In no group.
    pub(super) fn new(name: &str, drawing: Drawing) -> Self {
        Self { group: String::new(), name: name.to_owned(), drawing }
    }

    /// In the group of the cell's arm.
    pub(super) fn of_cell(cell: &Cell, drawing: Drawing) -> Self {
        let name = format!("{}, seed {}", cell.arm, cell.seed);
        Self { group: cell.arm.clone(), name, drawing }
    }
}

impl Chart {
    /// Where it is drawn; nothing without a view.
    pub(super) fn place(&self) -> Markup {
        html! {
            @if !self.views.is_empty() {
                figure.chart id=(self.id) {
                    @if self.views.len() > 1 {
                        label.choice { (self.choice) " " select { (self.options()) } }
                    }
                    div.plot role="img" aria-label=(self.caption) style={ "height:" (self.height) "px" } {}
                    figcaption { (self.caption) }
                }
            }
        }
    }

    fn options(&self) -> Markup {
        let views: Vec<(usize, &View)> = self.views.iter().enumerate().collect();
        html! {
            @for views in views.chunk_by(|(_, a), (_, b)| a.group == b.group) {
                @if views[0].1.group.is_empty() {
                    (options(views))
                } @else {
                    optgroup label=(views[0].1.group) { (options(views)) }
                }
            }
        }
    }

    /// The numbers of its views, for the end of the page.
    pub(super) fn data(&self) -> Markup {
        html! {
            @for (at, view) in self.views.iter().enumerate() {
                script type="application/json" id={ (self.id) "-" (at) } { (inert(&view.drawing.json())) }
            }
        }
    }
}

fn options(views: &[(usize, &View)]) -> Markup {
    html! { @for (at, view) in views { option value=(at) { (view.name) } } }
}

/// JSON that cannot end the script element it stands in. `<` occurs in strings alone, where its escape means the same.
fn inert(json: &str) -> PreEscaped<String> {
    PreEscaped(json.replace('<', "\\u003c"))
}

/// Words for a chart, which would take `<b>` or `<a>` in them for a format.
pub(super) fn words(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace(['\n', '\r'], " ")
}

/// Lines for what is shown on hover.
pub(super) fn lines(text: &[String]) -> String {
    text.iter().map(|line| words(line)).collect::<Vec<_>>().join("<br>")
}

/// An axis with a title.
pub(super) fn axis(title: &str) -> Axis {
    Axis::new().title(Title::with_text(title)).auto_margin(true)
}

/// Two titled axes.
pub(super) fn axes(x: Axis, y: Axis) -> Layout {
    Layout::new().x_axis(x).y_axis(y)
}

/// With so many decimals: what is drawn needs no more, and a page holds many numbers.
pub(super) fn rounded(value: f64, decimals: i32) -> f64 {
    let scale = 10f64.powi(decimals);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_string_is_markup() {
        assert_eq!(inert(r#"["</script><b>"]"#).0, r#"["\u003c/script>\u003cb>"]"#);
        let lines = lines(&["<a href=x>".to_owned(), "R&D\n".to_owned()]);
        assert_eq!(lines, "&lt;a href=x&gt;<br>R&amp;D ");
    }
}
