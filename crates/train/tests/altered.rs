//! A checkpoint with one value altered and every hash made right again: it is refused, or it is the same model.

#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use burn::tensor::Device;
use moelt_schema::{Digest, Prediction, RunConfig, RunDir, resolved_toml};
use moelt_train::{CheckpointStore, LoadedModel, Prepared, Trainer, predict};
use proptest::{prelude::*, sample::Index};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The step of the checkpoint, a few before the last.
const STEP: u64 = support::STEPS - 3;

const RULE: &str = "[control.policy.rule]\ncooldown = 0";

/// A run that was interrupted, with what its model says of the validation split.
struct Original {
    folder: TempDir,
    config: RunConfig,
    predictions: Vec<Prediction>,
}

static ORIGINAL: LazyLock<Original> = LazyLock::new(|| {
    let (folder, config) = (TempDir::new().unwrap(), support::config(RULE, |_| ()));
    let run = RunDir::new(folder.path());
    support::interrupt(&config, &run, STEP);
    let loaded = LoadedModel::load(&checkpoint(&run), &Device::flex()).unwrap();
    Original { config, predictions: predictions(&loaded), folder }
});

fn checkpoint(run: &RunDir) -> PathBuf {
    CheckpointStore::at(run.checkpoints()).path(STEP)
}

fn predictions(loaded: &LoadedModel) -> Vec<Prediction> {
    static VALIDATION: LazyLock<Prepared> =
        LazyLock::new(|| Prepared::new(&support::config(RULE, |_| ())).unwrap());
    predict(&loaded.evaluated(), &VALIDATION.validation)
}

/// Pointers to all values of a JSON document that are no objects.
fn pointers(json: &Value, path: &str, found: &mut Vec<String>) {
    match json {
        Value::Object(map) => {
            map.iter().for_each(|(key, value)| {
                let key = key.replace('~', "~0").replace('/', "~1");
                pointers(value, &format!("{path}/{key}"), found);
            });
        }
        Value::Array(list) => {
            found.push(path.to_owned());
            // A few of a kind are as good as all of them.
            list.iter().take(4).enumerate().for_each(|(at, value)| {
                pointers(value, &format!("{path}/{at}"), found);
            });
        }
        _ => found.push(path.to_owned()),
    }
}

/// Another value in place of this one.
fn altered(value: &Value, by: &Index) -> Value {
    let choices = match value {
        Value::Number(number) => {
            let n = number.as_f64().unwrap();
            let numbers = [json!(0), json!(-1), json!(1), json!(1u64 << 40), json!(i64::MAX), json!(1e18)];
            let near =
                [json!(n + 1.0), json!(n as u64 + 1), json!((n as u64).saturating_sub(1)), json!(2.0 * n)];
            numbers.into_iter().chain(near).chain([json!(0.5), json!(1e300), json!(null)]).collect()
        }
        Value::Array(list) => {
            let (mut shorter, mut longer) = (list.clone(), list.clone());
            let first = list.first().cloned().unwrap_or(json!(0));
            shorter.pop();
            longer.push(first.clone());
            vec![json!([]), json!(shorter), json!(longer), json!(vec![first; 5_000]), json!(null)]
        }
        Value::Bool(is) => vec![json!(!is)],
        Value::String(_) => vec![json!(""), json!("x"), json!("../x"), json!(0)],
        Value::Null | Value::Object(_) => vec![json!(0), json!("x"), json!([1])],
    };
    by.get(&choices).clone()
}

/// Alters one value; says which, and to what.
fn alter(json: &mut Value, place: &Index, by: &Index) -> String {
    let mut found = Vec::new();
    pointers(json, "", &mut found);
    let pointer = place.get(&found);
    let value = json.pointer_mut(pointer).unwrap();
    *value = altered(value, by);
    let text = value.to_string();
    format!("{pointer} is {}", text.chars().take(60).collect::<String>())
}

/// A copy of the original run.
fn copy(to: &Path) {
    let from = ORIGINAL.folder.path();
    let store = CheckpointStore::at(RunDir::new(from).checkpoints());
    let folders =
        fs::read_dir(store.path(STEP).parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    let inside = folders.filter(|path| path.is_dir()).flat_map(|path| fs::read_dir(path).unwrap());
    let inside = inside.map(|entry| entry.unwrap().path());
    let beside = ["latest", "best"].map(|name| store.path(STEP).with_file_name(name));
    let own = ["config.toml", "events.jsonl"].map(|name| from.join(name));
    for path in inside.chain(beside).chain(own) {
        let target = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(path, target).unwrap();
    }
}

/// Makes every hash right again.
fn seal(run: &RunDir, manifest: &mut Value) {
    let folder = checkpoint(run);
    if let Some(files) = manifest.get_mut("files").and_then(Value::as_object_mut) {
        for (name, hash) in files {
            if let Ok(digest) = Digest::of_file(&folder.join(name)) {
                *hash = json!(digest.to_string());
            }
        }
    }
    let bytes = serde_json::to_vec_pretty(manifest).unwrap();
    let digest = Digest::of_bytes(&bytes);
    fs::write(folder.join("manifest.json"), bytes).unwrap();
    fs::write(folder.join("manifest.blake3"), format!("{digest}  manifest.json\n")).unwrap();
    let name = CheckpointStore::name(STEP);
    for pointer in ["latest", "best"].map(|pointer| folder.with_file_name(pointer)) {
        if fs::read_to_string(&pointer).unwrap().starts_with(&name) {
            fs::write(pointer, format!("{name} {digest}\n")).unwrap();
        }
    }
}

fn manifest(run: &RunDir) -> Value {
    serde_json::from_slice(&fs::read(checkpoint(run).join("manifest.json")).unwrap()).unwrap()
}

/// Whatever loads is the original model; going on from it ends in one way or the other.
fn refused_or_the_same(config: &RunConfig, run: &RunDir, what: &str) {
    if let Ok(loaded) = LoadedModel::load(&checkpoint(run), &Device::flex()) {
        assert_eq!(predictions(&loaded), ORIGINAL.predictions, "{what}");
    }
    // What a config must be is checked before a run is begun with it.
    if config.check().is_ok() {
        drop(Trainer::new(config.clone()).run(run.path(), &Device::flex()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_manifest_with_one_value_altered_is_refused_or_the_same(place: Index, by: Index) {
        let folder = TempDir::new().unwrap();
        let run = RunDir::new(folder.path());
        copy(folder.path());
        let mut manifest = manifest(&run);
        let what = alter(&mut manifest, &place, &by);
        seal(&run, &mut manifest);
        refused_or_the_same(&ORIGINAL.config, &run, &what);
    }

    #[test]
    fn a_config_with_one_value_altered_is_refused_or_the_same(place: Index, by: Index) {
        let mut json = serde_json::to_value(&ORIGINAL.config).unwrap();
        let what = alter(&mut json, &place, &by);
        let Ok(config) = serde_json::from_value::<RunConfig>(json) else { return Ok(()) };
        let folder = TempDir::new().unwrap();
        let run = RunDir::new(folder.path());
        copy(folder.path());
        let mut manifest = manifest(&run);
        manifest["config"] = json!(config.digest().to_string());
        for path in [run.config(), checkpoint(&run).join("config.toml")] {
            fs::write(path, resolved_toml(&config)).unwrap();
        }
        seal(&run, &mut manifest);
        refused_or_the_same(&config, &run, &what);
    }
}
