//! Fused operations as operations of Burn: which tensors they are for, and how they go into the graph of gradients.

#![expect(
    clippy::too_many_arguments,
    reason = "Burn finds the backend by tensors that are arguments of their own"
)]

use std::{fmt, sync::Arc};

use burn::{
    backend::{
        Autodiff, Backend, Dispatch, DispatchDevice, Flex, TensorMetadata,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
        backend_extension,
        flex::FlexTensor,
        tensor::FloatTensor,
    },
    tensor::{DType, Shape, Tensor, TensorData},
};

/// An operation on contiguous `f32` tensors of the CPU backend, with everything that is no tensor.
pub(crate) trait Operation: fmt::Debug + Send + Sync {
    /// The output, where no gradient is asked for.
    fn forward(&self, inputs: Vec<FlexTensor>) -> FlexTensor;

    /// The same, and the way back.
    fn forward_tracked(&self, inputs: Vec<FlexTensor>) -> (FlexTensor, WayBack);
}

/// From the gradient of an output to those of the inputs, in their order.
#[derive(Clone)]
pub(crate) struct WayBack(Arc<Back>);

type Back = dyn Fn(&FlexTensor) -> Vec<FlexTensor> + Send + Sync;

impl WayBack {
    pub(crate) fn new(back: impl Fn(&FlexTensor) -> Vec<FlexTensor> + Send + Sync + 'static) -> Self {
        Self(Arc::new(back))
    }
}

impl fmt::Debug for WayBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WayBack")
    }
}

/// Whether a tensor is one that fused operations take: `f32`, on the CPU backend.
pub(crate) fn is_fused<const D: usize>(tensor: &Tensor<D>) -> bool {
    let device = tensor.device().inner();
    matches!(device.as_dispatch(), DispatchDevice::Flex(_)) && tensor.dtype() == DType::F32
}

/// The operation on these tensors, all of which [`is_fused`] takes.
pub(crate) fn apply<const D: usize>(operation: impl Operation + 'static, inputs: Inputs) -> Tensor<D> {
    let (operation, mut inputs) = (Arc::new(operation), inputs.0.into_iter());
    let n = inputs.len();
    let mut next = || inputs.next().expect("as many as were counted");
    Tensor::from_dispatch(match n {
        1 => Dispatch::fused_1(next(), operation),
        3 => Dispatch::fused_3(next(), next(), next(), operation),
        6 => Dispatch::fused_6(next(), next(), next(), next(), next(), next(), operation),
        8 => Dispatch::fused_8(next(), next(), next(), next(), next(), next(), next(), next(), operation),
        n => unreachable!("there is no operation of {n} tensors"),
    })
}

/// Tensors of any rank, in the order that an operation wants.
#[derive(Default)]
pub(crate) struct Inputs(Vec<FloatTensor<Dispatch>>);

impl Inputs {
    pub(crate) fn with<const D: usize>(mut self, tensor: Tensor<D>) -> Self {
        self.0.push(tensor.into_dispatch());
        self
    }
}

/// Burn finds the backend by tensors that are arguments of their own: one function for each number of them.
#[backend_extension(Flex, Autodiff)]
#[rustfmt::skip] // as a table
trait Fused: Backend {
    fn fused_1(a: FloatTensor<Self>, operation: Arc<dyn Operation>) -> FloatTensor<Self>;
    fn fused_3(a: FloatTensor<Self>, b: FloatTensor<Self>, c: FloatTensor<Self>, operation: Arc<dyn Operation>) -> FloatTensor<Self>;
    fn fused_6(a: FloatTensor<Self>, b: FloatTensor<Self>, c: FloatTensor<Self>, d: FloatTensor<Self>, e: FloatTensor<Self>, f: FloatTensor<Self>, operation: Arc<dyn Operation>) -> FloatTensor<Self>;
    fn fused_8(a: FloatTensor<Self>, b: FloatTensor<Self>, c: FloatTensor<Self>, d: FloatTensor<Self>, e: FloatTensor<Self>, f: FloatTensor<Self>, g: FloatTensor<Self>, h: FloatTensor<Self>, operation: Arc<dyn Operation>) -> FloatTensor<Self>;
}

/// The functions of [`Fused`], which hand their tensors on as an array.
macro_rules! by_arrays {
    ($run:expr; $($name:ident: $($tensor:ident)+;)+) => {
        $(fn $name($($tensor: FloatTensor<Self>,)+ operation: Arc<dyn Operation>) -> FloatTensor<Self> {
            $run([$($tensor),+], &*operation)
        })+
    };
    ($run:expr) => {
        by_arrays!($run; fused_1: a; fused_3: a b c; fused_6: a b c d e f; fused_8: a b c d e f g h;);
    };
}

impl Fused for Flex {
    by_arrays!(untracked);
}

impl<C: CheckpointStrategy> Fused for Autodiff<Flex, C> {
    by_arrays!(tracked::<C, _>);
}

fn untracked<const N: usize>(inputs: [FlexTensor; N], operation: &dyn Operation) -> FlexTensor {
    operation.forward(contiguous(inputs))
}

fn tracked<C: CheckpointStrategy, const N: usize>(
    inputs: [FloatTensor<Autodiff<Flex, C>>; N],
    operation: &dyn Operation,
) -> FloatTensor<Autodiff<Flex, C>> {
    let parts = inputs.map(|tensor| tensor.into_parts());
    let tensors = contiguous(parts.each_ref().map(|(tensor, _)| tensor.clone()));
    match GoBack.prepare::<C>(parts.map(|(_, node)| node)).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => {
            let (output, back) = operation.forward_tracked(tensors);
            prepared.finish(back, output)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(operation.forward(tensors)),
    }
}

#[derive(Debug)]
struct GoBack;

impl<const N: usize> Backward<Flex, N> for GoBack {
    type State = WayBack;

    fn backward(self, ops: Ops<WayBack, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let WayBack(back) = ops.state;
        let of_inputs = back(&gradients.consume::<Flex>(&ops.node).to_contiguous());
        for (parent, gradient) in ops.parents.into_iter().zip(of_inputs) {
            if let Some(parent) = parent {
                gradients.register::<Flex>(parent.id, gradient);
            }
        }
    }
}

fn contiguous<const N: usize>(tensors: [FlexTensor; N]) -> Vec<FlexTensor> {
    tensors.into_iter().map(|tensor| tensor.to_contiguous()).collect()
}

/// The inputs of an operation that takes `N`.
pub(crate) fn exactly<const N: usize>(inputs: Vec<FlexTensor>) -> [FlexTensor; N] {
    let n = inputs.len();
    inputs.try_into().unwrap_or_else(|_| unreachable!("{n} inputs in place of {N}"))
}

/// The values of a contiguous `f32` tensor, row-major.
pub(crate) fn values(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().expect("only contiguous f32 tensors get here")
}

/// A tensor of these values.
pub(crate) fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

/// Sizes of the axes.
pub(crate) fn dims<const D: usize>(tensor: &FlexTensor) -> [usize; D] {
    tensor.shape().dims()
}
