//! Tensor names on disk: a tensor with an expert axis is stored one expert a tensor, by id.

use std::collections::BTreeMap;

use moelt_optim::{AverageState, HostTensor, ParamState, Rows};
use moelt_schema::{ExpertAxis, ExpertId, Layout};

use super::tensors::{Stored, StoredTensors};

/// Which parameters have an expert axis, and which experts lie on it.
///
/// `layers.0.experts.w_in` of experts 0 and 7 becomes `layers.0.experts.w_in.expert.0` and `….expert.7`,
/// so that a file says by itself whose weights it holds, in whatever order they lie in memory.
#[derive(Clone, Debug)]
pub struct ExpertNames {
    axes: BTreeMap<String, (usize, Vec<ExpertId>)>,
}

impl ExpertNames {
    /// The names of a module's expert axes under a layout.
    ///
    /// # Panics
    /// When an axis names a layer that the layout does not have.
    pub fn new(axes: &[ExpertAxis], layout: &Layout) -> Self {
        let with_experts = |axis: &ExpertAxis| {
            let layer = layout.layer(axis.layer).expect("an expert axis of a layer outside the layout");
            (axis.param.clone(), (axis.axis, layer.experts.clone()))
        };
        Self { axes: axes.iter().map(with_experts).collect() }
    }

    /// Axis of the experts of the parameter at `path`, if it has one.
    pub(crate) fn axis(&self, path: &str) -> Option<usize> {
        self.axes.get(path).map(|(axis, _)| *axis)
    }

    /// Parameters as they are stored.
    pub(crate) fn split(&self, tensors: &BTreeMap<String, HostTensor>) -> StoredTensors {
        let parts = |(path, tensor): (&String, &HostTensor)| self.split_one(path, tensor);
        tensors.iter().flat_map(parts).map(|(name, tensor)| (name, Stored::F32(tensor))).collect()
    }

    /// Inverse of [`Self::split`] for the parameters at `paths`, whose names were checked.
    pub(crate) fn join<'a>(
        &self,
        stored: &StoredTensors,
        paths: impl IntoIterator<Item = &'a String>,
    ) -> BTreeMap<String, HostTensor> {
        paths.into_iter().map(|path| (path.clone(), self.join_one("", path, stored))).collect()
    }

    /// Averaged weights as they are stored: the weights, and `updates.…`.
    pub(crate) fn split_average(&self, average: &BTreeMap<String, AverageState>) -> StoredTensors {
        let mut stored = StoredTensors::new();
        for (path, state) in average {
            let weights = self.split_one(path, &state.weights);
            stored.extend(weights.into_iter().map(|(name, tensor)| (name, Stored::F32(tensor))));
            self.split_counts("updates", path, &state.updates, &mut stored);
        }
        stored
    }

    /// Inverse of [`Self::split_average`] for the parameters at `paths`, whose names were checked.
    pub(crate) fn join_average<'a>(
        &self,
        stored: &StoredTensors,
        paths: impl IntoIterator<Item = &'a String>,
    ) -> BTreeMap<String, AverageState> {
        let one = |path: &String| AverageState {
            weights: self.join_one("", path, stored),
            row_axis: self.axis(path),
            updates: self.join_counts("updates", path, stored),
        };
        paths.into_iter().map(|path| (path.clone(), one(path))).collect()
    }

    /// Optimizer state as it is stored: `moment_1.…`, `moment_2.…` and `steps.…`.
    pub(crate) fn split_state(&self, state: &BTreeMap<String, ParamState>) -> StoredTensors {
        let mut stored = StoredTensors::new();
        for (path, state) in state {
            for (kind, data) in [("moment_1", &state.moment_1), ("moment_2", &state.moment_2)] {
                let tensor = HostTensor { shape: state.shape.clone(), data: data.clone() };
                let parts = self.split_one(path, &tensor);
                stored.extend(parts.into_iter().map(|(name, t)| (format!("{kind}.{name}"), Stored::F32(t))));
            }
            self.split_counts("steps", path, &state.steps, &mut stored);
        }
        stored
    }

    /// Inverse of [`Self::split_state`] for the parameters at `paths`, whose names were checked.
    pub(crate) fn join_state<'a>(
        &self,
        stored: &StoredTensors,
        paths: impl IntoIterator<Item = &'a String>,
    ) -> BTreeMap<String, ParamState> {
        let one = |path: &String| {
            let moment_1 = self.join_one("moment_1.", path, stored);
            let moment_2 = self.join_one("moment_2.", path, stored);
            ParamState {
                shape: moment_1.shape,
                moment_1: moment_1.data,
                moment_2: moment_2.data,
                steps: self.join_counts("steps", path, stored),
            }
        };
        paths.into_iter().map(|path| (path.clone(), one(path))).collect()
    }

    /// Counts of a parameter: one, or one an expert.
    fn split_counts(&self, kind: &str, path: &str, counts: &[u64], stored: &mut StoredTensors) {
        match self.axes.get(path) {
            Some((_, experts)) => stored.extend(experts.iter().zip(counts).map(|(id, count)| {
                (format!("{kind}.{}", expert_name(path, *id)), Stored::U64(vec![*count]))
            })),
            None => {
                stored.insert(format!("{kind}.{path}"), Stored::U64(counts.to_vec()));
            }
        }
    }

    fn join_counts(&self, kind: &str, path: &str, stored: &StoredTensors) -> Vec<u64> {
        let names: Vec<String> = match self.axes.get(path) {
            Some((_, experts)) => experts.iter().map(|id| expert_name(path, *id)).collect(),
            None => vec![path.to_owned()],
        };
        let counts = names.iter().flat_map(|name| match &stored[&format!("{kind}.{name}")] {
            Stored::U64(counts) => counts.clone(),
            Stored::F32(_) => unreachable!("types were checked"),
        });
        counts.collect()
    }

    fn split_one(&self, path: &str, tensor: &HostTensor) -> Vec<(String, HostTensor)> {
        let Some((axis, experts)) = self.axes.get(path) else {
            return vec![(path.to_owned(), tensor.clone())];
        };
        let rows = Rows::new(&tensor.shape, *axis);
        let mut shape = tensor.shape.clone();
        shape.remove(*axis);
        let row = |(position, id): (usize, &ExpertId)| {
            let data = rows.stretches(position).flat_map(|stretch| tensor.data[stretch].iter().copied());
            (expert_name(path, *id), HostTensor { shape: shape.clone(), data: data.collect() })
        };
        experts.iter().enumerate().map(row).collect()
    }

    fn join_one(&self, prefix: &str, path: &str, stored: &StoredTensors) -> HostTensor {
        let get = |name: &str| match &stored[&format!("{prefix}{name}")] {
            Stored::F32(tensor) => tensor,
            Stored::U64(_) => unreachable!("types were checked"),
        };
        let Some((axis, experts)) = self.axes.get(path) else {
            return get(path).clone();
        };
        let parts: Vec<&HostTensor> = experts.iter().map(|id| get(&expert_name(path, *id))).collect();
        let mut shape = parts[0].shape.clone();
        shape.insert(*axis, parts.len());
        let rows = Rows::new(&shape, *axis);
        let mut data = vec![0.0; shape.iter().product()];
        for (position, part) in parts.iter().enumerate() {
            let mut rest = part.data.as_slice();
            for stretch in rows.stretches(position) {
                let (now, later) = rest.split_at(stretch.len());
                data[stretch].copy_from_slice(now);
                rest = later;
            }
        }
        HostTensor { shape, data }
    }
}

fn expert_name(path: &str, id: ExpertId) -> String {
    format!("{path}.expert.{}", id.0)
}

#[cfg(test)]
mod tests {
    use moelt_schema::{ExpertRole, LayerId, LayerKind, RowInit};

    use super::*;

    fn input_axis(axis: usize) -> ExpertAxis {
        let (layer, role, init) = (LayerId(0), ExpertRole::Input, RowInit::Zeros);
        ExpertAxis { param: "w".into(), layer, axis, hidden: None, role, init }
    }

    fn names(axis: usize) -> ExpertNames {
        ExpertNames::new(&[input_axis(axis)], &Layout::uniform(1, LayerKind::TopK { k: 1 }, 3))
    }

    #[test]
    fn experts_are_stored_by_id_along_any_axis() {
        let tensor = HostTensor { shape: vec![2, 3], data: vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0] };
        let tensors = BTreeMap::from([("w".to_owned(), tensor)]);
        let names = names(1);
        let stored = names.split(&tensors);
        let expected = HostTensor { shape: vec![2], data: vec![1.0, 4.0] };
        assert_eq!(stored["w.expert.1"], Stored::F32(expected));
        assert_eq!(names.join(&stored, tensors.keys()), tensors);
    }

    #[test]
    fn averaged_weights_keep_an_update_count_per_expert() {
        let weights = HostTensor { shape: vec![3, 1], data: vec![1.0, 2.0, 3.0] };
        let mut state = AverageState::new(weights, Some(0));
        state.updates = vec![4, 5, 0];
        let (names, state) = (names(0), BTreeMap::from([("w".to_owned(), state)]));
        let stored = names.split_average(&state);
        assert_eq!(stored["updates.w.expert.1"], Stored::U64(vec![5]));
        assert_eq!(names.join_average(&stored, state.keys()), state);
    }

    #[test]
    fn optimizer_state_keeps_a_step_count_per_expert() {
        let state = ParamState {
            shape: vec![3, 1],
            moment_1: vec![1.0, 2.0, 3.0],
            moment_2: vec![4.0, 5.0, 6.0],
            steps: vec![7, 0, 9],
        };
        let state = BTreeMap::from([("w".to_owned(), state)]);
        let names = names(0);
        let stored = names.split_state(&state);
        assert_eq!(stored["steps.w.expert.2"], Stored::U64(vec![9]));
        assert_eq!(names.join_state(&stored, state.keys()), state);
    }

    /// The experts of `w` along `axis` in the order 2, 0, 1.
    fn shuffled(axis: usize) -> ExpertNames {
        let layer = serde_json::json!({"kind": {"top_k": {"k": 1}}, "experts": [2, 0, 1]});
        let layout = serde_json::from_value(serde_json::json!({"layers": [layer], "next_id": 3})).unwrap();
        ExpertNames::new(&[input_axis(axis)], &layout)
    }

    #[test]
    fn experts_in_any_order_are_stored_by_id_not_by_position() {
        let tensor = HostTensor { shape: vec![2, 3], data: vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0] };
        let tensors = BTreeMap::from([("w".to_owned(), tensor)]);
        let stored = shuffled(1).split(&tensors);
        let column = |data: [f32; 2]| Stored::F32(HostTensor { shape: vec![2], data: data.into() });
        let expected = [
            ("w.expert.0", column([1.0, 4.0])),
            ("w.expert.1", column([2.0, 5.0])),
            ("w.expert.2", column([0.0, 3.0])),
        ];
        assert_eq!(stored, expected.map(|(name, value)| (name.to_owned(), value)).into());
        assert_eq!(shuffled(1).join(&stored, tensors.keys()), tensors);
        // Read where the experts lie as 0, 1, 2, each is still itself.
        let ascending = vec![1.0, 2.0, 0.0, 4.0, 5.0, 3.0];
        assert_eq!(names(1).join(&stored, tensors.keys())["w"].data, ascending);
    }

    #[test]
    fn optimizer_state_of_experts_in_any_order_goes_by_id_too() {
        let state = |moment_1: [f32; 3], moment_2: [f32; 3], steps: [u64; 3]| {
            let (moment_1, moment_2, steps) = (moment_1.into(), moment_2.into(), steps.into());
            let state = ParamState { shape: vec![3, 1], moment_1, moment_2, steps };
            BTreeMap::from([("w".to_owned(), state)])
        };
        let lies = state([1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7, 0, 9]);
        let stored = shuffled(0).split_state(&lies);
        let value = |data: f32| Stored::F32(HostTensor { shape: vec![1], data: vec![data] });
        let expected = [
            ("moment_1.w.expert.0", value(2.0)),
            ("moment_1.w.expert.1", value(3.0)),
            ("moment_1.w.expert.2", value(1.0)),
            ("moment_2.w.expert.0", value(5.0)),
            ("moment_2.w.expert.1", value(6.0)),
            ("moment_2.w.expert.2", value(4.0)),
            ("steps.w.expert.0", Stored::U64(vec![0])),
            ("steps.w.expert.1", Stored::U64(vec![9])),
            ("steps.w.expert.2", Stored::U64(vec![7])),
        ];
        assert_eq!(stored, expected.map(|(name, value)| (name.to_owned(), value)).into());
        assert_eq!(shuffled(0).join_state(&stored, lies.keys()), lies);
        let ascending = state([2.0, 3.0, 1.0], [5.0, 6.0, 4.0], [0, 9, 7]);
        assert_eq!(names(0).join_state(&stored, lies.keys()), ascending);
    }
}
