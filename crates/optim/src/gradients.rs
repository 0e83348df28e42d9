//! Gradients by path, where their parameters lie, and their norm.

use std::{collections::BTreeMap, sync::OnceLock};

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{Bool, Gradients, Tensor, TensorData},
};
use moelt_kernels::ordered_sum;

use crate::{
    Rows,
    host::{Carried, Path, computes_on_host},
    parallel,
    transfer::{read, whole},
};

/// Gradients of the parameters that took part in a loss, by path. They lie where the parameters do: what is done with them moves
/// no gradient, and what it says of them, such as their norm, is one number that is read back.
#[derive(Debug, Default)]
pub struct NamedGradients(pub(crate) BTreeMap<String, Gradient>);

/// The gradient of one parameter, or of the only rows of it that have one.
#[derive(Debug)]
pub(crate) struct Gradient {
    values: Values,
    /// Sizes of the axes.
    shape: Vec<usize>,
    /// Rows of the parameter along axis 0 that `values` are of; none: `values` are of all of it.
    pub(crate) rows: Option<Vec<u32>>,
    /// The square of its norm, once somebody has asked: a step asks more than once.
    square: OnceLock<f64>,
}

/// Row-major.
#[derive(Debug)]
enum Values {
    Host(TensorData),
    Resident(Tensor<1>),
}

/// Takes every parameter's gradient out of `gradients`.
pub fn take_gradients<M: Module>(module: &M, gradients: Gradients) -> NamedGradients {
    let on_host = module.devices().first().is_none_or(computes_on_host);
    take_gradients_to(on_host, module, gradients)
}

/// The same, to the host or not.
pub(crate) fn take_gradients_to<M: Module>(
    on_host: bool,
    module: &M,
    gradients: Gradients,
) -> NamedGradients {
    struct Take {
        path: Path,
        gradients: Gradients,
        on_host: bool,
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
                self.named.0.insert(self.path.join(), Gradient::new(gradient, self.on_host));
            }
        }
    }
    let mut take = Take { path: Path::default(), gradients, on_host, named: NamedGradients::default() };
    module.visit(&mut take);
    take.named
}

impl Gradient {
    fn new<const D: usize>(gradient: Tensor<D>, on_host: bool) -> Self {
        let shape = gradient.dims().to_vec();
        let values = match on_host {
            true => Values::Host(gradient.into_data()),
            false => Values::Resident(Carried::of(gradient)),
        };
        Self { values, shape, rows: None, square: OnceLock::new() }
    }

    /// Makes sure that it is of a parameter of this shape, or of rows of it.
    pub(crate) fn check(&self, path: &str, shape: &[usize]) {
        let n = self.rows.as_ref().map_or(shape[0], Vec::len);
        let fits = self.shape[0] == n && self.shape[1..] == shape[1..];
        assert!(fits, "the gradient of `{path}` is that of another shape");
    }

    /// Whether its values lie on a device with memory of its own.
    pub(crate) fn is_resident(&self) -> bool {
        matches!(self.values, Values::Resident(_))
    }

    /// The values of a gradient on the host.
    pub(crate) fn values(&self) -> &[f32] {
        match &self.values {
            Values::Host(values) => values.as_slice().expect("moelt trains in f32"),
            Values::Resident(_) => unreachable!("values on the host of a gradient on a device"),
        }
    }

    /// The values of a parameter's gradient on a device, with zeros for the rows that have none.
    ///
    /// # Shapes
    /// - returned: as many as a parameter of `shape` has
    pub(crate) fn spread(&self, shape: &[usize]) -> Tensor<1> {
        let Values::Resident(values) = &self.values else {
            unreachable!("values on a device of a gradient on the host")
        };
        let Some(rows) = &self.rows else { return values.clone() };
        // Every row is picked from where it lies, or from a row of zeros: the other way, picked rows that are put where they
        // belong, is one thread's work on a GPU.
        let (device, n, zeros) = (values.device(), rows.len(), rows.len() as i64);
        let mut place = vec![zeros; shape[0]];
        rows.iter().zip(0..).for_each(|(row, at)| place[*row as usize] = at);
        let width = self.shape[1..].iter().product::<usize>();
        let picked = Tensor::cat(vec![values.clone(), Tensor::zeros([width], &device)], 0);
        picked.reshape([n + 1, width]).select(0, whole(place, &device)).reshape([-1])
    }

    /// The square of the norm, where it is known without a question to the device.
    fn known_square(&self) -> Option<f64> {
        match &self.values {
            Values::Host(_) => Some(*self.square.get_or_init(|| parallel::dot(self.values(), self.values()))),
            Values::Resident(_) => self.square.get().copied(),
        }
    }

    fn add(&mut self, other: &Self) {
        self.square.take();
        match (&mut self.values, &other.values) {
            (Values::Resident(sum), Values::Resident(other)) => *sum = sum.clone() + other.clone(),
            (Values::Host(sum), _) => {
                let sum = sum.as_mut_slice::<f32>().expect("moelt trains in f32");
                sum.iter_mut().zip(other.values()).for_each(|(sum, g)| *sum += g);
            }
            (Values::Resident(_), Values::Host(_)) => {
                unreachable!("gradients of one module lie in different places")
            }
        }
    }

    /// Zeros in these rows along an axis.
    fn clear(&mut self, axis: usize, rows: &[usize]) {
        self.square.take();
        let all = Rows::new(&self.shape, axis);
        match &mut self.values {
            Values::Host(values) => {
                let values = values.as_mut_slice::<f32>().expect("moelt trains in f32");
                rows.iter().flat_map(|row| all.stretches(*row)).for_each(|stretch| values[stretch].fill(0.0));
            }
            Values::Resident(values) => {
                let is_cleared: Vec<bool> = (0..all.len()).map(|row| rows.contains(&row)).collect();
                let mask = TensorData::new(is_cleared, [1, all.len(), 1]);
                let mask = Tensor::<3, Bool>::from_data(mask, &values.device()).expand(all.view());
                *values = values.clone().reshape(all.view()).mask_fill(mask, 0.0).reshape([-1]);
            }
        }
    }
}

impl NamedGradients {
    /// Without the gradients of parameters that `keep` does not accept: a step does not touch these.
    #[must_use]
    pub fn only(mut self, keep: impl Fn(&str) -> bool) -> Self {
        self.0.retain(|path, _| keep(path));
        self
    }

    /// Takes the gradient of a parameter out, row-major, on the host; none where it has none.
    pub fn take(&mut self, path: &str) -> Option<Vec<f32>> {
        self.0.remove(path).map(|gradient| match gradient.values {
            Values::Host(values) => values.try_into_vec().expect("moelt trains in f32"),
            Values::Resident(values) => read(values),
        })
    }

    /// Says that a gradient is that of these rows of its parameter alone, along axis 0, and that all others have none: what a
    /// module has given whose parameter is made of them. Each row may be there once.
    ///
    /// # Panics
    /// When the gradient has another number of rows.
    #[must_use]
    pub fn of_rows(mut self, path: &str, rows: Vec<u32>) -> Self {
        if let Some(gradient) = self.0.get_mut(path) {
            let n = gradient.shape[0];
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
            gradient.clear(axis, rows);
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
                    sum.add(&gradient);
                }
                None => drop(self.0.insert(path, gradient)),
            }
        }
    }

    /// Scalar product with another loss's gradients of the same module; on the host in double precision.
    ///
    /// # Panics
    /// When a gradient is one of other rows.
    pub fn dot(&self, other: &Self) -> f64 {
        let (mut sum, mut resident) = (0.0, Vec::new());
        for (path, gradient) in &self.0 {
            let Some(other) = other.0.get(path) else { continue };
            assert_eq!(gradient.rows, other.rows, "gradients of `{path}` are those of other rows");
            match (&gradient.values, &other.values) {
                (Values::Resident(one), Values::Resident(other)) => {
                    resident.push(ordered_sum(one.clone() * other.clone()));
                }
                _ => sum += parallel::dot(gradient.values(), other.values()),
            }
        }
        sum + read_sums(resident).into_iter().sum::<f64>()
    }

    /// Euclidean norm over the parameters that `included` accepts. On the host it is summed in double precision, in
    /// path order; on a device each parameter is summed there in single precision (a norm beyond 1.8e19 is infinite), and all sums
    /// are read back at once.
    pub fn norm(&self, included: impl Fn(&str) -> bool) -> f64 {
        let included = || self.0.iter().filter(|(path, _)| included(path)).map(|(_, gradient)| gradient);
        let unknown: Vec<&Gradient> =
            included().filter(|gradient| gradient.known_square().is_none()).collect();
        Self::read_squares(&unknown);
        included().filter_map(Gradient::known_square).sum::<f64>().sqrt()
    }

    /// Reads the squares of the norms of gradients on a device back, in one go.
    fn read_squares(gradients: &[&Gradient]) {
        let square = |gradient: &&Gradient| match &gradient.values {
            Values::Resident(values) => Some(ordered_sum(values.clone().square())),
            Values::Host(_) => None,
        };
        let squares = read_sums(gradients.iter().filter_map(square).collect());
        for (gradient, square) in gradients.iter().zip(squares) {
            gradient.square.get_or_init(|| square);
        }
    }

    /// Whether they lie on a device with memory of its own.
    pub(crate) fn are_resident(&self) -> bool {
        self.0.values().any(Gradient::is_resident)
    }
}

/// Numbers on a device, `[1]` each, read back in one go.
fn read_sums(sums: Vec<Tensor<1>>) -> Vec<f64> {
    if sums.is_empty() {
        return Vec::new();
    }
    read(Tensor::cat(sums, 0)).into_iter().map(f64::from).collect()
}
