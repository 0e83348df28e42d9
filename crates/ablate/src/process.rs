//! Processes as the operating system has them: groups and signals.

#[cfg(unix)]
pub(super) use unix::{interrupt, was_interrupted, with_own_group};

#[cfg(not(unix))]
pub(super) use other::{interrupt, was_interrupted, with_own_group};

#[cfg(unix)]
mod unix {
    use std::{
        os::unix::process::{CommandExt, ExitStatusExt},
        process::{Child, Command, ExitStatus},
    };

    use rustix::process::{Pid, Signal, kill_process};

    /// A command whose process is in a group of its own: no terminal sends it the user's Ctrl-C.
    pub(crate) fn with_own_group(command: &mut Command) -> &mut Command {
        command.process_group(0)
    }

    /// Sends SIGINT.
    pub(crate) fn interrupt(child: &Child) {
        // A process that has just ended needs no signal.
        let _ = kill_process(Pid::from_child(child), Signal::INT);
    }

    /// Whether SIGINT ended the process.
    pub(crate) fn was_interrupted(status: ExitStatus) -> bool {
        status.signal() == Some(Signal::INT.as_raw())
    }
}

/// Where there are no signals, a console tells all of its processes of Ctrl-C itself.
#[cfg(not(unix))]
mod other {
    use std::process::{Child, Command, ExitStatus};

    pub(crate) fn with_own_group(command: &mut Command) -> &mut Command {
        command
    }

    pub(crate) fn interrupt(_: &Child) {}

    pub(crate) fn was_interrupted(_: ExitStatus) -> bool {
        false
    }
}
