//! Generated texts for another tool, as CSV on standard output: `split,id,label,text`.
//!
//! `cargo run --release -p moelt-data --example planted_texts > texts.csv`

use moelt_data::{DataError, Dataset, Example, Splits};
use moelt_schema::{DataConfig, PlantedConfig, TextConfig};

fn main() -> Result<(), DataError> {
    let planted = PlantedConfig { train: 4_000, validation: 100, test: 1_000, ..PlantedConfig::default() };
    let Splits { classes, train, test, .. } = DataConfig::Planted(planted).splits(&TextConfig::default())?;
    println!("split,id,label,text");
    for (split, examples) in [("train", train), ("test", test)] {
        for (id, Example { text, label, .. }) in examples.iter().enumerate() {
            println!("{split},{id},{},{text}", classes[*label as usize]);
        }
    }
    Ok(())
}
