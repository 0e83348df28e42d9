//! A task of a stream arrives: one more expert comes, and what is there is trained no further. It comes back: its expert is
//! trained again, and the others rest.

use moelt_schema::{
    ArrivalConfig, Edit, EditsConfig, ExpertId, KnownBy, LayerKind, Layout, Limits, PolicyState, TaskStart,
};
use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::{
    Decision, Policy, StatsWindow,
    edits::{NewIds, allows, describe_all},
    layer_view::LayerView,
    moves::init,
    timing::Timing,
};

/// Knows of arrivals by being told or by the loss.
pub(super) struct Arrival {
    config: ArrivalConfig,
    edits: EditsConfig,
    /// When tasks begin, for one that is told.
    task_starts: Vec<TaskStart>,
    state: PolicyState,
}

/// What is known at a decision.
struct News {
    what: Known,
    /// How it is known, for people.
    reason: String,
    /// And in a test's numbers.
    jump: Option<Jump>,
}

enum Known {
    Nothing,
    /// A task arrives.
    Arrival,
    /// These domains have been there before, and come back.
    Return(Vec<u32>),
}

/// How the losses of the last steps lie to those of the steps before them.
struct Jump {
    /// Standard errors by which their mean lies above.
    t: f64,
    /// So many are a jump.
    critical: f64,
}

impl Arrival {
    pub(super) fn new(
        config: ArrivalConfig,
        edits: EditsConfig,
        task_starts: Vec<TaskStart>,
        state: PolicyState,
    ) -> Self {
        Self { config, edits, task_starts, state }
    }

    fn news(&mut self, step: u64) -> News {
        match self.config.known_by {
            KnownBy::Told {} => self.told(step),
            KnownBy::LossJump { level, steps } => self.test(level, steps),
        }
    }

    fn told(&self, step: u64) -> News {
        let (what, reason) = match self.task_starts.iter().find(|start| start.step == step) {
            None => (Known::Nothing, "no task arrives"),
            Some(start) if start.is_new => (Known::Arrival, "a task arrives"),
            Some(start) => (Known::Return(start.back.clone()), "a task comes back"),
        };
        News { what, reason: reason.to_owned(), jump: None }
    }

    /// Tests the losses that it remembers; after a jump it begins anew.
    fn test(&mut self, level: f64, steps: usize) -> News {
        let losses = &mut self.state.losses;
        if losses.len() < 2 * steps {
            let reason = format!("{} of {} steps to compare", losses.len(), 2 * steps);
            return News { what: Known::Nothing, reason, jump: None };
        }
        let (before, last) = losses.split_at(steps);
        let jump = Jump::of(before, last, level);
        let is_one = jump.t > jump.critical;
        let reason = format!(
            "the losses of the last {steps} steps lie {:.1} standard errors above those before; {:.1} are a jump",
            jump.t, jump.critical
        );
        if is_one {
            losses.clear();
        }
        News { what: if is_one { Known::Arrival } else { Known::Nothing }, reason, jump: Some(jump) }
    }

    /// A new expert in every layer that may have one more, and what is frozen with it.
    fn grow(&self, layers: &[LayerView<'_>], layout: &Layout) -> Vec<Edit> {
        let (limits, mut new_ids): (Limits, _) = (self.edits.limits(), NewIds::of(layout));
        let mut edits = Vec::new();
        for layer in layers.iter().filter(|layer| allows(&limits, layer.n() + 1)) {
            if self.config.freeze_experts {
                let trained = layer.layout.experts.iter().filter(|id| !layer.layout.frozen.contains(id));
                edits.extend(trained.map(|expert| Edit::Freeze { layer: layer.id, expert: *expert }));
            }
            let init = init(self.config.new_expert, layer.busiest());
            edits.push(Edit::Grow { layer: layer.id, new: new_ids.take(), init });
        }
        if !edits.is_empty() && self.config.freeze_shared && !layout.shared_frozen() {
            edits.push(Edit::FreezeShared {});
        }
        edits
    }

    /// Where experts are assigned, those of the domains that are back train on and the others rest. A learned router finds its
    /// own way.
    fn resume(&self, layers: &[LayerView<'_>], back: &[u32]) -> Vec<Edit> {
        if !self.config.freeze_experts {
            return Vec::new();
        }
        let of_layer = |layer: &LayerView<'_>| {
            let (id, frozen) = (layer.id, layer.layout.frozen.clone());
            // Groups beyond the experts share the last one.
            let last = layer.n() as u32 - 1;
            let is_back = move |group: u32| back.iter().any(|domain| (*domain).min(last) == group);
            let change =
                move |(group, expert): (u32, &ExpertId)| match (is_back(group), frozen.contains(expert)) {
                    (true, true) => Some(Edit::Thaw { layer: id, expert: *expert }),
                    (false, false) => Some(Edit::Freeze { layer: id, expert: *expert }),
                    (true, false) | (false, true) => None,
                };
            (0..).zip(&layer.layout.experts).filter_map(change).collect::<Vec<_>>()
        };
        let assigned = layers.iter().filter(|layer| layer.layout.kind == LayerKind::Assigned);
        assigned.flat_map(of_layer).collect()
    }
}

impl Jump {
    /// Welch's one-sided t test (Welch 1947) of `last` against `before`, of two values at least each. Values that agree
    /// exactly leave any larger mean a jump.
    fn of(before: &[f64], last: &[f64], level: f64) -> Self {
        let [(mean_before, error_before), (mean, error)] = [before, last].map(mean_and_squared_error);
        let squared = (error_before + error).max(f64::MIN_POSITIVE);
        let of_degrees = |error: f64, n: usize| error.powi(2) / (n - 1) as f64;
        let parts = of_degrees(error_before, before.len()) + of_degrees(error, last.len());
        let degrees = (squared.powi(2) / parts.max(f64::MIN_POSITIVE)).clamp(1.0, 1e6);
        let student = StudentsT::new(0.0, 1.0, degrees).expect("degrees of freedom are clamped above 0");
        Self { t: (mean - mean_before) / squared.sqrt(), critical: student.inverse_cdf(1.0 - level) }
    }
}

/// The mean of values and the square of its standard error.
fn mean_and_squared_error(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0) / n)
}

impl Policy for Arrival {
    fn decide(&mut self, window: &StatsWindow<'_>, layout: &Layout) -> Decision {
        self.state.decisions += 1;
        let layers = LayerView::all(window, layout);
        let mut evidence = LayerView::evidence_of(&layers);
        let closed = Timing::new(&self.edits, window.total_steps).closed(window.step);
        if let Some(reason) = closed.filter(|_| !self.config.is_told()) {
            return Decision::keep(reason, evidence);
        }
        let News { what, reason, jump } = self.news(window.step);
        if let Some(Jump { t, critical }) = jump {
            evidence = evidence.with("t", t).with("critical", critical);
        }
        let (edits, nothing) = match what {
            Known::Nothing => return Decision::keep(reason, evidence),
            Known::Arrival => (self.grow(&layers, layout), "no layer may have one more"),
            Known::Return(back) => {
                (self.resume(&layers, &back), "no expert is to be trained in another's place")
            }
        };
        let done = if edits.is_empty() { nothing.to_owned() } else { describe_all(&edits) };
        Decision::apply(edits, format!("{reason}: {done}"), evidence)
    }

    fn learn(&mut self, window: &StatsWindow<'_>, _: &Layout) {
        let KnownBy::LossJump { steps, .. } = self.config.known_by else { return };
        self.state.losses.push(window.loss);
        let too_many = self.state.losses.len().saturating_sub(2 * steps);
        self.state.losses.drain(..too_many);
    }

    fn state(&self) -> PolicyState {
        self.state.clone()
    }
}

#[cfg(test)]
mod tests {
    use moelt_schema::{Evidence, ExpertInit, LayerId, LayerSums, NewExpertConfig, Plan};

    use super::*;
    use crate::Action;

    const LAYER: LayerId = LayerId(0);

    /// Told that tasks arrive before these steps.
    fn policy(known_by: KnownBy, arrivals: &[u64]) -> Arrival {
        let arrival = |step: &u64| TaskStart { step: *step, is_new: true, back: Vec::new() };
        let config = ArrivalConfig { known_by, ..ArrivalConfig::default() };
        let edits = EditsConfig { warmup: 0.0, until: 1.0, max_experts: 3, ..EditsConfig::default() };
        Arrival::new(config, edits, arrivals.iter().map(arrival).collect(), PolicyState::default())
    }

    fn decide(policy: &mut Arrival, step: u64, loss: f64, layout: &Layout) -> Decision {
        let sums = LayerSums { tokens: 1.0, ..LayerSums::zeros(layout.n_experts()) };
        let sums = [sums];
        let window = StatsWindow { step, total_steps: 100, sums: &sums, loss, ramping_in: &[] };
        policy.decide(&window, layout)
    }

    fn after(layout: &Layout, step: u64, action: Action) -> Layout {
        let Action::Apply(edits) = action else { panic!("{action:?}") };
        let plan = Plan { step, edits, reason: String::new(), evidence: Evidence::default() };
        plan.check(layout, Limits::default()).unwrap().after().clone()
    }

    #[test]
    fn at_each_arrival_one_expert_comes_and_the_others_rest() {
        let mut policy = policy(KnownBy::Told {}, &[20, 40, 60]);
        let layout = Layout::uniform(1, LayerKind::Assigned, 1);
        assert_eq!(decide(&mut policy, 10, 1.0, &layout).action, Action::Keep);
        let first = decide(&mut policy, 20, 1.0, &layout);
        let grow = Edit::Grow { layer: LAYER, new: ExpertId(1), init: ExpertInit::Fresh };
        let freeze = Edit::Freeze { layer: LAYER, expert: ExpertId(0) };
        assert_eq!(first.action, Action::Apply(vec![freeze, grow, Edit::FreezeShared {}]));
        let layout = after(&layout, 20, first.action);
        let layout = after(&layout, 40, decide(&mut policy, 40, 1.0, &layout).action);
        assert!(layout.shared_frozen() && layout.layers()[0].frozen == [0, 1].map(ExpertId).into());
        let full = decide(&mut policy, 60, 1.0, &layout);
        assert_eq!(
            (full.action, full.reason.as_str()),
            (Action::Keep, "a task arrives: no layer may have one more")
        );
    }

    #[test]
    fn a_task_that_comes_back_has_its_expert_trained_again() {
        let mut policy = policy(KnownBy::Told {}, &[20]);
        policy.task_starts.push(TaskStart { step: 40, is_new: false, back: vec![0] });
        for (kind, edits) in [
            (LayerKind::TopK { k: 1 }, vec![]),
            (
                LayerKind::Assigned,
                vec![
                    Edit::Thaw { layer: LAYER, expert: ExpertId(0) },
                    Edit::Freeze { layer: LAYER, expert: ExpertId(1) },
                ],
            ),
        ] {
            let layout = Layout::uniform(1, kind, 1);
            let layout = after(&layout, 20, decide(&mut policy, 20, 1.0, &layout).action);
            let back = decide(&mut policy, 40, 1.0, &layout);
            assert!(back.reason.starts_with("a task comes back: "), "{}", back.reason);
            assert_eq!(back.action, if edits.is_empty() { Action::Keep } else { Action::Apply(edits) });
        }
    }

    #[test]
    fn a_loss_that_jumps_is_an_arrival_and_one_that_falls_is_none() {
        let mut policy = policy(KnownBy::LossJump { level: 0.001, steps: 4 }, &[]);
        let layout = Layout::uniform(1, LayerKind::TopK { k: 1 }, 1);
        let sums = [LayerSums { tokens: 1.0, ..LayerSums::zeros(1) }];
        let mut jumps = Vec::new();
        for step in 1..=40 {
            let noise = 0.05 * f64::from(step % 3);
            let loss = noise + 2.0 - 0.02 * f64::from(step) + if step > 20 { 1.0 } else { 0.0 };
            let step = u64::from(step as u32);
            let window = StatsWindow { step, total_steps: 100, sums: &sums, loss, ramping_in: &[] };
            policy.learn(&window, &layout);
            if step.is_multiple_of(4) && policy.decide(&window, &layout).action != Action::Keep {
                jumps.push(step);
            }
        }
        assert_eq!(jumps, [24]);
        assert_eq!(policy.state().losses.len(), 8, "no more than it needs");
    }

    // Means 2 and 4, squared errors 1/3 and 4/3: t = 2 / √(5/3) = 1.5492; degrees (5/3)² / ((1/9 + 16/9) / 2) = 2.9412.
    #[test]
    fn hand_worked_test() {
        let jump = Jump::of(&[1.0, 2.0, 3.0], &[2.0, 4.0, 6.0], 0.05);
        assert!((jump.t - 1.549_19).abs() < 1e-4, "{}", jump.t);
        assert!(
            (2.35..2.38).contains(&jump.critical),
            "between those of 2 and 3 degrees, near 3: {}",
            jump.critical
        );
    }

    #[test]
    fn nothing_is_frozen_that_is_not_asked_for() {
        let mut policy = policy(KnownBy::Told {}, &[20]);
        policy.config =
            ArrivalConfig { freeze_experts: false, freeze_shared: false, ..policy.config.clone() };
        policy.config.new_expert = NewExpertConfig::Copy { noise: 0.1 };
        let layout = Layout::uniform(1, LayerKind::TopK { k: 1 }, 2);
        let init = ExpertInit::Copy { parent: ExpertId(0), noise: 0.1 };
        let grow = Edit::Grow { layer: LAYER, new: ExpertId(2), init };
        assert_eq!(decide(&mut policy, 20, 1.0, &layout).action, Action::Apply(vec![grow]));
    }
}
