//! Whether module, optimizer and average are those that a plan is for.

use std::collections::BTreeMap;

use moelt_optim::HostTensor;
use moelt_schema::{CheckedPlan, ExpertAxes, ExpertAxis, LayerId, Layout};

use crate::{SurgeryError, Trainable};

/// The expert axes of the layers that the plan changes.
pub(crate) fn edited_axes<M: ExpertAxes>(
    module: &M,
    plan: &CheckedPlan,
) -> Result<Vec<ExpertAxis>, SurgeryError> {
    let all = module.expert_axes();
    let without = |layer: &&LayerId| all.iter().all(|axis| axis.layer != **layer);
    if let Some(layer) = plan.maps().keys().find(without) {
        return Err(SurgeryError::NoAxes { layer: layer.0 });
    }
    Ok(all.into_iter().filter(|axis| plan.maps().contains_key(&axis.layer)).collect())
}

/// Whether every parameter is there with the experts of the layout, and with hidden units where it says so.
pub(crate) fn check_params(
    axes: &[ExpertAxis],
    tensors: &BTreeMap<String, HostTensor>,
    layout: &Layout,
) -> Result<(), SurgeryError> {
    for ExpertAxis { param, axis, hidden, layer, .. } in axes {
        let tensor = tensors.get(param).ok_or_else(|| SurgeryError::NoParam { param: param.clone() })?;
        let n_experts = layout.layer(*layer).map_or(0, |layer| layer.n_experts());
        if tensor.shape.get(*axis) != Some(&n_experts) {
            let (param, shape) = (param.clone(), tensor.shape.clone());
            return Err(SurgeryError::Experts { param, shape, axis: *axis, n_experts });
        }
        if let Some(hidden) = hidden.filter(|hidden| hidden == axis || *hidden >= tensor.shape.len()) {
            let (param, shape) = (param.clone(), tensor.shape.clone());
            return Err(SurgeryError::Hidden { param, shape, hidden });
        }
    }
    Ok(())
}

/// Whether optimizer and average are of these parameters and count per expert.
pub(crate) fn check_state<M>(
    axes: &[ExpertAxis],
    tensors: &BTreeMap<String, HostTensor>,
    Trainable { optimizer, average, .. }: &Trainable<M>,
) -> Result<(), SurgeryError> {
    for ExpertAxis { param, axis, .. } in axes {
        let shape = &tensors[param].shape;
        let fits = |state, found: &Vec<usize>, counts_experts: bool| {
            let message = if found != shape {
                format!("it is of shape {found:?}, the parameter of {shape:?}")
            } else if !counts_experts {
                format!("it does not count per expert; give the parameter row_axis = Some({axis})")
            } else {
                return Ok(());
            };
            Err(SurgeryError::State { state, param: param.clone(), message })
        };
        if let Some(state) = optimizer.state_of(param) {
            fits("optimizer state", &state.shape, state.steps.len() == shape[*axis])?;
        }
        if let Some(average) = average {
            let Some(state) = average.state_of(param) else {
                let message = "there is none".to_owned();
                return Err(SurgeryError::State { state: "average", param: param.clone(), message });
            };
            // One count may be that of a single expert or of the whole parameter: the axis tells.
            let counts_experts = state.row_axis == Some(*axis) && state.updates.len() == shape[*axis];
            fits("average", &state.weights.shape, counts_experts)?;
        }
    }
    Ok(())
}
