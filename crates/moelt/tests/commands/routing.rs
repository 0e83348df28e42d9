//! What a router can be told: losses, noise, a shared expert, balance and capacity, under edits and through a stop.

use std::{collections::BTreeSet, fs};

use safetensors::SafeTensors;
use serde_json::Value;
use tempfile::TempDir;

#[cfg(unix)]
use crate::resume::goes_on_after_kills;
use crate::support::{EDITED, Ended, Run, TINY, json, moelt};

/// Everything at once.
const ALL: [&str; 8] = [
    "model.n_layers=2",
    "model.top_k=1",
    "model.shared_d_ff=6",
    "model.router_jitter=0.1",
    "model.capacity_factor=1.25",
    "train.router_z_coef=0.01",
    "train.balance_bias_rate=0.02",
    "train.budget.epochs=2",
];

fn all(folder: &TempDir, name: &str) -> Run {
    edited(folder, name, &ALL)
}

/// Experts that choose, come and go. All have as many tokens, so that it is not by these that they are told apart.
fn choosing(folder: &TempDir, name: &str) -> Run {
    let saliency = "control.policy.rule.saliency=\"router_mass\"";
    edited(folder, name, &["model.expert_choice=true", "model.n_layers=2", "train.budget.epochs=2", saliency])
}

fn edited(folder: &TempDir, name: &str, sets: &[&str]) -> Run {
    sets.iter().fold(Run::new(folder.path(), name, &[TINY, EDITED].concat()), |run, set| run.set(*set))
}

/// The events of a kind, in order.
fn of_kind(run: &Run, kind: &str) -> Vec<Value> {
    run.events().into_iter().filter(|event| event["event"] == kind).collect()
}

/// What a parameter with an expert axis holds, by expert id.
fn by_expert(run: &Run, param: &str) -> Vec<(u32, f32)> {
    let bytes = fs::read(run.pointed_folder("latest").join("model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let value = |(name, tensor): (&str, safetensors::tensor::TensorView<'_>)| {
        let id = name.strip_prefix(param)?.strip_prefix(".expert.")?.parse().ok()?;
        Some((id, f32::from_le_bytes(tensor.data().try_into().unwrap())))
    };
    tensors.iter().filter_map(value).collect()
}

#[test]
fn all_of_it_is_trained_edited_and_edited_by_hand() {
    let folder = TempDir::new().unwrap();
    let run = all(&folder, "all");
    run.train().well();
    let edits = of_kind(&run, "edit");
    let text = serde_json::to_string(&edits).unwrap();
    assert!(text.contains("\"grow\"") && text.contains("\"prune\""), "{text}");
    let windows = of_kind(&run, "window");
    assert!(windows.iter().all(|window| window["router_z_loss"].as_f64().unwrap() > 0.0));
    assert!(windows.iter().any(|window| window["routing"][0]["dropped"].as_f64().is_some()));
    let layout = &edits.last().unwrap()["layout"]["layers"];
    for layer in [0, 1] {
        let ids = |list: &Value| -> BTreeSet<u64> {
            list.as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect()
        };
        let biases = by_expert(&run, &format!("layers.{layer}.router.balance_bias"));
        assert_eq!(
            biases.iter().map(|(id, _)| u64::from(*id)).collect::<BTreeSet<_>>(),
            ids(&layout[layer]["experts"])
        );
        let sum = biases.iter().map(|(_, bias)| bias).sum::<f32>();
        assert!(sum.abs() < 1e-5 && biases.iter().any(|(_, bias)| *bias != 0.0), "{biases:?}");
    }
    let edited = folder.path().join("edited");
    let experts = layout[1]["experts"].as_array().unwrap();
    let mut edit =
        moelt(["edit", "--merge", &format!("1:{}:{}", experts[1], experts[0]), "--grow", "0", "--out"]);
    edit.arg(&edited).arg(run.dir.path());
    Ended::of(edit, "").well();
    Ended::moelt(["eval".as_ref(), edited.as_os_str()]).well();
}

#[cfg(unix)]
#[test]
fn all_of_it_goes_on_bit_for_bit_after_a_kill() {
    let folder = TempDir::new().unwrap();
    goes_on_after_kills(|name| all(&folder, name));
}

#[test]
fn experts_that_choose_have_as_many_tokens_after_every_edit() {
    let folder = TempDir::new().unwrap();
    let run = choosing(&folder, "choosing");
    run.train().well();
    let text = serde_json::to_string(&of_kind(&run, "edit")).unwrap();
    assert!(text.contains("\"grow\"") && text.contains("\"prune\""), "{text}");
    let windows = of_kind(&run, "window");
    for routing in windows.iter().flat_map(|window| window["routing"].as_array().unwrap()) {
        let loads: Vec<f64> =
            routing["tokens_per_expert"].as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect();
        // Of experts that were there throughout a window.
        let most = loads.iter().copied().fold(0.0, f64::max);
        assert!(loads.iter().filter(|load| **load == most).count() > 1 || loads.len() == 1, "{loads:?}");
    }
    Ended::moelt(["eval".as_ref(), run.dir.path()]).well();
}

#[test]
fn it_is_shown_that_experts_chose() {
    let folder = TempDir::new().unwrap();
    // No window ends before the last step.
    let run = choosing(&folder, "choosing").set("train.log_every=1000").set("train.budget.epochs=1");
    run.train().well();
    let before = run.dir.checkpoints().join("step-00000014");
    let shown = Ended::moelt(["inspect".as_ref(), before.as_os_str()]).well().stdout;
    assert!(shown.contains("tokens of training, in which experts chose them"), "{shown}");
}

#[cfg(unix)]
#[test]
fn experts_that_choose_go_on_bit_for_bit_after_a_kill() {
    let folder = TempDir::new().unwrap();
    goes_on_after_kills(|name| choosing(&folder, name));
}

#[test]
fn the_z_loss_is_trained_on_as_told_and_reported_either_way() {
    let folder = TempDir::new().unwrap();
    let [without, with] = ["0", "1"].map(|coef| {
        let run = Run::new(folder.path(), coef, TINY).set(format!("train.router_z_coef={coef}"));
        run.train().well();
        of_kind(&run, "window").last().unwrap()["router_z_loss"].as_f64().unwrap()
    });
    assert!(with < without, "{with} {without}");
}

#[test]
fn balance_biases_even_the_load_out_without_a_loss() {
    let folder = TempDir::new().unwrap();
    let [without, with] = ["0", "0.01"].map(|rate| {
        let run = Run::new(folder.path(), rate, TINY).set(format!("train.balance_bias_rate={rate}"));
        let run = run.set("train.load_balancing_coef=0").set("model.top_k=1");
        run.train().well();
        let load = |window: &Value| window["routing"][0]["load_entropy"].as_f64().unwrap();
        of_kind(&run, "window").iter().rev().take(4).map(load).sum::<f64>() / 4.0
    });
    assert!(with > without, "{with} {without}");
}

#[test]
fn biases_that_run_away_are_warned_of_once_a_window_and_shown() {
    let folder = TempDir::new().unwrap();
    let run = Run::new(folder.path(), "run", TINY).set("train.balance_bias_rate=30");
    let said = run.train().well().stderr;
    assert!(said.contains("the balance bias of expert ") && said.contains("beyond ±10"), "{said}");
    let (warnings, windows) = (of_kind(&run, "warning"), of_kind(&run, "window"));
    assert!(!warnings.is_empty() && warnings.len() <= windows.len());
    let biases = warnings[0]["routing"].as_array().unwrap();
    assert!(
        biases.iter().any(|warning| warning["balance_bias"]["bias"].as_f64().unwrap_or(0.0).abs() > 10.0)
    );
    let latest = run.pointed_folder("latest");
    let shown = Ended::moelt(["inspect".as_ref(), latest.as_os_str()]).well().stdout;
    assert!(shown.contains("balance bias"), "{shown}");
    let facts = Ended::moelt(["inspect".as_ref(), latest.as_os_str(), "--json".as_ref()]).well().stdout;
    let facts: Value = serde_json::from_str(&facts).unwrap();
    assert_eq!(
        shown.contains("warning     the balance bias of expert "),
        !facts["warnings"].as_array().unwrap().is_empty()
    );
    assert_eq!(facts["manifest"], json(&latest.join("manifest.json")));
}
