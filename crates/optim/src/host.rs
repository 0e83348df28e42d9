//! Parameters by path: on the host, and where they lie.

use std::{collections::BTreeMap, marker::PhantomData};

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    tensor::{Device, Tensor, TensorData},
};

/// A tensor on the host, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTensor {
    /// Sizes of the axes.
    pub shape: Vec<usize>,
    /// The values.
    pub data: Vec<f32>,
}

/// Parameters that do not fit a module. Every list is in path order.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("missing {missing:?}, unexpected {unexpected:?}, misshapen {misshapen:?}")]
pub struct ImportError {
    /// In the module, not given.
    pub missing: Vec<String>,
    /// Given, not in the module.
    pub unexpected: Vec<String>,
    /// Given with another shape: path, the module's shape, the given one.
    pub misshapen: Vec<(String, Vec<usize>, Vec<usize>)>,
}

/// The path of the parameter under visit: names of the modules on the way, joined by dots. Which variant of an enum a
/// module is has no part in it.
#[derive(Default)]
pub(crate) struct Path(Vec<String>);

impl Path {
    pub(crate) fn enter(&mut self, name: &str, container: &str) {
        if !is_enum(container) {
            self.0.push(name.to_owned());
        }
    }

    pub(crate) fn exit(&mut self, container: &str) {
        if !is_enum(container) {
            self.0.pop();
        }
    }

    pub(crate) fn join(&self) -> String {
        self.0.join(".")
    }
}

/// Burn says `Enum:Name` of a variant.
fn is_enum(container: &str) -> bool {
    container.starts_with("Enum:")
}

/// The values of every float parameter, by path.
pub fn export<M: Module>(module: &M) -> BTreeMap<String, HostTensor> {
    export_some(module, |_| true)
}

/// The values of the float parameters at the paths that `wanted` accepts.
pub fn export_some<M: Module>(
    module: &M,
    mut wanted: impl FnMut(&str) -> bool,
) -> BTreeMap<String, HostTensor> {
    let mut tensors = BTreeMap::new();
    visit_params(module, |path, param| {
        if wanted(&path) {
            tensors.insert(path, param.value());
        }
    });
    tensors
}

/// Whether the backend of a device computes in the host's memory. Elsewhere parameters, gradients and what is remembered of
/// them stay where they are.
pub(crate) fn computes_on_host(device: &Device) -> bool {
    #[cfg(feature = "flex")]
    return matches!(device.clone().inner().as_dispatch(), burn::backend::DispatchDevice::Flex(_));
    #[cfg(not(feature = "flex"))]
    return false;
}

/// A float parameter under visit. Nothing is copied to the host before [`Visited::value`].
pub(crate) trait Visited {
    fn shape(&self) -> Vec<usize>;
    fn value(&self) -> HostTensor;
    /// The values in one row, where they lie.
    fn flat(&self) -> Tensor<1>;
    /// Whether a backward pass gives it a gradient.
    fn is_trained(&self) -> bool;
}

impl<const D: usize> Visited for Param<Tensor<D>> {
    fn shape(&self) -> Vec<usize> {
        self.val().dims().to_vec()
    }

    fn value(&self) -> HostTensor {
        let value = self.val().inner();
        let shape = value.dims().to_vec();
        HostTensor { shape, data: value.try_into_vec_as().expect("moelt trains in f32") }
    }

    fn flat(&self) -> Tensor<1> {
        Carried::of(self.val().inner())
    }

    fn is_trained(&self) -> bool {
        self.val().is_require_grad()
    }
}

/// Shows every float parameter with its path.
pub(crate) fn visit_params<M: Module>(module: &M, visit: impl FnMut(String, &dyn Visited)) {
    struct Visitor<F> {
        path: Path,
        visit: F,
    }
    impl<F: FnMut(String, &dyn Visited)> ModuleVisitor for Visitor<F> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }
        fn exit_module(&mut self, _: &str, container: &str) {
            self.path.exit(container);
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            (self.visit)(self.path.join(), param);
        }
    }
    module.visit(&mut Visitor { path: Path::default(), visit });
}

/// A module with these values in place of its own.
///
/// # Errors
/// When the paths and shapes are not exactly the module's; the error lists every difference.
pub fn import<M: Module>(module: M, mut tensors: BTreeMap<String, HostTensor>) -> Result<M, ImportError> {
    check(&module, &tensors.iter().map(|(path, tensor)| (&**path, &*tensor.shape)).collect())?;
    Ok(map_params(module, |path, _, data: &mut TensorData| {
        let given = tensors.remove(path).expect("checked above");
        *data = TensorData::new(given.data, given.shape);
    }))
}

/// Whether what has these shapes is exactly the parameters of `module`.
pub(crate) fn check<M: Module>(module: &M, given: &BTreeMap<&str, &[usize]>) -> Result<(), ImportError> {
    let mut expected = BTreeMap::new();
    visit_params(module, |path, param| {
        expected.insert(path, param.shape());
    });
    let misshapen = |(path, shape): (&String, &Vec<usize>)| {
        let given = *given.get(&**path)?;
        (given != shape).then(|| (path.clone(), shape.clone(), given.to_vec()))
    };
    let error = ImportError {
        missing: expected.keys().filter(|path| !given.contains_key(&***path)).cloned().collect(),
        unexpected: given
            .keys()
            .filter(|path| !expected.contains_key(**path))
            .map(|path| (*path).to_owned())
            .collect(),
        misshapen: expected.iter().filter_map(misshapen).collect(),
    };
    if error == ImportError::default() { Ok(()) } else { Err(error) }
}

/// A module in which the parameters at these paths have new values. A shape may be another one of the
/// same rank: whether the module can work with it is the caller's business. Other parameters are not touched.
///
/// # Panics
/// When the module has no parameter at one of the paths, or one of another rank.
pub fn replace<M: Module>(module: M, mut tensors: BTreeMap<String, HostTensor>) -> M {
    let module = map_some(
        module,
        |path| tensors.remove(path),
        |given, _, _, data: &mut TensorData| *data = TensorData::new(given.data, given.shape),
    );
    assert!(tensors.is_empty(), "the module has no parameters {:?}", tensors.keys());
    module
}

/// The values of a tensor of any rank, row-major, on their way through an edit.
pub(crate) trait Carried {
    fn of<const D: usize>(tensor: Tensor<D>) -> Self;
    fn into_tensor<const D: usize>(self, shape: [usize; D], device: &Device) -> Tensor<D>;
}

/// On the host, from where they may come back in another shape. On a CPU backend no value is copied.
impl Carried for TensorData {
    fn of<const D: usize>(tensor: Tensor<D>) -> Self {
        tensor.into_data()
    }

    fn into_tensor<const D: usize>(self, _: [usize; D], device: &Device) -> Tensor<D> {
        Tensor::from_data(self, device)
    }
}

/// Where they lie.
impl Carried for Tensor<1> {
    fn of<const D: usize>(tensor: Tensor<D>) -> Self {
        let n = tensor.shape().num_elements();
        tensor.reshape([n])
    }

    fn into_tensor<const D: usize>(self, shape: [usize; D], device: &Device) -> Tensor<D> {
        let tensor = self.reshape(shape);
        if device.is_autodiff() { tensor.autodiff() } else { tensor }
    }
}

/// Hands every float parameter's path, shape and values to `edit`, which may change the values in
/// place.
pub(crate) fn map_params<M: Module, V: Carried>(
    module: M,
    mut edit: impl FnMut(&str, &[usize], &mut V),
) -> M {
    map_some(module, |_| Some(()), |(), path, shape, values| edit(path, shape, values))
}

/// Hands the parameters for which `choose` has something to `edit`, with it.
pub(crate) fn map_some<M: Module, T, V: Carried>(
    module: M,
    choose: impl FnMut(&str) -> Option<T>,
    edit: impl FnMut(T, &str, &[usize], &mut V),
) -> M {
    struct Edit<C, E, V> {
        path: Path,
        choose: C,
        edit: E,
        carried: PhantomData<V>,
    }
    impl<T, C, E, V> ModuleMapper for Edit<C, E, V>
    where
        C: FnMut(&str) -> Option<T>,
        E: FnMut(T, &str, &[usize], &mut V),
        V: Carried,
    {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }
        fn exit_module(&mut self, _: &str, container: &str) {
            self.path.exit(container);
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let path = self.path.join();
            let Some(chosen) = (self.choose)(&path) else { return param };
            let (id, tensor, mapper) = param.consume();
            let (device, shape) = (tensor.device(), tensor.dims());
            let tracked = tensor.is_require_grad();
            let mut values = V::of(tensor.inner());
            (self.edit)(chosen, &path, &shape, &mut values);
            let tensor = values.into_tensor(shape, &device);
            Param::from_mapped_value(id, tensor.set_require_grad(tracked), mapper)
        }
    }
    module.map(&mut Edit { path: Path::default(), choose, edit, carried: PhantomData })
}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};

    use super::*;

    fn linear(device: &Device) -> Linear {
        LinearConfig::new(2, 3).init(device)
    }

    #[test]
    fn exported_values_import_into_another_module_and_stay_trainable() {
        let device = Device::flex().autodiff();
        let source = export(&linear(&device));
        assert_eq!(source.keys().collect::<Vec<_>>(), ["bias", "weight"]);
        let target = import(linear(&device), source.clone()).unwrap();
        assert_eq!(export(&target), source);
        assert!(target.weight.val().is_require_grad());
    }

    #[test]
    fn a_replaced_parameter_may_have_another_shape_and_others_stay() {
        let device = Device::flex().autodiff();
        let (module, weight) = (linear(&device), HostTensor { shape: vec![2, 1], data: vec![1.0, 2.0] });
        let bias = export(&module)["bias"].clone();
        let module = replace(module, BTreeMap::from([("weight".to_owned(), weight.clone())]));
        assert_eq!(export_some(&module, |path| path == "weight"), [("weight".to_owned(), weight)].into());
        assert_eq!(export(&module)["bias"], bias);
        assert!(module.weight.val().is_require_grad());
    }

    #[derive(Module, Debug)]
    enum Either {
        One(Linear),
    }

    #[derive(Module, Debug)]
    struct Holder {
        either: Either,
        linear: Linear,
    }

    #[test]
    fn the_variant_of_an_enum_is_no_part_of_a_path() {
        let device = Device::flex();
        let holder = Holder { either: Either::One(linear(&device)), linear: linear(&device) };
        let tensors = export(&holder);
        let paths = ["either.bias", "either.weight", "linear.bias", "linear.weight"];
        assert_eq!(tensors.keys().collect::<Vec<_>>(), paths);
        assert_eq!(export(&import(holder, tensors.clone()).unwrap()), tensors);
    }

    #[test]
    fn every_difference_is_listed() {
        let device = Device::flex();
        let mut tensors = export(&linear(&device));
        let bias = tensors.remove("bias").unwrap();
        tensors.insert("model.bias".into(), bias);
        tensors.get_mut("weight").unwrap().shape = vec![3, 2];
        let error = import(linear(&device), tensors).unwrap_err();
        assert_eq!(error.missing, ["bias"]);
        assert_eq!(error.unexpected, ["model.bias"]);
        assert_eq!(error.misshapen, [("weight".to_owned(), vec![2, 3], vec![3, 2])]);
    }
}
