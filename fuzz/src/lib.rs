//! What the files that moelt reads are fuzzed with: a function for each format, which reads any bytes as a user's file
//! is read, uses what came of them, and says whether they were accepted.
//!
//! Two programs call them: libFuzzer (`fuzz_targets/`), for as long as it is left to, and the property test
//! `crates/train/tests/mutated.rs`, which includes this file by its path, on every change. No bytes may make one
//! panic, and what moelt itself writes of an accepted value is read back as the same.

mod seeds;

use std::{fs, io, path::Path, str};

use burn::tensor::Device;
use moelt_data::{Dataset, TextColumns, TextGroups, TextReader, Vocabulary};
use moelt_eval::{
    Columns, PredictionFile, TrainingLog, decisions_from_jsonl, predictions_from_csv, predictions_to_csv,
};
use moelt_model::{PretrainedEncoder, WordVectors};
use moelt_schema::{
    AblationPlan, Cell, CellResult, ConfigFiles, ConfigText, CsvConfig, DataConfig, Digest, RunConfig,
    Sst2Config, TaughtFile, TextConfig, resolved_toml,
};
use moelt_train::{Checkpoint, LoadedModel};
use serde_json::{Value, json};
use tempfile::TempDir;

pub use seeds::seeds;

/// What accepted tokenizers and groups are given: words, a token's name, accents, another alphabet, a zero byte.
const TEXT: &str = "A film of the [PAD] naïve-film 電影 \u{301}\0 unknowable";

/// A config file, behind it lines `--set key=value`.
pub fn config(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let mut parts = text.split("\n--set ");
    let file = ConfigText::of("fuzzed.toml", parts.next().unwrap_or_default());
    let sets: Vec<String> = parts.map(str::to_owned).collect();
    let Ok(config) = ConfigFiles::default().load_texts(vec![file], &sets) else { return false };
    assert_eq!(RunConfig::from_toml(&resolved_toml(&config)), Ok(config));
    true
}

/// `plan.json` of an ablation; whatever the configs of its cells are, the hashes are those of them.
pub fn plan(bytes: &[u8]) -> bool {
    let Ok(mut plan) = serde_json::from_slice::<Value>(bytes) else {
        return str::from_utf8(bytes).is_ok_and(|text| AblationPlan::from_json(text).is_ok());
    };
    for cell in plan.get_mut("cells").and_then(Value::as_array_mut).into_iter().flatten() {
        let config = cell.get("config").cloned().unwrap_or_default();
        if let Ok(config) = serde_json::from_value::<RunConfig>(config) {
            let Cell { id, digest, .. } = Cell::new(config);
            (cell["id"], cell["digest"]) = (json!(id), json!(digest));
        }
    }
    let Ok(plan) = AblationPlan::from_json(&plan.to_string()) else { return false };
    for cell in &plan.cells {
        assert_eq!(RunConfig::from_toml(&resolved_toml(&cell.config)).as_ref(), Ok(&cell.config));
    }
    assert_eq!(AblationPlan::from_json(&json!(plan).to_string()), Ok(plan));
    true
}

/// `manifest.json` of a checkpoint whose other files are sound.
pub fn manifest(bytes: &[u8]) -> bool {
    checkpoint("manifest.json", bytes)
}

/// `model.safetensors` of a checkpoint whose other files are sound.
pub fn weights(bytes: &[u8]) -> bool {
    checkpoint("model.safetensors", bytes)
}

/// `model.safetensors` of a pretrained encoder.
pub fn encoder(bytes: &[u8]) -> bool {
    PretrainedEncoder::from_bytes(bytes, Path::new("model.safetensors")).is_ok()
}

/// Word vectors, as text and as safetensors.
pub fn vectors(bytes: &[u8]) -> bool {
    let path = Path::new("vectors");
    let from_text =
        WordVectors::from_text(bytes, path, 2, |word| word.bytes().map(u32::from).reduce(|a, b| a ^ b));
    let from_safetensors = WordVectors::from_safetensors(bytes, path, 2, [(0, 1), (1, 5)].into_iter());
    from_text.is_ok() | from_safetensors.is_ok()
}

/// A checkpoint with these bytes as one of its files, and with the hashes that it has now.
fn checkpoint(name: &str, bytes: &[u8]) -> bool {
    let mut files = seeds::checkpoint().clone();
    files.insert(name.to_owned(), bytes.to_vec());
    if name != "manifest.json" {
        let mut manifest: Value = serde_json::from_slice(&files["manifest.json"]).expect("a run wrote it");
        manifest["files"][name] = json!(Digest::of_bytes(bytes));
        files.insert("manifest.json".to_owned(), manifest.to_string().into());
    }
    let hash = format!("{}  manifest.json\n", Digest::of_bytes(&files["manifest.json"]));
    files.insert("manifest.blake3".to_owned(), hash.into());
    let (folder, missing) = (Path::new("checkpoint"), || io::Error::from(io::ErrorKind::NotFound));
    let checkpoint = Checkpoint::from_files(folder, |name| files.get(name).cloned().ok_or_else(missing));
    checkpoint.is_ok_and(|checkpoint| LoadedModel::of(checkpoint, folder, &Device::flex()).is_ok())
}

/// `tokenizer.json` of a pretrained encoder.
pub fn tokenizer(bytes: &[u8]) -> bool {
    let read = str::from_utf8(bytes).map(|text| Vocabulary::pretrained(text, &TextConfig::default()));
    read.is_ok_and(|read| read.is_ok_and(encodes))
}

/// `vocabulary.json` of a checkpoint.
pub fn vocabulary(bytes: &[u8]) -> bool {
    let read = str::from_utf8(bytes).map(Vocabulary::from_json);
    read.is_ok_and(|read| read.is_ok_and(encodes))
}

/// Makes sure that tokens have rows of the table.
fn encodes(vocabulary: Vocabulary) -> bool {
    let tokens = vocabulary.encode(TEXT).to_tokens();
    let rows = vocabulary.n_rows();
    assert!(tokens.len() <= vocabulary.text().max_tokens);
    assert!(tokens.iter().flatten().all(|row| (1..rows).contains(&(*row as usize))), "{tokens:?} of {rows}");
    assert!(Vocabulary::from_json(&vocabulary.to_json()).is_ok_and(|again| again == vocabulary));
    true
}

/// `groups.json` of a checkpoint.
pub fn groups(bytes: &[u8]) -> bool {
    let Ok(Ok(groups)) = str::from_utf8(bytes).map(TextGroups::from_json) else { return false };
    assert!((groups.group_of(TEXT) as usize) < groups.n_groups());
    assert!(TextGroups::from_json(&groups.to_json()).is_ok_and(|again| again == groups));
    true
}

/// A file of texts as each kind of table: to train on, and to predict, with labels or without.
pub fn tables(bytes: &[u8]) -> bool {
    let folder = TempDir::new().expect("the folder of temporary files can be written");
    let trains = |name: &str| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("the folder of temporary files can be written");
        let train = path.display().to_string();
        let data = DataConfig::Csv(CsvConfig { train, ..CsvConfig::default() });
        data.splits(&TextConfig::default()).is_ok()
    };
    let reads = |name: &str, columns: TextColumns<'_>| {
        TextReader::new(bytes, name, columns).is_ok_and(|mut blocks| blocks.all(|block| block.is_ok()))
    };
    let labelled = TextColumns { label: Some("label"), ..TextColumns::default() };
    let predicts = |name: &str| reads(name, TextColumns::default()) | reads(name, labelled);
    let kinds = ["texts.csv", "texts.tsv", "texts.txt"];
    kinds.map(|name| trains(name) | predicts(name)).contains(&true)
}

/// Both files of GLUE's SST-2.
pub fn glue(bytes: &[u8]) -> bool {
    let folder = TempDir::new().expect("the folder of temporary files can be written");
    for name in ["train.tsv", "dev.tsv"] {
        fs::write(folder.path().join(name), bytes).expect("the folder of temporary files can be written");
    }
    let dir = folder.path().display().to_string();
    let data = DataConfig::Sst2(Sst2Config { dir, ..Sst2Config::default() });
    data.splits(&TextConfig::default()).is_ok()
}

/// Predictions of any tool, and moelt's own.
pub fn predictions(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let of_any = ["a.csv", "a.tsv"].map(|name| PredictionFile::read(text, name, &Columns::default()).is_ok());
    let Ok(own) = predictions_from_csv(text, "test.csv") else { return of_any.contains(&true) };
    let again = predictions_from_csv(&predictions_to_csv(&own), "again.csv");
    assert_eq!(again.map_err(|error| error.to_string()), Ok(own));
    true
}

/// `result.json` of a run.
pub fn result(bytes: &[u8]) -> bool {
    let Ok(Ok(result)) = str::from_utf8(bytes).map(CellResult::from_json) else { return false };
    assert_eq!(CellResult::from_json(&json!(result).to_string()), Ok(result));
    true
}

/// `events.jsonl` of a run, as reports read it.
pub fn events(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let decisions = decisions_from_jsonl(text, "events.jsonl");
    TrainingLog::from_jsonl(text, "events.jsonl").is_ok() & decisions.is_ok()
}

/// A head that was taught; whatever it knows, the hash is that of it.
pub fn taught_head(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let Ok(file) = serde_json::from_str::<TaughtFile>(text) else {
        return TaughtFile::from_json(text).is_ok();
    };
    let file = TaughtFile::new(&file.moelt, file.ranges, file.teaching, file.head);
    let Ok(read) = TaughtFile::from_json(&file.to_json()) else { return false };
    assert_eq!(read, file);
    true
}
