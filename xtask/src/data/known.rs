//! Folders of files whose content is known: unpacked, verified, and only then moved in.

use std::{fs, io, path::Path};

use anyhow::{Context, Result, ensure};
use moelt_schema::{Digest, sync_folder};
use sha2::{Digest as _, Sha256};

use super::unpack;
use crate::workspace::Workspace;

/// A folder of files.
pub(super) struct KnownFiles {
    /// Where it lies below the root; its README.md describes the files.
    pub folder: &'static str,
    /// The folder that the files may lie in where they come from.
    pub inner: &'static str,
    pub files: &'static [KnownFile],
}

/// One of the files.
pub(super) struct KnownFile {
    /// What it is called where it comes from; `.gz` is packed.
    pub source: &'static str,
    /// What it is called in the folder.
    pub target: &'static str,
    /// Of its content, unpacked.
    pub hash: Hash,
}

/// A hash as hexadecimal digits.
pub(super) enum Hash {
    Blake3(&'static str),
    Sha256(&'static str),
}

impl KnownFiles {
    /// Whether all of them are there, as they should be.
    pub(super) fn are_in(&self, workspace: &Workspace) -> bool {
        let folder = workspace.root().join(self.folder);
        let is_known = |file: &KnownFile| {
            file.hash.of(&folder.join(file.target)).is_ok_and(|found| found == file.hash.expected())
        };
        self.files.iter().all(is_known)
    }

    /// Unpacks `source` beside the folder, verifies it there and only then moves it in.
    pub(super) fn install(&self, source: &Path, workspace: &Workspace) -> Result<()> {
        let target = workspace.root().join(self.folder);
        let shown = || target.display().to_string();
        let staging = unpack::staging(&target).with_context(shown)?;
        let names: Vec<&str> = self.files.iter().map(|file| file.source).collect();
        unpack::unpack(source, self.inner, &names, staging.path())?;
        for file in self.files {
            self.check(file, source, staging.path())?;
        }
        for file in self.files {
            fs::rename(unpack::stored(file.source, staging.path()), target.join(file.target))
                .with_context(shown)?;
        }
        sync_folder(&target).with_context(shown)
    }

    fn check(&self, file: &KnownFile, source: &Path, staging: &Path) -> Result<()> {
        let (name, kind, expected) = (file.source, file.hash.kind(), file.hash.expected());
        let found = file.hash.of(&unpack::stored(name, staging))?;
        ensure!(
            found == expected,
            "{}: {name} is another file than {}/README.md describes: {kind} {found}, expected {expected}",
            source.display(),
            self.folder
        );
        Ok(())
    }
}

impl Hash {
    fn kind(&self) -> &'static str {
        match self {
            Self::Blake3(_) => "BLAKE3",
            Self::Sha256(_) => "SHA-256",
        }
    }

    fn expected(&self) -> &'static str {
        match self {
            Self::Blake3(expected) | Self::Sha256(expected) => expected,
        }
    }

    /// The hash of this kind that a file has.
    fn of(&self, path: &Path) -> io::Result<String> {
        match self {
            Self::Blake3(_) => Ok(Digest::of_file(path)?.to_string()),
            Self::Sha256(_) => {
                Ok(Sha256::digest(fs::read(path)?).iter().map(|byte| format!("{byte:02x}")).collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256 of `abc` (FIPS 180-2, B.1); BLAKE3 of nothing.
    const FILES: KnownFiles = KnownFiles {
        folder: "datasets/letters",
        inner: "letters",
        files: &[
            KnownFile {
                source: "abc.txt",
                target: "letters.txt",
                hash: Hash::Sha256("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            },
            KnownFile {
                source: "nothing.txt",
                target: "nothing.txt",
                hash: Hash::Blake3("af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
            },
        ],
    };

    /// A workspace, and a folder `source/letters` with these two texts in it.
    fn with(abc: &str, nothing: &str) -> (tempfile::TempDir, Workspace) {
        let folder = tempfile::tempdir().unwrap();
        for path in ["configs", "source/letters"] {
            fs::create_dir_all(folder.path().join(path)).unwrap();
        }
        fs::write(folder.path().join("source/letters/abc.txt"), abc).unwrap();
        fs::write(folder.path().join("source/letters/nothing.txt"), nothing).unwrap();
        let workspace = Workspace::find(Some(folder.path().to_owned())).unwrap();
        (folder, workspace)
    }

    #[test]
    fn known_files_are_moved_in_under_their_names() {
        let (folder, workspace) = with("abc", "");
        assert!(!FILES.are_in(&workspace));
        FILES.install(&folder.path().join("source"), &workspace).unwrap();
        assert!(FILES.are_in(&workspace));
        let text = fs::read_to_string(folder.path().join("datasets/letters/letters.txt")).unwrap();
        assert_eq!(text, "abc");
    }

    #[test]
    fn another_file_replaces_nothing() {
        let (folder, workspace) = with("abc", "something");
        let target = folder.path().join("datasets/letters");
        fs::create_dir_all(&target).unwrap();
        fs::write(target.join("letters.txt"), "before").unwrap();
        let install = |source: &str| {
            format!("{:#}", FILES.install(&folder.path().join(source), &workspace).unwrap_err())
        };
        let message = install("source");
        assert!(
            message
                .contains("nothing.txt is another file than datasets/letters/README.md describes: BLAKE3 "),
            "{message}"
        );
        assert!(
            message.ends_with("expected af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262")
        );
        let lacking = install("configs");
        assert!(lacking.contains("has no abc.txt, neither at its top nor in letters/"), "{lacking}");
        assert_eq!(fs::read_to_string(target.join("letters.txt")).unwrap(), "before");
        assert_eq!(fs::read_dir(&target).unwrap().count(), 1);
    }
}
