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
use moelt_schema::{ConfigFiles, Event, EventRecord, LayerId};

use super::{
    minutes::shorten,
    recipe::layered,
    train::{finish, folder, on_interrupt, summary},
};
use crate::cli::SizeArgs;

/// The recipe that finds the size.
const PHASE: &str = "phases/descend";

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
    let (mut document, most) = (Document::default(), config.control.edits.max_experts);
    for (layer, n) in (0..).map(LayerId).zip(result.layout.layers().iter().map(|layer| layer.n_experts())) {
        Neighbours::of(layer, &events).describe(&mut document, layer, n, most);
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
        }
        found
    }

    /// What was found of a layer that ended with `n` experts of at most `most`.
    fn describe(&self, document: &mut Document, layer: LayerId, n: usize, most: usize) {
        let many = if n == 1 { "expert is" } else { "experts are" };
        document.paragraph(if n < most {
            format!("Layer {}: {n} {many} enough.", layer.0)
        } else {
            format!(
                "Layer {}: fewer than {n} experts are worse, and it may have no more; to try it with more: --set \
                 control.edits.max_experts={}",
                layer.0,
                2 * most
            )
        });
        let mut table =
            Table { columns: vec![Column::right("experts"), Column::left("evidence")], rows: Vec::new() };
        for (size, nats) in self.raced.iter().filter(|(size, _)| **size != n) {
            table
                .rows
                .push(vec![size.to_string(), format!("{nats:.4} nats of loss above the best of the race")]);
        }
        if !table.rows.is_empty() {
            document.table(table);
        }
    }
}

#[cfg(test)]
mod tests {
    use moelt_schema::{DecisionKind, Evidence, Flops, LayerEvidence, Wall};

    use super::*;

    /// Four of eight are as good; of the race after it two are not.
    #[test]
    fn neighbours_are_read_from_decisions() {
        let race = |n: usize, sizes: [(usize, f64); 2]| {
            let mut raced = LayerEvidence::new(LayerId(0), n);
            for (size, excess) in sizes {
                raced.note(format!("excess of {size}"), excess);
            }
            record(raced)
        };
        let events = [race(8, [(4, 0.001), (5, 0.0)]), race(4, [(1, 0.3), (2, 0.03)])];
        let found = Neighbours::of(LayerId(0), &events);
        assert_eq!(found, Neighbours { raced: BTreeMap::from([(1, 0.3), (2, 0.03), (4, 0.001), (5, 0.0)]) });
        assert_eq!(Neighbours::of(LayerId(1), &events), Neighbours::default());
        let said = |n, most| {
            let mut document = Document::default();
            found.describe(&mut document, LayerId(0), n, most);
            document.to_terminal()
        };
        assert!(
            said(4, 8).contains("4 experts are enough") && said(4, 8).contains("0.0300 nats"),
            "{}",
            said(4, 8)
        );
        assert!(
            said(8, 8).contains("fewer than 8 experts are worse") && said(8, 8).contains("max_experts=16")
        );
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
