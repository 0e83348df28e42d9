//! `moelt devices`

use std::{
    fmt::Write as _,
    io::{Write as _, stdout},
};

use crate::backend::Backend;

pub(crate) fn run() -> anyhow::Result<()> {
    let mut lines = String::new();
    for backend in Backend::ALL {
        for line in found(backend) {
            writeln!(lines, "{:<6}{line}", backend.to_string())?;
        }
    }
    Ok(stdout().write_all(lines.as_bytes())?)
}

/// A line for each device of a backend, or one that says why there is none.
fn found(backend: Backend) -> Vec<String> {
    match backend.devices() {
        Some(devices) if devices.is_empty() => vec!["no device found".to_owned()],
        Some(devices) => devices.iter().map(|device| backend.describe(device)).collect(),
        None => vec![format!("not compiled in; build with `--features {backend}`")],
    }
}
