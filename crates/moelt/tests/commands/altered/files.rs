//! Files that no checkpoint has, and tensors that no run can have written.

use std::{fs, path::Path};

use serde_json::json;

use super::{Case, case, refused};
use crate::damage::{Tensors, edit_manifest, edit_tensors};

/// A case that lets the manifest name a file.
fn naming(name: &'static str, parts: &[&'static str]) -> Case {
    let alter = move |folder: &Path| {
        let path = folder.join(name);
        if !path.exists() {
            fs::write(&path, "x").unwrap();
        }
        edit_manifest(folder, |manifest| manifest["files"][name] = json!("0".repeat(64)));
    };
    case(name, alter, parts)
}

/// A case that edits the tensors of a file.
fn tensors(
    what: &'static str,
    file: &'static str,
    edit: impl Fn(&mut Tensors) + 'static,
    parts: &[&'static str],
) -> Case {
    case(what, move |folder| assert!(edit_tensors(&folder.join(file), &edit)), parts)
}

/// A case in which a file of weights is nothing but this header, which is as long as it says.
fn header(what: &'static str, header: &'static str, parts: &[&'static str]) -> Case {
    let alter = move |folder: &Path| {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend([0; 64]);
        fs::write(folder.join(MODEL), bytes).unwrap();
    };
    case(what, alter, parts)
}

fn set_bytes(name: &'static str, bytes: &'static [u8]) -> impl Fn(&mut Tensors) {
    move |tensors| tensors.get_mut(name).unwrap().bytes[..bytes.len()].copy_from_slice(bytes)
}

#[test]
fn files_that_no_checkpoint_has() {
    let removed = |folder: &Path| {
        edit_manifest(folder, |manifest| {
            drop(manifest["files"].as_object_mut().unwrap().remove("average.safetensors"))
        });
    };
    refused(&[
        naming("notes.txt", &["manifest.json: files: names `notes.txt`; such a checkpoint has config.toml"]),
        naming("../step-00000050/config.toml", &["files: names `../step-00000050/config.toml`"]),
        naming("/dev/null", &["files: names `/dev/null`"]),
        case("one file less", removed, &["manifest.json: names no file `average.safetensors`"]),
    ]);
}

const MODEL: &str = "model.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const AVERAGE: &str = "average.safetensors";

#[test]
fn numbers_that_no_run_can_have_written() {
    const NAN: &[u8] = &f32::NAN.to_le_bytes();
    const BELOW: &[u8] = &(-1f32).to_le_bytes();
    const MANY: &[u8] = &u64::MAX.to_le_bytes();
    refused(&[
        tensors("a NaN", MODEL, set_bytes("embedding.table", NAN), &["`embedding.table` has NaN"]),
        tensors(
            "an average NaN",
            AVERAGE,
            set_bytes("head.bias", NAN),
            &["average.safetensors: tensor `head.bias`"],
        ),
        tensors(
            "a square below 0",
            OPTIMIZER,
            set_bytes("moment_2.head.bias", BELOW),
            &["`moment_2.head.bias` has -1"],
        ),
        tensors(
            "steps",
            OPTIMIZER,
            set_bytes("steps.head.bias", MANY),
            &["`steps.head.bias` counts 1844674"],
        ),
        tensors(
            "updates",
            AVERAGE,
            set_bytes("updates.head.bias", MANY),
            &["`updates.head.bias` counts 1844674"],
        ),
    ]);
}

#[test]
fn tensors_that_no_run_can_have_written() {
    let smaller = |tensors: &mut Tensors| {
        let table = tensors.get_mut("embedding.table").unwrap();
        table.shape[0] = 1;
        table.bytes.truncate(4 * table.shape[1]);
    };
    let larger = |tensors: &mut Tensors| {
        let table = tensors.get_mut("embedding.table").unwrap();
        table.shape[0] = 100_000;
        table.bytes.resize(4 * 100_000 * table.shape[1], 0);
    };
    let empty = |tensors: &mut Tensors| tensors.clear();
    refused(&[
        tensors(
            "a table of one row",
            MODEL,
            smaller,
            &["misshapen 1: embedding.table (needs [", "found [1, 16])"],
        ),
        tensors(
            "a table of 10⁵ rows",
            MODEL,
            larger,
            &["misshapen 1: embedding.table (needs [", "found [100000, 16])"],
        ),
        tensors(
            "no tensor",
            MODEL,
            empty,
            &["model.safetensors: the tensors are not those of the model; missing "],
        ),
    ]);
}

#[test]
fn headers_that_no_run_can_have_written() {
    refused(&[
        header(
            "a size beyond the file",
            r#"{"w":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}"#,
            &["model.safetensors: is not a safetensors file"],
        ),
        header(
            "a size beyond every number",
            r#"{"w":{"dtype":"F32","shape":[9223372036854775807,9],"data_offsets":[0,64]}}"#,
            &["model.safetensors: is not a safetensors file"],
        ),
        header(
            "no size at all",
            r#"{"w":{"dtype":"F32","shape":[9223372036854775807,0],"data_offsets":[0,0]},"v":{"dtype":"F32","shape":[16],"data_offsets":[0,64]}}"#,
            &["the tensors are not those of the model; missing ", "unexpected 2"],
        ),
    ]);
}
