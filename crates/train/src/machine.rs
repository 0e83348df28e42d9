//! What a run is computed on.

use std::env;

use moelt_schema::Machine;
use sysinfo::{CpuRefreshKind, System};

/// This machine, with the threads of the pool that the caller is in.
pub(crate) fn this() -> Machine {
    let mut system = System::new();
    system.refresh_cpu_list(CpuRefreshKind::nothing());
    let cpus = system.cpus();
    Machine {
        cpu: cpus.first().map_or_else(String::new, |cpu| cpu.brand().trim().to_owned()),
        n_cpus: cpus.len(),
        n_threads: rayon::current_num_threads(),
        system: format!("{} {}", env::consts::OS, env::consts::ARCH),
    }
}

#[cfg(test)]
mod tests {
    use rayon::ThreadPoolBuilder;

    use super::*;

    #[test]
    fn a_machine_has_processors_and_the_threads_that_it_was_given() {
        let pool = ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let machine = pool.install(this);
        assert!(machine.n_cpus > 0 && machine.system.starts_with(env::consts::OS), "{machine}");
        assert_eq!(machine.n_threads, 3);
        assert_eq!(pool.install(this), machine, "it is the same each time");
    }
}
