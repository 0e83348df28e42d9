//! `moelt eval`

use std::io::Write;

use anyhow::{bail, ensure};
use moelt_data::{DataError, Labelled, cut_note, read_examples};
use moelt_eval::{
    metrics,
    render::{Column, Document, Table},
};
use moelt_schema::{CsvConfig, DataConfig, Metrics};
use moelt_train::{LoadedModel, Prepared, Split, predict};

use super::{
    load,
    words::{judged, percent, plain},
};
use crate::cli::{EvalArgs, SplitName};

/// Classes up to which the confusion matrix is printed.
const TABLE_UP_TO: usize = 20;

pub(crate) fn run(args: &EvalArgs) -> anyhow::Result<()> {
    let device = args.device.open()?;
    let loaded = match &args.file {
        Some(_) => LoadedModel::open(&args.checkpoint, &device)?,
        None => load(&args.checkpoint, &device)?,
    };
    let split = match &args.file {
        Some(file) => file_split(args, &file.display().to_string(), &loaded)?,
        None => data_split(args.split, &loaded)?,
    };
    let classes = &loaded.checkpoint.manifest.classes;
    let metrics = metrics(&predict(&loaded.evaluated(), &split), classes.len());
    let saved = &loaded.checkpoint.manifest.validation;
    if let (None, SplitName::Validation, Some(saved)) = (&args.file, args.split, saved)
        && !saved.counts_as(&metrics)
    {
        bail!(
            "{}: validation accuracy was {} when saved and is {} now",
            loaded.path.display(),
            saved.accuracy,
            metrics.accuracy
        );
    }
    let text = if args.json {
        serde_json::to_string_pretty(&metrics)? + "\n"
    } else {
        let chosen_by = args.file.is_none() && args.split == SplitName::Validation;
        let accuracy = if chosen_by { plain } else { judged };
        describe(&metrics, classes, &loaded.checkpoint.manifest.domains, accuracy)
    };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

fn file_split(args: &EvalArgs, file: &str, loaded: &LoadedModel) -> anyhow::Result<Split> {
    let checkpoint = &loaded.checkpoint;
    let read = |like: CsvConfig| {
        let columns = CsvConfig {
            text_column: args.text_column.clone().unwrap_or(like.text_column),
            label_column: args.label_column.clone().unwrap_or(like.label_column),
            domain_column: like.domain_column,
            bad_lines: args.bad_lines.into(),
            ..CsvConfig::default()
        };
        read_examples(file, &checkpoint.manifest.classes, &checkpoint.manifest.domains, &columns)
    };
    let as_trained_on = match &checkpoint.config.data {
        DataConfig::Csv(csv) => read(csv.clone()),
        _ => read(CsvConfig::default()),
    };
    let Labelled { examples, mut notes } = match as_trained_on {
        Err(DataError::NoColumn { .. }) => {
            let named = checkpoint.config.data.csv().cloned().unwrap_or_default();
            let without = read(CsvConfig { domain_column: None, ..named });
            without.or_else(|_| read(CsvConfig::default()))?
        }
        read => read?,
    };
    if !checkpoint.manifest.domains.is_empty() && examples.iter().all(|example| example.domain.is_none()) {
        notes.push(format!("{file}: its texts have no domains that the model knows"));
    }
    let texts = examples.iter().map(|example| example.text.as_str());
    notes.extend(cut_note(file, texts, &checkpoint.config.text));
    super::say(&notes);
    Ok(Split::of(&examples, |example| loaded.encode(&example.text, example.domain)))
}

fn data_split(split: SplitName, loaded: &LoadedModel) -> anyhow::Result<Split> {
    let (config, manifest) = (&loaded.checkpoint.config, &loaded.checkpoint.manifest);
    let prepared = Prepared::new(config)?;
    let (expected, found) = (manifest.data, prepared.digest);
    if expected != found {
        bail!("{}: was trained on data {expected}; the data set here is {found}", loaded.path.display());
    }
    let split = match split {
        SplitName::Validation => prepared.validation_at(manifest.step, prepared.total_steps).into_owned(),
        SplitName::Test => {
            super::say(&["the test split is for the last judgement; do not choose or tune by it".to_owned()]);
            prepared.test
        }
    };
    ensure!(
        !split.texts.is_empty(),
        "{}: its run has no such texts to judge by; name some with --file",
        loaded.path.display()
    );
    Ok(split)
}

/// `accuracy` says an accuracy on so many texts.
fn describe(
    metrics: &Metrics,
    classes: &[String],
    domains: &[String],
    accuracy: fn(f64, usize) -> String,
) -> String {
    let mut document = Document::default();
    document
        .paragraph(format!("accuracy  {}", accuracy(metrics.accuracy, metrics.n)))
        .paragraph(format!("macro-F1  {:.4}", metrics.macro_f1))
        .paragraph(format!("loss      {:.4} nats", metrics.loss))
        .paragraph(format!("ECE       {:.4}", metrics.ece));
    if classes.len() <= TABLE_UP_TO {
        document.table(confusion_table(metrics, classes));
    } else {
        document.paragraph(format!("{} classes; --json has the confusion matrix", classes.len()));
    }
    for domain in &metrics.per_domain {
        let name = domains.get(domain.domain as usize).cloned().unwrap_or_else(|| domain.domain.to_string());
        document.paragraph(format!("domain {name}: {}", accuracy(domain.accuracy, domain.n)));
    }
    document.to_terminal()
}

fn confusion_table(metrics: &Metrics, classes: &[String]) -> Table {
    let said = classes.iter().map(|class| Column::right(&format!("said {class}")));
    let columns = [Column::left("true class")].into_iter().chain(said).chain([Column::right("right")]);
    let row = |(class, counts): (usize, &Vec<usize>)| {
        let right = metrics.per_class_accuracy[class].map_or("–".to_owned(), percent);
        let counts = counts.iter().map(usize::to_string);
        [classes[class].clone()].into_iter().chain(counts).chain([right]).collect()
    };
    Table { columns: columns.collect(), rows: metrics.confusion.iter().enumerate().map(row).collect() }
}
