//! Whether this machine can hold what a config asks for, asked before anything of it is made.
//!
//! Both estimates are less than what a run takes: activations, the copies of a trial and the texts of a file are
//! left out. What they refuse cannot work; what they let pass may still be too much.

use moelt_model::ClassifierConfig;
use moelt_schema::{Layout, PlantedConfig, RoutingConfig, RunConfig};
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

use crate::TrainError;

/// A size that can be set, where the config has it.
type Size = (&'static str, fn(&mut RunConfig) -> Option<&mut usize>);

/// What decides how many values a model has.
const MODEL: &[Size] = &[
    ("model.d_model", |config| Some(&mut config.model.d_model)),
    ("model.d_ff", |config| Some(&mut config.model.d_ff)),
    ("model.shared_d_ff", |config| Some(&mut config.model.shared_d_ff)),
    ("model.n_layers", |config| Some(&mut config.model.n_layers)),
    ("model.routing.top_k.n_experts", |config| match &mut config.model.routing {
        RoutingConfig::TopK { n_experts } => Some(n_experts),
        RoutingConfig::Dense {} | RoutingConfig::TopAny { .. } | RoutingConfig::Assigned { .. } => None,
    }),
    ("model.routing.top_any.n_experts", |config| match &mut config.model.routing {
        RoutingConfig::TopAny { n_experts } => Some(n_experts),
        RoutingConfig::Dense {} | RoutingConfig::TopK { .. } | RoutingConfig::Assigned { .. } => None,
    }),
    ("model.routing.assigned.n_experts", |config| match &mut config.model.routing {
        RoutingConfig::Assigned { n_experts, .. } => Some(n_experts),
        RoutingConfig::Dense {} | RoutingConfig::TopK { .. } | RoutingConfig::TopAny { .. } => None,
    }),
    ("model.encoder.conv.width", |config| Some(&mut config.model.encoder.conv_mut()?.width)),
    ("model.top_k", |config| Some(&mut config.model.top_k)),
];

/// What decides how large generated data is.
const PLANTED: &[Size] = &[
    ("data.planted.train", |config| Some(&mut config.data.planted_mut()?.train)),
    ("data.planted.validation", |config| Some(&mut config.data.planted_mut()?.validation)),
    ("data.planted.test", |config| Some(&mut config.data.planted_mut()?.test)),
    ("data.planted.domains", |config| Some(&mut config.data.planted_mut()?.domains)),
    ("data.planted.polar_words", |config| Some(&mut config.data.planted_mut()?.polar_words)),
    ("data.planted.markers_per_text", |config| Some(&mut config.data.planted_mut()?.markers_per_text)),
    ("data.planted.polar_per_text", |config| Some(&mut config.data.planted_mut()?.polar_per_text)),
    ("data.planted.fillers_per_text", |config| Some(&mut config.data.planted_mut()?.fillers_per_text)),
];

/// Bytes that this process may have: the machine's memory, or that of the control group (of a container, say) it is
/// confined to. Where neither is known, any number of them.
pub(crate) fn of_machine() -> u64 {
    let memory = RefreshKind::nothing().with_memory(MemoryRefreshKind::everything());
    let system = System::new_with_specifics(memory);
    let limit = system.cgroup_limits().map(|limits| limits.total_memory);
    [Some(system.total_memory()), limit].into_iter().flatten().filter(|n| *n > 0).min().unwrap_or(u64::MAX)
}

/// Refuses a model whose training does not fit into `memory` bytes. `layout` has the experts where they are not the
/// config's own.
///
/// # Errors
/// The key that is to blame, its value and the largest that would fit.
pub(crate) fn check_model(
    config: &RunConfig,
    layout: Option<&Layout>,
    n_rows: usize,
    n_classes: usize,
    memory: u64,
) -> Result<(), TrainError> {
    let bytes = |config: &RunConfig| {
        let model = config.model.clone();
        let layout = layout.cloned().unwrap_or_else(|| model.initial_layout());
        let values = ClassifierConfig { model, layout, n_rows, n_classes }.n_values();
        // Weights, gradients, two moments, and the average.
        let copies = if config.optim.ema_decay > 0.0 { 5 } else { 4 };
        values.saturating_mul(copies * size_of::<f32>() as u128)
    };
    check(config, MODEL, "weights, gradients and optimizer state", bytes, memory)
}

/// Refuses generated texts that do not fit into `memory` bytes.
///
/// # Errors
/// The key that is to blame, its value and the largest that would fit.
pub(crate) fn check_data(config: &RunConfig, memory: u64) -> Result<(), TrainError> {
    check(config, PLANTED, "the generated texts and their tokens", planted_bytes, memory)
}

/// Of all texts, as words and as rows of the embedding table, and of the polarity of every word.
fn planted_bytes(config: &RunConfig) -> u128 {
    /// A word with its blank, such as `polar12`, and its row.
    const WORD: u128 = 8 + 4;
    /// What is kept of a text beside its words.
    const TEXT: u128 = 100;
    let Some(planted) = config.data.planted() else { return 0 };
    let PlantedConfig { train, validation, test, domains, polar_words, .. } = *planted;
    let PlantedConfig { markers_per_text, polar_per_text, fillers_per_text, .. } = *planted;
    let sum = |numbers: [usize; 3]| numbers.into_iter().map(|n| n as u128).sum::<u128>();
    let words = sum([markers_per_text, polar_per_text, fillers_per_text]);
    sum([train, validation, test]) * (TEXT + words * WORD) + domains as u128 * polar_words as u128
}

fn check(
    config: &RunConfig,
    sizes: &[Size],
    what: &str,
    bytes: impl Fn(&RunConfig) -> u128,
    memory: u64,
) -> Result<(), TrainError> {
    let needed = bytes(config);
    if needed <= u128::from(memory) {
        return Ok(());
    }
    let with = |(_, size): &Size, value: usize| {
        let mut config = config.clone();
        if let Some(size) = size(&mut config) {
            *size = value;
        }
        bytes(&config)
    };
    let read = |config: &RunConfig, (_, size): &Size| size(&mut config.clone()).copied();
    let default = |size| read(&RunConfig::default(), size).unwrap_or(1);
    // To blame is what takes most away when it is as in the defaults.
    let blamed = sizes.iter().filter_map(|size| Some((size, read(config, size)?)));
    let blamed = blamed.min_by_key(|(size, value)| with(size, default(size).min(*value)));
    let (blamed, value) = blamed.expect("there are sizes");
    let fits = largest(value, |value| with(blamed, value) <= u128::from(memory));
    let possible = match fits {
        Some(fits) => format!("at most {fits} fits while everything else is as it is"),
        None => "other sizes are too large as well".to_owned(),
    };
    Err(TrainError::Memory {
        key: blamed.0,
        value,
        message: format!(
            "{what} need {} at least, and this machine has {}; {possible}",
            gigabytes(needed),
            gigabytes(memory.into())
        ),
    })
}

/// The largest number from 1 to below `beyond` that fits, when larger ones fit less.
fn largest(beyond: usize, fits: impl Fn(usize) -> bool) -> Option<usize> {
    let (mut low, mut high) = (0, beyond);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if fits(middle) { low = middle } else { high = middle }
    }
    (low > 0).then_some(low)
}

fn gigabytes(bytes: u128) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use moelt_schema::{ConvConfig, EncoderConfig};

    use super::*;

    const GB: u64 = 1_000_000_000;

    fn conv(width: usize) -> EncoderConfig {
        EncoderConfig::Conv(ConvConfig { width })
    }

    const MANY: RoutingConfig = RoutingConfig::TopK { n_experts: 10_000 };

    fn model(change: fn(&mut RunConfig), memory: u64) -> Result<(), String> {
        let mut config = RunConfig::default();
        change(&mut config);
        check_model(&config, None, 10_000, 2, memory).map_err(|error| error.to_string())
    }

    #[test]
    fn a_model_beyond_the_memory_is_refused_by_the_key_that_makes_it_so() {
        assert_eq!(model(|_| {}, GB), Ok(()));
        type Change = fn(&mut RunConfig);
        let cases: [(Change, &str); 7] = [
            (|c| c.model.d_model = 1_000_000, "`model.d_model`: is 1000000: weights, gradients"),
            (|c| c.model.d_ff = 100_000_000, "`model.d_ff`: is 100000000: "),
            (|c| c.model.shared_d_ff = 100_000_000, "`model.shared_d_ff`: is 100000000: "),
            (|c| (c.model.n_layers, c.model.d_ff) = (1000, 1000), "`model.n_layers`: is 1000: "),
            (
                |c| (c.model.routing, c.model.d_ff) = (MANY, 100),
                "`model.routing.top_k.n_experts`: is 10000: ",
            ),
            (
                |c| (c.model.encoder, c.model.d_model) = (conv(9999), 128),
                "`model.encoder.conv.width`: is 9999: ",
            ),
            (
                |c| (c.model.routing, c.optim.ema_decay) = (MANY, 0.9),
                "`model.routing.top_k.n_experts`: is 10000: ",
            ),
        ];
        for (change, expected) in cases {
            let error = model(change, GB).unwrap_err();
            assert!(error.contains(expected), "{expected}: {error}");
            assert!(error.contains("this machine has 1.0 GB; at most "), "{error}");
        }
    }

    #[test]
    fn the_largest_value_named_fits_and_the_next_one_does_not() {
        let bytes = |d_ff: usize| {
            let config = moelt_schema::ModelConfig { d_ff, ..moelt_schema::ModelConfig::default() };
            let layout = config.initial_layout();
            16 * ClassifierConfig { model: config, layout, n_rows: 10_000, n_classes: 2 }.n_values()
        };
        let error = model(|c| c.model.d_ff = 100_000_000, GB).unwrap_err();
        let (_, rest) = error.split_once("at most ").unwrap();
        let named: usize = rest.split(' ').next().unwrap().parse().unwrap();
        assert!(bytes(named) <= u128::from(GB) && bytes(named + 1) > u128::from(GB), "{error}");
    }

    #[test]
    fn generated_data_beyond_the_memory_is_refused_by_the_key_that_makes_it_so() {
        let data = |change: fn(&mut PlantedConfig)| {
            let mut config = RunConfig::default();
            change(config.data.planted_mut().unwrap());
            check_data(&config, GB).map_err(|error| error.to_string())
        };
        assert_eq!(data(|_| {}), Ok(()));
        type Change = fn(&mut PlantedConfig);
        let cases: [(Change, &str); 3] = [
            (|p| p.train = 1_000_000_000, "`data.planted.train`: is 1000000000"),
            (|p| p.fillers_per_text = 100_000, "`data.planted.fillers_per_text`: is 100000"),
            (|p| (p.polar_words, p.domains) = (1_000_000, 1_001), "`data.planted.polar_words`: is 1000000"),
        ];
        for (change, key) in cases {
            let error = data(change).unwrap_err();
            assert!(error.starts_with(key), "{key}: {error}");
        }
    }

    #[test]
    fn the_machine_has_memory() {
        assert!(of_machine() > 1_000_000);
    }
}
