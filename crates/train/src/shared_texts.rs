//! Encoded texts that runs on the same data share: `FOLDER/<hash>.json`, left by the first of them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use moelt_data::{Batches, Dataset, Encoded, Vocabulary, files_of};
use moelt_schema::{DataConfig, Digest, PretrainedFiles, RunConfig, SplitSizes, Streams, write_atomically};
use serde::{Deserialize, Serialize};

use crate::{
    Prepared, Split, TrainError, memory,
    prepared::{check_steps, total_steps},
};

/// What a data set is when its texts are tokens, as far as it is the same for every seed, arm and length of a run. On disk it
/// stands below the hash of its own text.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SharedTexts {
    /// Hash of everything that it depends on.
    key: Digest,
    classes: Vec<String>,
    domains: Vec<String>,
    #[serde(with = "vocabulary_json")]
    vocabulary: Vocabulary,
    /// Of the training split.
    texts: Vec<Encoded>,
    labels: Vec<u32>,
    validation: Split,
    test: Split,
    /// Of the examples.
    digest: Digest,
    bayes_accuracy: Option<f64>,
    notes: Vec<String>,
}

/// A vocabulary as the text of its own file.
mod vocabulary_json {
    use moelt_data::Vocabulary;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(vocabulary: &Vocabulary, to: S) -> Result<S::Ok, S::Error> {
        vocabulary.to_json().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vocabulary, D::Error> {
        Vocabulary::from_json(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// The data of a config, from `folder` where an earlier run has left it there. What is not whole there is made anew. Where
/// data drift, or experts are assigned by groups that are learnt of texts, nothing is shared.
///
/// # Errors
/// As [`Prepared::of`]; when a file that is there cannot be read, or a new one cannot be written.
pub(crate) fn prepared(
    config: &RunConfig,
    dataset: &dyn Dataset,
    folder: &Path,
) -> Result<Prepared, TrainError> {
    if matches!(config.data, DataConfig::Own {}) || config.model.routing.assigned_by().is_some() {
        return Prepared::of(config, dataset);
    }
    let key = key(config)?;
    let path = folder.join(format!("{}.json", key.short()));
    if let Some(shared) = SharedTexts::read(&path, key)? {
        return shared.prepared(config);
    }
    let prepared = Prepared::of(config, dataset)?;
    if prepared.drift.is_none() {
        let text = SharedTexts::of(key, &prepared).to_text();
        write_atomically(&path, text.as_bytes()).map_err(TrainError::io(path))?;
    }
    Ok(prepared)
}

/// Hash of everything that encoded texts depend on: the version of moelt, the keys of the config and the files that they name.
fn key(config: &RunConfig) -> Result<Digest, TrainError> {
    let tokenizer = config.model.pretrained.iter().map(|folder| PretrainedFiles::new(folder).tokenizer());
    let files: Vec<PathBuf> = files_of(&config.data).into_iter().chain(tokenizer).collect();
    let digest = |path: &PathBuf| Digest::of_file(path).map_err(TrainError::io(path));
    let digests: Vec<Digest> = files.iter().map(digest).collect::<Result<_, _>>()?;
    Ok(Digest::of_json(&(env!("CARGO_PKG_VERSION"), &config.data, &config.text, digests)))
}

impl SharedTexts {
    fn of(key: Digest, prepared: &Prepared) -> Self {
        let (texts, labels) = prepared.train.examples();
        Self {
            key,
            classes: prepared.classes.clone(),
            domains: prepared.domains.clone(),
            vocabulary: prepared.vocabulary.clone(),
            texts: texts.to_vec(),
            labels: labels.to_vec(),
            validation: prepared.validation.clone(),
            test: prepared.test.clone(),
            digest: prepared.digest,
            bayes_accuracy: prepared.bayes_accuracy,
            notes: prepared.notes.clone(),
        }
    }

    /// The same, ready to train on.
    fn prepared(self, config: &RunConfig) -> Result<Prepared, TrainError> {
        memory::check_data(config, memory::of_machine())?;
        let total_steps = total_steps(config, self.texts.len());
        check_steps(total_steps)?;
        let [validation, test] = [&self.validation, &self.test].map(|split| split.texts.len());
        let sizes = SplitSizes { train: self.texts.len(), validation, test };
        let (batch_size, streams) = (config.train.batch_size, Streams::new(config.seed));
        Ok(Prepared {
            train: Batches::new(self.texts, self.labels, batch_size, streams),
            total_steps,
            validation: self.validation,
            test: self.test,
            digest: self.digest,
            sizes,
            classes: self.classes,
            domains: self.domains,
            bayes_accuracy: self.bayes_accuracy,
            drift: None,
            notes: self.notes,
            grouping: None,
            vocabulary: self.vocabulary,
        })
    }

    fn to_text(&self) -> String {
        let json = serde_json::to_string(self).expect("texts and numbers always serialise");
        format!("{}\n{json}", Digest::of_bytes(json.as_bytes()))
    }

    /// What an earlier run has left; none where there is nothing, or nothing that counts.
    fn read(path: &Path, key: Digest) -> Result<Option<Self>, TrainError> {
        match fs::read(path) {
            Ok(bytes) => {
                let shared = str::from_utf8(&bytes).ok().and_then(|text| Self::parse(text, key));
                if shared.is_none() {
                    tracing::warn!("{}: is damaged or of another moelt; it is made anew", path.display());
                }
                Ok(shared)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(TrainError::Io { path: path.to_owned(), cause }),
        }
    }

    fn parse(text: &str, key: Digest) -> Option<Self> {
        let (hash, json) = text.split_once('\n')?;
        if hash.parse::<Digest>().ok()? != Digest::of_bytes(json.as_bytes()) {
            return None;
        }
        let shared: Self = serde_json::from_str(json).ok()?;
        (shared.key == key && shared.fits()).then_some(shared)
    }

    /// Whether every text has rows of the vocabulary and a class, and there are texts to train on.
    fn fits(&self) -> bool {
        let (n_classes, n_rows) = (self.classes.len(), self.vocabulary.n_rows());
        let fits = |texts: &[Encoded], labels: &[u32]| {
            let of_classes = labels.iter().all(|label| (*label as usize) < n_classes);
            let of_rows = texts.iter().all(|text| text.fits(n_rows));
            texts.len() == labels.len() && of_classes && of_rows
        };
        let splits = [&self.validation, &self.test];
        !self.texts.is_empty()
            && fits(&self.texts, &self.labels)
            && splits.iter().all(|split| fits(&split.texts, &split.labels))
            && splits.iter().all(|split| [split.domains.len(), split.times.len()] == [split.texts.len(); 2])
    }
}

#[cfg(test)]
mod tests {
    use moelt_schema::PlantedConfig;

    use super::*;

    fn config(seed: u64) -> RunConfig {
        let planted = PlantedConfig { train: 40, validation: 10, test: 10, ..PlantedConfig::default() };
        RunConfig { seed, data: DataConfig::Planted(planted), ..RunConfig::default() }
    }

    /// Everything that can be compared of what a run begins with.
    fn facts(mut prepared: Prepared) -> impl PartialEq + std::fmt::Debug {
        let batches: Vec<_> = (0..3).map(|step| prepared.train.at(step)).collect();
        let Prepared { classes, domains, validation, test, digest, sizes, notes, .. } = prepared;
        let lengths = (prepared.total_steps, prepared.bayes_accuracy, prepared.vocabulary.digest());
        (batches, classes, domains, validation, test, digest, sizes, notes, lengths)
    }

    #[test]
    fn shared_texts_are_those_that_a_run_makes_itself() {
        let folder = tempfile::tempdir().unwrap();
        let files = || fs::read_dir(folder.path()).unwrap().count();
        let check = |config: &RunConfig| {
            let shared = prepared(config, &config.data, folder.path()).unwrap();
            assert_eq!(facts(shared), facts(Prepared::new(config).unwrap()));
        };
        check(&config(1));
        check(&config(2));
        assert_eq!(files(), 1, "made once");
        let mut other = config(1);
        other.text.max_tokens = 5;
        check(&other);
        assert_eq!(files(), 2);
    }

    #[test]
    fn what_is_not_whole_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(1);
        let make = || facts(prepared(&config, &config.data, folder.path()).unwrap());
        let whole = make();
        let path = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let json = text.split_once('\n').unwrap().1;
        // A label of no class, under the hash that belongs to it.
        let altered = json.replacen("\"labels\":[", "\"labels\":[9,", 1);
        let rehashed = format!("{}\n{altered}", Digest::of_bytes(altered.as_bytes()));
        for damaged in
            [String::new(), text[..text.len() / 2].to_owned(), text.replace("[0,", "[1,"), rehashed]
        {
            fs::write(&path, damaged).unwrap();
            assert!(make() == whole);
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
