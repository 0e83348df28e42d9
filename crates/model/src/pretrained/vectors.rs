//! Word vectors that somebody has trained.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    path::Path,
};

use moelt_schema::VectorFiles;
use serde::Deserialize;

use super::{PretrainedError, numbers, safetensors};
use crate::{Classifier, host::to_host, init::param};

/// Bytes of a line, at most: a word and some thousand numbers.
const MAX_LINE: u64 = 1 << 20;

/// What stands between a word and its numbers.
const BLANKS: [char; 2] = [' ', '\t'];

/// With which some programs on Windows begin a text.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Tensors of model2vec with which words share vectors, or have their weight apart.
const QUANTISED: [&str; 2] = ["mapping", "weights"];

/// What the tensor is called in files of model2vec, and of PyTorch's `EmbeddingBag` and `Embedding`.
const TENSORS: [&str; 3] = ["embeddings", "embedding.weight", "weight"];

/// Vectors for rows of an embedding table.
#[derive(Clone, Debug, PartialEq)]
pub struct WordVectors(BTreeMap<u32, Vec<f32>>);

/// The part of a `tokenizer.json` that says which word has which vector.
#[derive(Deserialize)]
struct Tokenizer {
    model: WordPieces,
}

#[derive(Deserialize)]
struct WordPieces {
    vocab: BTreeMap<String, usize>,
}

impl WordVectors {
    /// Reads the vectors of words that have a row. Of a word that stands there twice the first one counts. Of a text, however large,
    /// no more is kept than these.
    ///
    /// # Errors
    /// When a file cannot be read; when a line or tensor has other than `width` numbers, or one that is not finite; when no word
    /// has a vector.
    pub fn read(
        files: &VectorFiles,
        width: usize,
        row_of: impl Fn(&str) -> Option<u32>,
    ) -> Result<Self, PretrainedError> {
        let read_error = |path: &Path, cause| PretrainedError::Read { path: path.into(), cause };
        let bytes = |path: &Path| fs::read(path).map_err(|cause| read_error(path, cause));
        let (read, path) = match files {
            VectorFiles::Text(path) => {
                let file = File::open(path).map_err(|cause| read_error(path, cause))?;
                (Self::from_text(BufReader::new(file), path, width, row_of)?, path)
            }
            VectorFiles::Folder { weights, tokenizer } => {
                let malformed = |message| PretrainedError::Malformed { path: tokenizer.clone(), message };
                let words: Tokenizer = serde_json::from_slice(&bytes(tokenizer)?)
                    .map_err(|e| malformed(format!("{e}; needs model.vocab, a number for each word")))?;
                let rows = words.model.vocab.iter().filter_map(|(word, at)| Some((*at, row_of(word)?)));
                (Self::from_safetensors(&bytes(weights)?, weights, width, rows)?, weights)
            }
        };
        if read.0.is_empty() {
            let message = "has a vector for no word of the training texts; is it of their language, and in lower case where \
                           text.lowercase is on?";
            return Err(PretrainedError::Malformed { path: path.clone(), message: message.to_owned() });
        }
        Ok(read)
    }

    /// The same of text, with a word and its numbers on each line, separated by blanks; the first line may tell how many words and
    /// numbers there are. `path` stands in errors alone.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn from_text(
        mut text: impl BufRead,
        path: &Path,
        width: usize,
        row_of: impl Fn(&str) -> Option<u32>,
    ) -> Result<Self, PretrainedError> {
        let mut rows = BTreeMap::new();
        let (mut bytes, mut is_first) = (Vec::new(), true);
        for line in 1_u64.. {
            bytes.clear();
            let read = (&mut text).take(MAX_LINE).read_until(b'\n', &mut bytes);
            if read.map_err(|cause| PretrainedError::Read { path: path.into(), cause })? == 0 {
                break;
            }
            let malformed = |message| PretrainedError::Line { path: path.into(), line, message };
            if bytes.len() as u64 == MAX_LINE {
                return Err(malformed(format!(
                    "is longer than {MAX_LINE} bytes; needs a word and {width} numbers"
                )));
            }
            // Words of texts are UTF-8, and no other word is looked up.
            let shown = String::from_utf8_lossy(&bytes);
            let shown = shown.trim_start_matches(BYTE_ORDER_MARK).trim_end();
            if shown.is_empty() || (line == 1 && is_header(shown)) {
                continue;
            }
            if std::mem::take(&mut is_first) {
                check_width(shown, width).map_err(malformed)?;
            }
            let (word, numbers) = word_and_numbers(shown, width).map_err(malformed)?;
            if let Some(row) = row_of(word) {
                rows.entry(row).or_insert(parsed(&numbers).map_err(malformed)?);
            }
        }
        Ok(Self(rows))
    }

    /// The same of a safetensors file: `rows` says which vector of the file goes into which row.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn from_safetensors(
        bytes: &[u8],
        path: &Path,
        width: usize,
        rows: impl Iterator<Item = (usize, u32)>,
    ) -> Result<Self, PretrainedError> {
        let malformed = |message| PretrainedError::Malformed { path: path.into(), message };
        let file = safetensors(bytes, path)?;
        if let Some(name) = QUANTISED.into_iter().find(|name| file.tensor(name).is_ok()) {
            return Err(malformed(format!(
                "has a tensor `{name}`; needs a model whose vocabulary is not quantised"
            )));
        }
        let named = TENSORS.into_iter().find_map(|name| Some((name, file.tensor(name).ok()?)));
        let (name, view) =
            named.ok_or_else(|| malformed(format!("has no tensor `{}`", TENSORS.join("`, `"))))?;
        let &[n, found] = view.shape() else {
            return Err(malformed(format!("tensor `{name}` is {:?}, needs [words, {width}]", view.shape())));
        };
        if found != width {
            return Err(malformed(other_width(found, width)));
        }
        let size = view.data().len().checked_div(n).unwrap_or_default();
        let rows = rows.map(|(at, row)| {
            if at >= n {
                return Err(malformed(format!("has {n} vectors, but the tokenizer a word {at}")));
            }
            Ok((row, numbers(name, view.dtype(), &view.data()[at * size..][..size], path)?))
        });
        Ok(Self(rows.collect::<Result<_, _>>()?))
    }

    /// Rows that have one.
    pub fn n_rows(&self) -> usize {
        self.0.len()
    }

    /// Whether a row has one.
    pub fn has(&self, row: u32) -> bool {
        self.0.contains_key(&row)
    }
}

/// Whether a line is that of two whole numbers with which word2vec and fastText begin.
fn is_header(line: &str) -> bool {
    let fields: Vec<&str> = line.split_whitespace().collect();
    fields.len() == 2 && fields.iter().all(|field| field.parse::<u64>().is_ok())
}

/// Refuses a file whose first word has other than `width` numbers.
fn check_width(line: &str, width: usize) -> Result<(), String> {
    let fields: Vec<&str> = line.split(BLANKS).filter(|field| !field.is_empty()).skip(1).collect();
    if fields.is_empty() || parsed(&fields).is_err() {
        return Err(format!("is not a word and {width} numbers; needs a text file, unpacked"));
    }
    if fields.len() == width { Ok(()) } else { Err(other_width(fields.len(), width)) }
}

fn other_width(found: usize, width: usize) -> String {
    format!("has {found} numbers a word, but model.d_model is {width}; set model.d_model={found}")
}

/// A line's word and its last `width` fields. The word is what stands before: in some files one has blanks in it.
fn word_and_numbers(line: &str, width: usize) -> Result<(&str, Vec<&str>), String> {
    let (mut word, mut numbers) = (line, Vec::with_capacity(width));
    while numbers.len() < width {
        let Some((before, number)) = word.rsplit_once(BLANKS) else {
            return Err(format!("has {} numbers, the lines before it {width}", numbers.len()));
        };
        numbers.push(number);
        word = before.trim_end_matches(BLANKS);
    }
    numbers.reverse();
    Ok((word, numbers))
}

fn parsed(fields: &[&str]) -> Result<Vec<f32>, String> {
    let number = |field: &&str| match field.parse::<f32>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err(format!("has `{}`, which is no finite number", field.chars().take(40).collect::<String>())),
    };
    fields.iter().map(number).collect()
}

impl Classifier {
    /// The same network with these rows of its embedding table.
    ///
    /// # Panics
    /// When there is a vector for a row that the table has not, or of another width.
    pub fn with_vectors(mut self, vectors: &WordVectors) -> Self {
        let (shape, device) = (self.embedding.table.dims(), self.embedding.table.device());
        let mut table = to_host(self.embedding.table.val());
        for (row, vector) in &vectors.0 {
            table[*row as usize * shape[1]..][..shape[1]].copy_from_slice(vector);
        }
        self.embedding.table = param(table, shape, &device);
        self
    }
}

#[cfg(test)]
mod tests {
    use ::safetensors::{Dtype, serialize, tensor::TensorView};
    use serde_json::json;

    use super::*;

    fn row_of(word: &str) -> Option<u32> {
        ["film", "good"].iter().position(|known| *known == word).map(|at| at as u32 + 1)
    }

    fn from_text(text: &str) -> Result<WordVectors, String> {
        WordVectors::from_text(text.as_bytes(), Path::new("a.vec"), 2, row_of)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn words_with_a_row_have_their_first_vector() {
        let both = WordVectors(BTreeMap::from([(1, vec![0.5, -1.0]), (2, vec![2.0, 3e-1])]));
        for text in [
            "film 0.5 -1\nthe 9 9\ngood 2 3e-1\nfilm 7 7\n",
            "3 2\nfilm 0.5 -1 \r\nat at 8 8\ngood\t2\t0.3",
            "\na\u{a0} 1 2\nat 7 2 3\ngood 2 0.3\nfilm 0.5 -1.0\n",
            "\u{feff}film  0.5\t -1\n\ngood 2  0.3 ",
            "\u{feff}2 2\ngood 2 .3\nfilm .5 -1",
        ] {
            assert_eq!(from_text(text).as_ref(), Ok(&both), "{text}");
        }
        assert_eq!(both.n_rows(), 2);
        assert!(both.has(2) && !both.has(3));
    }

    #[test]
    fn what_is_wrong_is_named_by_line() {
        for (text, message) in [
            ("film 1 2 3\n", "a.vec:1: has 3 numbers a word, but model.d_model is 2; set model.d_model=3"),
            ("the 1 2\nthe 1\n", "a.vec:2: has 1 numbers, the lines before it 2"),
            (
                "\u{1f}\u{8b}\u{8} \u{0} rest\n",
                "a.vec:1: is not a word and 2 numbers; needs a text file, unpacked",
            ),
            ("the 1 2\ngood 1 x\n", "a.vec:2: has `x`, which is no finite number"),
            ("the 1 2\ngood 1 nan\n", "a.vec:2: has `nan`"),
        ] {
            let error = from_text(text).unwrap_err();
            assert!(error.starts_with(message), "{message}: {error}");
        }
        let endless = "a".repeat(MAX_LINE as usize + 1);
        assert!(from_text(&endless).unwrap_err().contains("a.vec:1: is longer than 1048576 bytes"));
    }

    #[test]
    fn a_folder_has_words_in_its_tokenizer() {
        let folder = tempfile::tempdir().unwrap();
        let tokenizer = json!({ "model": { "vocab": { "the": 0, "good": 1, "film": 2 } } });
        fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
        let values: Vec<u8> =
            [9.0, 9.0, 2.0, 0.3, 0.5, -1.0].iter().flat_map(|value: &f32| value.to_le_bytes()).collect();
        let write = |names: &[&str]| {
            let view = || TensorView::new(Dtype::F32, vec![3, 2], &values).unwrap();
            let bytes = serialize(names.iter().map(|name| (name, view())), None).unwrap();
            fs::write(folder.path().join("model.safetensors"), bytes).unwrap();
        };
        write(&["embeddings"]);
        let files = VectorFiles::at(folder.path());
        let read = |width| WordVectors::read(&files, width, row_of).map_err(|error| error.to_string());
        assert_eq!(read(2), from_text("film 0.5 -1\ngood 2 0.3\n"));
        assert!(read(3).unwrap_err().contains("has 2 numbers a word, but model.d_model is 3"));
        let nobody = WordVectors::read(&files, 2, |_| None).unwrap_err().to_string();
        assert!(
            nobody.contains("model.safetensors: has a vector for no word of the training texts"),
            "{nobody}"
        );
        write(&["embeddings", "mapping"]);
        assert!(read(2).unwrap_err().contains("has a tensor `mapping`; needs a model whose"));
    }
}
