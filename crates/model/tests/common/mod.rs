//! A small classifier, its parameters by path, and a change of its number of experts.

#![allow(dead_code)] // each test file uses its part

use std::collections::BTreeMap;

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    tensor::{Device, Gradients, Tensor},
};
use moelt_model::{Classifier, ClassifierConfig, ModelInput};
use moelt_schema::{Activation, ModelConfig, RoutingConfig, Streams};

pub(crate) const DENSE: RoutingConfig = RoutingConfig::Dense {};
pub(crate) const TOP_K: RoutingConfig = RoutingConfig::TopK { n_experts: 4 };
pub(crate) const TOP_ANY: RoutingConfig = RoutingConfig::TopAny { n_experts: 4 };

/// Two layers, 5 wide, with 4 experts of 3 hidden units, or one of 6.
pub(crate) fn model(routing: RoutingConfig, device: &Device) -> Classifier {
    model_with(Activation::Relu, routing, device)
}

/// The same with another activation.
pub(crate) fn model_with(activation: Activation, routing: RoutingConfig, device: &Device) -> Classifier {
    let model =
        ModelConfig { d_model: 5, d_ff: 3, activation, routing, n_layers: 2, ..ModelConfig::default() };
    let config = ClassifierConfig { layout: model.initial_layout(), model, n_rows: 9, n_classes: 3 };
    config.init(&Streams::new(3), device)
}

/// Five tokens.
pub(crate) fn input() -> ModelInput {
    ModelInput::new(&[1, 2, 3, 4, 5, 6], 3, 1, &[3, 2])
}

/// One parameter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
    pub(crate) tracked: bool,
    pub(crate) has_gradient: bool,
}

/// Paths as moelt has them: without the variants of enums.
fn enter(path: &mut Vec<String>, name: &str, container: &str) {
    if !container.starts_with("Enum:") {
        path.push(name.to_owned());
    }
}

fn exit(path: &mut Vec<String>, container: &str) {
    if !container.starts_with("Enum:") {
        path.pop();
    }
}

/// Every parameter, by path.
pub(crate) fn params(model: &Classifier, gradients: Option<Gradients>) -> BTreeMap<String, Seen> {
    struct Visitor(Vec<String>, Option<Gradients>, BTreeMap<String, Seen>);
    impl ModuleVisitor for Visitor {
        fn enter_module(&mut self, name: &str, container: &str) {
            enter(&mut self.0, name, container);
        }
        fn exit_module(&mut self, _: &str, container: &str) {
            exit(&mut self.0, container);
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let value = param.val();
            let seen = Seen {
                shape: value.dims().to_vec(),
                tracked: value.is_require_grad(),
                has_gradient: self.1.as_ref().is_some_and(|gradients| value.grad(gradients).is_some()),
                values: value.inner().try_into_vec_as().unwrap(),
            };
            self.2.insert(self.0.join("."), seen);
        }
    }
    let mut visitor = Visitor(Vec::new(), gradients, BTreeMap::new());
    model.visit(&mut visitor);
    visitor.2
}

/// Repeats or cuts every expert axis to `n` rows, the way surgery rebuilds parameters.
pub(crate) fn resized(model: Classifier, n: usize) -> Classifier {
    struct Resize(Vec<String>, usize);
    impl ModuleMapper for Resize {
        fn enter_module(&mut self, name: &str, container: &str) {
            enter(&mut self.0, name, container);
        }
        fn exit_module(&mut self, _: &str, container: &str) {
            exit(&mut self.0, container);
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let (id, tensor, mapper) = param.consume();
            let (tracked, device) = (tensor.is_require_grad(), tensor.device());
            let mut tensor = tensor.inner();
            let path = self.0.join(".");
            if path.starts_with("layers.") && !path.contains(".norm.") {
                tensor = tensor.repeat_dim(0, self.1).narrow(0, 0, self.1);
            }
            let tensor = Tensor::from_data(tensor.into_data(), &device).set_require_grad(tracked);
            Param::from_mapped_value(id, tensor, mapper)
        }
    }
    model.map(&mut Resize(Vec::new(), n))
}
