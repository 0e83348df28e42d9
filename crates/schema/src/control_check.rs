//! Which starts and policies no run can work with.

use crate::{ControlConfig, LabelSource, LayerKind, Layout, PolicyKind, RunConfig, StartFrom};

impl ControlConfig {
    /// Refuses experts that the policy cannot work with. A run that starts from another one has that one's.
    ///
    /// # Errors
    /// The key and what does not fit.
    pub fn check_layout(&self, layout: &Layout) -> Result<(), (&'static str, String)> {
        if self.policy == PolicyKind::Frozen {
            return Ok(());
        }
        let routed = layout.layers().iter().filter(|layer| layer.kind != LayerKind::Dense);
        let routed: Vec<_> = routed.collect();
        if routed.is_empty() {
            return Err(("control.policy", "needs experts; every layer is dense".to_owned()));
        }
        let is_dynmoe = self.policy == PolicyKind::Dynmoe;
        if routed.iter().any(|layer| is_dynmoe != (layer.kind == LayerKind::TopAny)) {
            let message = "`dynmoe` and model.kind = \"top_any\" need one another".to_owned();
            return Err(("control.policy", message));
        }
        let (min, max) = (self.min_experts, self.max_experts);
        match routed.iter().find(|layer| !(min..=max).contains(&layer.n_experts())) {
            Some(layer) => {
                let n = layer.n_experts();
                let message = format!("is {n}; control.min_experts and max_experts allow {min} to {max}");
                Err(("model.n_experts", message))
            }
            None => Ok(()),
        }
    }

    /// Refuses what look-ahead and the head cannot work with, and keys that nothing would look at.
    fn check_head(&self) -> Result<(), (&'static str, String)> {
        let is_head = self.policy == PolicyKind::Head;
        let repeated =
            (1..self.candidates.len()).find(|at| self.candidates[..*at].contains(&self.candidates[*at]));
        let wrong = [
            (
                self.candidates.is_empty() && self.looks_ahead(),
                "control.candidates",
                "is empty; name moves, such as [\"grow\", \"prune\"], or set control.policy = \"frozen\""
                    .to_owned(),
            ),
            (
                repeated.is_some(),
                "control.candidates",
                format!("names `{}` twice", repeated.map_or("", |at| self.candidates[at].name())),
            ),
            (self.head_hidden == 0, "control.head_hidden", "must be at least 1".to_owned()),
            (
                !is_head && self.labels != LabelSource::default(),
                "control.labels",
                "is set, but nothing learns from labels; set control.policy = \"head\"".to_owned(),
            ),
            (
                self.joint > 0.0 && !(is_head && self.labels == LabelSource::Entropy),
                "control.joint",
                format!(
                    "is {}; it needs control.policy = \"head\" and control.labels = \"entropy\"",
                    self.joint
                ),
            ),
            (
                !self.records_of.is_empty() && !self.learns_effects(),
                "control.records_of",
                "is set, but no head learns from it; it needs control.policy = \"head\" and control.labels = \
                 \"counterfactual\""
                    .to_owned(),
            ),
            (
                self.replicate && !self.looks_ahead(),
                "control.replicate",
                "is set, but nothing is measured after training; set control.policy = \"lookahead\""
                    .to_owned(),
            ),
        ];
        match wrong.into_iter().find(|(is_wrong, ..)| *is_wrong) {
            Some((_, key, message)) => Err((key, message)),
            None => Ok(()),
        }
    }
}

impl RunConfig {
    /// Refuses starts and policies that no run can work with.
    pub(crate) fn check_control(&self) -> Result<(), (&'static str, String)> {
        let (start, control) = (&self.start, &self.control);
        let placebo = matches!(control.policy, PolicyKind::PlaceboTime | PolicyKind::PlaceboSurgery);
        let (min, max) = (control.min_experts, control.max_experts);
        let (warmup, until) = (control.warmup, control.until);
        let wrong = [
            (
                !self.train.flops_of.is_empty() && control.policy != PolicyKind::Frozen,
                "train.flops_of",
                "is set, but what a run spends is not known while its experts change; set control.policy = \
                 \"frozen\""
                    .to_owned(),
            ),
            (control.every == 0, "control.every", "must be at least 1".to_owned()),
            (min > max, "control.max_experts", format!("is {max}, below control.min_experts = {min}")),
            (
                warmup >= until,
                "control.until",
                format!("is {until}; control.warmup is {warmup}: nothing would ever be edited"),
            ),
            (
                placebo && control.edits_of.is_empty(),
                "control.edits_of",
                "is not set; name the folder of the run to follow".to_owned(),
            ),
            (
                !placebo && !control.edits_of.is_empty(),
                "control.edits_of",
                "is set, but control.policy is no placebo".to_owned(),
            ),
            (
                start.run.is_empty() && start.take != StartFrom::Weights,
                "start.take",
                "is set, but start.run is not; name the folder of a run".to_owned(),
            ),
        ];
        if let Some((_, key, message)) = wrong.into_iter().find(|(is_wrong, ..)| *is_wrong) {
            return Err((key, message));
        }
        control.check_head()?;
        if start.run.is_empty() { control.check_layout(&self.model.initial_layout()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LayerKindConfig, Move};

    #[test]
    fn what_no_policy_can_work_with_is_refused_by_key() {
        let config = |change: fn(&mut RunConfig)| {
            let mut config = RunConfig::default();
            config.control.policy = PolicyKind::Rule;
            change(&mut config);
            config.check().map_err(|(key, _)| key)
        };
        assert_eq!(config(|_| {}), Ok(()));
        assert_eq!(config(|c| c.model.kind = LayerKindConfig::Dense), Err("control.policy"));
        assert_eq!(config(|c| c.model.kind = LayerKindConfig::TopAny), Err("control.policy"));
        assert_eq!(config(|c| c.model.n_experts = 17), Err("model.n_experts"));
        assert_eq!(config(|c| c.control.until = 5.0), Err("control.until"));
        assert_eq!(config(|c| c.control.every = 0), Err("control.every"));
        assert_eq!(config(|c| c.control.edits_of = "runs/x".into()), Err("control.edits_of"));
        assert_eq!(config(|c| c.control.policy = PolicyKind::PlaceboTime), Err("control.edits_of"));
        assert_eq!(config(|c| c.start.take = StartFrom::Size), Err("start.take"));
        assert_eq!(config(|c| c.train.flops_of = "runs/x".into()), Err("train.flops_of"));
    }

    #[test]
    fn a_run_that_starts_from_another_is_judged_by_that_ones_experts() {
        let mut config = RunConfig::default();
        (config.control.policy, config.model.kind) = (PolicyKind::Rule, LayerKindConfig::Dense);
        config.start.run = "edited/upcycled".into();
        assert_eq!(config.check(), Ok(()));
        let layout = |n| Layout::uniform(2, LayerKind::Moe { top_k: 2 }, n);
        assert_eq!(config.control.check_layout(&layout(16)), Ok(()));
        assert_eq!(config.control.check_layout(&layout(17)).unwrap_err().0, "model.n_experts");
    }

    #[test]
    fn what_no_head_can_work_with_is_refused_by_key() {
        let config = |policy, change: fn(&mut crate::ControlConfig)| {
            let mut config = RunConfig::default();
            config.control.policy = policy;
            change(&mut config.control);
            config.check().map_err(|(key, _)| key)
        };
        let (head, ahead) = (PolicyKind::Head, PolicyKind::Lookahead);
        assert_eq!((config(head, |_| {}), config(ahead, |_| {})), (Ok(()), Ok(())));
        assert_eq!(config(ahead, |c| c.candidates.clear()), Err("control.candidates"));
        assert_eq!(config(ahead, |c| c.candidates.push(Move::Grow)), Err("control.candidates"));
        assert_eq!(config(head, |c| c.head_hidden = 0), Err("control.head_hidden"));
        assert_eq!(config(head, |c| c.head_lr = 0.0), Err("control.head_lr"));
        assert_eq!(config(head, |c| c.expert_cost = -1.0), Err("control.expert_cost"));
        assert_eq!(config(head, |c| c.confidence = f64::NAN), Err("control.confidence"));
        assert_eq!(config(head, |c| c.joint = 0.1), Err("control.joint"));
        assert_eq!(config(PolicyKind::Rule, |c| c.labels = LabelSource::Entropy), Err("control.labels"));
        assert_eq!(config(PolicyKind::Rule, |c| c.replicate = true), Err("control.replicate"));
        assert_eq!(config(ahead, |c| c.records_of.push("runs/x".into())), Err("control.records_of"));
        assert_eq!(config(head, |c| c.records_of.push("runs/x".into())), Ok(()));
        let joint = |c: &mut crate::ControlConfig| (c.joint, c.labels) = (0.1, LabelSource::Entropy);
        assert_eq!(config(head, joint), Ok(()));
    }
}
