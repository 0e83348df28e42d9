//! Files out of a folder or a zip, wherever in it they lie; those packed by gzip are unpacked.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow};
use flate2::read::GzDecoder;
use zip::ZipArchive;

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
fn store(mut content: impl io::Read, file: &str, target: &Path) -> io::Result<()> {
    let mut to = File::create(stored(file, target))?;
    match file.strip_suffix(".gz") {
        Some(_) => io::copy(&mut GzDecoder::new(content), &mut to)?,
        None => io::copy(&mut content, &mut to)?,
    };
    to.sync_all()
}

fn missing(file: &str, inner: &str) -> anyhow::Error {
    anyhow!("has no {file}, neither at its top nor in {inner}/")
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
    fn what_is_neither_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let message = format!("{:#}", unpack(file.path(), "", &["a"], Path::new(".")).unwrap_err());
        assert!(message.contains("neither a folder nor a readable zip"), "{message}");
    }
}
