//! `moelt predict`

use std::{
    fs::File,
    io::{stdin, stdout},
};

use anyhow::Context;
use moelt_data::{DataError, Texts, cut_note, read_texts};
use moelt_schema::{DataConfig, write_atomically};
use moelt_train::Classification;

use super::load;
use crate::cli::PredictArgs;

pub(crate) fn run(args: &PredictArgs) -> anyhow::Result<()> {
    let device = args.device.open()?;
    let loaded = load(&args.checkpoint, &device)?;
    let (name, Texts { texts, mut notes }) = read(args, &loaded.checkpoint.config.data)?;
    let to_classify: Vec<&str> = texts.iter().flatten().map(String::as_str).collect();
    notes.extend(cut_note(&name, to_classify.iter().copied(), &loaded.checkpoint.config.text));
    super::say(&notes);
    let mut classified = loaded.classify(&to_classify).into_iter();
    let answers: Vec<Option<Classification>> =
        texts.iter().map(|text| text.as_ref().and_then(|_| classified.next())).collect();
    let csv = to_csv(&answers)?;
    match &args.out {
        Some(path) => write_atomically(path, &csv).with_context(|| path.display().to_string()),
        None => Ok(std::io::Write::write_all(&mut stdout(), &csv)?),
    }
}

/// The input's name and what it holds. A table has its texts in the column that the file had which the model was trained
/// on, where it has such a column and no other is named.
fn read(args: &PredictArgs, data: &DataConfig) -> anyhow::Result<(String, Texts)> {
    let name = args.file.display().to_string();
    let asked = args.text_column.as_deref();
    if name == "-" {
        let name = "<stdin>".to_owned();
        return Ok((name.clone(), read_texts(stdin(), &name, asked)?));
    }
    let open = || File::open(&args.file).with_context(|| name.clone());
    if let (None, DataConfig::Csv(csv)) = (asked, data) {
        match read_texts(open()?, &name, Some(&csv.text_column)) {
            Err(DataError::NoColumn { .. } | DataError::NoRows { .. }) => {}
            read => return Ok((name.clone(), read?)),
        }
    }
    let texts = read_texts(open()?, &name, asked)?;
    Ok((name, texts))
}

/// `label,probability`: the name of the most probable class and its probability; both empty where there was
/// nothing to classify.
fn to_csv(answers: &[Option<Classification>]) -> anyhow::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["label", "probability"])?;
    for answer in answers {
        match answer {
            Some(answer) => {
                writer.write_record([answer.class.as_str(), &format!("{:.6}", answer.probability)])?;
            }
            None => writer.write_record(["", ""])?,
        }
    }
    Ok(writer.into_inner()?)
}
