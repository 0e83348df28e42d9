//! Which parameter is updated how.

use std::collections::BTreeMap;

/// How one parameter is updated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ParamGroup {
    /// Multiplies the learning rate.
    pub lr_scale: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Whether it counts in the clipped norm and is scaled by it.
    pub clip: bool,
    /// Axis of rows with a life of their own, such as experts: each row of the parameter counts its own
    /// steps, and a row whose gradient is exactly zero is skipped: no step, no moment decay, no weight
    /// decay. So an expert without a token rests, except for its router row, which softmax and balance
    /// loss reach; so do the weights of an expert whose hidden units are all off.
    pub row_axis: Option<usize>,
}

/// As in PyTorch: the learning rate as it is, weight decay 0.01; clipped, one step count for all.
impl Default for ParamGroup {
    fn default() -> Self {
        Self { lr_scale: 1.0, weight_decay: 0.01, clip: true, row_axis: None }
    }
}

/// The group of every parameter, those that are still to come included: a default, and rules by the end of the
/// path, of which the last that fits counts. Axes of rows are known by whole paths.
///
/// ```
/// use moelt_optim::{ParamGroup, ParamGroups};
/// let no_decay = ParamGroup { weight_decay: 0.0, ..ParamGroup::default() };
/// let mut groups = ParamGroups::new(ParamGroup::default()).with(["bias", "norm.gamma"], no_decay);
/// groups.set_row_axis("experts.w", Some(0));
/// assert_eq!(groups.of("layers.3.bias").weight_decay, 0.0);
/// assert_eq!(groups.of("layers.3.antibias").weight_decay, 0.01);
/// assert_eq!(groups.of("experts.w").row_axis, Some(0));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ParamGroups {
    default: ParamGroup,
    rules: Vec<(String, ParamGroup)>,
    lr_scales: Vec<(String, f64)>,
    row_axes: BTreeMap<String, usize>,
}

/// One group for all.
impl From<ParamGroup> for ParamGroups {
    fn from(group: ParamGroup) -> Self {
        Self::new(group)
    }
}

impl ParamGroups {
    /// One group for all.
    pub fn new(default: ParamGroup) -> Self {
        Self { default, ..Self::default() }
    }

    /// The same with another group for parameters whose path ends in one of these names: the last name of the path,
    /// or the last ones, joined by dots.
    pub fn with<'a>(mut self, ends: impl IntoIterator<Item = &'a str>, group: ParamGroup) -> Self {
        self.rules.extend(ends.into_iter().map(|end| (end.to_owned(), group)));
        self
    }

    /// The same with learning rates multiplied by this for parameters below a path: `layers.3` is for all of `layers.3.…`. Several
    /// that fit are multiplied.
    #[must_use]
    pub fn scaled(mut self, path: impl Into<String>, lr_scale: f64) -> Self {
        self.lr_scales.push((path.into(), lr_scale));
        self
    }

    /// From now on the rows of one parameter along this axis count their own steps; none: as its group says.
    pub fn set_row_axis(&mut self, path: &str, axis: Option<usize>) {
        match axis {
            Some(axis) => self.row_axes.insert(path.to_owned(), axis),
            None => self.row_axes.remove(path),
        };
    }

    /// The group of the parameter at `path`.
    pub fn of(&self, path: &str) -> ParamGroup {
        let fits = |(end, _): &&(String, ParamGroup)| {
            path.strip_suffix(end.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        let group = self.rules.iter().rev().find(fits).map_or(self.default, |(_, group)| *group);
        let below = |(above, _): &&(String, f64)| {
            path.strip_prefix(above.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let lr_scale: f64 = self.lr_scales.iter().filter(below).map(|(_, scale)| scale).product();
        let row_axis = self.row_axes.get(path).copied().or(group.row_axis);
        ParamGroup { row_axis, lr_scale: group.lr_scale * lr_scale, ..group }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decay(weight_decay: f64) -> ParamGroup {
        ParamGroup { weight_decay, ..ParamGroup::default() }
    }

    #[test]
    fn the_last_rule_that_fits_counts_and_a_rule_is_of_whole_names() {
        let groups = ParamGroups::new(decay(1.0)).with(["weight"], decay(2.0)).with(["a.weight"], decay(3.0));
        let decays = ["weight", "a.weight", "b.a.weight", "ba.weight", "my_weight", "bias"]
            .map(|path| groups.of(path).weight_decay);
        assert_eq!(decays, [2.0, 3.0, 3.0, 2.0, 1.0, 1.0]);
    }

    #[test]
    fn learning_rates_are_scaled_below_a_path() {
        let groups = ParamGroups::from(ParamGroup { lr_scale: 2.0, ..decay(1.0) })
            .scaled("a.1", 0.5)
            .scaled("a", 0.25);
        let scales = ["a.1.w", "a.10.w", "a", "b.a.1"].map(|path| groups.of(path).lr_scale);
        assert_eq!(scales, [0.25, 0.5, 0.5, 2.0]);
    }

    #[test]
    fn an_axis_of_rows_is_one_parameters_own() {
        let mut groups =
            ParamGroups::from(decay(1.0)).with(["w"], ParamGroup { row_axis: Some(0), ..decay(0.5) });
        groups.set_row_axis("a.w", Some(1));
        assert_eq!(["a.w", "b.w", "b"].map(|path| groups.of(path).row_axis), [Some(1), Some(0), None]);
        assert_eq!(groups.of("a.w").weight_decay, 0.5);
        groups.set_row_axis("a.w", None);
        assert_eq!(groups.of("a.w").row_axis, Some(0));
    }
}
