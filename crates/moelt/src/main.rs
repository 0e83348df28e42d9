//! The `moelt` binary.

use std::process::ExitCode;

// A training step allocates and frees every activation: mimalloc keeps the pages.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    moelt::run(&moelt::control::OwnPolicies::default())
}
