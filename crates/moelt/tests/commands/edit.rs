//! Offline surgery: what an edited checkpoint holds, and what can be done with it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use safetensors::SafeTensors;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Ended, Run, TINY, copy, files, json, moelt};

/// A finished run that has kept all its checkpoints, those between two windows too.
struct Trained {
    folder: TempDir,
    run: Run,
}

impl Trained {
    fn new(sets: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let run = Run::new(folder.path(), "run", TINY).set("train.keep_last=9");
        let run = sets.iter().fold(run, |run, set| run.set(*set));
        run.train().well();
        Self { folder, run }
    }

    /// A new folder in which nothing lies yet.
    fn out(&self, name: &str) -> PathBuf {
        self.folder.path().join("edited").join(name)
    }

    /// `moelt edit` of the latest checkpoint; gives the folder.
    fn edited(&self, name: &str, options: &[&str]) -> PathBuf {
        let out = self.out(name);
        edit(&self.run.checkpoint("latest"), options, &out).well();
        out
    }
}

static TRAINED: LazyLock<Trained> = LazyLock::new(|| Trained::new(&[]));

fn edit(checkpoint: &Path, options: &[&str], out: &Path) -> Ended {
    let mut command = moelt(["edit", "--threads", "1"]);
    command.arg(checkpoint).args(options).arg("--out").arg(out);
    Ended::of(command, "")
}

/// The tensors of a checkpoint's three files, as bytes.
fn tensors(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let of_file = |file: &str| {
        let bytes = fs::read(folder.join(format!("{file}.safetensors"))).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap().tensors();
        let named = tensors.into_iter().map(|(name, view)| (format!("{file}/{name}"), view.data().to_vec()));
        named.collect::<Vec<_>>()
    };
    ["model", "average", "optimizer"].into_iter().flat_map(of_file).collect()
}

fn of_expert(name: &str, id: u64) -> bool {
    name.ends_with(&format!(".expert.{id}"))
}

fn experts(manifest: &Value) -> &Value {
    &manifest["layout"]["layers"][0]["experts"]
}

fn manifest(folder: &Path) -> Value {
    json(&folder.join("manifest.json"))
}

/// `moelt inspect --json`
fn inspect(folder: &Path) -> Value {
    let ended = Ended::moelt(["inspect".as_ref(), folder.as_os_str(), "--json".as_ref()]).well();
    serde_json::from_str(&ended.stdout).unwrap()
}

#[track_caller]
fn is_read_by_every_command(folder: &Path) {
    for command in ["inspect", "eval", "predict"] {
        Ended::of(moelt([command.as_ref(), folder.as_os_str()]), "polar1\n").well();
    }
}

#[test]
fn edits_of_one_command_are_made_together_and_survivors_keep_every_byte() {
    let source = TRAINED.run.pointed_folder("latest");
    let untouched = files(TRAINED.run.dir.path());
    let out = TRAINED.edited("together", &["--grow", "0:0", "--prune", "0:1", "--merge", "0:2:3"]);
    assert_eq!(files(TRAINED.run.dir.path()), untouched);
    let (before, after) = (tensors(&source), tensors(&out));
    for (name, bytes) in &before {
        if of_expert(name, 1) || of_expert(name, 2) {
            assert!(!after.contains_key(name), "{name}");
        } else if !of_expert(name, 3) {
            assert_eq!(after[name], *bytes, "{name}");
        }
    }
    for id in [3, 4] {
        let name = |kind: &str| format!("optimizer/{kind}.layers.0.experts.w_in.expert.{id}");
        for kind in ["moment_1", "moment_2", "steps"] {
            assert!(after[&name(kind)].iter().all(|byte| *byte == 0), "{kind} of {id}");
        }
    }
    is_read_by_every_command(&out);
    let (was, is) = (manifest(&source), manifest(&out));
    assert_eq!(*experts(&is), json!([0, 3, 4]));
    assert_eq!((&is["validation"], &is["config"], &is["step"]), (&Value::Null, &was["config"], &was["step"]));
    assert_ne!(is["probe"]["ema_logits"], was["probe"]["ema_logits"]);
}

#[test]
fn inspect_tells_where_experts_come_from_and_what_was_edited() {
    let out = TRAINED.edited("told", &["--grow", "0:0", "--prune", "0:1", "--merge", "0:2:3"]);
    let step = manifest(&out)["step"].clone();
    let facts = inspect(&out);
    assert_eq!(facts["manifest"], manifest(&out));
    let of = |key: &str| {
        let experts = facts["experts"].as_array().unwrap();
        experts.iter().map(|expert| expert[key].clone()).collect::<Vec<_>>()
    };
    let merged = json!([{"expert": 2, "step": step}]);
    let lineage = [
        json!({"birth": {"kind": "initial"}, "merged": []}),
        json!({"birth": {"kind": "initial"}, "merged": merged}),
        json!({"birth": {"kind": "copy", "parent": 0, "step": step}, "merged": []}),
    ];
    assert_eq!((of("expert"), of("lineage")), (vec![json!(0), json!(3), json!(4)], lineage.to_vec()));
    assert_eq!(of("steps")[1..], [json!(0), json!(0)]);
    let ended = Ended::moelt(["inspect".as_ref(), out.as_os_str()]).well();
    let said = [
        format!("initial; merged: +2 at step {step}"),
        format!("copy of 0 at step {step}"),
        format!("step {step}: layer 0: +4 copy of 0 (noise 0.1), -1, 2 into 3 (share 0."),
    ];
    assert!(said.iter().all(|part| ended.stdout.contains(part)), "{}", ended.stdout);
}

#[test]
fn an_expert_that_was_grown_and_pruned_leaves_no_byte_behind() {
    let source = TRAINED.run.pointed_folder("latest");
    let grown = TRAINED.edited("grown", &["--grow", "0", "--grow", "0:2", "--noise", "0.3"]);
    assert_eq!(*experts(&manifest(&grown)), json!([0, 1, 2, 3, 4, 5]));
    let out = TRAINED.out("pruned-again");
    edit(&grown, &["--prune", "0:5", "--prune", "0:4"], &out).well();
    for file in ["model.safetensors", "average.safetensors", "optimizer.safetensors"] {
        assert_eq!(fs::read(out.join(file)).unwrap(), fs::read(source.join(file)).unwrap(), "{file}");
    }
    let (was, is) = (manifest(&source), manifest(&out));
    assert_eq!(is["probe"], was["probe"]);
    assert_eq!((&is["layout"]["next_id"], is["edits"]["plans"].as_array().unwrap().len()), (&json!(6), 2));
}

#[test]
fn a_merge_weighs_by_the_tokens_that_the_checkpoint_has_counted() {
    // Of the windows in a checkpoint the one since the last decision is the longest here.
    let latest = TRAINED.run.pointed_folder("latest");
    let tokens = manifest(&latest)["state"]["decision_window"]["layers"][0]["tokens_per_expert"].clone();
    let (gone, stays) = (tokens[1].as_f64().unwrap(), tokens[3].as_f64().unwrap());
    let out = TRAINED.out("by-tokens");
    let ended = edit(&latest, &["--merge", "0:1:3"], &out).well();
    let plan = &manifest(&out)["edits"]["plans"][0];
    assert_eq!(plan["edits"][0]["merge"]["share"].as_f64().unwrap(), gone / (gone + stays));
    let numbers = json!({"layer_0.expert_1.tokens": gone, "layer_0.expert_3.tokens": stays});
    assert_eq!(plan["evidence"], json!({"layers": [], "numbers": numbers}));
    assert!(ended.stdout.contains("share of 1 in 3: 0."), "{}", ended.stdout);
    let sums = &manifest(&out)["state"]["decision_window"]["layers"][0];
    assert_eq!(sums["tokens_per_expert"], json!([tokens[0], tokens[2], gone + stays]));
    assert!(inspect(&out)["experts"][2]["routed"]["utilization"].as_f64().unwrap() > 0.0);

    // A layer that has just got its router has counted nothing.
    let dense = Trained::new(&["model.routing=dense"]);
    let (upcycled, out) = (dense.edited("upcycled", &["--upcycle", "0:4"]), dense.out("by-halves"));
    let ended = edit(&upcycled, &["--merge", "0:1:3"], &out).well();
    assert!(ended.stdout.contains("0.5, because the checkpoint has not counted"), "{}", ended.stdout);
    assert_eq!(manifest(&out)["edits"]["plans"][1]["evidence"], json!({"layers": [], "numbers": {}}));
}

#[test]
fn what_was_done_is_said_to_people_and_machines() {
    let latest = TRAINED.run.checkpoint("latest");
    let options = ["--split", "0:1", "--grow", "0", "--split", "0:3"];
    let ended = edit(&latest, &options, &TRAINED.out("said")).well();
    let said = [
        "layer 0: +4 split of 1, +5 fresh, +6 split of 3",
        "4 experts, top-2: 0 1 2 3 → 7 experts, top-2: 0 1 2 3 4 5 6",
        "of the averaged weights' logits on 4 texts",
    ];
    assert!(said.iter().all(|part| ended.stdout.contains(part)), "{}", ended.stdout);
    let options = [options.as_slice(), &["--json"]].concat();
    let ended = edit(&latest, &options, &TRAINED.out("said-json")).well();
    let facts: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&facts["plan"]["reason"], &facts["texts"]), (&json!("moelt edit"), &json!(4)));
    assert_eq!(facts["layout"]["layers"][0]["experts"], json!([0, 1, 2, 3, 4, 5, 6]));
    assert!(facts["deviation"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_split_where_every_expert_is_chosen_changes_nothing() {
    let all = Trained::new(&["model.top_k=9"]);
    let options = ["--split", "0:2", "--json"];
    let ended = edit(&all.run.checkpoint("latest"), &options, &all.out("split")).well();
    let facts: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert!(facts["deviation"].as_f64().unwrap() < 1e-6, "{facts}");
}

#[test]
fn dense_and_top_any_layers_are_edited_too() {
    let dense = Trained::new(&["model.routing=dense"]);
    let out = dense.edited("upcycled", &["--upcycle", "0:4", "--top-k", "3", "--reinit", "0.25"]);
    is_read_by_every_command(&out);
    let layer = &manifest(&out)["layout"]["layers"][0];
    assert_eq!(*layer, json!({"kind": {"top_k": {"k": 3}}, "experts": [0, 1, 2, 3]}));
    let lineage = &inspect(&out)["experts"][2]["lineage"]["birth"];
    assert_eq!((&lineage["kind"], &lineage["parent"]), (&json!("upcycled"), &json!(0)));
    edit(&out, &["--prune", "0:2"], &dense.out("pruned")).well();
    is_read_by_every_command(&dense.out("pruned"));

    let top_any = Trained::new(&["model.routing=top_any"]);
    let out = top_any.edited("edited", &["--grow", "0:1", "--prune", "0:0"]);
    is_read_by_every_command(&out);
    assert_eq!(*experts(&manifest(&out)), json!([1, 2, 3, 4]));
    assert_eq!(inspect(&out)["experts"][0]["bias"], Value::Null);
}

#[test]
fn a_run_starts_from_an_edited_checkpoint() {
    let out = TRAINED.edited("start", &["--grow", "0:1", "--prune", "0:2"]);
    let folder = TempDir::new().unwrap();
    let run = Run::new(folder.path(), "on", TINY).set(format!("start.weights.run={}", out.display()));
    run.train().well();
    assert_eq!(run.events()[0]["layout"]["layers"][0]["experts"], json!([0, 1, 3, 4]));
    is_read_by_every_command(run.dir.path());
}

#[test]
fn what_experts_share_is_frozen_and_thawed() {
    let out = TRAINED.out("shared");
    let ended = edit(&TRAINED.run.checkpoint("latest"), &["--freeze", "0:1", "--freeze-shared"], &out).well();
    assert!(
        ended.stdout.contains("edits       shared parts frozen; layer 0: 1 frozen\n"),
        "{}",
        ended.stdout
    );
    is_read_by_every_command(&out);
    let again = edit(&out, &["--freeze", "0:2", "--freeze-shared"], &TRAINED.out("twice"));
    again.with_error("twice", &["--freeze-shared: what experts share is frozen already"]);

    let folder = TempDir::new().unwrap();
    let run = Run::new(folder.path(), "on", TINY).set(format!("start.weights.run={}", out.display()));
    let run = run.set("train.keep_last=9");
    run.train().well();
    let steps = fs::read_dir(run.dir.checkpoints()).unwrap().map(|entry| entry.unwrap().path());
    let first = steps.filter(|path| path.is_dir()).min().unwrap();
    let (before, after) = (tensors(&first), tensors(&run.pointed_folder("latest")));
    for (name, bytes) in before.iter().filter(|(name, _)| name.starts_with("model/")) {
        let frozen = !name.contains(".expert.") || of_expert(name, 1);
        assert!(!frozen || after[name] == *bytes, "{name}");
    }
    let trained = "model/layers.0.experts.w_in.expert.0";
    assert_ne!(before[trained], after[trained]);

    let thawed = TRAINED.out("thawed");
    edit(&out, &["--thaw-shared", "--thaw", "0:1"], &thawed).well();
    let latest = TRAINED.run.pointed_folder("latest");
    let layout = |folder: &Path| manifest(folder)["layout"].clone();
    assert_ne!(layout(&out), layout(&latest));
    assert_eq!(layout(&thawed), layout(&latest));
}

/// The experts of a run that starts from another are that one's, whatever its config says.
#[test]
fn a_policy_trains_what_was_upcycled_and_refuses_more_experts_than_it_allows() {
    let dense = Trained::new(&["model.routing=dense"]);
    let out = dense.edited("upcycled", &["--upcycle", "0:6"]);
    let folder = TempDir::new().unwrap();
    let sets = ["model.routing=dense", "control.edits.every=5", "control.policy.rule.grow_above=0"];
    let start = format!("start.weights.run={}", out.display());
    let run = sets.iter().fold(Run::new(folder.path(), "on", TINY).set(start), |run, set| run.set(*set));
    run.clone().set("control.edits.max_experts=5").train().with_error(
        "six experts",
        &[
            "`start.weights.run`: ",
            "does not fit `model.routing` here: it has 6 experts; control.edits.min_experts and max_experts",
        ],
    );
    assert!(!run.dir.config().exists());
    run.train().well();
    assert!(run.events().iter().any(|event| event["event"] == "edit"));
}

#[test]
fn nothing_is_written_over_what_is_there() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("file"), "mine").unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    let before = files(folder.path());
    for name in ["", "file", "empty"] {
        let ended = edit(&TRAINED.run.checkpoint("latest"), &["--prune", "0:1"], &folder.path().join(name));
        ended.with_error(name, &["--out ", "is there already"]);
    }
    let below = edit(&TRAINED.run.checkpoint("latest"), &["--prune", "0:1"], &folder.path().join("file/x"));
    below.with_error("below a file", &["--out ", "file"]);
    assert_eq!(files(folder.path()), before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn what_cannot_be_edited_is_an_error_that_names_the_option() {
    let cases: [(&[&str], &str); 14] = [
        (&["--grow", "x"], "--grow x: expected L or L:PARENT, such as 0 or 0:3"),
        (&["--grow", "0:1:2"], "--grow 0:1:2: expected L or L:PARENT, such as 0 or 0:3"),
        (&["--split", "0"], "--split 0: expected L:PARENT, such as 0:3"),
        (&["--prune", "0:-1"], "--prune 0:-1: expected L:ID, such as 0:3"),
        (&["--merge", "0:1"], "--merge 0:1: expected L:FROM:INTO, such as 0:3:1"),
        (&["--merge", "0:1:1"], "--merge 0:1:1: these are one expert; name two"),
        (&["--upcycle", "0"], "--upcycle 0: expected L:N, such as 0:4"),
        (&["--upcycle", "0:4"], "--upcycle 0:4: layer 0: has a router already"),
        (&["--upcycle", "0:1"], "--upcycle 0:1: fewer experts than --top-k 2"),
        (&["--grow", "0", "--prune", "0:9"], "--prune 0:9: layer 0 has no expert 9; it has 0 1 2 3"),
        (&["--prune", "3:1"], "--prune 3:1: there is no layer 3; the layers are 0 to 0"),
        (
            &["--prune", "0:1", "--grow", "0", "--split", "0:1"],
            "--split 0:1: layer 0: expert 1 takes part in two edits of one plan; do it in two commands",
        ),
        (
            &["--prune", "0:0", "--prune", "0:1", "--prune", "0:2", "--prune", "0:3"],
            "--prune 0:3: layer 0 would have 0 experts",
        ),
        (&["--grow", "0:1", "--noise", "1e39"], "with these edits a"),
    ];
    let out = TRAINED.out("never");
    for (options, message) in cases {
        let ended = edit(&TRAINED.run.checkpoint("latest"), options, &out);
        ended.with_error(&options.join(" "), &[message]);
    }
    let nothing = edit(&TRAINED.run.checkpoint("latest"), &[], &out);
    assert_eq!(nothing.code, Some(2), "{nothing:?}");
    assert!(nothing.stderr.contains("--grow <L[:PARENT]>|--split <L:PARENT>|"), "{nothing:?}");
    assert!(!out.exists());
}

#[test]
fn a_damaged_checkpoint_is_refused_before_and_after_it_was_edited() {
    let good = TRAINED.edited("good", &["--prune", "0:1"]);
    let folder = TempDir::new().unwrap();
    let bad = folder.path().join("bad");
    for file in files(&good).keys() {
        copy(&good, &bad);
        let mut bytes = fs::read(bad.join(file)).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x04;
        fs::write(bad.join(file), bytes).unwrap();
        let name = if file.starts_with("manifest.") { "manifest" } else { file };
        for command in ["inspect", "eval", "predict"] {
            let ended = Ended::moelt([command.as_ref(), bad.as_os_str()]);
            ended.with_error(&format!("{file}, {command}"), &[name]);
        }
        edit(&bad, &["--prune", "0:2"], &folder.path().join("out")).with_error(file, &[name]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "{file}");
    }
}
