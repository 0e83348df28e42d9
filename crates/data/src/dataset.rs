//! What can be trained on: a data set that a config names, splits in memory, or a data set of your own.

use std::path::{Path, PathBuf};

use moelt_schema::{ConfigFault, DataConfig, TextConfig};

use crate::{DataError, Splits, csv, planted, sst2};

/// A data set. Implement it to train on your own.
///
/// ```
/// use moelt_data::{DataError, Dataset, OwnTexts, Splits};
/// use moelt_schema::TextConfig;
///
/// /// Which of two words comes first?
/// struct Order;
///
/// impl Dataset for Order {
///     fn splits(&self, text: &TextConfig) -> Result<Splits, DataError> {
///         let tea = (0..30).map(|i| (format!("tea coffee {i}"), "tea"));
///         let coffee = (0..30).map(|i| (format!("coffee tea {i}"), "coffee"));
///         OwnTexts::new(tea.chain(coffee)).splits(text)
///     }
/// }
/// assert_eq!(Order.splits(&TextConfig::default())?.classes, ["coffee", "tea"]);
/// # Ok::<(), DataError>(())
/// ```
pub trait Dataset {
    /// The three splits, none of them empty. `text` says which texts a model cannot tell apart: they belong on one
    /// side of a split.
    ///
    /// # Errors
    /// When it cannot be read or made.
    fn splits(&self, text: &TextConfig) -> Result<Splits, DataError>;
}

/// Splits in memory are as they are.
impl Dataset for Splits {
    fn splits(&self, _: &TextConfig) -> Result<Splits, DataError> {
        Ok(self.clone())
    }
}

/// The files that the data set of a config is read from.
pub fn files_of(data: &DataConfig) -> Vec<PathBuf> {
    match data {
        DataConfig::Planted(_) | DataConfig::Own {} => Vec::new(),
        DataConfig::Sst2(sst2) => ["train.tsv", "dev.tsv"].map(|name| Path::new(&sst2.dir).join(name)).into(),
        DataConfig::Csv(csv) => {
            let files = [Some(&csv.train), csv.validation.as_ref(), csv.test.as_ref()];
            files.into_iter().flatten().map(PathBuf::from).collect()
        }
    }
}

/// Reads or generates the data set that a config names. A split to choose or to judge on is empty where the config holds
/// nothing out. `text` says which texts a model cannot tell apart: they are on one side of a split.
///
/// ```
/// use moelt_data::Dataset;
/// use moelt_schema::{DataConfig, PlantedConfig, TextConfig};
/// let planted = PlantedConfig { train: 100, validation: 10, test: 20, ..PlantedConfig::default() };
/// let data = DataConfig::Planted(planted).splits(&TextConfig::default())?;
/// assert_eq!(data.sizes().test, 20);
/// assert!((data.bayes_accuracy.unwrap() - 0.968_381).abs() < 1e-6);
/// # Ok::<(), moelt_data::DataError>(())
/// ```
///
/// # Errors
/// When a file is missing or malformed (the message names file, line and fix), or when the config
/// cannot be met.
impl Dataset for DataConfig {
    fn splits(&self, text: &TextConfig) -> Result<Splits, DataError> {
        let data = match self {
            DataConfig::Planted(planted) => planted::generate(planted)?,
            DataConfig::Sst2(sst2) => sst2::load(sst2, text)?,
            DataConfig::Csv(csv) => csv::load(csv, text)?,
            DataConfig::Own {} => {
                let message = "is `own`: the texts are those of the program that embeds moelt, which hands them to Trainer";
                return Err(ConfigFault::new("data", message).into());
            }
        };
        Ok(data.with_cut_notes(text))
    }
}
