//! A task of a stream arrives: one more expert comes, and what is there is trained no further.

use moelt_schema::{
    ArrivalConfig, Edit, EditsConfig, Evidence, KnownBy, LayerEvidence, Layout, Limits, PolicyState,
};
use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::{
    Decision, Policy, StatsWindow,
    edits::{NewIds, allows, describe},
    layer_view::LayerView,
    moves::init,
    timing::Timing,
};

/// Knows of arrivals by being told or by the loss.
pub(super) struct Arrival {
    config: ArrivalConfig,
    edits: EditsConfig,
    /// The steps before which tasks arrive, for one that is told.
    arrivals: Vec<u64>,
    state: PolicyState,
}

/// The training loss of a window, beside those before it.
struct Jump {
    /// Standard errors by which it lies above their mean.
    t: f64,
    /// So many are a jump.
    critical: f64,
}

impl Arrival {
    pub(super) fn new(
        config: ArrivalConfig,
        edits: EditsConfig,
        arrivals: Vec<u64>,
        state: PolicyState,
    ) -> Self {
        Self { config, edits, arrivals, state }
    }

    /// Whether a task arrives now, with the reason and, where it is a test's, its numbers.
    fn arrives(&mut self, window: &StatsWindow<'_>) -> (bool, String, Option<Jump>) {
        match self.config.known_by {
            KnownBy::Told {} => {
                let arrives = self.arrivals.contains(&window.step);
                (arrives, if arrives { "a task arrives" } else { "no task arrives" }.to_owned(), None)
            }
            KnownBy::LossJump { .. } if !window.loss.is_finite() => {
                (false, "the loss is no number".to_owned(), None)
            }
            KnownBy::LossJump { level, windows } => self.look_at(window.loss, level, windows),
        }
    }

    /// Tests a window's loss against those before it, and remembers it; after a jump it begins anew.
    fn look_at(&mut self, loss: f64, level: f64, windows: usize) -> (bool, String, Option<Jump>) {
        let before = &mut self.state.losses;
        if before.len() < windows {
            before.push(loss);
            return (false, format!("{} of {windows} windows to compare with", before.len()), None);
        }
        let jump = Jump::of(loss, before, level);
        let (is_one, Jump { t, critical }) = (jump.t > jump.critical, &jump);
        let reason = format!(
            "the loss of {loss:.4} lies {t:.1} standard errors above that of the {windows} windows before; {critical:.1} are a jump"
        );
        if is_one {
            before.clear();
        } else {
            before.rotate_left(1);
            before[windows - 1] = loss;
        }
        (is_one, reason, Some(jump))
    }

    /// A new expert in every layer that may have one more, and what is frozen with it.
    fn edits(&self, layers: &[LayerView<'_>], layout: &Layout) -> Vec<Edit> {
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
}

impl Jump {
    /// One-sided t test of one value against `before`, of which there are two at least: `(x − x̄) / (s √(1 + 1/n))` has
    /// `n − 1` degrees of freedom. Values that agree exactly leave any larger one a jump.
    fn of(loss: f64, before: &[f64], level: f64) -> Self {
        let n = before.len() as f64;
        let mean = before.iter().sum::<f64>() / n;
        let variance = before.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
        let error = (variance * (1.0 + 1.0 / n)).sqrt().max(f64::MIN_POSITIVE);
        let student = StudentsT::new(0.0, 1.0, n - 1.0).expect("there are two windows at least");
        Self { t: (loss - mean) / error, critical: student.inverse_cdf(1.0 - level) }
    }
}

impl Policy for Arrival {
    fn decide(&mut self, window: &StatsWindow<'_>, layout: &Layout) -> Decision {
        self.state.decisions += 1;
        let layers = LayerView::all(window, layout);
        let evidence: Vec<LayerEvidence> = layers.iter().map(LayerView::evidence).collect();
        let mut evidence = Evidence { layers: evidence, ..Evidence::default() };
        let closed = Timing::new(&self.edits, window.total_steps).closed(window.step);
        if let Some(reason) = closed.filter(|_| !self.config.is_told()) {
            return Decision::keep(reason, evidence);
        }
        let (arrives, reason, jump) = self.arrives(window);
        if let Some(Jump { t, critical }) = jump {
            evidence = evidence.with("t", t).with("critical", critical);
        }
        if !arrives {
            return Decision::keep(reason, evidence);
        }
        let edits = self.edits(&layers, layout);
        let done: Vec<String> = edits.iter().map(describe).collect();
        let done = if done.is_empty() { "no layer may have one more".to_owned() } else { done.join(", ") };
        Decision::apply(edits, format!("{reason}: {done}"), evidence)
    }

    fn state(&self) -> PolicyState {
        self.state.clone()
    }
}

#[cfg(test)]
mod tests {
    use moelt_schema::{ExpertId, ExpertInit, LayerId, LayerKind, LayerSums, NewExpertConfig, Plan};

    use super::*;
    use crate::Action;

    const LAYER: LayerId = LayerId(0);

    fn policy(known_by: KnownBy, arrivals: &[u64]) -> Arrival {
        let config = ArrivalConfig { known_by, ..ArrivalConfig::default() };
        let edits = EditsConfig { warmup: 0.0, until: 1.0, max_experts: 3, ..EditsConfig::default() };
        Arrival::new(config, edits, arrivals.to_vec(), PolicyState::default())
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
    fn a_loss_that_jumps_is_an_arrival_and_one_that_falls_is_none() {
        let mut policy = policy(KnownBy::LossJump { level: 0.001, windows: 4 }, &[]);
        let layout = Layout::uniform(1, LayerKind::TopK { k: 1 }, 1);
        let mut seen = |step, loss| !matches!(decide(&mut policy, step, loss, &layout).action, Action::Keep);
        let losses = [2.0, 1.9, 1.85, 1.8, 1.78, 1.79, 2.6, 2.5, 1.7, 1.6, 1.5, 1.4];
        let jumps: Vec<usize> = (0..losses.len()).filter(|i| seen(*i as u64 + 1, losses[*i])).collect();
        assert_eq!(jumps, [6]);
    }

    // t = (3 − 2) / (1 · √(1 + 1/3)) = 0.8660; t(2 df, 0.95) = 2.91999.
    #[test]
    fn hand_worked_test() {
        let jump = Jump::of(3.0, &[1.0, 2.0, 3.0], 0.05);
        assert!((jump.t - 0.75_f64.sqrt()).abs() < 1e-12 && (jump.critical - 2.919_99).abs() < 1e-4);
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
