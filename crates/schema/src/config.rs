//! How a run is configured. Every field can be set in a TOML file or with `--set key=value`.
//!
//! Defaults are the smallest thing that works; recipes live in `configs/`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ControlConfig, Digest, LayerKind, Layout, StartConfig};

/// One run: an arm with a seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunConfig {
    /// The arm's name in tables.
    pub arm: String,
    /// Seed of all random streams.
    pub seed: u64,
    /// Which texts.
    pub data: DataConfig,
    /// How texts become tokens.
    pub text: TextConfig,
    /// The network.
    pub model: ModelConfig,
    /// Optimizer, schedule, averaging.
    pub optim: OptimConfig,
    /// The loop.
    pub train: TrainConfig,
    /// What the run starts from.
    pub start: StartConfig,
    /// Whether and how experts come and go.
    pub control: ControlConfig,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            arm: "run".to_owned(),
            seed: 0,
            data: DataConfig::default(),
            text: TextConfig::default(),
            model: ModelConfig::default(),
            optim: OptimConfig::default(),
            train: TrainConfig::default(),
            start: StartConfig::default(),
            control: ControlConfig::default(),
        }
    }
}

impl RunConfig {
    /// Hash of everything that determines the run.
    pub fn digest(&self) -> Digest {
        Digest::of_json(self)
    }

    /// Refuses values that no run can work with.
    ///
    /// # Errors
    /// The key and what is wrong with its value.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        if let Some((key, _)) = self.counts().into_iter().find(|(_, count)| *count == 0) {
            return Err((key, "must be at least 1".to_owned()));
        }
        if let Some((key, value, bound)) = self.numbers().into_iter().find(|(_, v, bound)| !bound.holds(*v)) {
            return Err((key, format!("is {value}; must be {bound}")));
        }
        if self.data.kind == DatasetKind::Csv && self.data.csv.train.is_empty() {
            return Err(("data.csv.train", "is not set; name the file, such as reviews.csv".to_owned()));
        }
        if self.model.conv_width != 0 && self.model.conv_width.is_multiple_of(2) {
            return Err(("model.conv_width", "must be odd, or 0 for no convolution".to_owned()));
        }
        self.check_bounds()?;
        self.check_drift()?;
        self.check_control()
    }

    /// Whole numbers of which there must be at least one.
    fn counts(&self) -> [(&'static str, usize); 12] {
        [
            ("data.planted.times", self.data.planted.times),
            ("text.min_count", self.text.min_count),
            ("text.max_tokens", self.text.max_tokens),
            ("text.subwords.min_words", self.text.subwords.min_words),
            ("model.d_model", self.model.d_model),
            ("model.d_ff", self.model.d_ff),
            ("model.n_layers", self.model.n_layers),
            ("model.n_experts", self.model.n_experts),
            ("model.top_k", self.model.top_k),
            ("train.batch_size", self.train.batch_size),
            ("train.keep_last", self.train.keep_last),
            ("optim.ema_every", self.optim.ema_every as usize),
        ]
    }

    /// Numbers with their bounds.
    fn numbers(&self) -> [(&'static str, f64, Bound); 33] {
        use Bound::{AtLeastZero, Fraction, Positive, Share};
        let Self { data, model, optim, train, control, .. } = self;
        [
            ("data.sst2.selection_fraction", data.sst2.selection_fraction, Fraction),
            ("data.csv.selection_fraction", data.csv.selection_fraction, Fraction),
            ("data.csv.verdict_fraction", data.csv.verdict_fraction, Fraction),
            ("model.embedding_std", model.embedding_std, AtLeastZero),
            ("model.input_dropout", model.input_dropout, Fraction),
            ("model.output_dropout", model.output_dropout, Fraction),
            ("model.row_dropout", model.row_dropout, Fraction),
            ("optim.lr", optim.lr, Positive),
            ("optim.embedding_lr_scale", optim.embedding_lr_scale, AtLeastZero),
            ("optim.beta1", optim.beta1, Fraction),
            ("optim.beta2", optim.beta2, Fraction),
            ("optim.eps", optim.eps, Positive),
            ("optim.weight_decay", optim.weight_decay, AtLeastZero),
            ("optim.embedding_weight_decay", optim.embedding_weight_decay, AtLeastZero),
            ("optim.clip_norm", optim.clip_norm, AtLeastZero),
            ("optim.warmup", optim.warmup, Fraction),
            ("optim.ema_decay", optim.ema_decay, Fraction),
            ("train.epochs", train.epochs, Positive),
            ("train.load_balancing_coef", train.load_balancing_coef, AtLeastZero),
            ("control.warmup", control.warmup, Share),
            ("control.until", control.until, Share),
            ("control.hysteresis", control.hysteresis, AtLeastZero),
            ("control.grow_above", control.grow_above, AtLeastZero),
            ("control.grow_load_above", control.grow_load_above, AtLeastZero),
            ("control.prune_below", control.prune_below, AtLeastZero),
            ("control.noise", control.noise, AtLeastZero),
            ("control.min_experts", control.min_experts as f64, Positive),
            ("control.expert_cost", control.expert_cost, AtLeastZero),
            ("control.confidence", control.confidence, AtLeastZero),
            ("control.act_above", control.act_above, Share),
            ("control.ask_above", control.ask_above, AtLeastZero),
            ("control.head_lr", control.head_lr, Positive),
            ("control.joint", control.joint, AtLeastZero),
        ]
    }
}

/// What a number must be.
#[derive(Clone, Copy)]
enum Bound {
    Positive,
    AtLeastZero,
    Fraction,
    Share,
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            // As the model computes it: in single precision.
            Self::Positive => value as f32 > 0.0 && (value as f32).is_finite(),
            Self::AtLeastZero => value >= 0.0 && (value as f32).is_finite(),
            Self::Fraction => (0.0..1.0).contains(&value),
            Self::Share => (0.0..=1.0).contains(&value),
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Positive => "a number above 0",
            Self::AtLeastZero => "a number of at least 0",
            Self::Fraction => "at least 0 and below 1",
            Self::Share => "0 to 1",
        })
    }
}

/// Which texts a run trains on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// Which of the sections below counts.
    pub kind: DatasetKind,
    /// The generated data set.
    pub planted: PlantedConfig,
    /// GLUE SST-2.
    pub sst2: Sst2Config,
    /// The user's own CSV or TSV.
    pub csv: CsvConfig,
}

/// The data sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DatasetKind {
    /// Generated; Bayes accuracy known.
    #[default]
    Planted,
    /// GLUE SST-2.
    Sst2,
    /// A CSV or TSV file.
    Csv,
}

/// The planted data set: hidden domains that turn the polarity of words around.
///
/// A text names its domain by marker words and its label by polar words, whose polarity depends on
/// the domain (each is positive in half of them); a polar word agrees with the clean label with
/// probability `polar_agreement`. Fillers say nothing. The label is flipped with probability
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
    /// Probability that a label is flipped.
    pub label_noise: f64,
    /// Training examples.
    pub train: usize,
    /// Selection examples.
    pub selection: usize,
    /// Verdict examples.
    pub verdict: usize,
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
            label_noise: 0.02,
            train: 20_000,
            selection: 4_000,
            verdict: 20_000,
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
    /// Fraction of the full training sentences held out for selection; their phrases are not trained on.
    pub selection_fraction: f64,
    /// Seed of that choice (not of the run).
    pub split_seed: u64,
}

impl Default for Sst2Config {
    fn default() -> Self {
        Self { dir: "datasets/sst2".to_owned(), selection_fraction: 0.15, split_seed: 1 }
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
    pub selection: Option<String>,
    /// File to judge on; without it, a part of `train` is held out.
    pub verdict: Option<String>,
    /// Header of the text column. Where no column has exactly this name, case does not matter; where none is called
    /// `text`, the one column with a usual name such as `review` or `sentence` is taken for it.
    pub text_column: String,
    /// Header of the label column, likewise (`sentiment`, `class`, …). Labels are names or numbers.
    pub label_column: String,
    /// What becomes of rows that cannot be used.
    pub bad_rows: BadRows,
    /// Part of `train` held out for selection, stratified. Texts that the tokenizer cannot tell apart, or that
    /// differ in case only, stay on one side.
    pub selection_fraction: f64,
    /// Part of `train` held out for the verdict, likewise.
    pub verdict_fraction: f64,
    /// Seed of that choice (not of the run).
    pub split_seed: u64,
}

impl Default for CsvConfig {
    fn default() -> Self {
        Self {
            train: String::new(),
            selection: None,
            verdict: None,
            text_column: "text".to_owned(),
            label_column: "label".to_owned(),
            bad_rows: BadRows::default(),
            selection_fraction: 0.1,
            verdict_fraction: 0.1,
            split_seed: 1,
        }
    }
}

/// What becomes of rows that cannot be used: of another width than the header, without a text or a label, or with
/// a label that training does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BadRows {
    /// They are left out, counted and listed; a file of which more than half is bad is refused.
    #[default]
    Skip,
    /// The first one is an error.
    Error,
}

/// How texts become tokens, and tokens rows of the embedding table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TextConfig {
    /// Lower-case first. (Unicode forms of the same characters are one in any case: NFKC.)
    pub lowercase: bool,
    /// A word needs this many occurrences in training texts for a row of its own.
    pub min_count: usize,
    /// Tokens beyond this are cut off.
    pub max_tokens: usize,
    /// Rows for parts of words, added to the word's own.
    pub subwords: SubwordConfig,
}

impl Default for TextConfig {
    fn default() -> Self {
        Self { lowercase: true, min_count: 1, max_tokens: 256, subwords: SubwordConfig::default() }
    }
}

/// Which parts of a word get a row in the embedding table. A part counts when it occurs in at least
/// `min_words` different training words; it carries words that training saw rarely or never.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SubwordConfig {
    /// Lengths of prefixes, in characters. A prefix may be the whole word.
    pub prefixes: Vec<usize>,
    /// Length of the suffix, in characters; 0 for none.
    pub suffix: usize,
    /// The parts of hyphenated words.
    pub hyphen_parts: bool,
    /// Different training words a part must occur in.
    pub min_words: usize,
    /// Parts with a row used per word, at most, in the order prefixes (longest first), suffix, hyphen parts.
    pub max_parts: usize,
}

impl Default for SubwordConfig {
    fn default() -> Self {
        Self { prefixes: Vec::new(), suffix: 0, hyphen_parts: false, min_words: 2, max_parts: 4 }
    }
}

/// The network: embedding → convolution → MoE layers → pooling → classifier, or pooling first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// Width of a token's vector.
    pub d_model: usize,
    /// Hidden units of one expert. A dense layer has `top_k × d_ff`: the same active parameters.
    pub d_ff: usize,
    /// Dense, or Mixture of Experts with top-k or top-any routing.
    pub kind: LayerKindConfig,
    /// Experts per MoE layer, at the start.
    pub n_experts: usize,
    /// Experts per row.
    pub top_k: usize,
    /// MoE (or dense) layers.
    pub n_layers: usize,
    /// What is routed: tokens before pooling, or sequences after it.
    pub unit: Unit,
    /// Width of the residual convolution over tokens; odd, or 0 for none.
    pub conv_width: usize,
    /// How tokens become one vector.
    pub pooling: Pooling,
    /// LayerNorm on embeddings, before expert layers and before the classifier. Without it the network
    /// around the experts is linear in the pooled vector, so that only experts can tell domains apart.
    pub layer_norm: bool,
    /// Standard deviation of initial embeddings.
    pub embedding_std: f64,
    /// Dropout on embeddings.
    pub input_dropout: f64,
    /// Dropout before the classifier.
    pub output_dropout: f64,
    /// Probability that a row of a token (its word's, or that of a part) is left out in training.
    pub row_dropout: f64,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            d_model: 64,
            d_ff: 64,
            kind: LayerKindConfig::Moe,
            n_experts: 4,
            top_k: 2,
            n_layers: 1,
            unit: Unit::Token,
            conv_width: 0,
            pooling: Pooling::Mean,
            layer_norm: true,
            embedding_std: 0.02,
            input_dropout: 0.0,
            output_dropout: 0.0,
            row_dropout: 0.0,
        }
    }
}

impl ModelConfig {
    /// The experts a run starts with.
    pub fn initial_layout(&self) -> Layout {
        Layout::uniform(self.n_layers, self.layer_kind(), self.n_experts)
    }

    /// Hidden units of an expert. That of a dense layer is `top_k` times as wide, and stays so when the
    /// layer is upcycled.
    pub fn expert_width(&self) -> usize {
        match self.kind {
            // Numbers from a checkpoint may be of any size.
            LayerKindConfig::Dense => self.d_ff.saturating_mul(self.top_k),
            LayerKindConfig::Moe | LayerKindConfig::TopAny => self.d_ff,
        }
    }

    /// Width of the vector that is classified.
    pub fn pooled_width(&self) -> usize {
        self.pooling.width(self.d_model)
    }

    /// Width of what a layer routes: that of a token or of a pooled sequence.
    pub fn row_width(&self) -> usize {
        match self.unit {
            Unit::Token => self.d_model,
            Unit::Sequence => self.pooled_width(),
        }
    }

    /// What kind of layer a run starts with.
    pub(crate) fn layer_kind(&self) -> LayerKind {
        match self.kind {
            LayerKindConfig::Dense => LayerKind::Dense,
            LayerKindConfig::Moe => LayerKind::Moe { top_k: self.top_k },
            LayerKindConfig::TopAny => LayerKind::TopAny,
        }
    }
}

/// Kind of the model's expert layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerKindConfig {
    /// One feed-forward network, no router.
    Dense,
    /// Experts behind a router that chooses `top_k`.
    Moe,
    /// Experts with thresholds; a row goes to every expert whose threshold it passes (DynMoE).
    TopAny,
}

/// What a router decides about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Each token; pooling comes after the experts.
    Token,
    /// Each sequence; pooling comes before the experts.
    Sequence,
}

/// How the tokens of a sequence become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// Mean over tokens: `d_model` wide.
    Mean,
    /// `[sum / √n ; max]`: `2 · d_model` wide.
    SumMax,
}

impl Pooling {
    /// Width of the vector that tokens `d_model` wide become.
    pub fn width(self, d_model: usize) -> usize {
        match self {
            Self::Mean => d_model,
            Self::SumMax => d_model.saturating_mul(2),
        }
    }
}

/// Optimizer, schedule and weight averaging.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimConfig {
    /// Peak learning rate.
    pub lr: f64,
    /// Learning rate of the embedding table, as a multiple of `lr`.
    pub embedding_lr_scale: f64,
    /// AdamW's first-moment decay.
    pub beta1: f64,
    /// AdamW's second-moment decay.
    pub beta2: f64,
    /// AdamW's epsilon.
    pub eps: f64,
    /// Decoupled weight decay of matrices; biases, norms and router rows have none.
    pub weight_decay: f64,
    /// Decoupled weight decay of the embedding table.
    pub embedding_weight_decay: f64,
    /// Largest gradient norm outside the embedding table; 0 for no clipping.
    pub clip_norm: f64,
    /// Shape of the learning rate after warm-up.
    pub schedule: ScheduleKind,
    /// Fraction of all steps that the learning rate rises linearly.
    pub warmup: f64,
    /// Decay per step of the averaged weights that are evaluated; 0 for none.
    pub ema_decay: f64,
    /// Steps between two updates of the average.
    pub ema_every: u64,
}

impl Default for OptimConfig {
    fn default() -> Self {
        Self {
            lr: 2e-3,
            embedding_lr_scale: 1.0,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.01,
            embedding_weight_decay: 0.0,
            clip_norm: 1.0,
            schedule: ScheduleKind::Linear,
            warmup: 0.06,
            ema_decay: 0.0,
            ema_every: 10,
        }
    }
}

/// Shape of the learning rate after warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleKind {
    /// Stays.
    Constant,
    /// Falls linearly to 0.
    Linear,
    /// Falls to 0 as half a cosine.
    Cosine,
}

/// The training loop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Passes over the training split; fractions are fine.
    pub epochs: f64,
    /// The run whose floating-point operations are to be spent, in place of `epochs`: its folder. What it measured
    /// counts, and what went into the weights that it started from. Operations are counted without padding, which
    /// is known in advance; of a layer with top-any routing all experts. In a phase file `{lookahead}` stands for
    /// the cell of that arm with the same seed.
    pub flops_of: String,
    /// Examples per step.
    pub batch_size: usize,
    /// Weight of the load-balancing loss.
    pub load_balancing_coef: f64,
    /// Steps between two evaluations on selection; 0: once an epoch.
    pub eval_every: u64,
    /// Steps between two `window` events; 0: only one, at the end.
    pub log_every: u64,
    /// Steps between two checkpoints, beside those at a new best; 0: none.
    pub checkpoint_every: u64,
    /// Checkpoints kept, newest first; the best one, and with `data.planted.live` those of its `times`, are kept
    /// in any case.
    pub keep_last: usize,
    /// Evaluations without a new best before training stops; 0: never.
    pub patience: u64,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            epochs: 3.0,
            flops_of: String::new(),
            batch_size: 128,
            load_balancing_coef: 0.01,
            eval_every: 0,
            log_every: 50,
            checkpoint_every: 500,
            keep_last: 2,
            patience: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_pass_their_own_check() {
        assert_eq!(RunConfig::default().check(), Ok(()));
    }

    #[test]
    fn a_value_out_of_range_is_named() {
        let mut config = RunConfig::default();
        config.model.row_dropout = 1.0;
        assert_eq!(config.check().unwrap_err().0, "model.row_dropout");
    }

    #[test]
    fn every_value_counts_in_the_hash() {
        let config = RunConfig::default();
        let other = RunConfig { seed: 1, ..config.clone() };
        assert_ne!(config.digest(), other.digest());
    }
}
