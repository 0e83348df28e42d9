//! Gradients by path, on the host, and their norm.

use std::{collections::BTreeMap, sync::OnceLock};

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{Gradients, Tensor, TensorData},
};

use crate::{Rows, host::Path, parallel};

/// Gradients of the parameters that took part in a loss, by path.
#[derive(Debug, Default)]
pub struct NamedGradients(pub(crate) BTreeMap<String, Gradient>);

/// The gradient of one parameter, or of the only rows of it that have one.
#[derive(Debug)]
pub(crate) struct Gradient {
    values: TensorData,
    /// Rows of the parameter along axis 0 that `values` are of; none: `values` are of all of it.
    pub(crate) rows: Option<Vec<u32>>,
    /// The square of its norm, once somebody has asked: a step asks more than once.
    square: OnceLock<f64>,
}

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
                self.named.0.insert(self.path.join(), Gradient::new(gradient.into_data()));
            }
        }
    }
    let mut take = Take { path: Path::default(), gradients, named: NamedGradients::default() };
    module.visit(&mut take);
    take.named
}

impl Gradient {
    fn new(values: TensorData) -> Self {
        Self { values, rows: None, square: OnceLock::new() }
    }

    fn square(&self) -> f64 {
        *self.square.get_or_init(|| parallel::dot(self.values(), self.values()))
    }

    pub(crate) fn values(&self) -> &[f32] {
        self.values.as_slice().expect("moelt trains in f32")
    }

    fn values_mut(&mut self) -> &mut [f32] {
        self.square.take();
        self.values.as_mut_slice().expect("moelt trains in f32")
    }
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
        self.0.remove(path).map(|gradient| gradient.values().to_vec())
    }

    /// Says that a gradient is that of these rows of its parameter alone, along axis 0, and that all others have none: what a
    /// module has given whose parameter is made of them. Each row may be there once.
    ///
    /// # Panics
    /// When the gradient has another number of rows.
    #[must_use]
    pub fn of_rows(mut self, path: &str, rows: Vec<u32>) -> Self {
        if let Some(gradient) = self.0.get_mut(path) {
            let n = gradient.values.shape()[0];
            assert_eq!(n, rows.len(), "a gradient of {n} rows for {} of them", rows.len());
            gradient.rows = Some(rows);
        }
        self
    }

    /// With rows of zeros along an axis of a parameter, where it has a gradient: a step does not touch them where the
    /// parameter counts steps by rows along this axis ([`ParamGroup::row_axis`](crate::ParamGroup::row_axis)).
    ///
    /// # Panics
    /// When the parameter has no such axis or rows.
    #[must_use]
    pub fn without_rows(mut self, path: &str, axis: usize, rows: &[usize]) -> Self {
        if let Some(gradient) = self.0.get_mut(path) {
            assert!(gradient.rows.is_none(), "rows of a gradient that is of some rows alone");
            let all = Rows::new(gradient.values.shape(), axis);
            let gradient = gradient.values_mut();
            rows.iter().flat_map(|row| all.stretches(*row)).for_each(|stretch| gradient[stretch].fill(0.0));
        }
        self
    }

    /// Adds another loss's gradients of the same module.
    ///
    /// # Panics
    /// When a gradient is one of other rows.
    pub fn add(&mut self, other: Self) {
        for (path, gradient) in other.0 {
            match self.0.get_mut(&path) {
                Some(sum) => {
                    assert_eq!(sum.rows, gradient.rows, "gradients of `{path}` are those of other rows");
                    sum.values_mut().iter_mut().zip(gradient.values()).for_each(|(sum, g)| *sum += g);
                }
                None => drop(self.0.insert(path, gradient)),
            }
        }
    }

    /// Scalar product with another loss's gradients of the same module, in double precision.
    ///
    /// # Panics
    /// When a gradient is one of other rows.
    pub fn dot(&self, other: &Self) -> f64 {
        let of_path = |(path, gradient): (&String, &Gradient)| {
            let other = other.0.get(path)?;
            assert_eq!(gradient.rows, other.rows, "gradients of `{path}` are those of other rows");
            Some(parallel::dot(gradient.values(), other.values()))
        };
        self.0.iter().filter_map(of_path).sum()
    }

    /// Euclidean norm over the parameters that `included` accepts. Summed in double precision, in
    /// path order.
    pub fn norm(&self, included: impl Fn(&str) -> bool) -> f64 {
        let included = self.0.iter().filter(|(path, _)| included(path));
        included.map(|(_, gradient)| gradient.square()).sum::<f64>().sqrt()
    }
}
