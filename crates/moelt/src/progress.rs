//! The progress bar of a run.

use indicatif::{ProgressBar, ProgressStyle};
use moelt_schema::{DecisionKind, Event, EventRecord};
use moelt_train::{Observer, Prepared};

/// Shows steps, time left and what is known of the run on standard error, and says each evaluation.
pub(crate) struct Bar {
    bar: ProgressBar,
    facts: Facts,
}

/// What is known of a run, as it is shown beside the bar.
#[derive(Default)]
struct Facts {
    loss: f64,
    /// The last on validation, a fraction.
    accuracy: Option<f64>,
    /// Of each layer with a router.
    experts: Vec<usize>,
    /// Step, and what was decided for which reason.
    decision: Option<(u64, String)>,
}

impl Bar {
    pub(crate) fn new() -> Self {
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} steps, {eta} left\n{msg}");
        let bar = ProgressBar::no_length();
        if let Ok(style) = style {
            bar.set_style(style);
        }
        Self { bar, facts: Facts::default() }
    }

    /// A line above the bar, which is there only on a terminal.
    fn say(&self, line: &str) {
        self.bar.suspend(|| moelt_ablate::tell!("{line}"));
    }
}

impl Observer for Bar {
    fn started(&mut self, prepared: &Prepared, done: u64, total: u64) {
        let sizes = prepared.sizes;
        self.say(&format!(
            "train {} · validation {} · test {} · {} embedding rows · {} classes",
            sizes.train,
            sizes.validation,
            sizes.test,
            prepared.vocabulary.n_rows(),
            prepared.classes.len()
        ));
        for note in &prepared.notes {
            self.say(&format!("note: {note}"));
        }
        self.bar.set_length(total);
        self.bar.set_position(done);
        self.bar.reset_eta();
    }

    fn stepped(&mut self, step: u64, loss: f64) {
        self.facts.loss = loss;
        self.bar.set_position(step);
        self.bar.set_message(self.facts.shown());
    }

    fn logged(&mut self, record: &EventRecord) {
        self.facts.note(record);
        if let Event::Validation { accuracy, loss, best } = &record.event {
            let star = if *best { " (best)" } else { "" };
            let percent = 100.0 * accuracy;
            self.say(&format!("step {}: validation {percent:.2} %, loss {loss:.4}{star}", record.step));
        }
    }
}

impl Facts {
    fn note(&mut self, record: &EventRecord) {
        match &record.event {
            Event::Validation { accuracy, .. } => self.accuracy = Some(*accuracy),
            Event::Window { routing, .. } => {
                self.experts = routing.iter().map(|layer| layer.utilization.len()).collect();
            }
            // What was looked at or measured first is decided afterwards.
            Event::Decision { action: DecisionKind::Keep, reason, .. } => {
                self.decision = Some((record.step, format!("keep, {reason}")));
            }
            Event::Decision { action: DecisionKind::Apply, reason, .. } => {
                self.decision = Some((record.step, format!("edit, {reason}")));
            }
            _ => {}
        }
    }

    /// In a line, and the last decision in another.
    fn shown(&self) -> String {
        let mut facts = vec![format!("loss {:.3}", self.loss)];
        facts.extend(self.accuracy.map(|accuracy| format!("validation {:.2} %", 100.0 * accuracy)));
        if !self.experts.is_empty() {
            let experts: Vec<String> = self.experts.iter().map(usize::to_string).collect();
            facts.push(format!("experts per layer {}", experts.join(", ")));
        }
        let decision = self.decision.as_ref();
        let decision =
            decision.map_or(String::new(), |(step, what)| format!("\ndecided at step {step}: {what}"));
        facts.join(" · ") + &decision
    }
}

#[cfg(test)]
mod tests {
    use moelt_schema::{Evidence, Flops, LayerSums, RoutingStats, Wall};

    use super::*;

    fn note(facts: &mut Facts, step: u64, event: Event) {
        facts.note(&EventRecord { step, event, wall: Wall { unix: 0.0, seconds: 0.0 } });
    }

    fn decision(action: DecisionKind, reason: &str) -> Event {
        let (reason, evidence) = (reason.to_owned(), Evidence::default());
        Event::Decision { action, reason, evidence, flops: Flops::default() }
    }

    #[test]
    fn what_is_known_so_far_is_shown() {
        let mut facts = Facts { loss: 0.6527, ..Facts::default() };
        assert_eq!(facts.shown(), "loss 0.653");
        note(&mut facts, 40, Event::Validation { accuracy: 0.875, loss: 0.4, best: true });
        let layer = |n| RoutingStats::from_sums(&LayerSums::zeros(n));
        note(&mut facts, 48, window(vec![layer(8), layer(6)]));
        note(&mut facts, 48, decision(DecisionKind::Measure, "not sure"));
        assert_eq!(facts.shown(), "loss 0.653 · validation 87.50 % · experts per layer 8, 6");
        note(&mut facts, 48, decision(DecisionKind::Apply, "layer 0 grows by 0.3 pp"));
        assert!(facts.shown().ends_with("8, 6\ndecided at step 48: edit, layer 0 grows by 0.3 pp"));
        note(&mut facts, 56, decision(DecisionKind::Keep, "cooldown"));
        assert!(facts.shown().ends_with("\ndecided at step 56: keep, cooldown"));
    }

    fn window(routing: Vec<RoutingStats>) -> Event {
        Event::Window {
            steps: 4,
            loss: 0.6,
            load_balancing_loss: None,
            router_z_loss: None,
            diversity_loss: None,
            simplicity_loss: None,
            grad_norm: 0.1,
            lr: 0.01,
            routing,
            control: None,
        }
    }
}
