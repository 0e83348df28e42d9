//! `moelt control`: what the measured effects of finished runs teach.

mod fit;
mod held_out;
mod report;
mod runs;

use std::io::Write;

use crate::cli::ControlCommand;

pub(crate) fn run(command: &ControlCommand) -> anyhow::Result<()> {
    let text = match command {
        ControlCommand::Report(args) => report::run(args)?,
        ControlCommand::Fit(args) => fit::run(args)?,
    };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}
