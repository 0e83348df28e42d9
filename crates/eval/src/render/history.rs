//! How experts came and went, for a report.

use super::{
    document::{Document, Text},
    figure::{Figure, Plot, Series},
};
use crate::{ExpertCount, ExpertHistory};

/// Title, plot and one item per cell.
pub(super) fn document(histories: &[ExpertHistory]) -> Document {
    let caption = "Experts over all layers, from step 0 to the last edit or the judged checkpoint of any cell; the \
                   height is between the fewest and the most experts of any.";
    let figure =
        Figure { caption: caption.into(), plot: Plot::Steps(histories.iter().map(series).collect()) };
    let item = |history: &ExpertHistory| {
        Text::default().code(&history.arm).plain(format!(" seed {}: {history}", history.seed))
    };
    let mut document = Document::default();
    document.heading(2, "Experts over time").figure(figure).list(histories.iter().map(item));
    document
}

fn series(history: &ExpertHistory) -> Series {
    let last = history.counts.last().map_or(0, |count| count.step);
    Series {
        label: format!("{} seed {}", history.arm, history.seed),
        points: history
            .counts
            .iter()
            .map(|&ExpertCount { step, n_experts }| (step, n_experts as f64))
            .collect(),
        end: history.judged_at.max(last),
    }
}
