//! `moelt control report`

use anyhow::bail;
use moelt_eval::Signal;

use super::runs::finished_runs;
use crate::cli::ControlReportArgs;

pub(super) fn run(args: &ControlReportArgs) -> anyhow::Result<String> {
    let runs = finished_runs(&args.runs)?;
    // The first gain chose what was done, and shares its noise with the label that it is: a second one must judge.
    if let Some(once) = runs.iter().find(|run| !run.config.control.policy.is_study()) {
        bail!(
            "{}: each move was measured only once, so that a gain cannot be told from its noise; train with \
             [control.policy.lookahead.study], as the phase `study` does",
            once.decided.name
        );
    }
    let decisions: Vec<_> = runs.into_iter().map(|run| run.decided.decisions).collect();
    let signal = Signal::of_runs(&decisions);
    if signal.records == 0 {
        bail!(
            "RUN: no decision of {} measured a move twice: the keys `every`, `warmup` and `until` of control.edits say \
             when there is one; train longer or set them",
            args.runs.join(", ")
        );
    }
    if args.json {
        return Ok(serde_json::to_string_pretty(&signal)? + "\n");
    }
    Ok(signal.to_terminal())
}
