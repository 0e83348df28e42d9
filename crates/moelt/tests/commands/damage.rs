//! Nothing that is wrong with a checkpoint goes unnoticed, and nobody writes over it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use moelt_schema::{CHECKPOINT_FORMAT, Digest, RoutingConfig, RunConfig, resolved_toml};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Ended, Run, TINY, copy, files, json};

/// A tensor of a checkpoint file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tensor {
    dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) type Tensors = BTreeMap<String, Tensor>;

/// Changes the tensors of a file; says whether that changed anything.
pub(crate) fn edit_tensors(path: &Path, edit: impl FnOnce(&mut Tensors)) -> bool {
    let before = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&before).unwrap();
    let tensor = |view: TensorView<'_>| Tensor {
        dtype: view.dtype(),
        shape: view.shape().to_vec(),
        bytes: view.data().to_vec(),
    };
    let mut tensors: Tensors = file.iter().map(|(name, view)| (name.to_owned(), tensor(view))).collect();
    edit(&mut tensors);
    let views =
        tensors.iter().map(|(name, t)| (name, TensorView::new(t.dtype, t.shape.clone(), &t.bytes).unwrap()));
    let after = safetensors::serialize(views, None).unwrap();
    fs::write(path, &after).unwrap();
    before != after
}

/// Changes the manifest of a checkpoint.
pub(crate) fn edit_manifest(folder: &Path, edit: impl FnOnce(&mut Value)) {
    let path = folder.join("manifest.json");
    let mut manifest = json(&path);
    edit(&mut manifest);
    fs::write(path, serde_json::to_vec_pretty(&manifest).unwrap()).unwrap();
}

/// Changes the config of a checkpoint, and its hash in the manifest.
pub(crate) fn edit_config(folder: &Path, edit: impl FnOnce(&mut RunConfig)) {
    let path = folder.join("config.toml");
    let mut config = RunConfig::from_toml(&fs::read_to_string(&path).unwrap()).unwrap();
    edit(&mut config);
    fs::write(path, resolved_toml(&config)).unwrap();
    edit_manifest(folder, |manifest| manifest["config"] = json!(config.digest().to_string()));
}

/// Makes all hashes of the checkpoint `name` true again, so that what was changed in it is found by
/// something else.
pub(crate) fn rehash(run: &Run, name: &str) {
    let folder = run.checkpoint(name);
    edit_manifest(&folder, |manifest| {
        for (file, hash) in manifest["files"].as_object_mut().unwrap() {
            *hash = Value::from(Digest::of_file(&folder.join(file)).unwrap().to_string());
        }
    });
    let hash = Digest::of_file(&folder.join("manifest.json")).unwrap();
    fs::write(folder.join("manifest.blake3"), format!("{hash}  manifest.json\n")).unwrap();
    for pointer in ["latest", "best"] {
        if run.pointed(pointer).as_deref() == Some(name) {
            fs::write(run.checkpoint(pointer), format!("{name} {hash}\n")).unwrap();
        }
    }
}

/// A run that was trained to its last step and has no result yet, so that `train` goes on with it.
struct Trained {
    _folder: TempDir,
    run: Run,
}

static TRAINED: LazyLock<Trained> = LazyLock::new(|| {
    let folder = TempDir::new().unwrap();
    let run = Run::new(folder.path(), "trained", TINY);
    run.train().well();
    fs::remove_file(run.dir.result()).unwrap();
    assert_ne!(run.pointed("latest"), run.pointed("best"), "each must be damaged without the other");
    Trained { _folder: folder, run }
});

/// A copy of [`TRAINED`].
pub(crate) fn trained(folder: &TempDir) -> Run {
    let run = TRAINED.run.in_folder(folder.path().join("run"));
    copy(TRAINED.run.dir.path(), run.dir.path());
    run
}

/// The commands that read the checkpoint that `pointer` names. `train` reads both: it goes on from the
/// latest one and will end with the best one.
fn readers(run: &Run, pointer: &str) -> Vec<(&'static str, Ended)> {
    let path = run.checkpoint(pointer);
    let read = |command: &'static str| (command, Ended::moelt([command.as_ref(), path.as_os_str()]));
    vec![("train", run.train()), read("eval"), read("predict"), read("inspect")]
}

/// Does `damage` to a copy of the run and asserts that every command refuses the checkpoint that
/// `pointer` names with an error that has all `parts`, and changes nothing.
#[track_caller]
fn refused(what: &str, pointer: &str, damage: impl FnOnce(&Run), parts: &[&str]) {
    let folder = TempDir::new().unwrap();
    let run = trained(&folder);
    damage(&run);
    let before = files(run.dir.path());
    for (command, ended) in readers(&run, pointer) {
        ended.with_error(&format!("{what}, {command} {pointer}"), parts);
    }
    assert_eq!(files(run.dir.path()), before, "{what}");
}

/// Every file of the checkpoint that `pointer` names, and the pointer itself, relative to the run folder.
fn checkpoint_files(pointer: &str) -> Vec<PathBuf> {
    let run = &TRAINED.run;
    let folder = run.pointed_folder(pointer);
    let inside = files(&folder).into_keys().map(|name| folder.join(name));
    let all = inside.chain([run.checkpoint(pointer)]);
    all.map(|path| path.strip_prefix(run.dir.path()).unwrap().to_owned()).collect()
}

/// What an error must name: the file, or the manifest, whose hash stands in a pointer and in a file beside.
fn named(file: &Path) -> &str {
    let name = file.file_name().unwrap().to_str().unwrap();
    if name.starts_with("manifest.") { "manifest" } else { name }
}

fn edit_bytes(path: &Path, edit: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    edit(&mut bytes);
    fs::write(path, bytes).unwrap();
}

#[test]
fn the_undamaged_run_is_read_by_every_command() {
    for pointer in ["latest", "best"] {
        let folder = TempDir::new().unwrap();
        let run = trained(&folder);
        let name = run.pointed(pointer).unwrap();
        rehash(&run, &name);
        for (command, ended) in readers(&run, pointer) {
            assert_eq!(ended.code, Some(0), "{command}: {}", ended.stderr);
        }
    }
}

#[test]
fn a_flipped_byte_in_any_file_is_found() {
    for pointer in ["latest", "best"] {
        let files = checkpoint_files(pointer);
        assert_eq!(files.len(), 8, "{files:?}");
        for file in &files {
            // 0x20 turns a digit of a hash into the same digit in upper case.
            for (place, bit) in [(0, 0x01), (1, 0x80), (2, 0x20), (3, 0x01), (4, 0x04)] {
                let flip = |run: &Run| {
                    edit_bytes(&run.dir.path().join(file), |bytes| {
                        let at = (bytes.len() - 1) * place / 4;
                        bytes[at] ^= bit;
                    });
                };
                refused(&format!("byte {place}/4 of {}", file.display()), pointer, flip, &[named(file)]);
            }
        }
    }
}

#[test]
fn a_truncated_or_missing_file_is_found() {
    for pointer in ["latest", "best"] {
        for file in checkpoint_files(pointer) {
            for part in [0, 1, 2] {
                let cut = |run: &Run| {
                    let cut = |bytes: &mut Vec<u8>| bytes.truncate((bytes.len() - 1) * part / 2);
                    edit_bytes(&run.dir.path().join(&file), cut);
                };
                refused(&format!("{part}/2 of {}", file.display()), pointer, cut, &[named(&file)]);
            }
        }
        let folder = checkpoint_files(pointer)[0].parent().unwrap().to_owned();
        for file in ["average.safetensors", "config.toml", "manifest.blake3", "vocabulary.json"] {
            let remove = |run: &Run| fs::remove_file(run.dir.path().join(&folder).join(file)).unwrap();
            refused(&format!("no {file}"), pointer, remove, &[file, "No such file"]);
        }
    }
}

fn remove(name: &'static str) -> Box<dyn Fn(&mut Tensors)> {
    Box::new(move |tensors| assert!(tensors.remove(name).is_some()))
}

fn rename(from: &'static str, to: &'static str) -> Box<dyn Fn(&mut Tensors)> {
    Box::new(move |tensors| {
        let tensor = tensors.remove(from).unwrap();
        tensors.insert(to.to_owned(), tensor);
    })
}

fn reshape(name: &'static str, shape: &'static [usize]) -> Box<dyn Fn(&mut Tensors)> {
    Box::new(move |tensors| tensors.get_mut(name).unwrap().shape = shape.to_vec())
}

fn add(name: &'static str, like: &'static str) -> Box<dyn Fn(&mut Tensors)> {
    Box::new(move |tensors| {
        let tensor = tensors[like].clone();
        tensors.insert(name.to_owned(), tensor);
    })
}

fn nest(prefix: &'static str) -> Box<dyn Fn(&mut Tensors)> {
    Box::new(move |tensors| {
        let all = std::mem::take(tensors).into_iter();
        tensors.extend(all.map(|(name, tensor)| (format!("{prefix}{name}"), tensor)));
    })
}

fn exchange(one: &'static str, other: &'static str) -> Box<dyn Fn(&mut Tensors)> {
    Box::new(move |tensors| {
        let (a, b) = (tensors[one].clone(), tensors[other].clone());
        assert_ne!(a, b);
        tensors.insert(one.to_owned(), b);
        tensors.insert(other.to_owned(), a);
    })
}

/// Flips the lowest bit of the exponent of a tensor's first value.
fn disturb(name: &'static str) -> Box<dyn Fn(&mut Tensors)> {
    Box::new(move |tensors| tensors.get_mut(name).unwrap().bytes[2] ^= 0x80)
}

fn retype(name: &'static str) -> Box<dyn Fn(&mut Tensors)> {
    Box::new(move |tensors| tensors.get_mut(name).unwrap().dtype = Dtype::I32)
}

#[test]
fn tensors_that_are_not_those_of_the_model_are_listed_although_all_hashes_are_right() {
    type Edit = Box<dyn Fn(&mut Tensors)>;
    const ROUTER: &str = "layers.0.router.weight.expert.1";
    let cases: Vec<(&str, Edit, &[&str])> = vec![
        ("model", remove("head.bias"), &["missing 1: head.bias"]),
        ("model", remove(ROUTER), &["missing 1: layers.0.router.weight.expert.1"]),
        ("model", add("head.scale", "head.bias"), &["unexpected 1: head.scale"]),
        ("model", add("layers.0.router.weight.expert.9", ROUTER), &["unexpected 1: ", "expert.9"]),
        ("model", rename("head.bias", "head.b"), &["missing 1: head.bias", "unexpected 1: head.b"]),
        ("model", reshape("head.weight", &[2, 16]), &["head.weight (needs [16, 2], found [2, 16])"]),
        ("model", reshape("head.bias", &[1, 2]), &["head.bias (needs [2], found [1, 2])"]),
        (
            "model",
            nest("model_state_dict."),
            &["nested under `model_state_dict.`", "needed `embedding.table`"],
        ),
        ("model", retype("head.bias"), &["tensor `head.bias` is I32"]),
        ("average", remove("head.bias"), &["missing 1: head.bias"]),
        ("average", nest("ema."), &["nested under `ema.`"]),
        ("optimizer", remove("moment_1.head.bias"), &["missing 1: moment_1.head.bias"]),
        ("optimizer", remove("steps.head.bias"), &["missing 1: steps.head.bias"]),
        ("optimizer", add("moment_1.x", "moment_1.head.bias"), &["unexpected 1: moment_1.x"]),
        ("optimizer", reshape("moment_2.head.weight", &[32]), &["(needs [16, 2], found [32])"]),
        ("model", disturb("head.bias"), &["probe 0 of the trained weights", "not where they belong"]),
        ("model", exchange("layers.0.experts.w_in.expert.0", "layers.0.experts.w_in.expert.1"), &["probe "]),
        ("average", disturb("head.bias"), &["probe 0 of the averaged weights"]),
    ];
    for (index, (file, edit, parts)) in cases.iter().enumerate() {
        // Each case with one of the two; that they are treated alike is seen from the flipped bytes.
        let pointer = ["latest", "best"][index % 2];
        let damage = |run: &Run| {
            let name = run.pointed(pointer).unwrap();
            assert!(edit_tensors(&run.checkpoint(&name).join(format!("{file}.safetensors")), edit));
            rehash(run, &name);
        };
        refused(&format!("{file}, {parts:?}"), pointer, damage, parts);
    }
}

#[test]
fn another_format_vocabulary_or_layout_is_named_although_all_hashes_are_right() {
    let format_99 = |folder: &Path| edit_manifest(folder, |manifest| manifest["format"] = json!(99));
    let unknown = |folder: &Path| edit_manifest(folder, |manifest| manifest["mood"] = json!("good"));
    let experts = |folder: &Path| {
        edit_manifest(folder, |manifest| manifest["layout"]["layers"][0]["experts"] = json!([0, 1, 2]));
    };
    let all_along = |folder: &Path| {
        edit_manifest(folder, |manifest| {
            for place in ["/layout", "/edits/initial"] {
                let layout = manifest.pointer_mut(place).unwrap();
                (layout["layers"][0]["experts"], layout["next_id"]) = (json!([0, 1, 2]), json!(3));
            }
        });
        edit_config(folder, |config| config.model.routing = RoutingConfig::TopK { n_experts: 3 });
    };
    let not_the_configs = |folder: &Path| {
        experts(folder);
        edit_manifest(folder, |manifest| {
            manifest["edits"]["initial"]["layers"][0]["experts"] = json!([0, 1, 2]);
        });
    };
    let saved = |folder: &Path| {
        edit_manifest(folder, |manifest| manifest["probe"]["logits"][2][0] = json!(7.5));
    };
    let vocabulary = |folder: &Path| {
        let path = folder.join("vocabulary.json");
        let text = fs::read_to_string(&path).unwrap();
        let other = text.replace("\"polar1\"", "\"x\"").replace("\"polar2\"", "\"polar1\"");
        assert_ne!(text, other);
        fs::write(path, other).unwrap();
    };
    type Edit<'a> = &'a dyn Fn(&Path);
    let own_format =
        format!("manifest.json: checkpoint format 99; this moelt reads format {CHECKPOINT_FORMAT}");
    let cases: [(&str, Edit<'_>, &[&str]); 7] = [
        ("format", &format_99, &[&own_format]),
        ("unknown field", &unknown, &["manifest.json: unknown field `mood`"]),
        ("layout", &experts, &["manifest.json: the edit log leads to 4 experts", "the layout says 3"]),
        (
            "layout, edits and config",
            &all_along,
            &["state.last_window: `tokens_per_expert` has 4 numbers for 3 experts"],
        ),
        ("layout and edits", &not_the_configs, &["edits.initial: is another layout", "config.toml"]),
        ("probe", &saved, &["probe 2 of the trained weights", "7.5"]),
        ("vocabulary", &vocabulary, &["vocabulary ", "but the weights were trained with "]),
    ];
    for (what, edit, parts) in cases {
        for pointer in ["latest", "best"] {
            let damage = |run: &Run| {
                let name = run.pointed(pointer).unwrap();
                edit(&run.checkpoint(&name));
                rehash(run, &name);
            };
            refused(what, pointer, damage, parts);
        }
    }
}

#[test]
fn a_pointer_to_another_checkpoint_is_found_when_the_run_goes_on() {
    let folder = TempDir::new().unwrap();
    let run = trained(&folder);
    fs::copy(run.checkpoint("latest"), run.checkpoint("best")).unwrap();
    let before = files(run.dir.path());
    run.train().with_error("best is latest", &["best: does not name step-"]);
    assert_eq!(files(run.dir.path()), before);
}

#[test]
fn a_cut_event_log_is_found_when_the_run_goes_on() {
    let folder = TempDir::new().unwrap();
    let run = trained(&folder);
    edit_bytes(&run.dir.events(), |bytes| bytes.truncate(bytes.len() / 2));
    let before = files(run.dir.path());
    run.train().with_error("half of the log", &["events.jsonl: has ", "was written after"]);
    assert_eq!(files(run.dir.path()), before);
}

#[test]
fn a_config_that_is_no_longer_toml_is_found_when_the_run_goes_on() {
    let folder = TempDir::new().unwrap();
    let run = trained(&folder);
    edit_bytes(&run.dir.config(), |bytes| bytes[0] = b'=');
    let before = files(run.dir.path());
    run.train().with_error("broken config", &["config.toml", "line 1"]);
    assert_eq!(files(run.dir.path()), before);
}

#[test]
fn a_path_without_a_checkpoint_is_named() {
    let folder = TempDir::new().unwrap();
    for command in ["eval", "predict", "inspect"] {
        for path in [folder.path().to_owned(), folder.path().join("gone")] {
            let ended = Ended::moelt([command.as_ref(), path.as_os_str()]);
            ended.with_error(command, &[path.to_str().unwrap(), "no checkpoint here"]);
        }
    }
}
