//! The fused form as an operation of Burn: which backend it is for, and how it goes into the graph of gradients.

use std::sync::Arc;

use burn::{
    backend::{
        Autodiff, Backend, Dispatch, DispatchDevice, Flex,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
        backend_extension,
        flex::FlexTensor,
        tensor::FloatTensor,
    },
    tensor::{DType, Tensor},
};

use super::{
    StackedExperts,
    chunks::Chunks,
    fused::{Inputs, Kept},
};

/// Whether everything is `f32` on the CPU backend.
pub(super) fn has_fused_form(x: &Tensor<2>, experts: &StackedExperts) -> bool {
    let StackedExperts { w_in, b_in, w_out, b_out } = experts;
    let dtypes = [x.dtype(), w_in.dtype(), b_in.dtype(), w_out.dtype(), b_out.dtype()];
    let device = x.device().inner();
    matches!(device.as_dispatch(), DispatchDevice::Flex(_)) && dtypes.iter().all(|dtype| *dtype == DType::F32)
}

/// What [`expert_feed_forward`](crate::expert_feed_forward) gives, by the fused form.
pub(super) fn expert_feed_forward(
    x: Tensor<2>,
    expert_indices: &[u32],
    experts: StackedExperts,
) -> Tensor<2> {
    experts.check(&x, expert_indices);
    let ([tokens, _], [n_experts, ..]) = (x.dims(), experts.w_in.dims());
    let chunks = Arc::new(Chunks::new(expert_indices, n_experts, tokens));
    let StackedExperts { w_in, b_in, w_out, b_out } = experts;
    Tensor::from_dispatch(Dispatch::fused_feed_forward(
        x.into_dispatch(),
        w_in.into_dispatch(),
        b_in.into_dispatch(),
        w_out.into_dispatch(),
        b_out.into_dispatch(),
        chunks,
    ))
}

#[backend_extension(Flex, Autodiff)]
trait FeedForward: Backend {
    fn fused_feed_forward(
        x: FloatTensor<Self>,
        w_in: FloatTensor<Self>,
        b_in: FloatTensor<Self>,
        w_out: FloatTensor<Self>,
        b_out: FloatTensor<Self>,
        chunks: Arc<Chunks>,
    ) -> FloatTensor<Self>;
}

impl FeedForward for Flex {
    fn fused_feed_forward(
        x: FlexTensor,
        w_in: FlexTensor,
        b_in: FlexTensor,
        w_out: FlexTensor,
        b_out: FlexTensor,
        chunks: Arc<Chunks>,
    ) -> FlexTensor {
        Inputs::new([x, w_in, b_in, w_out, b_out], chunks).forward()
    }
}

impl<C: CheckpointStrategy> FeedForward for Autodiff<Flex, C> {
    fn fused_feed_forward(
        x: FloatTensor<Self>,
        w_in: FloatTensor<Self>,
        b_in: FloatTensor<Self>,
        w_out: FloatTensor<Self>,
        b_out: FloatTensor<Self>,
        chunks: Arc<Chunks>,
    ) -> FloatTensor<Self> {
        let parts = [x, w_in, b_in, w_out, b_out].map(|tensor| tensor.into_parts());
        let tensors = parts.each_ref().map(|(tensor, _)| tensor.clone());
        let inputs = Inputs::new(tensors, chunks);
        match FeedForwardBackward.prepare::<C>(parts.map(|(_, node)| node)).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let (y, kept) = inputs.forward_kept();
                prepared.finish((inputs, Arc::new(kept)), y)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(inputs.forward()),
        }
    }
}

#[derive(Debug)]
struct FeedForwardBackward;

impl Backward<Flex, 5> for FeedForwardBackward {
    type State = (Inputs, Arc<Vec<Kept>>);

    fn backward(self, ops: Ops<Self::State, 5>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let (inputs, kept) = ops.state;
        let of_inputs = inputs.backward(&kept, &gradients.consume::<Flex>(&ops.node));
        for (parent, gradient) in ops.parents.into_iter().zip(of_inputs) {
            if let Some(parent) = parent {
                gradients.register::<Flex>(parent.id, gradient);
            }
        }
    }
}
