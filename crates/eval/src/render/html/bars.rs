//! Intervals drawn as bars against what they must exceed. A bar that is much longer than the others ends in an arrow.

use maud::{Markup, html};
use moelt_schema::Metric;

use crate::render::{ArmRow, Gain};

/// Units of the drawing; its width on the page is the style's.
const WIDTH: f64 = 180.0;

/// Room for marks on either side.
const EDGE: f64 = 4.0;

/// How far an arrow reaches from the edge into the drawing.
const ARROW: f64 = 4.0;

/// An axis ends at so many times the distance from 0 that the bar in the middle reaches.
const FAR: f64 = 4.0;

/// Stands below a table in which an axis ends before a bar does.
const CUT_OFF: &str = "An arrow at the end of a bar: it goes on, for its axis ends at four times what the median bar of its metric reaches \
                       from 0 (or what GO needs, where that is more). The numbers of the table are whole.";

/// Bars for the rows of a table.
#[derive(Default)]
pub(super) struct Bars {
    /// One for every row, empty for a row without an interval.
    pub(super) bars: Vec<Markup>,
    /// What must be said of them.
    pub(super) caption: Option<&'static str>,
}

impl Bars {
    /// No bars where no row tells of a gain.
    pub(super) fn of(rows: &[ArmRow]) -> Self {
        if rows.iter().all(|row| row.gain.is_none()) {
            return Self::default();
        }
        let drawn: Vec<Option<(&Gain, Axis)>> = rows
            .iter()
            .map(|row| row.gain.as_ref().filter(|gain| is_finite(gain)))
            .map(|gain| gain.map(|gain| (gain, Axis::of(rows, gain.metric))))
            .collect();
        let any_cut = drawn.iter().flatten().any(|(gain, axis)| axis.cuts(gain) != (false, false));
        let bar = |drawn: Option<(&Gain, Axis)>| drawn.map_or(html! {}, |(gain, axis)| bar(gain, axis));
        Self { bars: drawn.into_iter().map(bar).collect(), caption: any_cut.then_some(CUT_OFF) }
    }
}

/// From where to where the bars of a metric are drawn. 0 and what GO needs are among it.
#[derive(Clone, Copy)]
struct Axis {
    low: f64,
    high: f64,
}

impl Axis {
    /// As far as the bars reach, unless one of them would leave no room for the others.
    fn of(rows: &[ArmRow], metric: Metric) -> Self {
        let gains = rows.iter().filter_map(|row| row.gain.as_ref());
        let same = gains.filter(|gain| gain.metric.name() == metric.name() && is_finite(gain));
        let same: Vec<&Gain> = same.collect();
        let furthest = furthest(&same);
        let ends = same.iter().flat_map(|gain| [gain.interval.lower, gain.interval.upper, gain.go_above]);
        let ends = ends.map(|end| end.clamp(-furthest, furthest));
        let empty = Self { low: 0.0, high: 0.0 };
        let axis =
            ends.fold(empty, |Self { low, high }, end| Self { low: low.min(end), high: high.max(end) });
        if axis.low < axis.high { axis } else { Self { low: 0.0, high: 1.0 } }
    }

    /// Whether a bar goes on below it, and above it.
    fn cuts(self, gain: &Gain) -> (bool, bool) {
        (gain.interval.lower < self.low, gain.interval.upper > self.high)
    }

    /// Where a value lies in the drawing; one beyond the axis at its end.
    fn place(self, value: f64) -> f64 {
        let part = (value.clamp(self.low, self.high) - self.low) / (self.high - self.low);
        EDGE + part * (WIDTH - 2.0 * EDGE)
    }
}

/// How far from 0 an axis for these gains may end.
fn furthest(gains: &[&Gain]) -> f64 {
    let reach = |gain: &&Gain| gain.interval.lower.abs().max(gain.interval.upper.abs());
    // Nothing is seen of a bar that is a point at 0: it says nothing of how far others reach.
    let mut reaches: Vec<f64> = gains.iter().map(reach).filter(|reach| *reach > 0.0).collect();
    reaches.sort_by(f64::total_cmp);
    // Of two the smaller one.
    let middle = reaches.get(reaches.len().saturating_sub(1) / 2).copied().unwrap_or(0.0);
    FAR * gains.iter().map(|gain| gain.go_above.abs()).fold(middle, f64::max)
}

fn is_finite(gain: &Gain) -> bool {
    [gain.value, gain.interval.lower, gain.interval.upper, gain.go_above]
        .iter()
        .all(|number| number.is_finite())
}

fn bar(gain: &Gain, axis: Axis) -> Markup {
    let x = |value: f64| format!("{:.1}", axis.place(value));
    let (lower, upper) = (gain.interval.lower, gain.interval.upper);
    let colour = if lower > gain.go_above {
        "above"
    } else if upper < gain.go_above {
        "below"
    } else {
        "across"
    };
    let told = |value: f64| gain.metric.shown(value);
    let label = format!(
        "{}, interval from {} to {}; GO needs more than {}",
        told(gain.value),
        told(lower),
        told(upper),
        told(gain.go_above)
    );
    let (goes_below, goes_above) = axis.cuts(gain);
    html! {
        svg.bar viewBox={ "0 0 " (WIDTH) " 18" } role="img" aria-label=(label) {
            title { (label) }
            line.zero x1=(x(0.0)) x2=(x(0.0)) y1="0" y2="18" {}
            line.needed x1=(x(gain.go_above)) x2=(x(gain.go_above)) y1="1" y2="17" {}
            line class={ "interval " (colour) } x1=(x(lower)) x2=(x(upper)) y1="9" y2="9" {}
            @if goes_below { (arrow(colour, 0.0, EDGE + ARROW)) }
            @if goes_above { (arrow(colour, WIDTH, WIDTH - EDGE - ARROW)) }
            @if (axis.low..=axis.high).contains(&gain.value) {
                circle class={ "gain " (colour) } cx=(x(gain.value)) cy="9" r="3.5" {}
            }
        }
    }
}

/// Its point at `tip`, its two corners at `foot`.
fn arrow(colour: &str, tip: f64, foot: f64) -> Markup {
    html! { polygon class={ "arrow " (colour) } points={ (tip) ",9 " (foot) ",4 " (foot) ",14" } {} }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Interval;

    fn row(metric: Metric, value: f64, lower: f64, upper: f64) -> ArmRow {
        let interval = Interval { level: 0.95, lower, upper };
        let gain = Some(Gain { metric, value, interval, go_above: -0.005 });
        ArmRow { arm: "rule".into(), gain }
    }

    #[test]
    fn bars_of_one_metric_share_an_axis() {
        let rows = [
            row(Metric::Accuracy, 0.005, 0.0, 0.01),
            row(Metric::Accuracy, 0.01, 0.0, 0.02),
            row(Metric::Experts, 4.0, 2.0, 8.595),
            row(Metric::Accuracy, f64::NAN, 0.0, 0.02),
            ArmRow::from("moe"),
        ];
        let Bars { bars, caption } = Bars::of(&rows);
        let bars: Vec<String> = bars.into_iter().map(|bar| bar.0).collect();
        assert_eq!(caption, None);
        // From 4 to 176 units: -0.005 to 0.02 of accuracy, and -0.005 to 8.595 experts.
        assert!(bars[0].contains(r#"x1="38.4" x2="107.2" y1="9""#), "{}", bars[0]);
        assert!(
            bars[1].contains(r#"x1="38.4" x2="176.0" y1="9""#)
                && bars[1].contains(r#"x1="4.0" x2="4.0" y1="1""#)
        );
        assert!(bars[2].contains(r#"x1="44.1" x2="176.0" y1="9""#), "{}", bars[2]);
        assert_eq!((bars[3].as_str(), bars[4].as_str()), ("", ""));
    }

    #[test]
    fn a_bar_that_is_much_longer_than_the_others_ends_in_an_arrow() {
        let rows = [
            row(Metric::Accuracy, 0.005, 0.0, 0.01),
            row(Metric::Accuracy, 0.01, -0.3, 0.4),
            row(Metric::Accuracy, 0.3, 0.29, 0.31),
            row(Metric::Accuracy, 0.0, -0.01, 0.005),
            row(Metric::Accuracy, 0.001, -0.005, 0.009),
        ];
        let Bars { bars, caption } = Bars::of(&rows);
        let bars: Vec<String> = bars.into_iter().map(|bar| bar.0).collect();
        assert!(caption.unwrap().contains("four times"));
        // They reach 0.009, 0.01, 0.01, 0.31 and 0.4 from 0; so the axis goes from -0.04 to 0.04, and 0 lies at 90.
        assert!(bars[0].contains(r#"x1="90.0" x2="111.5" y1="9""#), "{}", bars[0]);
        assert!(!bars[0].contains("polygon"), "{}", bars[0]);
        assert!(bars[1].contains(r#"x1="4.0" x2="176.0" y1="9""#), "{}", bars[1]);
        assert!(
            bars[1].contains(r#"points="0,9 8,4 8,14""#)
                && bars[1].contains(r#"points="180,9 172,4 172,14""#)
        );
        assert!(
            bars[1].contains(r#"cx="111.5""#) && bars[1].contains("interval from -30.00 pp to +40.00 pp")
        );
        // Its gain lies beyond the axis, too: there is nothing but the arrow.
        assert!(bars[2].contains(r#"x1="176.0" x2="176.0" y1="9""#) && !bars[2].contains("circle"));
        assert_eq!(bars[2].matches("<polygon").count(), 1);
    }

    #[test]
    fn no_axis_is_shorter_than_what_go_needs_or_cuts_what_all_bars_reach() {
        let axis = |rows: &[ArmRow]| {
            let Axis { low, high } = Axis::of(rows, Metric::Accuracy);
            (low, high)
        };
        assert_eq!(axis(&[row(Metric::Accuracy, 0.0, -0.5, 0.5)]), (-0.5, 0.5), "one bar has its axis");
        assert_eq!(axis(&[row(Metric::Accuracy, 0.0, 0.0, 0.0)]), (-0.005, 0.0));
        let far = [0.1, 0.11, 0.12].map(|value| row(Metric::Accuracy, value, value - 0.001, value + 0.001));
        assert_eq!(axis(&far), (-0.005, 0.12 + 0.001), "what lies far from 0 together is shown");
        // A point at 0 does not decide: four times 0.3.
        let one = [row(Metric::Accuracy, 0.0, 0.0, 0.0), row(Metric::Accuracy, 0.2, 0.1, 0.3)];
        assert_eq!(axis(&one), (-0.005, 0.3));
    }
}
