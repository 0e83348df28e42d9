//! Per-example predictions as CSV: one line per example, so that any comparison can be recomputed.

use std::fmt::Write as _;

use moelt_schema::Prediction;

use crate::{EvalError, csv_lines::Lines};

/// Columns before the probabilities.
const COLUMNS: [&str; 4] = ["example", "domain", "label", "predicted"];

/// How far probabilities may be from summing to 1.
const SUM_TOLERANCE: f32 = 1e-3;

/// `predictions` as CSV with header `example,domain,label,predicted,p_0,p_1,…`.
///
/// Examples are numbered from 0 in the order given; the domain is empty where there is none;
/// probabilities have the fewest digits that read back as the same `f32`.
///
/// ```
/// use moelt_schema::Prediction;
/// let prediction = Prediction { label: 1, domain: Some(3), probabilities: vec![0.25, 0.75] };
/// let csv = moelt_eval::predictions_to_csv(&[prediction]);
/// assert_eq!(csv, "example,domain,label,predicted,p_0,p_1\n0,3,1,1,0.25,0.75\n");
/// ```
pub fn predictions_to_csv(predictions: &[Prediction]) -> String {
    let n_classes = predictions.first().map_or(0, |first| first.probabilities.len());
    let mut text = header(n_classes).join(",");
    text.push('\n');
    for (example, prediction) in predictions.iter().enumerate() {
        let domain = prediction.domain.map_or(String::new(), |domain| domain.to_string());
        let mut line = format!("{example},{domain},{},{}", prediction.label, prediction.predicted());
        for p in &prediction.probabilities {
            write!(line, ",{p:?}").expect("writing to a string does not fail");
        }
        text.push_str(&line);
        text.push('\n');
    }
    text
}

fn header(n_classes: usize) -> Vec<String> {
    COLUMNS.iter().map(|&name| name.to_owned()).chain((0..n_classes).map(|c| format!("p_{c}"))).collect()
}

/// Reads what [`predictions_to_csv`] wrote; `name` is the file's name for errors.
///
/// # Errors
/// At the first line that deviates: another header, a gap in the numbering, an unknown label,
/// probabilities that are none or do not sum to 1, or a `predicted` that is not the most probable.
pub fn predictions_from_csv(text: &str, name: &str) -> Result<Vec<Prediction>, EvalError> {
    let error = |line, message| EvalError::Predictions { name: name.to_owned(), line, message };
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let found: Vec<String> =
        reader.headers().map_err(|e| error(1, e.to_string()))?.iter().map(str::to_owned).collect();
    let expected = header(found.len().saturating_sub(COLUMNS.len()));
    if found != expected {
        return Err(error(1, format!("header `{}` is not `{}`", found.join(","), expected.join(","))));
    }
    let mut predictions = Vec::new();
    let mut lines = Lines::of(text);
    for record in reader.records() {
        let record = record.map_err(|e| error(lines.at(e.position()), e.to_string()))?;
        let line = lines.at(record.position());
        predictions.push(parse(&record, predictions.len()).map_err(|message| error(line, message))?);
    }
    Ok(predictions)
}

/// One line, which must be that of example `expected`.
fn parse(record: &csv::StringRecord, expected: usize) -> Result<Prediction, String> {
    if record[0].parse() != Ok(expected) {
        return Err(format!("example `{}` where {expected} must come", &record[0]));
    }
    let number = |column: usize| {
        let field = &record[column];
        field.parse::<u32>().map_err(|_| format!("{} `{field}` is not a number", COLUMNS[column]))
    };
    let domain = if record[1].is_empty() { None } else { Some(number(1)?) };
    let probabilities: Vec<f32> =
        record.iter().skip(COLUMNS.len()).map(probability).collect::<Result<_, _>>()?;
    let prediction = Prediction { label: number(2)?, domain, probabilities };
    let n_classes = prediction.probabilities.len();
    if prediction.label as usize >= n_classes {
        return Err(format!("label {} of {n_classes} classes", prediction.label));
    }
    let sum: f32 = prediction.probabilities.iter().sum();
    if (sum - 1.0).abs() > SUM_TOLERANCE {
        return Err(format!("probabilities sum to {sum}"));
    }
    let (written, predicted) = (number(3)?, prediction.predicted());
    if written != predicted {
        return Err(format!("predicted {written}, but class {predicted} is the most probable"));
    }
    Ok(prediction)
}

fn probability(field: &str) -> Result<f32, String> {
    let value = field.parse::<f32>().ok().filter(|p| (0.0..=1.0 + SUM_TOLERANCE).contains(p));
    value.ok_or_else(|| format!("`{field}` is not a probability"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_prediction() -> impl Strategy<Value = Prediction> {
        (0..3u32, proptest::option::of(0..9u32), proptest::collection::vec(1e-30f32..1.0, 3)).prop_map(
            |(label, domain, weights)| {
                let sum: f32 = weights.iter().sum();
                Prediction { label, domain, probabilities: weights.iter().map(|w| w / sum).collect() }
            },
        )
    }

    proptest! {
        #[test]
        fn read_back_exactly(predictions in proptest::collection::vec(any_prediction(), 1..20)) {
            let text = predictions_to_csv(&predictions);
            prop_assert_eq!(predictions_from_csv(&text, "p.csv").unwrap(), predictions);
        }
    }

    #[test]
    fn errors_name_file_and_line() {
        let cases = [
            ("example,label\n", "p.csv:1: header `example,label` is not `example,domain,label,predicted`"),
            ("1,,0,0,0.6,0.4\n", "p.csv:2: example `1` where 0 must come"),
            ("0,,0,0,0.6,0.4\n0,,0,0,0.6,0.4\n", "p.csv:3: example `0` where 1 must come"),
            ("0,,2,0,0.6,0.4\n", "p.csv:2: label 2 of 2 classes"),
            ("0,x,0,0,0.6,0.4\n", "p.csv:2: domain `x` is not a number"),
            ("0,,0,1,0.6,0.4\n", "p.csv:2: predicted 1, but class 0 is the most probable"),
            ("0,,0,0,0.6,0.5\n", "p.csv:2: probabilities sum to 1.1"),
            ("0,,0,0,NaN,0.4\n", "p.csv:2: `NaN` is not a probability"),
            ("0,,0,0,0.6\n", "p.csv:2: CSV error"),
        ];
        for (body, expected) in cases {
            let header =
                if body.starts_with("example") { "" } else { "example,domain,label,predicted,p_0,p_1\n" };
            let message = predictions_from_csv(&format!("{header}{body}"), "p.csv").unwrap_err().to_string();
            assert!(message.starts_with(expected), "{message}\nis not\n{expected}");
        }
    }
}
