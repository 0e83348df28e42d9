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
    let (mut document, most) = (Document::default(), config.model.routing.n_experts());
    for (layer, n) in (0..).map(LayerId).zip(result.layout.layers().iter().map(|layer| layer.n_experts())) {
        Raced::of(layer, &events).describe(&mut document, layer, n, most);
    }
    let mut text = document.to_terminal();
    if !args.run.quiet {
        text += &format!("\n{}", summary(&result, &run));
    }
    stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// What a run found out about other sizes of a layer: loss above the best of the last race that they were in, nats, and among how many
/// experts that was.
#[derive(Debug, Default, PartialEq)]
struct Raced(BTreeMap<usize, (f64, usize)>);

impl Raced {
    fn of(layer: LayerId, events: &[EventRecord]) -> Self {
        let mut raced = BTreeMap::new();
        for record in events {
            let Event::Decision { evidence, .. } = &record.event else { continue };
            let Some(evidence) = evidence.layers.iter().find(|evidence| evidence.layer == layer) else {
                continue;
            };
            for (name, nats) in &evidence.numbers {
                let size = name.strip_prefix("excess of ").and_then(|size| size.parse().ok());
                raced.extend(size.map(|size: usize| (size, (*nats, evidence.n_experts))));
            }
        }
        Self(raced)
    }

    /// What was found of a layer that began with `most` experts and ended with `n`.
    fn describe(&self, document: &mut Document, layer: LayerId, n: usize, most: usize) {
        let found = if self.0.is_empty() {
            format!(
                "it still has {n}, as no smaller set raced; a longer run tells more (--minutes, --set train.budget.epochs=…)"
            )
        } else if n < most {
            format!("{n} {} enough.", if n == 1 { "expert is" } else { "experts are" })
        } else {
            format!(
                "none of the smaller sets is as good as all {n}; from more on: --set model.routing.top_k.n_experts={more} --set \
                 control.edits.max_experts={more}",
                more = 2 * n
            )
        };
        document.paragraph(format!("Layer {}: {found}", layer.0));
        let mut table =
            Table { columns: vec![Column::right("experts"), Column::left("evidence")], rows: Vec::new() };
        for (size, (nats, of)) in self.0.iter().filter(|(size, _)| **size != n) {
            let words = format!("{nats:.4} nats of loss above the best, in a race against {of}");
            table.rows.push(vec![size.to_string(), words]);
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
    fn what_raced_is_read_from_decisions() {
        let race = |n: usize, sizes: [(usize, f64); 2]| {
            let mut raced = LayerEvidence::new(LayerId(0), n);
            sizes.iter().for_each(|(size, excess)| raced.note(format!("excess of {size}"), *excess));
            record(raced)
        };
        let events = [race(8, [(4, 0.001), (5, 0.0)]), race(4, [(1, 0.3), (2, 0.03)])];
        let raced = Raced::of(LayerId(0), &events);
        assert_eq!(raced.0, BTreeMap::from([(1, (0.3, 4)), (2, (0.03, 4)), (4, (0.001, 8)), (5, (0.0, 8))]));
        assert_eq!(Raced::of(LayerId(1), &events), Raced::default());
        let said = |raced: &Raced, n, most| {
            let mut document = Document::default();
            raced.describe(&mut document, LayerId(0), n, most);
            document.to_terminal()
        };
        let four = said(&raced, 4, 8);
        assert!(
            four.contains("4 experts are enough.")
                && four.contains("0.0300 nats of loss above the best, in a race against 4")
        );
        assert!(!four.contains("0.0010"), "four is what it has");
        assert!(said(&raced, 1, 8).contains("1 expert is enough."));
        assert!(said(&raced, 8, 8).contains("none of the smaller sets is as good as all 8; from more on: --set model.routing.top_k.n_experts=16"));
        assert!(said(&Raced::default(), 8, 8).contains("still has 8, as no smaller set raced"));
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
