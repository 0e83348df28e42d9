//! `moelt predict`

use std::{
    fs::File,
    io::{Read, stdin, stdout},
};

use anyhow::Context;
use moelt_data::read_texts;
use moelt_schema::{Prediction, write_atomically};
use moelt_train::{Split, predict};

use super::load;
use crate::cli::PredictArgs;

pub(crate) fn run(args: &PredictArgs) -> anyhow::Result<()> {
    let device = args.device.open()?;
    let loaded = load(&args.checkpoint, &device)?;
    let texts = read(args)?;
    let split = Split {
        texts: texts.iter().map(|text| loaded.vocabulary.encode(text)).collect(),
        labels: vec![0; texts.len()],
        domains: vec![None; texts.len()],
        times: vec![None; texts.len()],
    };
    let predictions = predict(&loaded.evaluated(), &split);
    let csv = to_csv(&predictions, &loaded.checkpoint.manifest.classes)?;
    match &args.out {
        Some(path) => write_atomically(path, &csv).with_context(|| path.display().to_string()),
        None => Ok(std::io::Write::write_all(&mut stdout(), &csv)?),
    }
}

fn read(args: &PredictArgs) -> anyhow::Result<Vec<String>> {
    let name = args.file.display().to_string();
    let (source, name): (Box<dyn Read>, _) = if name == "-" {
        (Box::new(stdin()), "<stdin>".to_owned())
    } else {
        (Box::new(File::open(&args.file).with_context(|| name.clone())?), name)
    };
    Ok(read_texts(source, &name, args.text_column.as_deref())?)
}

/// `label,probability`: the name of the most probable class and its probability.
fn to_csv(predictions: &[Prediction], classes: &[String]) -> anyhow::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["label", "probability"])?;
    for prediction in predictions {
        let class = prediction.predicted() as usize;
        writer.write_record([classes[class].as_str(), &format!("{:.6}", prediction.probabilities[class])])?;
    }
    Ok(writer.into_inner()?)
}
