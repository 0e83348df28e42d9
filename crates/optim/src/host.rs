//! Parameters by path, on the host.

use std::collections::BTreeMap;

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

/// The path of the parameter under visit: names of the modules on the way, joined by dots.
#[derive(Default)]
pub(crate) struct Path(Vec<String>);

impl Path {
    pub(crate) fn enter(&mut self, name: &str) {
        self.0.push(name.to_owned());
    }

    pub(crate) fn exit(&mut self) {
        self.0.pop();
    }

    pub(crate) fn join(&self) -> String {
        self.0.join(".")
    }
}

/// The values of every float parameter, by path.
pub fn export<M: Module>(module: &M) -> BTreeMap<String, HostTensor> {
    struct Export {
        path: Path,
        tensors: BTreeMap<String, HostTensor>,
    }
    impl ModuleVisitor for Export {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.enter(name);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.exit();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let value = param.val().inner();
            let shape = value.dims().to_vec();
            let data = value.try_into_vec_as().expect("moelt trains in f32");
            self.tensors.insert(self.path.join(), HostTensor { shape, data });
        }
    }
    let mut export = Export { path: Path::default(), tensors: BTreeMap::new() };
    module.visit(&mut export);
    export.tensors
}

/// A module with these values in place of its own.
///
/// # Errors
/// When the paths and shapes are not exactly the module's; the error lists every difference.
pub fn import<M: Module>(module: M, mut tensors: BTreeMap<String, HostTensor>) -> Result<M, ImportError> {
    check(&module, &tensors)?;
    Ok(map_params(module, |path, _, data| {
        let given = tensors.remove(path).expect("checked above");
        *data = TensorData::new(given.data, given.shape);
    }))
}

/// Whether `tensors` are exactly the parameters of `module`.
fn check<M: Module>(module: &M, tensors: &BTreeMap<String, HostTensor>) -> Result<(), ImportError> {
    struct Shapes {
        path: Path,
        shapes: BTreeMap<String, Vec<usize>>,
    }
    impl ModuleVisitor for Shapes {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.enter(name);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.exit();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.shapes.insert(self.path.join(), param.val().dims().to_vec());
        }
    }
    let mut expected = Shapes { path: Path::default(), shapes: BTreeMap::new() };
    module.visit(&mut expected);
    let expected = expected.shapes;
    let error = ImportError {
        missing: expected.keys().filter(|path| !tensors.contains_key(*path)).cloned().collect(),
        unexpected: tensors.keys().filter(|path| !expected.contains_key(*path)).cloned().collect(),
        misshapen: expected
            .iter()
            .filter_map(|(path, shape)| {
                let given = &tensors.get(path)?.shape;
                (given != shape).then(|| (path.clone(), shape.clone(), given.clone()))
            })
            .collect(),
    };
    if error == ImportError::default() { Ok(()) } else { Err(error) }
}

/// Hands every float parameter's path, shape and values to `edit`, which may change the values in
/// place. On a CPU backend no value is copied.
pub(crate) fn map_params<M: Module>(module: M, edit: impl FnMut(&str, &[usize], &mut TensorData)) -> M {
    struct Edit<F> {
        path: Path,
        edit: F,
    }
    impl<F: FnMut(&str, &[usize], &mut TensorData)> ModuleMapper for Edit<F> {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.enter(name);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.exit();
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let (id, tensor, mapper) = param.consume();
            let (device, shape) = (tensor.device(), tensor.dims());
            let tracked = tensor.is_require_grad();
            let mut data = tensor.inner().into_data();
            (self.edit)(&self.path.join(), &shape, &mut data);
            let tensor = on_device(data, &device).set_require_grad(tracked);
            Param::from_mapped_value(id, tensor, mapper)
        }
    }
    module.map(&mut Edit { path: Path::default(), edit })
}

fn on_device<const D: usize>(data: TensorData, device: &Device) -> Tensor<D> {
    Tensor::from_data(data, device)
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
