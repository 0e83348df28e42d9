//! Models on their way out to other programs, and back.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use safetensors::{Dtype, SafeTensors, serialize, tensor::TensorView};
use tempfile::TempDir;

use crate::support::{Ended, Run, TINY, json};

/// A finished run and what was exported of it.
struct Exported {
    folder: TempDir,
    run: Run,
    out: PathBuf,
}

static EXPORTED: LazyLock<Exported> = LazyLock::new(|| {
    let folder = TempDir::new().unwrap();
    let run = Run::new(folder.path(), "run", TINY).set("model.routing.top_k.n_experts=3");
    run.train().well();
    let out = folder.path().join("exported");
    Ended::moelt(["export".as_ref(), run.dir.path(), "--out".as_ref(), out.as_path()]).well();
    Exported { folder, run, out }
});

/// A tensor as it lies in a file: type, shape, bytes.
type Tensor = (Dtype, Vec<usize>, Vec<u8>);

fn tensors(path: &Path) -> HashMap<String, Tensor> {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = |view: TensorView<'_>| (view.dtype(), view.shape().to_vec(), view.data().to_vec());
    file.tensors().into_iter().map(|(name, view)| (name, tensor(view))).collect()
}

/// The exported weights, changed, as a file of their own.
fn changed(name: &str, change: impl FnOnce(&mut HashMap<String, Tensor>)) -> PathBuf {
    let mut tensors = tensors(&EXPORTED.out.join("model.safetensors"));
    change(&mut tensors);
    let views = tensors.iter().map(|(name, (dtype, shape, data))| {
        (name.as_str(), TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    let path = EXPORTED.folder.path().join(format!("{name}.safetensors"));
    fs::write(&path, serialize(views, None).unwrap()).unwrap();
    path
}

fn import(weights: &Path, name: &str) -> (Ended, PathBuf) {
    let out = EXPORTED.folder.path().join(name);
    let run = EXPORTED.run.dir.path();
    let args = ["import".as_ref(), run.as_os_str(), weights.as_os_str(), "--out".as_ref(), out.as_os_str()];
    (Ended::moelt(args), out)
}

fn logits(checkpoint: &Path) -> String {
    let command = crate::support::moelt(["predict".as_ref(), checkpoint.as_os_str(), "--logits".as_ref()]);
    Ended::of(command, "w1 w2\nw3\n\nnever seen\n").well().stdout
}

#[test]
fn an_export_says_what_it_takes_to_compute() {
    let Exported { out, run, .. } = &*EXPORTED;
    let config = json(&out.join("config.json"));
    assert_eq!(config["format"], 1);
    assert_eq!(config["classes"], serde_json::json!(["negative", "positive"]));
    assert_eq!(config["layers"][0]["experts"], serde_json::json!([0, 1, 2]));
    assert_eq!(config["model"]["d_ff"], 8);
    let best = run.checkpoint(&run.pointed("best").unwrap());
    let read = |path: PathBuf| fs::read(path).unwrap();
    assert_eq!(read(out.join("vocabulary.json")), read(best.join("vocabulary.json")));

    let (exported, average) =
        (tensors(&out.join("model.safetensors")), tensors(&best.join("average.safetensors")));
    let rows = config["n_rows"].as_u64().unwrap() as usize;
    assert_eq!(exported["embedding.table"].1, [rows, 16]);
    assert_eq!(exported["embedding.table"], average["embedding.table"]);
    let of_experts = [0, 1, 2].map(|id| average[&format!("layers.0.experts.w_in.expert.{id}")].2.clone());
    assert_eq!(exported["layers.0.experts.w_in"], (Dtype::F32, vec![3, 16, 8], of_experts.concat()));
}

#[test]
fn what_comes_back_unchanged_says_the_same() {
    let (ended, out) = import(&EXPORTED.out, "unchanged");
    assert!(ended.well().stdout.contains("deviation   0.000e0"));
    assert_eq!(logits(&out), logits(EXPORTED.run.dir.path()));
}

#[test]
fn changed_weights_count_and_can_be_trained_on() {
    let weights = changed("zeros", |tensors| tensors.get_mut("head.weight").unwrap().2.fill(0));
    let (ended, out) = import(&weights, "zeros");
    assert!(!ended.well().stdout.contains("deviation   0.000e0"));
    let answers = logits(&out);
    let of_first: Vec<&str> = answers.lines().nth(1).unwrap().split(',').skip(2).collect();
    let bias = &tensors(&EXPORTED.out.join("model.safetensors"))["head.bias"].2;
    let expected: Vec<String> =
        bias.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes).to_string()).collect();
    assert_eq!(of_first, expected);

    let again = Run::new(EXPORTED.folder.path(), "again", TINY)
        .set("model.routing.top_k.n_experts=3")
        .set(format!("start.weights.run={}", out.display()));
    again.train().well();
}

#[test]
fn what_is_not_exactly_what_was_exported_is_refused_and_nothing_is_written() {
    let nan = f32::NAN.to_le_bytes();
    let cases: [(&str, PathBuf, &[&str]); 5] = [
        (
            "missing",
            changed("missing", |tensors| drop(tensors.remove("head.bias"))),
            &["missing.safetensors", "missing", "head.bias"],
        ),
        (
            "renamed",
            changed("renamed", |tensors| {
                let head = tensors.remove("head.bias").unwrap();
                tensors.insert("bias".to_owned(), head);
            }),
            &["missing", "head.bias", "unexpected", "bias"],
        ),
        (
            "misshapen",
            changed("misshapen", |tensors| tensors.get_mut("head.weight").unwrap().1.reverse()),
            &["head.weight", "[2, 16]", "[16, 2]"],
        ),
        (
            "nan",
            changed("nan", |tensors| tensors.get_mut("head.bias").unwrap().2[..4].copy_from_slice(&nan)),
            &["head.bias", "NaN", "finite"],
        ),
        ("text", EXPORTED.out.join("config.json"), &["config.json", "is not a safetensors file"]),
    ];
    for (name, weights, parts) in cases {
        let (ended, out) = import(&weights, &format!("refused-{name}"));
        ended.with_error(name, parts);
        assert!(!out.exists(), "{name}");
    }
    let (ended, _) = import(&EXPORTED.folder.path().join("nowhere"), "refused-nowhere");
    ended.with_error("nowhere", &["nowhere", "No such file"]);
}

#[test]
fn nothing_is_overwritten() {
    let run = EXPORTED.run.dir.path();
    let before = fs::read(EXPORTED.out.join("config.json")).unwrap();
    let args = ["export".as_ref(), run, "--out".as_ref(), EXPORTED.out.as_path()];
    Ended::moelt(args).with_error("export", &["--out", "is there already"]);
    let args = ["import".as_ref(), run, EXPORTED.out.as_path(), "--out".as_ref(), run];
    Ended::moelt(args).with_error("import", &["--out", "is there already"]);
    assert_eq!(fs::read(EXPORTED.out.join("config.json")).unwrap(), before);
}
