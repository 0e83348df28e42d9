//! Plots as data, and how they look in plain text.

use super::document::Text;

/// Columns of a plot in plain text.
const WIDTH: usize = 40;

/// From low to high.
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A plot with its caption.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What it shows, and in which unit.
    pub caption: Text,
    /// The numbers.
    pub plot: Plot,
}

/// The numbers of a plot.
#[derive(Clone, Debug, PartialEq)]
pub enum Plot {
    /// One value per label, on a common axis from the least to the largest.
    Dots(Vec<Dot>),
    /// Series that stay as they are from one point to the next, on common axes.
    Steps(Vec<Series>),
}

/// A labelled value.
#[derive(Clone, Debug, PartialEq)]
pub struct Dot {
    /// What it belongs to.
    pub label: String,
    /// Where it lies.
    pub value: f64,
    /// The value in words, with its spread.
    pub shown: String,
}

/// Values over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// What it belongs to.
    pub label: String,
    /// Time and value, times ascending from 0.
    pub points: Vec<(u64, f64)>,
    /// Where the last value ends.
    pub end: u64,
}

impl Plot {
    /// In plain text, line by line.
    pub(super) fn lines(&self) -> Vec<String> {
        match self {
            Self::Dots(dots) => dots_lines(dots),
            Self::Steps(series) => series_lines(series),
        }
    }
}

fn dots_lines(dots: &[Dot]) -> Vec<String> {
    let range = Range::of(dots.iter().map(|dot| dot.value));
    let label = longest(dots.iter().map(|dot| &dot.label));
    let line = |dot: &Dot| {
        let at = range.part(dot.value, WIDTH);
        format!("{:label$}  {}●{}  {}", dot.label, " ".repeat(at), " ".repeat(WIDTH - 1 - at), dot.shown)
    };
    dots.iter().map(line).collect()
}

fn series_lines(all: &[Series]) -> Vec<String> {
    let range = Range::of(all.iter().flat_map(|series| series.points.iter().map(|(_, value)| *value)));
    let end = all.iter().map(|series| series.end).max().unwrap_or(0);
    let label = longest(all.iter().map(|series| &series.label));
    let line = |series: &Series| {
        let value_at = |column: usize| {
            let time = end as f64 * (column as f64 + 0.5) / WIDTH as f64;
            let before = series.points.iter().take_while(|(at, _)| *at as f64 <= time).last();
            before.filter(|_| time <= series.end as f64).map(|(_, value)| *value)
        };
        let glyph = |value: f64| LEVELS[range.part(value, LEVELS.len())];
        let line: String = (0..WIDTH).map(|column| value_at(column).map_or(' ', glyph)).collect();
        format!("{:label$}  {}", series.label, line.trim_end())
    };
    all.iter().map(line).collect()
}

/// From the least to the largest of some numbers.
struct Range {
    least: f64,
    largest: f64,
}

impl Range {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let empty = Self { least: f64::INFINITY, largest: f64::NEG_INFINITY };
        values.fold(empty, |range, value| Self {
            least: range.least.min(value),
            largest: range.largest.max(value),
        })
    }

    /// In which of `n` equal parts a value lies; in the last one where there is no range, or no number.
    fn part(&self, value: f64, n: usize) -> usize {
        let part = (value - self.least) / (self.largest - self.least) * n as f64;
        if part.is_finite() { (part as usize).min(n - 1) } else { n - 1 }
    }
}

fn longest<'a>(labels: impl Iterator<Item = &'a String>) -> usize {
    labels.map(|label| label.chars().count()).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_share_an_axis() {
        let dot = |label: &str, value| Dot { label: label.into(), value, shown: format!("{value}") };
        let lines = Plot::Dots(vec![dot("N = 1", 80.0), dot("N = 16", 96.0), dot("N = 4", 88.0)]).lines();
        let at = |line: &str| line.chars().position(|c| c == '●').unwrap();
        assert_eq!(lines.iter().map(|line| at(line)).collect::<Vec<_>>(), [8, 47, 28]);
        assert!(lines[0].ends_with("  80"), "{lines:?}");
        assert_eq!(at(&Plot::Dots(vec![dot("N = 1", 80.0)]).lines()[0]), 46, "one value has no axis");
    }

    #[test]
    fn a_series_keeps_its_value_until_the_next_and_ends() {
        let series = |label: &str, points: &[(u64, f64)], end| Series {
            label: label.into(),
            points: points.to_vec(),
            end,
        };
        let all = [series("a", &[(0, 1.0), (50, 8.0)], 100), series("long", &[(0, 4.0)], 50)];
        let expected =
            [format!("a     {}{}", "▁".repeat(20), "█".repeat(20)), format!("long  {}", "▄".repeat(20))];
        assert_eq!(Plot::Steps(all.to_vec()).lines(), expected);
    }
}
