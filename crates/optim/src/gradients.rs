//! Gradients by path, on the host, and their norm.

use std::collections::BTreeMap;

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{Gradients, Tensor, TensorData},
};

use crate::{Rows, host::Path};

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
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }
        fn exit_module(&mut self, _: &str, container: &str) {
            self.path.exit(container);
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
    /// Without the gradients of parameters that `keep` does not accept: a step does not touch these.
    #[must_use]
    pub fn only(mut self, keep: impl Fn(&str) -> bool) -> Self {
        self.0.retain(|path, _| keep(path));
        self
    }

    /// Takes the gradient of a parameter out, row-major; none where it has none.
    pub fn take(&mut self, path: &str) -> Option<Vec<f32>> {
        self.0.remove(path).map(|gradient| values(&gradient).to_vec())
    }

    /// With rows of zeros along an axis of a parameter, where it has a gradient: a step does not touch them where the
    /// parameter counts steps by rows along this axis ([`ParamGroup::row_axis`](crate::ParamGroup::row_axis)).
    ///
    /// # Panics
    /// When the parameter has no such axis or rows.
    #[must_use]
    pub fn without_rows(mut self, path: &str, axis: usize, rows: &[usize]) -> Self {
        if let Some(gradient) = self.0.get_mut(path) {
            let all = Rows::new(gradient.shape(), axis);
            let gradient = gradient.as_mut_slice::<f32>().expect("moelt trains in f32");
            rows.iter().flat_map(|row| all.stretches(*row)).for_each(|stretch| gradient[stretch].fill(0.0));
        }
        self
    }

    /// Adds another loss's gradients of the same module.
    pub fn add(&mut self, other: Self) {
        for (path, gradient) in other.0 {
            match self.0.get_mut(&path) {
                Some(sum) => {
                    let sum = sum.as_mut_slice::<f32>().expect("moelt trains in f32");
                    sum.iter_mut().zip(values(&gradient)).for_each(|(sum, g)| *sum += g);
                }
                None => drop(self.0.insert(path, gradient)),
            }
        }
    }

    /// Scalar product with another loss's gradients of the same module, in double precision.
    pub fn dot(&self, other: &Self) -> f64 {
        let pairs = self.0.iter().filter_map(|(path, gradient)| Some((gradient, other.0.get(path)?)));
        let products = |(one, two): (&TensorData, &TensorData)| {
            values(one).iter().zip(values(two)).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>()
        };
        pairs.map(products).sum()
    }

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
