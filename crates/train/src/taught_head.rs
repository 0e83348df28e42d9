//! The head that a run uses and that was taught before it: read from its file, or the one in this program.

use std::{fs, path::Path};

use moelt_control::head::{SHIPPED, check_taught};
use moelt_schema::{EffectHeadConfig, TaughtFile, TaughtHead};

use crate::TrainError;

/// The key that names it.
const TAUGHT: &str = "control.policy.lookahead.head.taught";

/// The file of a taught head: at a path, or the one that is called `shipped`.
///
/// # Errors
/// When the file cannot be read, was altered, or holds no head of this moelt; the message names `key`, file, the key in
/// the file and the fix.
pub fn taught_file(key: &'static str, name: &str) -> Result<TaughtFile, TrainError> {
    let wrong = |message: String| TrainError::Start { key, path: name.into(), message };
    let text = match name {
        EffectHeadConfig::SHIPPED => SHIPPED.to_owned(),
        path => fs::read_to_string(Path::new(path))
            .map_err(|cause| wrong(format!("cannot be read ({cause}); name a file, or `shipped`")))?,
    };
    let file = TaughtFile::from_json(&text).map_err(|error| wrong(error.to_string()))?;
    check_taught(&file.head).map_err(|message| {
        wrong(format!("head.{message}; teach one for this moelt with `moelt control teach`"))
    })?;
    Ok(file)
}

/// The head that a run of this config uses and that was taught before.
pub(crate) fn taught_head(taught: Option<&str>) -> Result<Option<TaughtHead>, TrainError> {
    taught.map(|name| Ok(taught_file(TAUGHT, name)?.head)).transpose()
}
