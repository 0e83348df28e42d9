//! `moelt control`: what the measured effects of finished runs teach.

mod fit;
mod held_out;
mod report;
mod runs;
mod taught;
mod teach;
mod told;

use std::{io::Write, process::ExitCode};

use moelt_schema::ConfigFiles;

use crate::cli::ControlCommand;

pub(crate) fn run(files: &ConfigFiles, command: &ControlCommand) -> anyhow::Result<ExitCode> {
    let text = match command {
        ControlCommand::Report(args) => report::run(args)?,
        ControlCommand::Fit(args) => fit::run(args)?,
        ControlCommand::Teach(args) => return teach::run(files, args),
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
