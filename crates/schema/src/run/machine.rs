//! What a run was computed on.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A machine as far as it matters to whoever compares seconds. The name of its host is not part of it: containers have another one
/// each time, and reports are shown around.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Model of the processor, as the system calls it; empty where it does not say.
    pub cpu: String,
    /// Logical processors.
    pub n_cpus: usize,
    /// Threads that computed.
    pub n_threads: usize,
    /// Operating system and architecture: `linux x86_64`.
    pub system: String,
}

/// `AMD EPYC 7763 (128 CPUs, linux x86_64; threads: 1)`.
impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, n_cpus, n_threads, system } = self;
        let cpu = if cpu.is_empty() { "unknown processor" } else { cpu };
        write!(f, "{cpu} ({n_cpus} CPUs, {system}; threads: {n_threads})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_told_in_a_line() {
        let machine =
            Machine { cpu: "AMD EPYC 7763".into(), n_cpus: 128, n_threads: 1, system: "linux x86_64".into() };
        assert_eq!(machine.to_string(), "AMD EPYC 7763 (128 CPUs, linux x86_64; threads: 1)");
        let unnamed = Machine { cpu: String::new(), ..machine };
        assert_eq!(unnamed.to_string(), "unknown processor (128 CPUs, linux x86_64; threads: 1)");
    }
}
