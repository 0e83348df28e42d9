//! What a model says of a text depends on that text alone: not on the texts beside it, nor on the number of threads.

#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

use burn::tensor::Device;
use moelt_data::OwnTexts;
use moelt_schema::{
    Budget, ConvConfig, EncoderConfig, ModelConfig, Pooling, RouterInput, RoutingConfig, RunConfig, Unit,
};
use moelt_train::{Classification, LoadedModel, Trainer};
use rayon::ThreadPoolBuilder;

/// A model of this shape, trained for a moment.
fn trained(model: ModelConfig) -> LoadedModel {
    let folder = tempfile::tempdir().unwrap();
    let text = |i: u32| (format!("{} {i}", ["rain", "sun"][i as usize % 2]), ["bad", "good"][i as usize % 2]);
    let texts = OwnTexts::new((0..80).map(text));
    let mut config = RunConfig { model, ..RunConfig::default() };
    (config.train.budget, config.train.batch_size) = (Budget::Epochs(2.0), 8);
    Trainer::new(config).dataset(&texts).run(folder.path(), &Device::flex()).unwrap();
    LoadedModel::open(folder.path(), &Device::flex()).unwrap()
}

/// Texts of no to 30 words, and a long one.
fn texts() -> Vec<String> {
    let word = |i: usize| ["rain", "sun", "wind", "12", "dusk"][i * 7919 % 5];
    let text = |n: usize, i: usize| (0..n).map(|j| word(i + j * j)).collect::<Vec<_>>().join(" ");
    (0..900).map(|i| text(if i == 450 { 240 } else { i * 37 % 31 }, i)).collect()
}

#[test]
fn answers_are_the_same_bits_alone_and_in_company_and_on_any_threads() {
    let small = ModelConfig {
        d_model: 32,
        d_ff: 48,
        top_k: 2,
        routing: RoutingConfig::TopK { n_experts: 4 },
        ..ModelConfig::default()
    };
    let shapes = [
        small.clone(),
        ModelConfig { unit: Unit::Sequence, ..small.clone() },
        ModelConfig {
            encoder: EncoderConfig::Conv(ConvConfig { width: 3 }),
            pooling: Pooling::SumMax,
            router_input: RouterInput::TokenAndSequence,
            ..small
        },
    ];
    for shape in shapes {
        let (model, texts) = (trained(shape), texts());
        let whole = model.classify(&texts);
        for few in [1, 2, 3, 100, 700] {
            let parts: Vec<Classification> =
                texts.chunks(few).flat_map(|texts| model.classify(texts)).collect();
            assert_eq!(parts, whole, "{few} at a time");
        }
        for threads in [1, 3] {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert_eq!(pool.install(|| model.classify(&texts)), whole, "{threads} threads");
        }
        assert_eq!(model.classify_each(texts.iter().cloned()).collect::<Vec<_>>(), whole);
    }
}
