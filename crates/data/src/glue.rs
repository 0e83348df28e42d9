//! Whether a copy of SST-2 is the published one.

use std::path::Path;

use moelt_schema::Digest;

use crate::{DataError, Example, sst2};

/// Rows and hash of the published files. The hash is over `text TAB label LF` with trimmed texts, so
/// that copies with and without blanks at the ends of texts have the same.
const PUBLISHED: [(&str, usize, &str); 2] = [
    ("train.tsv", 67_349, "004c30d7b13cc6675bac100701bb582ef7c45f33a62c8764fc2005148e50ce13"),
    ("dev.tsv", 872, "67ebd82b9e85b77075b10e2615bde65384d3fe16c1f67d1e574bd454d20505a3"),
];

/// Rows of the files that were verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GlueCounts {
    /// Rows of `train.tsv`.
    pub train: usize,
    /// Rows of `dev.tsv`.
    pub dev: usize,
}

/// Checks that `dir` holds GLUE SST-2 as published: counts, texts and labels of `train.tsv` and
/// `dev.tsv`. Blanks at the ends of texts and line ends do not matter.
///
/// ```
/// let error = moelt_data::verify_glue("nowhere".as_ref()).unwrap_err();
/// assert!(error.to_string().contains("cargo xtask data sst2"));
/// ```
///
/// # Errors
/// When a file is missing, malformed or another.
pub fn verify_glue(dir: &Path) -> Result<GlueCounts, DataError> {
    let [train, dev] = PUBLISHED.map(|(name, rows, digest)| verify(&dir.join(name), rows, digest));
    Ok(GlueCounts { train: train?, dev: dev? })
}

fn verify(path: &Path, rows: usize, digest: &str) -> Result<usize, DataError> {
    let examples = sst2::read(path)?;
    let found_digest = content_digest(&examples).to_string();
    let differ =
        |expected, found| Err(DataError::NotPublished { file: path.display().to_string(), expected, found });
    if examples.len() != rows {
        differ(format!("{rows} rows"), format!("{} rows", examples.len()))
    } else if found_digest != digest {
        differ(format!("content {digest}"), format!("content {found_digest}"))
    } else {
        Ok(rows)
    }
}

fn content_digest(examples: &[Example]) -> Digest {
    let lines = examples.iter().map(|Example { text, label, .. }| format!("{text}\t{label}\n"));
    Digest::of_bytes(lines.collect::<String>().as_bytes())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn blanks_and_line_ends_do_not_matter_but_labels_do() {
        let dir = TempDir::new().unwrap();
        let digest = |content: &str| {
            let path = dir.path().join("train.tsv");
            fs::write(&path, content).unwrap();
            content_digest(&sst2::read(&path).unwrap())
        };
        let plain = digest("sentence\tlabel\na b\t1\n");
        assert_eq!(plain, Digest::of_bytes(b"a b\t1\n"));
        assert_eq!(plain, digest("sentence\tlabel\r\na b \t1\r\n"));
        assert_ne!(plain, digest("sentence\tlabel\na b\t0\n"));
    }

    #[test]
    fn another_file_is_told_by_rows_or_content() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("dev.tsv");
        fs::write(&path, "sentence\tlabel\nfine\t1\n").unwrap();
        let rows = verify(&path, 872, "").unwrap_err().to_string();
        assert!(rows.contains("dev.tsv: has 1 rows, the published data set 872 rows"), "{rows}");
        let content = verify(&path, 1, "00").unwrap_err().to_string();
        assert!(content.contains("the published data set content 00"), "{content}");
    }

    #[test]
    fn the_real_files_are_the_published_ones() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/datasets/sst2");
        if dir.join("train.tsv").exists() {
            assert_eq!(verify_glue(&dir).unwrap(), GlueCounts { train: 67_349, dev: 872 });
        } else {
            eprintln!("SKIPPED: no {}", dir.display());
        }
    }
}
