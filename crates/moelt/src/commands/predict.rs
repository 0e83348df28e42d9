//! `moelt predict`

use std::{
    fs::File,
    io::{Write, stdin, stdout},
};

use anyhow::Context;
use moelt_data::{CutTexts, TextColumns, TextReader, check_label_kind};
use moelt_schema::{AtomicFile, DataConfig, TextConfig};
use moelt_train::{Classification, LoadedModel};
use rayon::prelude::*;

use super::read_ahead::{Input, ReadAhead};
use crate::cli::PredictArgs;

/// What stands before the logits of a row.
const PLAIN: &[&str] = &["label", "probability"];

/// The same where the true labels stand in the input: as `moelt compare` reads it.
const LABELLED: &[&str] = &["id", "label", "prediction", "probability"];

pub(crate) fn run(args: &PredictArgs) -> anyhow::Result<()> {
    let device = args.device.open()?;
    let loaded = LoadedModel::open(&args.checkpoint, &device)?;
    let (name, reader) = open(args, &loaded.checkpoint.config.data)?;
    super::say(reader.guesses());
    let rows = ReadAhead::start(reader);
    let notes = match &args.out {
        Some(path) => {
            let shown = || path.display().to_string();
            let mut file = AtomicFile::create(path).with_context(shown)?;
            let notes = answer(args, &loaded, &name, rows, &mut file)?;
            file.commit().with_context(shown)?;
            notes
        }
        None => answer(args, &loaded, &name, rows, stdout().lock())?,
    };
    super::say(&notes);
    Ok(())
}

/// The input's name and its reader. A table has its texts in the column that the file had which the model was trained
/// on, where it has such a column and no other is named.
fn open(args: &PredictArgs, data: &DataConfig) -> anyhow::Result<(String, TextReader<Input>)> {
    let is_stdin = args.file.as_os_str() == "-";
    let name = if is_stdin { "<stdin>".to_owned() } else { args.file.display().to_string() };
    let input: Input = match is_stdin {
        true => Box::new(stdin()),
        false => Box::new(File::open(&args.file).with_context(|| name.clone())?),
    };
    let columns = TextColumns {
        text: args.text_column.as_deref(),
        known: data.csv().map(|csv| csv.text_column.as_str()),
        label: args.label_column.as_deref(),
    };
    let reader = TextReader::new(input, &name, columns)?;
    Ok((name, reader))
}

/// Writes the answers to all rows as they come, and gives the notes that can be made only then.
fn answer(
    args: &PredictArgs,
    loaded: &LoadedModel,
    name: &str,
    mut rows: ReadAhead,
    mut out: impl Write,
) -> anyhow::Result<Vec<String>> {
    let config = &loaded.checkpoint.config.text;
    let mut cut = CutTexts::default();
    let classes = if args.logits { loaded.classes() } else { &[] };
    let header = if args.label_column.is_some() { LABELLED } else { PLAIN };
    let header = header.iter().copied().chain(classes.iter().map(String::as_str));
    out.write_all(&to_csv([header.map(str::to_owned).collect()])?)?;
    let mut ids = 0_u64..;
    while let Some(rows) = rows.next_rows()? {
        if let Some(column) = &args.label_column
            && ids.start == 0
        {
            let labels = rows.iter().flatten().filter_map(|row| row.label.as_deref());
            // What comes later may be of the right kind, in a stream.
            if let Err(fault) = check_label_kind(name, column, labels, loaded.classes()) {
                tracing::warn!("{fault}");
            }
        }
        let texts: Vec<&str> = rows.iter().flatten().map(|row| row.text.as_str()).collect();
        cut = [cut, cut_of(&texts, config)].into_iter().sum();
        let mut answers = loaded.classify(&texts).into_iter();
        let lines = rows.into_iter().zip(ids.by_ref()).filter_map(|(row, id)| {
            let fields = fields(row.as_ref().and_then(|_| answers.next()), classes.len());
            match args.label_column {
                Some(_) => row?.label.map(|label| [vec![id.to_string(), label], fields].concat()),
                None => Some(fields),
            }
        });
        out.write_all(&to_csv(lines)?)?;
        out.flush()?;
    }
    let bad_rows = rows.into_reader().bad_rows();
    Ok(bad_rows.into_iter().chain(cut.note(name, config)).collect())
}

fn cut_of(texts: &[&str], config: &TextConfig) -> CutTexts {
    texts.par_iter().map(|text| CutTexts::of(text, config)).sum()
}

/// The name of the most probable class, its probability, and the logits of as many classes as are asked for; all empty where
/// there was nothing to classify.
fn fields(answer: Option<Classification>, n_logits: usize) -> Vec<String> {
    let Some(answer) = answer else { return vec![String::new(); 2 + n_logits] };
    let logits = answer.logits.iter().take(n_logits).map(f32::to_string);
    [answer.class, format!("{:.6}", answer.probability)].into_iter().chain(logits).collect()
}

fn to_csv(records: impl IntoIterator<Item = Vec<String>>) -> anyhow::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    records.into_iter().try_for_each(|record| writer.write_record(record))?;
    Ok(writer.into_inner()?)
}
