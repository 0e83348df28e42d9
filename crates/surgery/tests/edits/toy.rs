//! A small network of two expert layers, written as a stranger to moelt would write it.

use burn::{
    module::{Module, Param},
    tensor::{
        Device, Tensor, TensorData,
        activation::{softmax, tanh},
    },
};
use moelt_surgery::schema::{
    ExpertAxes, ExpertAxis, ExpertRole, LayerId, LayerKind, LayerLayout, Layout, RowInit, Stream, Streams,
    uniform,
};

/// The layer whose experts' output weights have experts on axis 1, and hidden units before them.
const TURNED: usize = 1;

/// Two expert layers, one after the other, without a skip connection that would hide what an edit does.
#[derive(Module, Debug)]
pub(crate) struct Toy {
    pub(crate) layers: Vec<ToyLayer>,
}

/// Experts of one hidden layer with tanh, in which no unit can die.
#[derive(Module, Debug)]
pub(crate) struct ToyLayer {
    /// None: dense, one expert.
    pub(crate) router: Option<ToyRouter>,
    /// `[n_experts, d_model, d_ff]`
    pub(crate) w_in: Param<Tensor<3>>,
    /// `[n_experts, d_ff]`
    pub(crate) b_in: Param<Tensor<2>>,
    /// `[n_experts, d_ff, d_model]`, in the turned layer `[d_ff, n_experts, d_model]`
    pub(crate) w_out: Param<Tensor<3>>,
    /// `[n_experts, d_model]`
    pub(crate) b_out: Param<Tensor<2>>,
}

/// Softmax router over the `top_k` best experts, chosen with a balance bias.
#[derive(Module, Debug)]
pub(crate) struct ToyRouter {
    /// `[n_experts, d_model]`
    pub(crate) weight: Param<Tensor<2>>,
    /// `[n_experts]`, added to the logits, not trained.
    pub(crate) offset: Param<Tensor<1>>,
    /// `[n_experts]`, added to the logits for the choice alone, not trained.
    pub(crate) bias: Param<Tensor<1>>,
    #[module(skip)]
    pub(crate) top_k: usize,
}

/// Widths of a [`Toy`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Widths {
    pub(crate) d_model: usize,
    pub(crate) d_ff: usize,
}

impl Toy {
    pub(crate) fn new(layout: &Layout, widths: Widths, seed: u64, device: &Device) -> Self {
        let layer = |(index, layer)| ToyLayer::new(index, layer, widths, seed, device);
        Self { layers: layout.layers().iter().enumerate().map(layer).collect() }
    }

    /// `[rows, d_model]` to `[rows, d_model]`
    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let forward = |x, (index, layer): (usize, &ToyLayer)| layer.forward(x, index == TURNED);
        self.layers.iter().enumerate().fold(x, forward)
    }
}

impl ToyLayer {
    fn new(index: usize, layout: &LayerLayout, widths: Widths, seed: u64, device: &Device) -> Self {
        let (n, Widths { d_model, d_ff }) = (layout.n_experts(), widths);
        let mut rng = Streams::new(seed).rng(Stream::InitShared, index as u64);
        let mut draw = |fan_in: usize, len: usize| uniform(fan_in, len, &mut rng);
        let w_out = if index == TURNED { [d_ff, n, d_model] } else { [n, d_ff, d_model] };
        Self {
            router: ToyRouter::of(layout.kind, draw(d_model, n * d_model), n, device),
            w_in: param(draw(d_model, n * d_model * d_ff), [n, d_model, d_ff], device),
            b_in: param(draw(d_model, n * d_ff), [n, d_ff], device),
            w_out: param(draw(d_ff, n * d_ff * d_model), w_out, device),
            b_out: param(draw(d_ff, n * d_model), [n, d_model], device),
        }
    }

    fn forward(&self, x: Tensor<2>, turned: bool) -> Tensor<2> {
        let w_out = self.w_out.val();
        let w_out = if turned { w_out.swap_dims(0, 1) } else { w_out };
        let hidden =
            tanh(x.clone().unsqueeze::<3>().matmul(self.w_in.val()) + self.b_in.val().unsqueeze_dim(1));
        let y: Tensor<3> = hidden.matmul(w_out) + self.b_out.val().unsqueeze_dim(1);
        let y = match &self.router {
            Some(router) => y * router.weights(x).transpose().unsqueeze_dim(2),
            None => y,
        };
        y.sum_dim(0).squeeze_dim(0)
    }

    fn with_kind(self, kind: LayerKind) -> Self {
        let [n_experts, d_model, _] = self.w_in.dims();
        let zeros = vec![0.0; n_experts * d_model];
        let router = match (self.router, kind) {
            (Some(router), LayerKind::TopK { k: top_k }) => Some(ToyRouter { top_k, ..router }),
            (_, kind) => ToyRouter::of(kind, zeros, n_experts, &self.w_in.device()),
        };
        Self { router, ..self }
    }
}

impl ToyRouter {
    fn of(kind: LayerKind, rows: Vec<f32>, n_experts: usize, device: &Device) -> Option<Self> {
        let LayerKind::TopK { k: top_k } = kind else { return None };
        let d_model = rows.len() / n_experts;
        let fixed = |values| param(values, [n_experts], device).set_require_grad(false);
        // Small and different, as a balance bias is after a while.
        let bias = (0..n_experts).map(|expert| 0.01 * expert as f32).collect();
        Some(Self {
            weight: param(rows, [n_experts, d_model], device),
            offset: fixed(vec![0.0; n_experts]),
            bias: fixed(bias),
            top_k,
        })
    }

    /// `[rows, n_experts]`: 0 for experts that are not chosen. A single chosen expert keeps its
    /// probability; two or more sum to 1.
    fn weights(&self, x: Tensor<2>) -> Tensor<2> {
        let logits = x.matmul(self.weight.val().transpose()) + self.offset.val().unsqueeze();
        let biased = logits.clone() + self.bias.val().unsqueeze();
        let probs = softmax(logits, 1);
        let chosen = probs * chosen(biased, self.top_k);
        if self.top_k > 1 { chosen.clone() / chosen.sum_dim(1) } else { chosen }
    }
}

/// 1 for the `top_k` largest values of a row, 0 for the others.
fn chosen(scores: Tensor<2>, top_k: usize) -> Tensor<2> {
    let ([_, n], device) = (scores.dims(), scores.device());
    let shape = scores.dims();
    let scores: Vec<f32> = scores.into_data().try_into_vec::<f32>().unwrap();
    let mut mask = vec![0.0; scores.len()];
    for (row, scores) in scores.chunks_exact(n).enumerate() {
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
        order.iter().take(top_k).for_each(|expert| mask[row * n + expert] = 1.0);
    }
    Tensor::from_data(TensorData::new(mask, shape), &device)
}

pub(crate) fn param<const D: usize>(
    values: Vec<f32>,
    shape: [usize; D],
    device: &Device,
) -> Param<Tensor<D>> {
    Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), device))
}

impl ExpertAxes for Toy {
    fn expert_axes(&self) -> Vec<ExpertAxis> {
        self.layers.iter().enumerate().flat_map(|(index, layer)| layer.axes(index)).collect()
    }

    fn with_parts_of(self, layout: &Layout) -> Self {
        let with_kind = |(layer, layout): (ToyLayer, &LayerLayout)| layer.with_kind(layout.kind);
        Self { layers: self.layers.into_iter().zip(layout.layers()).map(with_kind).collect() }
    }
}

impl ToyLayer {
    fn axes(&self, index: usize) -> Vec<ExpertAxis> {
        let [_, d_model, d_ff] = self.w_in.dims();
        let axis = |name: &str, axis, hidden, role, init| ExpertAxis {
            param: format!("layers.{index}.{name}"),
            layer: LayerId(index as u32),
            axis,
            hidden,
            role,
            init,
        };
        let uniform = |fan_in, stream| RowInit::Uniform { fan_in, stream };
        let (expert, unit) = if index == TURNED { (1, 0) } else { (0, 1) };
        let experts = [
            axis("w_in", 0, Some(2), ExpertRole::Input, uniform(d_model, 0)),
            axis("b_in", 0, Some(1), ExpertRole::Input, uniform(d_model, 1)),
            axis("w_out", expert, Some(unit), ExpertRole::Output, uniform(d_ff, 2)),
            axis("b_out", 0, None, ExpertRole::Output, RowInit::Zeros),
        ];
        let router = [
            axis("router.weight", 0, None, ExpertRole::Router, uniform(d_model, 3)),
            axis("router.offset", 0, None, ExpertRole::RouterBias, RowInit::Zeros),
            axis("router.bias", 0, None, ExpertRole::Other, RowInit::Zeros),
        ];
        experts.into_iter().chain(router.into_iter().filter(|_| self.router.is_some())).collect()
    }
}
