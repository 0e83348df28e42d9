//! Files out of a folder or a zip, wherever in it they lie; those packed by gzip are unpacked.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow};
use flate2::read::GzDecoder;
use moelt_schema::create_folders;
use tempfile::TempDir;
use zip::ZipArchive;

/// No file of a data set or an encoder is larger: beyond it an archive is a bomb.
const LARGEST: u64 = 1 << 30;

/// What folders are called in which a data set is unpacked and verified before it is moved in.
const STAGING: &str = ".staging-";

/// An empty folder beside the files of a data set, gone when it is dropped. What a killed installation has left is removed.
///
/// # Errors
/// When the folder of the data set cannot be made, read or written.
pub(super) fn staging(target: &Path) -> io::Result<TempDir> {
    create_folders(target)?;
    for entry in fs::read_dir(target)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(STAGING) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    tempfile::Builder::new().prefix(STAGING).tempdir_in(target)
}

/// Copies `files` from `source`, a folder or a zip, into the folder `target`; `NAME.gz` becomes NAME ([`stored`]). They
/// lie at the top of `source` or in the folder `inner` there.
///
/// # Errors
/// When `source` is neither, or lacks one of the files.
pub(super) fn unpack(source: &Path, inner: &str, files: &[&str], target: &Path) -> Result<()> {
    let unpack = if source.is_dir() { from_folder } else { from_zip };
    unpack(source, inner, files, target).with_context(|| source.display().to_string())
}

fn from_folder(source: &Path, inner: &str, files: &[&str], target: &Path) -> Result<()> {
    for file in files {
        let mut places = [source.join(file), source.join(inner).join(file)].into_iter();
        let found = places.find(|path| path.is_file()).ok_or_else(|| missing(file, inner))?;
        store(File::open(found)?, file, target)?;
    }
    Ok(())
}

fn from_zip(source: &Path, inner: &str, files: &[&str], target: &Path) -> Result<()> {
    let mut zip = ZipArchive::new(File::open(source)?).context("neither a folder nor a readable zip")?;
    for file in files {
        let mut places = [(*file).to_owned(), format!("{inner}/{file}")].into_iter();
        let found = places.find_map(|path| zip.index_for_name(&path)).ok_or_else(|| missing(file, inner))?;
        store(zip.by_index(found)?, file, target)?;
    }
    Ok(())
}

/// What a file is called once it is in the folder.
pub(super) fn stored(file: &str, target: &Path) -> PathBuf {
    target.join(file.strip_suffix(".gz").unwrap_or(file))
}

/// Content without permissions: a read-only source makes no read-only copy.
fn store(content: impl io::Read, file: &str, target: &Path) -> io::Result<()> {
    let path = stored(file, target);
    match file.strip_suffix(".gz") {
        Some(_) => write_at_most(LARGEST, GzDecoder::new(content), &path),
        None => write_at_most(LARGEST, content, &path),
    }
}

fn write_at_most(largest: u64, content: impl io::Read, path: &Path) -> io::Result<()> {
    let mut to = File::create(path)?;
    if io::copy(&mut content.take(largest + 1), &mut to)? > largest {
        let name = path.file_name().unwrap_or_default().display();
        return Err(io::Error::other(format!(
            "{name} has more than {largest} bytes: no file of it has so many"
        )));
    }
    to.sync_all()
}

fn missing(file: &str, inner: &str) -> anyhow::Error {
    anyhow!("has no {file}, neither at its top nor in {inner}/")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

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
            unpack(source, "SST-2", &["train.tsv"], target.path()).unwrap();
            assert_eq!(fs::read_to_string(target.path().join("train.tsv")).unwrap(), "text");
            let message = format!("{:#}", unpack(source, "SST-2", &["dev.tsv"], target.path()).unwrap_err());
            assert!(message.contains("has no dev.tsv, neither at its top nor in SST-2/"), "{message}");
        }
    }

    #[test]
    fn what_gzip_packed_is_unpacked() {
        let [source, target] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let packed = File::create(source.path().join("a.csv.gz")).unwrap();
        let mut packed = flate2::write::GzEncoder::new(packed, flate2::Compression::default());
        packed.write_all(b"text").unwrap();
        packed.finish().unwrap();
        unpack(source.path(), "", &["a.csv.gz"], target.path()).unwrap();
        assert_eq!(fs::read_to_string(target.path().join("a.csv")).unwrap(), "text");
        fs::write(source.path().join("a.csv.gz"), "text").unwrap();
        assert!(unpack(source.path(), "", &["a.csv.gz"], target.path()).is_err());
    }

    #[test]
    fn a_bomb_is_refused_before_it_fills_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        let message = write_at_most(9, io::repeat(0), &path).unwrap_err().to_string();
        assert_eq!(message, "a.csv has more than 9 bytes: no file of it has so many");
        assert_eq!(fs::metadata(&path).unwrap().len(), 10);
        write_at_most(9, &[0; 9][..], &path).unwrap();
    }

    #[test]
    fn what_a_killed_installation_has_left_is_removed() {
        let target = tempfile::tempdir().unwrap();
        let left = staging(target.path()).unwrap().keep();
        fs::write(left.join("half"), "").unwrap();
        fs::write(target.path().join("README.md"), "").unwrap();
        let next = staging(target.path()).unwrap();
        assert!(!left.exists() && next.path().exists());
        drop(next);
        assert_eq!(fs::read_dir(target.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_neither_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let message = format!("{:#}", unpack(file.path(), "", &["a"], Path::new(".")).unwrap_err());
        assert!(message.contains("neither a folder nor a readable zip"), "{message}");
    }
}
