//! Intervals drawn as bars against what they must exceed.

use maud::{Markup, html};
use moelt_schema::Metric;

use crate::render::{ArmRow, Gain};

/// Units of the drawing; its width on the page is the style's.
const WIDTH: f64 = 180.0;

/// Room for marks on either side.
const EDGE: f64 = 4.0;

/// A bar for every row; nothing for a row without an interval.
pub(super) fn bars(rows: &[ArmRow]) -> Vec<Markup> {
    let bar = |row: &ArmRow| match &row.gain {
        Some(gain) if is_finite(gain) => bar(gain, reach(rows, gain.metric)),
        _ => html! {},
    };
    rows.iter().map(bar).collect()
}

/// From where to where bars of a metric reach; 0 is among it.
fn reach(rows: &[ArmRow], metric: Metric) -> (f64, f64) {
    let gains = rows.iter().filter_map(|row| row.gain.as_ref());
    let same = gains.filter(|gain| gain.metric.name() == metric.name() && is_finite(gain));
    let ends = same.flat_map(|gain| [gain.interval.lower, gain.interval.upper, gain.go_above]);
    let (low, high) = ends.fold((0.0, 0.0), |(low, high): (f64, f64), end| (low.min(end), high.max(end)));
    if low < high { (low, high) } else { (0.0, 1.0) }
}

fn is_finite(gain: &Gain) -> bool {
    [gain.value, gain.interval.lower, gain.interval.upper].iter().all(|number| number.is_finite())
}

fn bar(gain: &Gain, (low, high): (f64, f64)) -> Markup {
    let x = |value: f64| format!("{:.1}", EDGE + (value - low) / (high - low) * (WIDTH - 2.0 * EDGE));
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
    html! {
        svg.bar viewBox={ "0 0 " (WIDTH) " 18" } role="img" aria-label=(label) {
            title { (label) }
            line.zero x1=(x(0.0)) x2=(x(0.0)) y1="0" y2="18" {}
            line.needed x1=(x(gain.go_above)) x2=(x(gain.go_above)) y1="1" y2="17" {}
            line class={ "interval " (colour) } x1=(x(lower)) x2=(x(upper)) y1="9" y2="9" {}
            circle class={ "gain " (colour) } cx=(x(gain.value)) cy="9" r="3.5" {}
        }
    }
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
        let bars: Vec<String> = bars(&rows).into_iter().map(|bar| bar.0).collect();
        // From 4 to 176 units: -0.005 to 0.02 of accuracy, and -0.005 to 8.595 experts.
        assert!(bars[0].contains(r#"x1="38.4" x2="107.2" y1="9""#), "{}", bars[0]);
        assert!(
            bars[1].contains(r#"x1="38.4" x2="176.0" y1="9""#)
                && bars[1].contains(r#"x1="4.0" x2="4.0" y1="1""#)
        );
        assert!(bars[2].contains(r#"x1="44.1" x2="176.0" y1="9""#), "{}", bars[2]);
        assert_eq!((bars[3].as_str(), bars[4].as_str()), ("", ""));
    }
}
