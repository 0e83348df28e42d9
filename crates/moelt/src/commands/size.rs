//! `moelt size`

use std::{
    collections::BTreeMap,
    fs,
    io::{Write, stdout},
    path::PathBuf,
    process::ExitCode,
};

use moelt_ablate::INTERRUPTED;
use moelt_control::OwnPolicies;
use moelt_eval::render::{Column, Document, Table};
use moelt_schema::{ConfigFiles, Event, EventRecord, LayerEvidence, LayerId};

use super::{
    minutes::shorten,
    recipe::layered,
    train::{finish, folder, on_interrupt, summary},
};
use crate::cli::SizeArgs;

/// The recipe that finds the size.
const PHASE: &str = "phases/split-and-drop";

/// What a step of the recipe takes, looks and races included, in plain steps.
const OVERHEAD: f64 = 1.6;

pub(crate) fn run(files: &ConfigFiles, policies: &OwnPolicies, args: &SizeArgs) -> anyhow::Result<ExitCode> {
    let layers = [PathBuf::from(PHASE)];
    let mut config = layered(files, &layers, Some(&args.data), &args.columns, &args.run)?;
    let device = args.run.device.open()?;
    let run = folder(&config, &args.run);
    if let Some(minutes) = args.minutes {
        shorten(&mut config, minutes, OVERHEAD, &run, &device)?;
    }
    let interrupt = on_interrupt()?;
    let Some(result) = finish(&config, &run, policies, &args.run, &device, &interrupt)? else {
        return Ok(ExitCode::from(INTERRUPTED));
    };
    let log = fs::read_to_string(run.events())?;
    let events: Vec<EventRecord> = log.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let mut document = Document::default();
    for (layer, n) in (0..).map(LayerId).zip(result.layout.layers().iter().map(|layer| layer.n_experts())) {
        Neighbours::of(layer, &events).describe(&mut document, layer, n);
    }
    let mut text = document.to_terminal();
    if !args.run.quiet {
        text += &format!("\n{}", summary(&result, &run));
    }
    stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// What a run found out about other sizes of a layer.
#[derive(Debug, Default, PartialEq)]
struct Neighbours {
    /// Loss above the best of the last race, nats, by number of experts.
    raced: BTreeMap<usize, f64>,
    /// What the last split test promised to save with one more expert, nats per token, with its standard error.
    one_more: Option<(f64, f64)>,
}

impl Neighbours {
    fn of(layer: LayerId, events: &[EventRecord]) -> Self {
        let mut found = Self::default();
        for record in events {
            let Event::Decision { evidence, .. } = &record.event else { continue };
            let Some(evidence) = evidence.layers.iter().find(|evidence| evidence.layer == layer) else {
                continue;
            };
            let excess =
                |(name, nats): (&String, &f64)| Some((name.strip_prefix("excess of ")?.parse().ok()?, *nats));
            found.raced.extend(evidence.numbers.iter().filter_map(excess));
            found.one_more = best_split(evidence).or(found.one_more);
        }
        found
    }

    fn describe(&self, document: &mut Document, layer: LayerId, n: usize) {
        let many = if n == 1 { "expert is" } else { "experts are" };
        document.paragraph(format!("Layer {}: {n} {many} enough.", layer.0));
        let mut table =
            Table { columns: vec![Column::right("experts"), Column::left("evidence")], rows: Vec::new() };
        for (size, nats) in self.raced.iter().filter(|(size, _)| **size != n) {
            table
                .rows
                .push(vec![size.to_string(), format!("{nats:.4} nats of loss above the best of the race")]);
        }
        if let Some((gain, error)) = self.one_more {
            let enough = if gain > 0.0 { ", too little to be sure of" } else { "" };
            let words = format!(
                "{gain:.4} ± {error:.4} nats of loss per token to save, by the last split test{enough}"
            );
            table.rows.push(vec![(n + 1).to_string(), words]);
        }
        if !table.rows.is_empty() {
            document.table(table);
        }
    }
}

/// The split that promises most, nats per token of the layer, with its standard error.
fn best_split(evidence: &LayerEvidence) -> Option<(f64, f64)> {
    let of_expert = |(name, gain): (&String, &f64)| {
        let expert = name.strip_suffix("gain")?;
        let number = |what: &str| evidence.numbers.get(&format!("{expert}{what}")).copied();
        let share = number("utilization")?;
        Some((share * gain, share * number("standard error")?))
    };
    evidence.numbers.iter().filter_map(of_expert).max_by(|one, other| one.0.total_cmp(&other.0))
}

#[cfg(test)]
mod tests {
    use moelt_schema::{DecisionKind, Evidence, Flops, Wall};

    use super::*;

    /// Expert 0 promises 0.5 · 0.02 nats, expert 1 0.25 · 0.03; the race is another decision.
    #[test]
    fn neighbours_are_read_from_decisions() {
        let mut tested = LayerEvidence::new(LayerId(0), 2);
        for (expert, share, gain) in [(0, 0.5, 0.02), (1, 0.25, 0.03)] {
            tested.note(format!("expert {expert}: utilization"), share);
            tested.note(format!("expert {expert}: gain"), gain);
            tested.note(format!("expert {expert}: standard error"), 0.01);
        }
        let mut raced = LayerEvidence::new(LayerId(0), 2);
        raced.note("excess of 1", 0.03);
        let events: Vec<EventRecord> = [tested, raced].into_iter().map(record).collect();
        let found = Neighbours::of(LayerId(0), &events);
        assert_eq!(found, Neighbours { raced: BTreeMap::from([(1, 0.03)]), one_more: Some((0.01, 0.005)) });
        assert_eq!(Neighbours::of(LayerId(1), &events), Neighbours::default());
        let mut document = Document::default();
        found.describe(&mut document, LayerId(0), 2);
        let text = document.to_terminal();
        assert!(text.contains("2 experts are enough") && text.contains("0.0300 nats"), "{text}");
        assert!(text.contains("0.0100 ± 0.0050 nats of loss per token to save"), "{text}");
    }

    fn record(layer: LayerEvidence) -> EventRecord {
        let evidence = Evidence { layers: vec![layer], ..Evidence::default() };
        let event = Event::Decision {
            action: DecisionKind::Keep,
            reason: String::new(),
            evidence,
            flops: Flops::default(),
        };
        EventRecord { step: 1, event, wall: Wall { unix: 0.0, seconds: 0.0 } }
    }
}
