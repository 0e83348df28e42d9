//! Trains on texts in memory and classifies three more:
//!
//!     cargo run --release --example own_texts

use burn::tensor::Device;
use moelt_data::OwnTexts;
use moelt_schema::{Budget, RunConfig};
use moelt_train::{LoadedModel, Trainer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let weather = |i: u32| match i % 2 {
        0 => (format!("rain and wind until day {i}"), "bad"),
        _ => (format!("a clear sky and sun on day {i}"), "good"),
    };
    let texts = OwnTexts::new((0..200).map(weather));
    let mut config = RunConfig::default();
    config.train.budget = Budget::Epochs(5.0);
    config.train.batch_size = 16;

    let (folder, device) = (tempfile::tempdir()?, Device::flex());
    Trainer::new(config).dataset(&texts).run(folder.path(), &device)?;

    let model = LoadedModel::open(folder.path(), &device)?;
    for answer in model.classify(&["wind and rain", "sun all day", "a clear day"]) {
        println!("{} ({:.0} %)", answer.class, 100.0 * answer.probability);
    }
    Ok(())
}
