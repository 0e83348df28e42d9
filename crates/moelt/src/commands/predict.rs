//! `moelt predict`

use std::{
    fs::File,
    io::{Read, stdin, stdout},
};

use anyhow::Context;
use moelt_data::{Texts, cut_note, read_texts};
use moelt_schema::{Prediction, write_atomically};
use moelt_train::{Split, predict};

use super::load;
use crate::cli::PredictArgs;

pub(crate) fn run(args: &PredictArgs) -> anyhow::Result<()> {
    let device = args.device.open()?;
    let loaded = load(&args.checkpoint, &device)?;
    let (name, Texts { texts, mut notes }) = read(args)?;
    let to_classify: Vec<&str> = texts.iter().flatten().map(String::as_str).collect();
    notes.extend(cut_note(&name, to_classify.iter().copied(), &loaded.checkpoint.config.text));
    super::say(&notes);
    let n = to_classify.len();
    let split = Split {
        texts: to_classify.iter().map(|text| loaded.vocabulary.encode(text)).collect(),
        labels: vec![0; n],
        domains: vec![None; n],
        times: vec![None; n],
    };
    let mut predictions = predict(&loaded.evaluated(), &split).into_iter();
    let answers: Vec<Option<Prediction>> =
        texts.iter().map(|text| text.as_ref().and_then(|_| predictions.next())).collect();
    let csv = to_csv(&answers, &loaded.checkpoint.manifest.classes)?;
    match &args.out {
        Some(path) => write_atomically(path, &csv).with_context(|| path.display().to_string()),
        None => Ok(std::io::Write::write_all(&mut stdout(), &csv)?),
    }
}

/// The input's name and what it holds.
fn read(args: &PredictArgs) -> anyhow::Result<(String, Texts)> {
    let name = args.file.display().to_string();
    let (source, name): (Box<dyn Read>, _) = if name == "-" {
        (Box::new(stdin()), "<stdin>".to_owned())
    } else {
        (Box::new(File::open(&args.file).with_context(|| name.clone())?), name)
    };
    let texts = read_texts(source, &name, args.text_column.as_deref())?;
    Ok((name, texts))
}

/// `label,probability`: the name of the most probable class and its probability; both empty where there was
/// nothing to classify.
fn to_csv(answers: &[Option<Prediction>], classes: &[String]) -> anyhow::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["label", "probability"])?;
    for answer in answers {
        let Some(prediction) = answer else {
            writer.write_record(["", ""])?;
            continue;
        };
        let class = prediction.predicted() as usize;
        writer.write_record([classes[class].as_str(), &format!("{:.6}", prediction.probabilities[class])])?;
    }
    Ok(writer.into_inner()?)
}
