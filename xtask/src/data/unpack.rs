//! Files out of a folder or a zip, wherever in it they lie.

use std::{fs::File, io, path::Path};

use anyhow::{Context, Result, anyhow};
use zip::ZipArchive;

/// Folders that files may lie in, as GLUE's own zip has them.
const INNER: [&str; 2] = ["", "SST-2/"];

/// Copies `files` from `source`, a folder or a zip, into the folder `target`.
///
/// # Errors
/// When `source` is neither, or lacks one of the files.
pub(super) fn unpack(source: &Path, files: &[&str], target: &Path) -> Result<()> {
    let unpack = if source.is_dir() { from_folder } else { from_zip };
    unpack(source, files, target).with_context(|| source.display().to_string())
}

fn from_folder(source: &Path, files: &[&str], target: &Path) -> Result<()> {
    for file in files {
        let mut places = INNER.iter().map(|inner| source.join(inner).join(file));
        let found = places.find(|path| path.is_file()).ok_or_else(|| missing(file))?;
        store(&mut File::open(found)?, &target.join(file))?;
    }
    Ok(())
}

fn from_zip(source: &Path, files: &[&str], target: &Path) -> Result<()> {
    let mut zip = ZipArchive::new(File::open(source)?).context("neither a folder nor a readable zip")?;
    for file in files {
        let mut places = INNER.iter().map(|inner| format!("{inner}{file}"));
        let found = places.find_map(|path| zip.index_for_name(&path)).ok_or_else(|| missing(file))?;
        store(&mut zip.by_index(found)?, &target.join(file))?;
    }
    Ok(())
}

/// Content without permissions: a read-only source makes no read-only copy.
fn store(content: &mut impl io::Read, path: &Path) -> io::Result<()> {
    let mut file = File::create(path)?;
    io::copy(content, &mut file)?;
    file.sync_all()
}

fn missing(file: &str) -> anyhow::Error {
    anyhow!("has neither {file} nor SST-2/{file}")
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write};

    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;

    #[test]
    fn zip_and_folder_give_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("SST-2");
        fs::create_dir(&inner).unwrap();
        fs::write(inner.join("train.tsv"), "text").unwrap();
        let path = folder.path().join("glue.zip");
        let mut zip = ZipWriter::new(File::create(&path).unwrap());
        zip.start_file("SST-2/train.tsv", SimpleFileOptions::default()).unwrap();
        zip.write_all(b"text").unwrap();
        zip.finish().unwrap();
        for source in [folder.path(), &inner, &path] {
            let target = tempfile::tempdir().unwrap();
            unpack(source, &["train.tsv"], target.path()).unwrap();
            assert_eq!(fs::read_to_string(target.path().join("train.tsv")).unwrap(), "text");
            let message = format!("{:#}", unpack(source, &["dev.tsv"], target.path()).unwrap_err());
            assert!(message.contains("has neither dev.tsv nor SST-2/dev.tsv"), "{message}");
        }
    }

    #[test]
    fn what_is_neither_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let message = format!("{:#}", unpack(file.path(), &["a"], Path::new(".")).unwrap_err());
        assert!(message.contains("neither a folder nor a readable zip"), "{message}");
    }
}
