//! Which texts a run trains on.

use serde::{Deserialize, Serialize};

use super::{
    ConfigFault, RunConfig,
    bounds::{at_most, between, fraction},
};

/// Which texts a run trains on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum DataConfig {
    /// Generated; Bayes accuracy known.
    Planted(PlantedConfig),
    /// GLUE SST-2.
    Sst2(Sst2Config),
    /// The user's own CSV or TSV.
    Csv(CsvConfig),
    /// Texts of the program that embeds moelt, which hands them to the trainer; their hash tells them from others.
    Own {},
}

impl Default for DataConfig {
    fn default() -> Self {
        Self::Planted(PlantedConfig::default())
    }
}

impl DataConfig {
    /// The parameters of the generated data set, where it is that one.
    pub fn planted(&self) -> Option<&PlantedConfig> {
        match self {
            Self::Planted(planted) => Some(planted),
            Self::Sst2(_) | Self::Csv(_) | Self::Own {} => None,
        }
    }

    /// The user's own file, where it is one.
    pub fn csv(&self) -> Option<&CsvConfig> {
        match self {
            Self::Csv(csv) => Some(csv),
            Self::Planted(_) | Self::Sst2(_) | Self::Own {} => None,
        }
    }

    /// The parameters of the generated data set, to be changed.
    pub fn planted_mut(&mut self) -> Option<&mut PlantedConfig> {
        match self {
            Self::Planted(planted) => Some(planted),
            Self::Sst2(_) | Self::Csv(_) | Self::Own {} => None,
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigFault> {
        match self {
            Self::Planted(planted) => planted.check().map_err(|fault| fault.within("planted")),
            Self::Sst2(sst2) => sst2.check().map_err(|fault| fault.within("sst2")),
            Self::Csv(csv) => csv.check().map_err(|fault| fault.within("csv")),
            Self::Own {} => Ok(()),
        }
    }
}

impl RunConfig {
    /// Whether domains come and go while the run trains.
    pub fn drifts(&self) -> bool {
        match &self.data {
            DataConfig::Planted(planted) => !planted.live.is_empty(),
            DataConfig::Csv(csv) => csv.stream.is_some(),
            DataConfig::Sst2(_) | DataConfig::Own {} => false,
        }
    }
}

/// The planted data set: hidden domains that turn the polarity of words around.
///
/// A text names its domain by marker words and its label by polar words, whose polarity depends on
/// the domain (each is positive in half of them); a polar word agrees with the clean label with
/// probability `polar_agreement`, or that of its domain in `agreements`. Fillers say nothing. The label is flipped with probability
/// `label_noise`. Bayes accuracy follows from the three numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlantedConfig {
    /// Seed of the data set itself (not of the run: all arms and seeds see the same data).
    pub seed: u64,
    /// Hidden domains, K.
    pub domains: usize,
    /// Polar words, shared by all domains.
    pub polar_words: usize,
    /// Marker words of each domain.
    pub markers_per_domain: usize,
    /// Filler words.
    pub filler_words: usize,
    /// Marker words in a text.
    pub markers_per_text: usize,
    /// Polar words in a text.
    pub polar_per_text: usize,
    /// Filler words in a text.
    pub fillers_per_text: usize,
    /// Probability that a polar word agrees with the clean label.
    pub polar_agreement: f64,
    /// The same of each domain, so that some are harder than others. Empty: all have `polar_agreement`.
    pub agreements: Vec<f64>,
    /// How large a part of the texts each domain has, by the sum of all. Empty: all have the same.
    pub shares: Vec<f64>,
    /// Probability that a label is flipped.
    pub label_noise: f64,
    /// Training examples.
    pub train: usize,
    /// Validation examples.
    pub validation: usize,
    /// Test examples.
    pub test: usize,
    /// When each domain is live, as a pair `[from, to]` in fractions of training: the data drifts, see
    /// [`Drift`](crate::Drift). Empty: every domain always. With it the run is judged at each of `times` by
    /// the model as it is then, and no checkpoint counts as best: `best_step` is the last step.
    pub live: Vec<[f64; 2]>,
    /// Evaluation times of a drifting data set, evenly spread; the last one is the end of training.
    pub times: usize,
}

impl Default for PlantedConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            domains: 4,
            polar_words: 60,
            markers_per_domain: 4,
            filler_words: 40,
            markers_per_text: 5,
            polar_per_text: 7,
            fillers_per_text: 3,
            polar_agreement: 0.85,
            agreements: Vec::new(),
            shares: Vec::new(),
            label_noise: 0.02,
            train: 20_000,
            validation: 4_000,
            test: 20_000,
            live: Vec::new(),
            times: 10,
        }
    }
}

/// GLUE SST-2 as two TSV files, `train.tsv` and `dev.tsv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sst2Config {
    /// Folder of `train.tsv` and `dev.tsv`, from where the command runs.
    pub dir: String,
    /// Fraction of the full training sentences held out for validation; their phrases are not trained on.
    pub validation_fraction: f64,
    /// Seed of that choice (not of the run).
    pub split_seed: u64,
    /// Whether the phrases of sentences are trained on, each with its own label; without them full sentences alone are.
    pub phrases: bool,
}

impl Default for Sst2Config {
    fn default() -> Self {
        Self { dir: "datasets/sst2".to_owned(), validation_fraction: 0.15, split_seed: 1, phrases: true }
    }
}

/// A file of the user's own with a header. `.tsv` and `.tab` are separated by tabs, every other file by whichever
/// of comma, semicolon and tab its header has most of; what was guessed is a note. A tab-separated file has no
/// quoting: a double quote is a character like any other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CsvConfig {
    /// File to train on, from where the command runs.
    pub train: String,
    /// File to choose on; without it, a part of `train` is held out.
    pub validation: Option<String>,
    /// File to judge on; without it, a part of `train` is held out.
    pub test: Option<String>,
    /// Header of the text column. Where no column has exactly this name, case does not matter.
    pub text_column: String,
    /// Header of the label column, likewise. Labels are names or numbers.
    pub label_column: String,
    /// Header of the column that says where a text comes from, such as its language or its shop, likewise. Domains are
    /// numbered in the order in which `train` first names them. Without it texts have no domain.
    pub domain_column: Option<String>,
    /// Domains arrive one after another, in that order: a stream of tasks, see [`Drift`](crate::Drift). Without it every text
    /// is there from the first step on.
    pub stream: Option<StreamKind>,
    /// What becomes of rows that cannot be used.
    pub bad_lines: BadLines,
    /// Part of `train` held out for validation, stratified. Texts that the tokenizer cannot tell apart, or that
    /// differ in case only, stay on one side. 0: nothing is chosen, the last checkpoint counts.
    pub validation_fraction: f64,
    /// Part of `train` held out for the test, likewise. 0: nothing is judged.
    pub test_fraction: f64,
    /// Seed of that choice (not of the run).
    pub split_seed: u64,
}

impl Default for CsvConfig {
    fn default() -> Self {
        Self {
            train: String::new(),
            validation: None,
            test: None,
            text_column: "text".to_owned(),
            label_column: "label".to_owned(),
            domain_column: None,
            stream: None,
            bad_lines: BadLines::default(),
            validation_fraction: 0.1,
            test_fraction: 0.1,
            split_seed: 1,
        }
    }
}

/// What is trained on when domains arrive one after another, each for as many steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamKind {
    /// The newest alone: no task comes back.
    Sequential,
    /// One alone, and when all have been there they come back once, in the same order.
    Returning,
    /// All that have arrived.
    Cumulative,
}

/// What becomes of rows that cannot be used: of another width than the header, without a text or a label, or with
/// a label that training does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BadLines {
    /// They are left out, counted and listed; a file of which more than half is bad is refused.
    #[default]
    Skip,
    /// The first one is an error.
    Error,
}

impl PlantedConfig {
    /// Refuses numbers with which no data set can be made, as far as they tell.
    ///
    /// # Errors
    /// The key within `data.planted`, and what is wrong with its value.
    pub fn check(&self) -> Result<(), ConfigFault> {
        self.check_counts()?;
        for (key, wrong) in
            [("label_noise", self.label_noise), ("polar_agreement", 1.0 - self.polar_agreement)]
        {
            if !(0.0..=0.5).contains(&wrong) {
                let message = "must leave a word or label right at least as often as wrong";
                return Err(ConfigFault::new(key, message));
            }
        }
        self.check_per_domain(
            "agreements",
            &self.agreements,
            |chance| (0.5..=1.0).contains(&chance),
            "0.5 to 1",
        )?;
        self.check_per_domain("shares", &self.shares, |share| share > 0.0 && share.is_finite(), "above 0")?;
        self.drift().map(drop)
    }

    fn check_counts(&self) -> Result<(), ConfigFault> {
        at_most("seed", self.seed, i64::MAX as u64)?;
        let needed = |per_text: usize| u64::from(per_text > 0);
        let counts = [
            ("domains", self.domains, 1, 10_000),
            ("polar_words", self.polar_words, 2, 1_000_000),
            ("markers_per_domain", self.markers_per_domain, needed(self.markers_per_text), 1_000_000_000),
            ("filler_words", self.filler_words, needed(self.fillers_per_text), 1_000_000_000),
            ("markers_per_text", self.markers_per_text, 0, 100_000),
            ("polar_per_text", self.polar_per_text, 1, 100_000),
            ("fillers_per_text", self.fillers_per_text, 0, 100_000),
            ("train", self.train, 1, 1_000_000_000),
            ("validation", self.validation, 1, 1_000_000_000),
            ("test", self.test, 1, 1_000_000_000),
            ("times", self.times, 1, 1_000_000),
        ];
        counts.into_iter().try_for_each(|(key, n, least, most)| between(key, n as u64, least, most))
    }

    /// A list has one number per domain, or none. Where domains come and go, texts are asked for domain by domain.
    fn check_per_domain(
        &self,
        key: &str,
        list: &[f64],
        fits: impl Fn(f64) -> bool,
        bound: &str,
    ) -> Result<(), ConfigFault> {
        let wrong = |message: String| Err(ConfigFault::new(key, message));
        if list.is_empty() {
            return Ok(());
        }
        if !self.live.is_empty() {
            return wrong("is set, and so is live; a data set that drifts has equal domains".to_owned());
        }
        if list.len() != self.domains {
            return wrong(format!("has {} numbers for {} domains", list.len(), self.domains));
        }
        match list.iter().find(|number| !fits(**number)) {
            Some(number) => wrong(format!("has {number}; must be {bound}")),
            None => Ok(()),
        }
    }

    /// Probability that a polar word of a domain agrees with the clean label.
    pub fn agreement_of(&self, domain: usize) -> f64 {
        self.agreements.get(domain).copied().unwrap_or(self.polar_agreement)
    }

    /// The part of the texts that a domain has.
    pub fn share_of(&self, domain: usize) -> f64 {
        let even = 1.0 / self.domains.max(1) as f64;
        self.shares.get(domain).map_or(even, |share| share / self.shares.iter().sum::<f64>())
    }
}

impl Sst2Config {
    fn check(&self) -> Result<(), ConfigFault> {
        fraction("validation_fraction", self.validation_fraction)?;
        at_most("split_seed", self.split_seed, i64::MAX as u64)
    }
}

impl CsvConfig {
    /// The parts of `train` that are held out, for validation and for the test.
    pub fn held_out(&self) -> [f64; 2] {
        let part = |file: &Option<String>, fraction: f64| if file.is_none() { fraction } else { 0.0 };
        [part(&self.validation, self.validation_fraction), part(&self.test, self.test_fraction)]
    }

    /// All texts of `train` and no others: nothing to choose or to judge on.
    #[must_use]
    pub fn whole(&self) -> Self {
        let (validation, test) = (None, None);
        Self { validation, test, validation_fraction: 0.0, test_fraction: 0.0, ..self.clone() }
    }

    fn check(&self) -> Result<(), ConfigFault> {
        if self.train.is_empty() {
            return Err(ConfigFault::new(
                "train",
                "is not set; name the file, as --set data.csv.train=reviews.csv does",
            ));
        }
        if self.stream.is_some() && self.domain_column.is_none() {
            return Err(ConfigFault::new(
                "stream",
                "is set, but no domain_column: name the column of the domains",
            ));
        }
        fraction("validation_fraction", self.validation_fraction)?;
        fraction("test_fraction", self.test_fraction)?;
        at_most("split_seed", self.split_seed, i64::MAX as u64)
    }
}
