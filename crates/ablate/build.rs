//! Makes the table of the config files that are compiled in: the TOML files below `configs/`.

use std::{
    env,
    error::Error,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

fn main() -> Result<(), Box<dyn Error>> {
    let package = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    // A package has a copy. In a clone it is a symbolic link, which Git may have left out (Windows).
    let folders = ["configs", "../../configs"].map(|folder| package.join(folder));
    let configs = folders.iter().find(|folder| folder.is_dir()).ok_or("there is no folder `configs`")?;
    let configs = configs.canonicalize()?;
    let mut files = Vec::new();
    add_files(&configs, "", &mut files).map_err(|cause| format!("{}: {cause}", configs.display()))?;
    files.sort();
    let mut table = "&[\n".to_owned();
    for (name, path) in &files {
        writeln!(table, "    ({name:?}, include_str!({path:?})),")?;
    }
    table += "]";
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("built_in.rs"), table)?;
    Ok(())
}

/// Adds name and path of every TOML file below `folder`, and tells cargo to look at them.
fn add_files(folder: &Path, prefix: &str, files: &mut Vec<(String, PathBuf)>) -> std::io::Result<()> {
    println!("cargo::rerun-if-changed={}", folder.display());
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(file) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if path.is_dir() {
            add_files(&path, &format!("{prefix}{file}/"), files)?;
        } else if file.ends_with(".toml") {
            files.push((format!("{prefix}{file}"), path.canonicalize()?));
        }
    }
    Ok(())
}
