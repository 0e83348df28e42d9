//! Where config files come from: any path on disk, and by name a folder, over what is built into a program.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Component, Path, PathBuf},
};

use crate::read_text;

/// Config files by path or by name.
///
/// A name is a path below the folder, with or without `.toml` and a leading `configs/`: `phases/lookahead`. A file of
/// the folder takes the place of the built-in one of the same name, also where another file names it as its parent.
///
/// ```
/// use moelt_schema::ConfigFiles;
/// let files = ConfigFiles::new("configs", &[("phases/large.toml", "[model]\nd_ff = 512\n")]);
/// assert_eq!(files.load(&["phases/large".into()], &[])?.model.d_ff, 512);
/// # Ok::<(), moelt_schema::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct ConfigFiles {
    folder: Option<PathBuf>,
    built_in: &'static [(&'static str, &'static str)],
}

/// A config file that was found, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigText {
    /// The path, or the name with `(built in)` behind it: for messages.
    pub shown: PathBuf,
    /// The file.
    pub text: String,
    /// What tells it from every other file.
    pub(crate) identity: PathBuf,
    place: Place,
}

/// Where a file was found.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Disk(PathBuf),
    /// By its name.
    BuiltIn(String),
    /// Nowhere: a program brought it.
    Memory,
}

impl ConfigFiles {
    /// The files of `folder`, which need not exist, over those in `built_in`: pairs of name (with `.toml`) and text.
    pub fn new(folder: impl Into<PathBuf>, built_in: &'static [(&'static str, &'static str)]) -> Self {
        Self { folder: Some(folder.into()), built_in }
    }

    /// The folder, if there is one that is asked.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Every name there is, without `.toml`, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.built_in.iter().map(|(name, _)| (*name).to_owned()).collect();
        if let Some(folder) = &self.folder {
            add_names(folder, "", &mut names);
        }
        let stems = names.iter().map(|name| name.strip_suffix(".toml").unwrap_or(name).to_owned());
        let stems: BTreeSet<String> = stems.collect();
        stems.into_iter().collect()
    }

    /// The file at the path `given`, or else the one called so.
    ///
    /// # Errors
    /// When there is neither, or the file cannot be read.
    pub fn read(&self, given: &Path) -> io::Result<ConfigText> {
        if given.is_file() {
            return ConfigText::on_disk(given);
        }
        let name = name_of(given);
        match name.as_deref().and_then(|name| self.named(name)) {
            Some(found) => found,
            None if self.folder.is_none() => ConfigText::on_disk(given),
            None => Err(io::Error::new(
                io::ErrorKind::NotFound,
                "there is neither a file nor a config of this name; `moelt config list` shows the names",
            )),
        }
    }

    /// The file called `name`, whatever lies in the current folder.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn read_named(&self, name: &str) -> io::Result<ConfigText> {
        let found = name_of(Path::new(name)).and_then(|name| self.named(&name));
        found.unwrap_or_else(|| Err(io::ErrorKind::NotFound.into()))
    }

    /// The file that `child` names as its parent: from its own folder or else by name.
    ///
    /// # Errors
    /// When there is none (the path is the one looked for first), or it cannot be read.
    pub(crate) fn parent(
        &self,
        child: &ConfigText,
        parent: &str,
    ) -> Result<ConfigText, (PathBuf, io::Error)> {
        let (beside, name) = match &child.place {
            Place::Disk(path) => {
                let beside = path.with_file_name("").join(parent);
                if beside.is_file() {
                    return ConfigText::on_disk(&beside).map_err(|cause| (beside, cause));
                }
                let name = self.below(path).and_then(|path| normal(&path.with_file_name("").join(parent)));
                (beside, name)
            }
            Place::BuiltIn(name) => {
                let beside = Path::new(name).with_file_name("").join(parent);
                let name = normal(&beside);
                (beside, name)
            }
            Place::Memory => (parent.into(), None),
        };
        let names = [name, name_of(Path::new(parent))];
        let found = names.iter().flatten().find_map(|name| self.named(name));
        found.unwrap_or_else(|| Err(io::ErrorKind::NotFound.into())).map_err(|cause| (beside, cause))
    }

    /// The file of this name (with `.toml`), if there is one.
    fn named(&self, name: &str) -> Option<io::Result<ConfigText>> {
        let path = self.folder.as_ref().map(|folder| folder.join(name)).filter(|path| path.is_file());
        if let Some(path) = path {
            return Some(ConfigText::on_disk(&path));
        }
        let (name, text) = self.built_in.iter().find(|(known, _)| *known == name)?;
        let shown = PathBuf::from(format!("{name} (built in)"));
        let place = Place::BuiltIn((*name).to_owned());
        Some(Ok(ConfigText { identity: shown.clone(), shown, text: (*text).to_owned(), place }))
    }

    /// A path on disk, from the folder.
    fn below(&self, path: &Path) -> Option<PathBuf> {
        let folder = fs::canonicalize(self.folder.as_ref()?).ok()?;
        fs::canonicalize(path).ok()?.strip_prefix(folder).ok().map(Path::to_owned)
    }
}

impl ConfigText {
    /// A text that is no file, such as one in memory. A parent that it names is looked for by name alone.
    pub fn of(shown: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        let shown = shown.into();
        Self { identity: shown.clone(), shown, text: text.into(), place: Place::Memory }
    }

    fn on_disk(path: &Path) -> io::Result<Self> {
        Ok(Self {
            shown: path.to_owned(),
            text: read_text(path)?,
            identity: fs::canonicalize(path)?,
            place: Place::Disk(path.to_owned()),
        })
    }

    /// Whether it is part of the program.
    pub fn is_built_in(&self) -> bool {
        matches!(self.place, Place::BuiltIn(_))
    }
}

/// What `given` names: the path as a name, without a leading `configs/`.
fn name_of(given: &Path) -> Option<String> {
    let name = normal(given)?;
    let name = name.strip_prefix("configs/").unwrap_or(&name);
    Some(if name.ends_with(".toml") { name.to_owned() } else { format!("{name}.toml") })
}

/// A relative path without `.` and `..`; none when it leads out of the folder that it counts from.
fn normal(path: &Path) -> Option<String> {
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::CurDir => {}
            Component::ParentDir => {
                parts.pop()?;
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.join("/"))
}

/// Names of the TOML files below `folder`; what cannot be listed has none.
fn add_names(folder: &Path, prefix: &str, names: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, file) = (entry.path(), entry.file_name());
        let Some(file) = file.to_str() else { continue };
        if path.is_dir() {
            add_names(&path, &format!("{prefix}{file}/"), names);
        } else if file.ends_with(".toml") {
            names.push(format!("{prefix}{file}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUILT_IN: &[(&str, &str)] = &[
        ("base.toml", "arm = \"built in\"\n[model]\nd_model = 8\nd_ff = 8\n"),
        ("phases/a.toml", "parent = \"../base.toml\"\n[model]\nd_ff = 9\n"),
        ("phases/wrong.toml", "\n[model]\nn_expert = 3\n"),
    ];

    /// Files in a folder `configs` over [`BUILT_IN`], and one beside it.
    fn files(written: &[(&str, &str)]) -> (tempfile::TempDir, ConfigFiles) {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in written {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let files = ConfigFiles::new(root.path().join("configs"), BUILT_IN);
        (root, files)
    }

    fn values(files: &ConfigFiles, given: impl Into<PathBuf>) -> (String, usize, usize) {
        let config = files.load(&[given.into()], &[]).unwrap();
        (config.arm, config.model.d_model, config.model.d_ff)
    }

    #[test]
    fn built_in_files_are_found_by_name_in_any_form() {
        let (_root, files) = files(&[]);
        for name in ["phases/a", "phases/a.toml", "configs/phases/a.toml", "./phases/../phases/a"] {
            assert_eq!(values(&files, name), ("built in".into(), 8, 9), "{name}");
        }
        assert_eq!(files.names(), ["base", "phases/a", "phases/wrong"]);
    }

    #[test]
    fn files_of_the_folder_take_the_place_of_built_in_ones_as_parents_too() {
        let (_root, files) = files(&[("configs/base.toml", "arm = \"own\"\n[model]\nd_model = 16\n")]);
        assert_eq!(values(&files, "phases/a"), ("own".into(), 16, 9));
        assert!(!files.read(Path::new("base")).unwrap().is_built_in());
    }

    #[test]
    fn files_on_disk_may_have_built_in_parents() {
        let own = |parent: &str| format!("parent = \"{parent}\"\narm = \"own\"\n");
        let (root, files) = files(&[
            ("configs/phases/b.toml", &own("a.toml")),
            ("configs/phases/c.toml", &own("../base.toml")),
            ("mine/d.toml", &own("phases/a")),
            ("mine/e.toml", &own("configs/phases/b.toml")),
        ]);
        assert_eq!(values(&files, "phases/b"), ("own".into(), 8, 9));
        assert_eq!(values(&files, "phases/c"), ("own".into(), 8, 8));
        for name in ["d", "e"] {
            let path = root.path().join("mine").join(name).with_extension("toml");
            assert_eq!(values(&files, path), ("own".into(), 8, 9));
        }
        assert_eq!(files.names(), ["base", "phases/a", "phases/b", "phases/c", "phases/wrong"]);
    }

    #[test]
    fn errors_name_built_in_files_by_name_and_line() {
        let (root, files) = files(&[("mine.toml", "parent = \"phases/none.toml\"\n")]);
        let message = |given: PathBuf| files.load(&[given], &[]).unwrap_err().to_string();
        let wrong = message("phases/wrong".into());
        assert!(wrong.starts_with("phases/wrong.toml (built in):3: `model.n_expert`: unknown"), "{wrong}");
        let none = message("phases/none".into());
        assert!(none.starts_with("phases/none: ") && none.contains("moelt config list"), "{none}");
        let parent = message(root.path().join("mine.toml"));
        assert!(parent.contains("none.toml: ") && parent.contains("(the parent of "), "{parent}");
    }
}
