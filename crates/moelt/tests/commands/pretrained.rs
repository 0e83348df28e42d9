//! A pretrained encoder, and what is made of it: a tiny BERT with random weights stands for a real one.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use moelt_schema::{CellResult, LayerId, LayerKind};
use safetensors::SafeTensors;
use tempfile::TempDir;

#[cfg(unix)]
use crate::resume::goes_on_after_kills;
use crate::support::{EDITED, Ended, Run, TINY, copy, json, moelt};

/// Laid over [`TINY`]; the encoder has sixteen positions.
const ENCODER: &str = "
[text]
max_tokens = 16
";

/// Laid over both: its two blocks become experts.
const UPCYCLED: &str = "
[model.upcycle]
layers = 'every'
n_experts = 4
";

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/fixtures/tiny-bert")
}

/// A run that starts from the encoder.
fn encoder(folder: &TempDir, name: &str, config: &[&str]) -> Run {
    let run = Run::new(folder.path(), name, &[&[TINY, ENCODER], config].concat().concat());
    run.set(format!("model.pretrained={}", fixture().display())).set("train.budget.epochs=2")
}

fn result(run: &Run) -> CellResult {
    serde_json::from_value(json(&run.dir.result())).unwrap()
}

#[test]
fn an_encoder_is_trained_and_its_checkpoint_needs_nothing_beside_it() {
    let folder = TempDir::new().unwrap();
    let run = encoder(&folder, "dense", &[]);
    let said = run.train().well().stderr;
    assert!(said.contains("weights of the pretrained encoder in "), "{said}");
    let config = fs::read_to_string(run.dir.config()).unwrap();
    for line in [
        "d_model = 8",
        "d_ff = 12",
        "n_heads = 2",
        "n_positions = 16",
        "norm = \"post\"",
        "activation = \"gelu\"",
    ] {
        assert!(config.contains(line), "{line}: {config}");
    }
    let elsewhere = TempDir::new().unwrap();
    copy(run.dir.path(), &elsewhere.path().join("run"));
    fs::remove_dir_all(run.dir.path()).unwrap();
    let mut predict = moelt(["predict", "run"]);
    predict.current_dir(elsewhere.path());
    let answers = Ended::of(predict, "polar1 polar2\nmark0x1 polar3\n").well().stdout;
    assert_eq!(answers.lines().count(), 3, "{answers}");
}

#[test]
fn layers_that_were_upcycled_are_edited_and_edited_by_hand() {
    let folder = TempDir::new().unwrap();
    let run = encoder(&folder, "upcycled", &[UPCYCLED, EDITED]);
    let said = run.train().well().stderr;
    assert!(said.contains("upcycled into 4 experts, 2 per token"), "{said}");
    let result = result(&run);
    assert!(result.edits.plans.len() > 2, "{:?}", result.edits);
    for layer in [0, 1].map(LayerId) {
        assert_eq!(result.layout.layer(layer).unwrap().kind, LayerKind::TopK { k: 2 });
    }
    let edited = folder.path().join("edited");
    let experts = &result.layout.layer(LayerId(1)).unwrap().experts;
    let merge = format!("1:{}:{}", experts[1].0, experts[0].0);
    let mut edit = moelt(["edit", "--merge", &merge, "--grow", "0", "--out"]);
    edit.arg(&edited).arg(run.dir.path());
    Ended::of(edit, "").well();
    Ended::moelt(["eval".as_ref(), edited.as_os_str()]).well();
}

#[cfg(unix)]
#[test]
fn an_upcycled_encoder_that_is_killed_goes_on_bit_for_bit() {
    let folder = TempDir::new().unwrap();
    goes_on_after_kills(|name| encoder(&folder, name, &[UPCYCLED, EDITED]));
}

/// Exports a run for Hugging Face's libraries.
fn to_hugging_face(run: &Run, out: &Path) -> Ended {
    let mut export = moelt(["export", "--form", "hugging-face", "--out"]);
    export.arg(out).arg(run.dir.path());
    Ended::of(export, "")
}

#[test]
fn an_encoder_goes_back_to_where_it_came_from() {
    let folder = TempDir::new().unwrap();
    let run = encoder(&folder, "dense", &[]);
    run.train().well();
    let out = folder.path().join("bert");
    let said = to_hugging_face(&run, &out).well().stdout;
    assert!(said.contains("1_Pooling/config.json, 2_Dense/config.json"), "{said}");
    assert_eq!(json(&out.join("classes.json")), serde_json::json!(["negative", "positive"]));
    assert_eq!(json(&out.join("1_Pooling/config.json"))["pooling_mode_mean_tokens"], true);
    let read = |path: PathBuf| fs::read(path).unwrap();
    assert_eq!(read(out.join("tokenizer.json")), read(fixture().join("tokenizer.json")));

    // What was exported is a pretrained encoder again: steps that lead nowhere leave it as it was.
    let again = encoder(&folder, "again", &[]).set(format!("model.pretrained={}", out.display()));
    let again = again.set("optim.lr=1e-12").set("model.pooling=first");
    again.train().well();
    let same = folder.path().join("same");
    to_hugging_face(&again, &same).well();
    let weights = |folder: &Path| tensors(&folder.join("model.safetensors"));
    let (before, after) = (weights(&out), weights(&same));
    assert!(before.keys().eq(after.keys()) && before.len() == 37, "{:?}", before.keys());
    for (name, values) in before {
        let differ = values.iter().zip(&after[&name]).any(|(a, b)| (a - b).abs() > 1e-6);
        assert!(!differ, "{name}");
    }
}

/// The values of a file of weights.
fn tensors(path: &Path) -> BTreeMap<String, Vec<f32>> {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let values = |data: &[u8]| data.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)).collect();
    file.iter().map(|(name, view)| (name.to_owned(), values(view.data()))).collect()
}

/// Word vectors for [`TINY`]'s data: ten words, all of whose numbers are the same.
fn vectors(folder: &TempDir) -> PathBuf {
    let path = folder.path().join("words.vec");
    let line = |i: u32| format!("polar{i}{}\n", format!(" {i}.5").repeat(16));
    fs::write(&path, (0..10).map(line).collect::<String>()).unwrap();
    path
}

#[test]
fn words_begin_with_their_vectors_and_keep_them_where_nothing_moves_them() {
    let folder = TempDir::new().unwrap();
    let run =
        Run::new(folder.path(), "run", TINY).set(format!("model.vectors={}", vectors(&folder).display()));
    let run = run.set("optim.embedding_lr_scale=0");
    let said = run.train().well().stderr;
    assert!(said.contains("words.vec: ") && said.contains("% of the tokens of training texts"), "{said}");
    let out = folder.path().join("exported");
    Ended::moelt(["export".as_ref(), run.dir.path(), "--out".as_ref(), out.as_path()]).well();
    let names = json(&out.join("vocabulary.json"))["rows"]["words"].clone();
    let row = 1 + names.as_array().unwrap().iter().position(|name| name == "polar3").unwrap();
    let vector = &tensors(&out.join("model.safetensors"))["embedding.table"][row * 16..][..16];
    assert_eq!(vector, [3.5; 16]);

    // So does a run that takes over its number of experts alone.
    let size =
        Run::new(folder.path(), "size", TINY).set(format!("start.size.run={}", run.dir.path().display()));
    let size = size.set(format!("model.vectors={}", folder.path().join("words.vec").display()));
    let said = size.train().well().stderr;
    assert!(said.contains("as many experts as") && said.contains("words.vec: "), "{said}");

    // The file is part of the run.
    fs::write(folder.path().join("words.vec"), format!("polar3{}\n", " 7".repeat(16))).unwrap();
    run.train().with_error("train", &["model.vectors"]);
}

#[test]
fn vectors_that_do_not_fit_are_refused_by_file_and_line() {
    let folder = TempDir::new().unwrap();
    let run =
        Run::new(folder.path(), "run", TINY).set(format!("model.vectors={}", vectors(&folder).display()));
    let ended = run.set("model.d_model=8").train();
    ended.with_error("train", &["words.vec:1: has 16 numbers a word", "set model.d_model=16"]);
    let nowhere = Run::new(folder.path(), "nowhere", TINY).set("model.vectors=no.vec").train();
    nowhere.with_error("train", &["model.vectors", "no.vec"]);
    let endless = Run::new(folder.path(), "endless", TINY).set("model.vectors=/dev/zero").train();
    endless.with_error("train", &["model.vectors", "/dev/zero: is not a file"]);
}

#[test]
fn what_hugging_face_has_not_is_refused() {
    let folder = TempDir::new().unwrap();
    let upcycled = encoder(&folder, "upcycled", &[UPCYCLED]);
    let pooled = encoder(&folder, "pooled", &[]).set("model.pooling=sum_max");
    let experts = Run::new(folder.path(), "experts", TINY);
    // Like a BERT, but for its tokens.
    let words = Run::new(folder.path(), "words", TINY)
        .set("text.max_tokens=16")
        .set("model.routing=dense")
        .set("model.top_k=1")
        .set("model.encoder.transformer={ norm = 'post', positions = { learned = { n_positions = 16 } } }");
    for (run, needed) in [
        (upcycled, "layer 0 has experts; a BERT is dense"),
        (pooled, "model.pooling: is \"sum_max\""),
        (experts, "layer 0 has experts"),
        (words, "its tokens are words of moelt's own"),
    ] {
        run.train().well();
        let out = folder.path().join("bert");
        to_hugging_face(&run, &out).with_error("export", &["--form hugging-face", needed]);
        assert!(!out.exists());
    }
}

#[cfg(unix)]
#[test]
fn a_run_with_word_vectors_and_attention_that_is_killed_goes_on_bit_for_bit() {
    let folder = TempDir::new().unwrap();
    let vectors = format!("model.vectors={}", vectors(&folder).display());
    goes_on_after_kills(|name| {
        let run = Run::new(folder.path(), name, &[TINY, EDITED].concat());
        run.set(&vectors).set("model.pooling=attention")
    });
}

#[test]
fn encoders_that_cannot_be_opened_are_refused_by_file_and_reason() {
    let folder = TempDir::new().unwrap();
    type Change = Box<dyn Fn(&Path)>;
    let edit = |file: &'static str, from: &'static str, to: &'static str| -> Change {
        Box::new(move |folder: &Path| {
            let (path, text) = (folder.join(file), fs::read_to_string(folder.join(file)).unwrap());
            assert!(text.contains(from), "{from}");
            fs::write(path, text.replace(from, to)).unwrap();
        })
    };
    let cases: [(&str, Change, &[&str]); 7] = [
        (
            "no-folder",
            Box::new(|folder| fs::remove_dir_all(folder).unwrap()),
            &["--set model.pretrained=", "config.json: "],
        ),
        (
            "no-weights",
            Box::new(|folder| fs::remove_file(folder.join("model.safetensors")).unwrap()),
            &["model.safetensors: "],
        ),
        ("gpt", edit("config.json", "\"bert\"", "\"gpt2\""), &["`model_type` is \"gpt2\"; moelt opens"]),
        ("swish", edit("config.json", "\"gelu\"", "\"swish\""), &["`hidden_act` is \"swish\""]),
        (
            "wider",
            edit("config.json", "\"intermediate_size\": 12", "\"intermediate_size\": 13"),
            &["needs [13, 8]"],
        ),
        ("no-pad", edit("tokenizer.json", "\"[PAD]\": 0,", "\"[PAD]\": 19,"), &["tokenizer.json"]),
        (
            "cut",
            Box::new(|folder| fs::write(folder.join("model.safetensors"), [1, 2, 3]).unwrap()),
            &["is not a safetensors file"],
        ),
    ];
    for (name, change, parts) in cases {
        let copied = folder.path().join(name);
        copy(&fixture(), &copied);
        change(&copied);
        let run = Run::new(folder.path(), &format!("of-{name}"), &[TINY, ENCODER].concat());
        run.set(format!("model.pretrained={}", copied.display())).train().with_error(name, parts);
    }
    let routed = encoder(&folder, "routed", &[]).set("model.routing.top_k.n_experts=4");
    routed.train().with_error("experts without a way to get them", &["`model.routing`", "model.upcycle"]);
    let gated = encoder(&folder, "gated", &[]).set("model.activation=swiglu");
    gated.train().with_error("gates", &["`model.activation`", "model.pretrained", "remove one of the two"]);
    let long = encoder(&folder, "long", &[]).set("text.max_tokens=17");
    long.train().with_error("more tokens than positions", &["`text.max_tokens`: is 17", "n_positions = 16"]);
}
