//! What `--phases` and an ablation's file can name.

use anyhow::{Result, bail};

use crate::Site;

/// Arms of earlier versions that are no phase of the research log, and what they are called now.
const RENAMED: [(&str, &str); 2] =
    [("compute-matched", "lookahead-size-matched"), ("frozen-final", "head-size-from-scratch")];

/// An arm that can be planned: a file of `configs/phases`, or a size of the frozen sweep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arm {
    /// Its name in tables and folders.
    pub(crate) name: String,
    /// The name of its config file.
    pub(crate) file: String,
    /// Experts per layer, when it belongs to the frozen sweep.
    pub(crate) sweep: Option<usize>,
}

impl Arm {
    /// The arm called so: by its own name, as `frozen-N`, or by the phase of the research log that it repeats, such
    /// as `7a` (case and dots do not matter: `7b1` is `7b.1`).
    ///
    /// # Errors
    /// When there is none; the message lists what there is.
    pub(crate) fn find(site: &Site, called: &str) -> Result<Self> {
        if let Some(n_experts) = frozen_size(called) {
            let (name, file) = (called.to_owned(), "phases/frozen".to_owned());
            return Ok(Self { name, file, sweep: Some(n_experts) });
        }
        let known = site.names("phases");
        let arm = |name: &str| Self { name: name.to_owned(), file: format!("phases/{name}"), sweep: None };
        if called != "frozen" && known.iter().any(|name| name == called) {
            return Ok(arm(called));
        }
        for name in &known {
            if log_phase(site, name)?.is_some_and(|phase| plain(&phase) == plain(called)) {
                return Ok(arm(name));
            }
        }
        if let Some((_, name)) = RENAMED.iter().find(|(old, _)| *old == called) {
            bail!("arm `{called}` is called `{name}` now");
        }
        let shown = known.iter().map(|name| if name == "frozen" { "frozen-N" } else { name });
        bail!("no arm `{called}` in configs/phases; there are: {}", shown.collect::<Vec<_>>().join(", "));
    }
}

/// The phase of the research log that a phase file repeats.
fn log_phase(site: &Site, name: &str) -> Result<Option<String>> {
    let file = site.config(&format!("phases/{name}"))?;
    // What else is wrong with the file is said, with its line, where it is loaded.
    let table: Option<toml::Table> = toml::from_str(&file.text).ok();
    let phase = table.and_then(|table| Some(table.get("phase")?.as_str()?.to_owned()));
    Ok(phase.filter(|phase| !phase.is_empty()))
}

/// `7b.2 joint` and `7b2-joint` are the same.
fn plain(phase: &str) -> String {
    let kept = phase.chars().filter(|c| *c != '.').map(|c| if c == ' ' { '-' } else { c });
    kept.collect::<String>().to_lowercase()
}

/// N of `frozen-N`. There is one way to write it: `frozen-04` is no arm.
fn frozen_size(called: &str) -> Option<usize> {
    let n = called.strip_prefix("frozen-")?;
    n.parse().ok().filter(|size: &usize| size.to_string() == n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_in_one_way() {
        assert_eq!(
            [frozen_size("frozen-4"), frozen_size("frozen-04"), frozen_size("moe")],
            [Some(4), None, None]
        );
    }

    #[test]
    fn dots_case_and_blanks_of_the_log_do_not_matter() {
        assert_eq!(plain("7b.2 joint"), plain("7B2-joint"));
        assert_ne!(plain("7b.1"), plain("7a"));
    }
}
