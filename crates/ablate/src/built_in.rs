//! The config files that are compiled in: recipes, phases and ablations.

use std::path::PathBuf;

use moelt_schema::ConfigFiles;

/// Name and text of every TOML file below `configs/` of moelt's repository; `build.rs` makes the table.
pub const BUILT_IN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/built_in.rs"));

/// The files of `folder` over those that are compiled in.
///
/// ```
/// let files = moelt_ablate::config_files("configs");
/// let config = files.load(&["datasets/planted".into(), "phases/lookahead".into()], &[])?;
/// assert_eq!(config.arm, "lookahead");
/// # Ok::<(), moelt_schema::ConfigError>(())
/// ```
pub fn config_files(folder: impl Into<PathBuf>) -> ConfigFiles {
    ConfigFiles::new(folder, BUILT_IN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_and_phase_is_compiled_in_and_loads_without_a_file_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let files = config_files(folder.path().join("configs"));
        let names = files.names();
        for kind in ["datasets/", "phases/", "ablations/"] {
            assert!(names.iter().any(|name| name.starts_with(kind)), "{names:?}");
        }
        for name in names.iter().filter(|name| !name.starts_with("ablations/")) {
            let own = sets_of(name);
            // An arm that is told of arrivals needs a stream.
            let stream = (name == "phases/grow-per-task").then_some("datasets/posstream12");
            let layers: Vec<_> = stream.into_iter().chain([name.as_str()]).map(Into::into).collect();
            files.load(&layers, &own).unwrap();
        }
    }

    /// What a file leaves to its user.
    fn sets_of(name: &str) -> Vec<String> {
        let encoder = concat!(env!("CARGO_MANIFEST_DIR"), "/../model/tests/fixtures/tiny-bert");
        match name {
            "datasets/csv" => vec!["data.csv.train=mine.csv".to_owned()],
            _ if name.starts_with("phases/pretrained") || name.starts_with("phases/upcycled") => {
                vec![format!("model.pretrained={encoder}"), "text.max_tokens=16".to_owned()]
            }
            _ => Vec::new(),
        }
    }
}
