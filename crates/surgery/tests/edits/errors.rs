//! What is refused, with the parameter and the fix in the message, and without a change of anything.

use std::collections::BTreeMap;

use burn::{
    module::{Module, Param},
    tensor::Tensor,
};
use moelt_surgery::{
    Trainable, apply,
    optim::{HostTensor, ParamState, replace},
    schema::{Edit, ExpertAxes, ExpertAxis, ExpertInit, LayerId},
};

use crate::{
    support::{FULL_SOFTMAX, Run, grow, prune},
    toy::Toy,
};

/// A network that says nothing of layer 1, and lists a parameter of layer 0 that it does not have.
#[derive(Module, Debug)]
struct Forgetful {
    toy: Toy,
}

impl ExpertAxes for Forgetful {
    fn expert_axes(&self) -> Vec<ExpertAxis> {
        let of_layer_0 = self.toy.expert_axes().into_iter().filter(|axis| axis.layer == LayerId(0));
        of_layer_0.map(|axis| ExpertAxis { param: axis.param.replace("w_in", "w_inn"), ..axis }).collect()
    }
}

fn run() -> Run {
    let mut run = Run::new(FULL_SOFTMAX, 3, 1);
    run.train(2);
    run
}

/// The message of a refused plan. The run is as it was.
fn refused(run: &Run, edits: Vec<Edit>) -> String {
    let before = run.bits();
    let plan = run.check(edits).unwrap();
    let result = apply(&run.trainable, &plan, 0);
    assert_eq!(run.bits(), before);
    result.unwrap_err().to_string()
}

#[test]
fn axes_that_the_module_forgot_or_misspelt() {
    let run = run();
    let Trainable { module, optimizer, .. } = run.trainable.clone();
    let forgetful = Trainable { module: Forgetful { toy: module }, optimizer, average: None };
    let refused = |layer| {
        let plan = run.check(vec![prune(layer, 0)]).unwrap();
        apply(&forgetful, &plan, 0).unwrap_err().to_string()
    };
    let message = "the module lists no expert axes for layer 1; \
                   expert_axes() has to name every parameter of its experts";
    assert_eq!(refused(1), message);
    assert_eq!(refused(0), "expert_axes() names `layers.0.w_inn`, which the module does not have");
}

#[test]
fn a_module_of_other_sizes() {
    let mut run = run();
    let two = HostTensor { shape: vec![2, 3], data: vec![0.0; 6] };
    run.trainable.module = replace(run.toy().clone(), BTreeMap::from([("layers.1.b_in".to_owned(), two)]));
    let message = "`layers.1.b_in` has shape [2, 3]; its axis 0 should have 3 experts";
    assert_eq!(refused(&run, vec![prune(1, 0)]), message);
    assert!(run.check(vec![prune(0, 0)]).is_ok_and(|plan| { apply(&run.trainable, &plan, 0).is_ok() }));
}

#[test]
fn an_optimizer_that_counts_one_step_for_all() {
    let mut run = run();
    run.trainable.optimizer.state_mut().insert("layers.0.w_out".to_owned(), ParamState::new(&[3, 3, 4], 1));
    let message = "the optimizer state of `layers.0.w_out` does not fit: it does not count per expert; \
                   give the parameter row_axis = Some(0)";
    assert_eq!(refused(&run, vec![prune(0, 0)]), message);
}

#[test]
fn an_optimizer_of_another_shape() {
    let mut run = run();
    run.trainable.optimizer.state_mut().insert("layers.1.w_out".to_owned(), ParamState::new(&[3, 2, 4], 2));
    let message = "the optimizer state of `layers.1.w_out` does not fit: it is of shape [3, 2, 4], \
                   the parameter of [3, 3, 4]";
    assert_eq!(refused(&run, vec![prune(1, 0)]), message);
}

#[test]
fn an_average_that_is_not_there() {
    let mut run = run();
    run.average_mut().remove("layers.0.b_out");
    assert_eq!(
        refused(&run, vec![prune(0, 0)]),
        "the average of `layers.0.b_out` does not fit: there is none"
    );
}

/// With one expert, one count for all looks like one count an expert: the axis tells them apart.
#[test]
fn an_average_without_an_axis_even_of_a_single_expert() {
    let mut run = Run::new(FULL_SOFTMAX, 1, 1);
    run.average_mut().get_mut("layers.1.w_out").unwrap().row_axis = None;
    let message = "the average of `layers.1.w_out` does not fit: it does not count per expert; \
                   give the parameter row_axis = Some(1)";
    assert_eq!(refused(&run, vec![grow(1, 1, ExpertInit::Fresh)]), message);
}

#[test]
fn a_direction_of_another_length() {
    let aimed = ExpertInit::Aimed { direction: vec![1.0; 5] };
    let message = "a new router row of `layers.1.router.weight` has 4 values, the plan's direction 5";
    assert_eq!(refused(&run(), vec![grow(1, 3, aimed)]), message);
}

/// Two layers whose experts are said to have their hidden units where they have nothing, or where they lie themselves.
#[test]
fn hidden_units_that_are_not_there() {
    let run = run();
    for (hidden, message) in [
        (3, "`w` has shape [3, 4, 3] and no hidden units on axis 3; name their axis with"),
        (0, "`w` has shape [3, 4, 3] and no hidden units on axis 0; name their axis with"),
    ] {
        let module = Hiding { w: run.toy().layers[0].w_in.clone(), hidden };
        let trainable = Trainable::new(module, run.trainable.optimizer.clone());
        let error = apply(&trainable, &run.check(vec![prune(0, 0)]).unwrap(), 0).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    }
}

#[derive(Module, Debug)]
struct Hiding {
    w: Param<Tensor<3>>,
    #[module(skip)]
    hidden: usize,
}

impl ExpertAxes for Hiding {
    fn expert_axes(&self) -> Vec<ExpertAxis> {
        vec![ExpertAxis::input("w").with_hidden(self.hidden)]
    }
}
