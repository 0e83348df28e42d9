//! The progress bar of a run.

use indicatif::{ProgressBar, ProgressStyle};
use moelt_schema::{Event, EventRecord};
use moelt_train::{Observer, Prepared};

/// Shows steps, loss, time left and each evaluation on standard error.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn new() -> Self {
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} steps, {msg}, {eta} left");
        let bar = ProgressBar::no_length();
        if let Ok(style) = style {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// A line above the bar, which is there only on a terminal.
    fn say(&self, line: &str) {
        self.0.suspend(|| eprintln!("{line}"));
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
        self.0.set_length(total);
        self.0.set_position(done);
        self.0.reset_eta();
    }

    fn stepped(&mut self, step: u64, loss: f64) {
        self.0.set_position(step);
        self.0.set_message(format!("loss {loss:.3}"));
    }

    fn logged(&mut self, record: &EventRecord) {
        if let Event::Validation { accuracy, loss, best } = &record.event {
            let star = if *best { " (best)" } else { "" };
            let percent = 100.0 * accuracy;
            self.say(&format!("step {}: validation {percent:.2} %, loss {loss:.4}{star}", record.step));
        }
    }
}
