//! Gradients by path, on the host, and their norm.

use std::collections::BTreeMap;

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{Gradients, Tensor, TensorData},
};

use crate::host::Path;

/// Gradients of the parameters that took part in a loss, by path.
#[derive(Debug, Default)]
pub struct NamedGradients(pub(crate) BTreeMap<String, TensorData>);

/// Takes every parameter's gradient out of `gradients`.
pub fn take_gradients<M: Module>(module: &M, gradients: Gradients) -> NamedGradients {
    struct Take {
        path: Path,
        gradients: Gradients,
        named: NamedGradients,
    }
    impl ModuleVisitor for Take {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.enter(name);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.exit();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = param.val().grad_remove(&mut self.gradients) {
                self.named.0.insert(self.path.join(), gradient.into_data());
            }
        }
    }
    let mut take = Take { path: Path::default(), gradients, named: NamedGradients::default() };
    module.visit(&mut take);
    take.named
}

impl NamedGradients {
    /// Euclidean norm over the parameters that `included` accepts. Summed in double precision, in
    /// path order.
    pub fn norm(&self, included: impl Fn(&str) -> bool) -> f64 {
        let square = |g: &f32| f64::from(*g) * f64::from(*g);
        let squares = |(_, data): (_, &TensorData)| values(data).iter().map(square).sum::<f64>();
        self.0.iter().filter(|(path, _)| included(path)).map(squares).sum::<f64>().sqrt()
    }
}

pub(crate) fn values(data: &TensorData) -> &[f32] {
    data.as_slice().expect("moelt trains in f32")
}
