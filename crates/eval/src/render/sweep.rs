//! The frozen sweep of a report.

use super::{
    document::Document,
    figure::{Dot, Figure, Plot},
};
use crate::{CLOSE_TO_BEST_PP, Sweep, SweepPoint};

/// Title, plot and sentences.
pub(super) fn document(sweep: &Sweep) -> Document {
    let dot = |point: &SweepPoint| Dot {
        label: format!("N = {}", point.n_experts),
        value: point.test.mean,
        shown: format!("{} %", point.test.percent()),
    };
    let figure = Figure {
        caption: "Accuracy on test by number of experts per layer, mean ± standard deviation over seeds."
            .into(),
        plot: Plot::Dots(sweep.points.iter().map(dot).collect()),
    };
    let mut document = Document::default();
    document.heading(2, "Frozen sweep").figure(figure).paragraph(sentences(sweep));
    document
}

fn sentences(sweep: &Sweep) -> String {
    let verdict_of = |n: usize| {
        let point = sweep.points.iter().find(|point| point.n_experts == n);
        point.map_or(String::new(), |point| format!(" ({} % on test)", point.test.percent()))
    };
    let one = sweep
        .one_expert_gap_pp
        .map_or(String::new(), |gap| format!(" One expert lies {gap:.2} pp below the best."));
    format!(
        "Validation chooses N = {}{}; best on test is N = {}{}; the smallest N within \
         {CLOSE_TO_BEST_PP} pp of it is {}.{one}",
        sweep.chosen_on_validation,
        verdict_of(sweep.chosen_on_validation),
        sweep.best_on_test,
        verdict_of(sweep.best_on_test),
        sweep.smallest_close,
    )
}
