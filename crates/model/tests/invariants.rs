//! What must hold whatever the weights are: padding does not matter, the order of experts does not
//! matter, the router learns from the task.

#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

use burn::{
    module::{Module, Param},
    nn::loss::CrossEntropyLossConfig,
    tensor::{Device, Int, Tensor},
};
use moelt_model::{
    AuxLosses, Classifier, ClassifierConfig, Mode, ModelInput, MoeLayer, MoeLayerConfig, Router,
};
use moelt_schema::{
    Activation, ConvConfig, EncoderConfig, LayerKind, LayerSums, ModelConfig, NormPlacement, Pooling,
    Positions, RouterInput, RoutingConfig, RoutingStats, Stream, Streams, TransformerConfig, Unit,
};
use rand::{Rng, RngExt};

const ROWS: usize = 50;
const TOP_K: RoutingConfig = RoutingConfig::TopK { n_experts: 4 };
const TOP_ANY: RoutingConfig = RoutingConfig::TopAny { n_experts: 4 };

fn config(model: ModelConfig) -> ClassifierConfig {
    ClassifierConfig { layout: model.initial_layout(), model, n_rows: ROWS, n_classes: 3 }
}

/// Every kind of routing, both units, every encoder, whatever a router may see, pooling that is learned, and gates.
fn small_configs() -> Vec<ModelConfig> {
    let of_unit = |unit| {
        let top_any = ModelConfig { routing: TOP_ANY, ..small(unit, 1) };
        [small(unit, 1), small(unit, 2), top_any]
    };
    let seeing = |router_input| of_unit(Unit::Token).map(|config| ModelConfig { router_input, ..config });
    let encoded = |encoder: EncoderConfig| {
        of_unit(Unit::Token).map(|config| ModelConfig { encoder: encoder.clone(), ..config })
    };
    let units = [Unit::Token, Unit::Sequence].into_iter().flat_map(of_unit);
    let attentive = of_unit(Unit::Token).into_iter().chain(of_unit(Unit::Sequence));
    units
        .chain(attentive.map(|config| ModelConfig { pooling: Pooling::Attention, ..config }))
        .chain(of_unit(Unit::Token).map(|config| ModelConfig { activation: Activation::Swiglu, ..config }))
        .chain([RouterInput::Sequence, RouterInput::TokenAndSequence].into_iter().flat_map(seeing))
        .chain([EncoderConfig::Bag {}, turned_before(), learned_after()].into_iter().flat_map(encoded))
        .collect()
}

/// A transformer of today.
fn turned_before() -> EncoderConfig {
    EncoderConfig::Transformer(TransformerConfig { n_heads: 2, ..TransformerConfig::default() })
}

/// A transformer like BERT.
fn learned_after() -> EncoderConfig {
    EncoderConfig::Transformer(TransformerConfig {
        n_heads: 4,
        positions: Positions::Learned { n_positions: 12 },
        norm: NormPlacement::Post,
        ..TransformerConfig::default()
    })
}

fn small(unit: Unit, top_k: usize) -> ModelConfig {
    ModelConfig {
        d_model: 8,
        d_ff: 6,
        routing: TOP_K,
        top_k,
        unit,
        encoder: EncoderConfig::Conv(ConvConfig { width: 3 }),
        pooling: Pooling::SumMax,
        embedding_std: 1.0,
        ..ModelConfig::default()
    }
}

fn model(model: ModelConfig, device: &Device) -> Classifier {
    config(model).init(&Streams::new(3), device)
}

/// Sequences of different length, two rows a token, padded to `extra` more than the longest.
fn batch(extra: usize) -> (Vec<Vec<[u32; 2]>>, ModelInput) {
    let mut rng = Streams::new(5).rng(Stream::Split, 0);
    let lengths = [7, 1, 4, 3];
    let sequences: Vec<Vec<[u32; 2]>> = lengths
        .map(|n| {
            (0..n).map(|_| [rng.random_range(1..ROWS as u32), rng.random_range(0..ROWS as u32)]).collect()
        })
        .to_vec();
    let seq = 7 + extra;
    let pad =
        |s: &Vec<[u32; 2]>| s.iter().copied().chain(std::iter::repeat([0; 2])).take(seq).flatten().collect();
    let rows: Vec<u32> = sequences.iter().flat_map(|s| -> Vec<u32> { pad(s) }).collect();
    let input = ModelInput::new(&rows, seq, 2, &lengths);
    (sequences, input)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as().unwrap()
}

fn assert_close(a: &[f32], b: &[f32], relative: f32) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= relative * (1.0 + a.abs()), "{a} and {b}");
    }
}

/// What a router that sees sequences says of a sequence's first token, it says of all of them; one that sees tokens does not.
#[test]
fn a_router_that_sees_sequences_sends_all_their_tokens_one_way() {
    let spread = |router_input| {
        let config = ModelConfig { router_input, ..small(Unit::Token, 2) };
        let output = model(config, &Device::flex()).forward(&batch(0).1, Mode::Eval);
        let probs = values(output.router_probs[0].1.clone());
        let first_sequence = probs.chunks_exact(4).take(7);
        first_sequence.map(|token| (token[0] - probs[0]).abs()).fold(0.0, f32::max)
    };
    assert!(spread(RouterInput::Sequence) < 1e-6);
    assert!(spread(RouterInput::Token) > 1e-3 && spread(RouterInput::TokenAndSequence) > 1e-3);
}

#[test]
fn padding_changes_neither_logits_nor_statistics() {
    for config in small_configs() {
        let rows = if config.unit == Unit::Token { 15.0 } else { 4.0 };
        let model = model(config, &Device::flex());
        let (sequences, padded) = batch(5);
        let together = model.forward(&padded, Mode::Eval);
        let mut alone = Vec::new();
        let mut sums = LayerSums::zeros(4);
        for sequence in &sequences {
            let input = ModelInput::new(&sequence.concat(), sequence.len(), 2, &[sequence.len()]);
            let output = model.forward(&input, Mode::Eval);
            alone.extend(values(output.logits));
            sums.add(&output.routing[0]);
        }
        assert_close(&values(together.logits), &alone, 1e-6);
        let (a, b) = (RoutingStats::from_sums(&together.routing[0]), RoutingStats::from_sums(&sums));
        assert_eq!(a.tokens, rows, "padding is not counted");
        assert_same_stats(&a, &b);
    }
}

#[test]
fn a_batch_padded_further_is_the_same_batch() {
    for config in small_configs() {
        let model = model(config, &Device::flex());
        let [tight, loose] = [0, 5].map(|extra| model.forward(&batch(extra).1, Mode::Eval));
        let (a, b) = (values(tight.logits), values(loose.logits));
        for (a, b) in a.chunks_exact(3).zip(b.chunks_exact(3)) {
            assert!(largest(a) > 0.1, "logits too small to compare: {a:?}");
            assert_relative(a, b, 1e-6);
        }
        let balance = [tight.aux_loss, loose.aux_loss].map(|x| values(x.unwrap()));
        assert_relative(&balance[0], &balance[1], 1e-6);
        assert_same_stats(
            &RoutingStats::from_sums(&tight.routing[0]),
            &RoutingStats::from_sums(&loose.routing[0]),
        );
    }
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |most, x| most.max(x.abs()))
}

/// `|a − b| ≤ relative · max(|a|, |b|)`, with the largest of the row where it has more than one value:
/// one of them may be near zero by right.
#[track_caller]
fn assert_relative(a: &[f32], b: &[f32], relative: f32) {
    assert_eq!(a.len(), b.len());
    let size = largest(a).max(largest(b));
    assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() <= relative * size), "{a:?} and {b:?}");
}

/// Every field; counts and what follows from them alone exactly.
#[track_caller]
fn assert_same_stats(a: &RoutingStats, b: &RoutingStats) {
    let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-6 * a.max(*b));
    assert_eq!(a.tokens, b.tokens);
    assert_eq!(a.tokens_per_expert, b.tokens_per_expert);
    assert_eq!(a.utilization, b.utilization);
    assert_eq!(a.load_entropy, b.load_entropy);
    assert_eq!(a.dead_experts, b.dead_experts);
    assert!(close(&[a.routing_entropy], &[b.routing_entropy]), "{a:?} and {b:?}");
    assert!(close(&a.mean_expert_weight, &b.mean_expert_weight), "{a:?} and {b:?}");
    assert!(close(&a.weighted_norm, &b.weighted_norm), "{a:?} and {b:?}");
    assert!(close(&a.router_mass, &b.router_mass), "{a:?} and {b:?}");
    assert_eq!(a.unrouted, b.unrouted);
}

#[test]
fn permuting_experts_with_their_router_rows_changes_nothing() {
    let device = Device::flex();
    for kind in [LayerKind::TopK { k: 2 }, LayerKind::TopAny] {
        let layer = uneven(layer(kind, 4, &device), &device);
        let order = [2, 0, 3, 1];
        let permuted = permute(layer.clone(), &order, &device);
        let x = random([20, 8], &device);
        let (a, b) = (layer.forward(x.clone()), permuted.forward(x));
        assert_close(&values(a.x), &values(b.x), 1e-6);
        let total = |losses: AuxLosses| values(losses.total().unwrap());
        assert_close(&total(a.aux_losses), &total(b.aux_losses), 1e-6);
        let (a, b) = (a.routing.unwrap(), b.routing.unwrap());
        for (new, old) in order.iter().enumerate() {
            let old = *old as usize;
            assert_eq!(b.tokens_per_expert[new], a.tokens_per_expert[old]);
            assert!((b.weighted_norm[new] - a.weighted_norm[old]).abs() < 1e-5);
            assert!((b.mass[new] - a.mass[old]).abs() < 1e-5);
        }
        assert_eq!(a.unrouted.tokens, b.unrouted.tokens);
        assert_eq!(a.unrouted.tokens > 0.0, kind == LayerKind::TopAny, "the fallback is tried");
    }
}

fn layer(kind: LayerKind, n_experts: usize, device: &Device) -> MoeLayer {
    MoeLayerConfig::new(8, 6).with_n_experts(n_experts).with_kind(kind).with_seed(1).init(device)
}

/// Router biases and thresholds that differ between experts, so that order could matter.
fn uneven(mut layer: MoeLayer, device: &Device) -> MoeLayer {
    let values = || Param::from_data([0.3, -0.2, 0.1, 0.2], device);
    match layer.router.as_mut().unwrap() {
        Router::TopK(router) => (router.bias, router.balance_bias) = (values(), values()),
        Router::TopAny(router) => router.threshold = values(),
        Router::Assigned(_) => panic!("it has no parameters"),
    }
    layer
}

fn permute(mut layer: MoeLayer, order: &[i64], device: &Device) -> MoeLayer {
    fn select<const D: usize>(param: &mut Param<Tensor<D>>, order: &Tensor<1, Int>) {
        *param = param.clone().map(|tensor| tensor.select(0, order.clone()));
    }
    let order = Tensor::<1, Int>::from_data(order, device);
    match layer.router.as_mut().unwrap() {
        Router::TopK(router) => {
            select(&mut router.weight, &order);
            select(&mut router.bias, &order);
            select(&mut router.balance_bias, &order);
        }
        Router::TopAny(router) => {
            select(&mut router.weight, &order);
            select(&mut router.threshold, &order);
        }
        Router::Assigned(_) => {}
    }
    select(&mut layer.experts.w_in, &order);
    select(&mut layer.experts.b_in, &order);
    select(&mut layer.experts.w_out, &order);
    select(&mut layer.experts.b_out, &order);
    layer
}

fn random(shape: [usize; 2], device: &Device) -> Tensor<2> {
    let mut rng = Streams::new(9).rng(Stream::Split, 1);
    let values: Vec<f32> = (0..shape[0] * shape[1]).map(|_| rng.random_range(-1.0..1.0)).collect();
    Tensor::from_data(burn::tensor::TensorData::new(values, shape), device)
}

#[test]
fn the_router_learns_from_the_task_loss_alone() {
    let device = Device::flex().autodiff();
    for top_k in [1, 2] {
        let layer = layer(LayerKind::TopK { k: top_k }, 4, &device);
        let y = layer.forward(random([20, 8], &device)).x;
        let labels = Tensor::<1, Int>::from_data([0i64, 1, 2, 3].repeat(5).as_slice(), &device);
        let loss = CrossEntropyLossConfig::new().init(&device).forward(y, labels);
        let gradient = layer.router.unwrap().weight().unwrap().val().grad(&loss.backward()).unwrap();
        let largest = values(gradient.abs()).into_iter().fold(0.0, f32::max);
        assert!(largest > 1e-4, "top-{top_k}: {largest}");
    }
}

#[test]
fn an_expert_without_a_token_has_a_gradient_of_exactly_zero() {
    let device = Device::flex().autodiff();
    let config = MoeLayerConfig::new(8, 6).with_n_experts(3).with_kind(LayerKind::TopK { k: 1 });
    let mut layer = config.with_layer_norm(false).with_seed(1).init(&device);
    // Expert 2's router row makes it the worst for every row of ones.
    let Some(Router::TopK(router)) = &mut layer.router else { panic!("another router than was asked for") };
    router.weight = router.weight.clone().map(|w| {
        let worst = Tensor::<2>::full([1, 8], -9.0, &device);
        Tensor::cat(vec![w.narrow(0, 0, 2), worst], 0).detach().require_grad()
    });
    let output = layer.forward(Tensor::ones([5, 8], &device));
    assert_eq!(output.routing.unwrap().tokens_per_expert[2], 0.0);
    let gradients = output.x.sum().backward();
    let w_in = values(layer.experts.w_in.val().grad(&gradients).unwrap());
    let b_out = values(layer.experts.b_out.val().grad(&gradients).unwrap());
    assert!(w_in[2 * 48..].iter().chain(&b_out[2 * 8..]).all(|g| *g == 0.0));
    assert!(b_out[..16].iter().any(|g| *g != 0.0));
}

#[test]
fn layers_of_different_size_share_what_they_have_in_common() {
    let device = Device::flex();
    let [four, eight] = [4, 8].map(|n| layer(LayerKind::TopK { k: 2 }, n, &device));
    assert_eq!(values(four.experts.w_in.val()), values(eight.experts.w_in.val())[..4 * 48]);
    let (four, eight) = (four.router.unwrap(), eight.router.unwrap());
    assert_eq!(values(four.weight().unwrap().val()), values(eight.weight().unwrap().val())[..4 * 8]);
}

#[test]
fn dense_and_moe_have_the_same_active_parameters_but_for_the_router() {
    let device = Device::flex();
    let active_with = |routing, shared_d_ff| {
        let config = config(ModelConfig { routing, shared_d_ff, ..small(Unit::Token, 2) });
        config.init(&Streams::new(1), &device).n_active_params(&config.layout)
    };
    let active = |routing| active_with(routing, 0);
    let (dense, moe) = (active(RoutingConfig::Dense {}), active(TOP_K));
    // Router 4 × 8, and one output bias more, since two experts are active. Offsets are not counted.
    assert_eq!(moe - dense, 4 * 8 + 8);
    // Top-any: two experts more (8 × 6 weights each way and both biases), and 4 thresholds.
    assert_eq!(active(TOP_ANY) - moe, 2 * (2 * 8 * 6 + 6 + 8) + 4);
    // Gates of both active experts: 8 × 6 weights and their biases.
    let gated = ModelConfig { activation: Activation::Swiglu, routing: TOP_K, ..small(Unit::Token, 2) };
    let gated = config(gated);
    let of_gated = gated.init(&Streams::new(1), &device).n_active_params(&gated.layout);
    assert_eq!(of_gated - moe, 2 * (8 * 6 + 6));
    // A shared expert of 5 units works on every token; a dense layer has none.
    assert_eq!(active_with(TOP_K, 5) - moe, 2 * 8 * 5 + 5 + 8);
    assert_eq!(active_with(RoutingConfig::Dense {}, 5), dense);
}

#[test]
fn dropout_repeats_with_its_stream_and_differs_between_steps() {
    let device = Device::flex();
    let mut config = small(Unit::Token, 2);
    (config.input_dropout, config.output_dropout, config.row_dropout) = (0.3, 0.3, 0.3);
    let model = model(config, &device);
    let (_, input) = batch(0);
    let logits = |step| {
        let mut rng = Streams::new(1).rng(Stream::Dropout, step);
        values(model.forward(&input, Mode::Train(&mut rng as &mut dyn Rng)).logits)
    };
    assert_eq!(logits(1), logits(1));
    assert_ne!(logits(1), logits(2));
    assert!(model.num_params() > 0);
}
