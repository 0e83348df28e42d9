//! A chart on a page: its place, and its numbers as data for the script.

use maud::{Markup, PreEscaped, html};
use plotly::{Layout, Plot, common::Title, layout::Axis};

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
    /// Traces and axes; fonts and colours of the theme are the script's.
    pub(super) plot: Plot,
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
                script type="application/json" id={ (self.id) "-" (at) } { (inert(&view.plot.to_json())) }
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

/// A plot with two titled axes.
pub(super) fn plot(x: Axis, y: Axis) -> Plot {
    let mut plot = Plot::new();
    plot.set_layout(Layout::new().x_axis(x).y_axis(y));
    plot
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
