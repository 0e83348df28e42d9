//! Numbers and lists of the manifest that no run can have written.

use std::path::Path;

use serde_json::{Value, json};

use super::{Case, case, put, refused, set};
use crate::damage::edit_manifest;

/// Sets the value at a pointer below both layouts of the manifest: the one it has, and the one it began with.
fn layouts(what: &'static str, pointer: &'static str, value: Value, parts: &[&'static str]) -> Case {
    let alter = move |folder: &Path| {
        edit_manifest(folder, |manifest| {
            for layout in ["/layout", "/edits/initial"] {
                put(manifest, &format!("{layout}{pointer}"), value.clone());
            }
        });
    };
    case(what, alter, parts)
}

#[test]
fn layouts_that_no_model_can_have() {
    let layer = json!({"kind": {"top_k": {"k": 2}}, "experts": [0, 1, 2, 3]});
    let many: Vec<u64> = (0..1_000_000).collect();
    let experts = "/layers/0/experts";
    refused(&[
        layouts("top_k 0", "/layers/0/kind/top_k/k", json!(0), &["manifest.json: layer 0 has top_k 0"]),
        layouts("top_k −1", "/layers/0/kind/top_k/k", json!(-1), &["manifest.json: invalid value", "-1"]),
        layouts("another top_k", "/layers/0/kind/top_k/k", json!(3), &["edits.initial: is another layout"]),
        layouts("no layer", "/layers", json!([]), &["a layout needs at least one layer"]),
        layouts("no expert", experts, json!([]), &["layer 0 has 0 experts; a top_k layer needs at least 1"]),
        layouts("an expert twice", experts, json!([0, 1, 2, 2]), &["layer 0 has expert 2 twice"]),
        layouts("an id beyond next_id", experts, json!([0, 1, 2, 9]), &["expert 9, but next_id is 4"]),
        layouts("ids beyond all", "/next_id", json!(u64::MAX), &["next_id is 18446744073709551615"]),
        layouts("a million experts", experts, json!(many), &["expert 4, but next_id is 4"]),
        layouts("dense with four", "/layers/0/kind", json!("dense"), &["a dense layer needs exactly 1"]),
        layouts("another router", "/layers/0/kind", json!("top_any"), &["edits.initial: is another layout"]),
        layouts("two layers", "/layers", json!([layer, layer]), &["has 2 layers, but model.n_layers is 1"]),
        layouts("10⁵ layers", "/layers", json!(vec![layer; 100_000]), &["has 100000 layers"]),
        set("/layout/layers/0/experts", json!([1, 0, 2, 3]), &["the edit log leads to"]),
    ]);
}

#[test]
fn counters_that_no_run_can_have_come_to() {
    let later = |folder: &Path| {
        edit_manifest(folder, |manifest| {
            (manifest["step"], manifest["state"]["total_steps"]) = (json!(61), json!(61));
        });
    };
    let plan = |step: u64| json!({"step": step, "edits": [], "reason": "", "evidence": {"layers": [], "numbers": {}}});
    refused(&[
        set("/seed", json!(7), &["seed: is 7, but config.toml says 0"]),
        set("/arm", json!("other"), &["arm: is `other`, but config.toml says `tiny`"]),
        set("/step", json!(59), &["counts 60, but the checkpoint is of step 59"]),
        case("another step than the folder's", later, &["step: is 61, but the folder is that of step 60"]),
        set("/step", json!(u64::MAX), &["step: is 18446744073709551615; must be at most 60"]),
        set("/step", json!(-1), &["invalid value", "-1"]),
        set("/step", json!(1e18), &["invalid type: floating point"]),
        set("/state/total_steps", json!(0), &["state.total_steps: is 0; must be 1 to"]),
        set("/state/total_steps", json!(u64::MAX), &["state.total_steps: is 18446744073709551615"]),
        set("/state/evaluations_since_best", json!(u64::MAX), &["state.evaluations_since_best"]),
        set("/state/best/step", json!(61), &["state.best.step: is 61; must be at most 60, step"]),
        set("/state/best/accuracy", json!(-1.0), &["state.best.accuracy: is -1; must be 0 to 1"]),
        set("/state/measuring_flops/computed", json!(u64::MAX), &["state.measuring_flops", "state.flops"]),
        set("/state/seconds", json!(-1.0), &["state.seconds: has -1; must be at least 0"]),
        set("/edits/plans", json!([plan(61)]), &["edits: has a plan of step 61, but this is step 60"]),
        set("/edits/plans", json!([plan(9), plan(8)]), &["plan 1: is of step 8, after one of step 9"]),
        set("/events/lines", json!(u64::MAX), &["events: 18446744073709551615 lines in"]),
    ]);
}

#[test]
fn windows_policies_and_ramp_ins_that_do_not_fit_the_experts() {
    let sums = |n: usize| {
        let list = vec![1.0; n];
        json!({"tokens": 1.0, "tokens_per_expert": list, "entropy": 0.0, "expert_weight": list, "weighted_norm": list,
               "mass": list, "unrouted": {"tokens": 0.0, "sum": []}})
    };
    let ramping_in = |layer: u64, expert: u64, since: u64, bias: f64| json!([{"layer": layer, "expert": expert, "since": since, "bias": bias}]);
    let network = json!({"weights": [1.0], "first": [], "second": [], "updates": 0});
    let infinite = json!({"weights": [1e300], "first": [0.0], "second": [0.0], "updates": 0});
    let head = |network: &Value| json!({"networks": [network], "records": [], "flops": 0});
    let memory = json!({"last_edit": u64::MAX, "asked_to_grow": 0, "asked_to_prune": {}});
    refused(&[
        set("/state/window/steps", json!(u64::MAX), &["state.window.steps"]),
        set(
            "/state/window/layers",
            json!([sums(3)]),
            &["state.window.layers: `tokens_per_expert` has 3 numbers for 4"],
        ),
        set("/state/last_window", json!([sums(4), sums(4)]), &["state.last_window: has sums of 2 layers"]),
        set(
            "/state/decision_window/layers",
            json!([sums(100_000)]),
            &["`tokens_per_expert` has 100000 numbers for 4"],
        ),
        set(
            "/state/last_window/0/expert_weight",
            json!([1.0]),
            &["state.last_window: `expert_weight` has 1 numbers"],
        ),
        set("/state/last_window/0/tokens", json!(-5.0), &["state.last_window: has -5; must be at least 0"]),
        set(
            "/state/last_window/0/unrouted/sum",
            json!([1.0]),
            &["`unrouted.sum` has 1 numbers for tokens of 16"],
        ),
        set(
            "/state/ramp_ins",
            ramping_in(9, 0, 0, 0.0),
            &["state.ramp_ins, layer 9, expert 0: is no expert"],
        ),
        set(
            "/state/ramp_ins",
            ramping_in(0, 77, 0, 0.0),
            &["state.ramp_ins, layer 0, expert 77: is no expert"],
        ),
        set(
            "/state/ramp_ins",
            ramping_in(0, 1, 61, 0.0),
            &["state.ramp_ins.since: is 61; must be at most 60"],
        ),
        set("/state/ramp_ins", ramping_in(0, 1, 0, 1e300), &["manifest.json: number out of range at line "]),
        set("/state/policy/decisions", json!(u64::MAX), &["state.policy.decisions"]),
        set("/state/policy/layers", json!([{}, {}]), &["missing field"]),
        set("/state/policy/layers", json!([memory]), &["state.policy.layers: is 18446744073709551615"]),
        set("/state/policy/head", head(&network), &["weights and moments have different lengths"]),
        set("/state/policy/head", head(&infinite), &["manifest.json: number out of range at line "]),
    ]);
}

#[test]
fn metrics_classes_and_probes_that_contradict_themselves() {
    let names: Vec<String> = (0..100_000).map(|class| format!("class {class}")).collect();
    let token = vec![1; 100_000];
    refused(&[
        set("/classes", json!([]), &["classes: is empty"]),
        set("/classes", json!(["a", "a"]), &["classes: names `a` twice"]),
        set("/classes", json!(["a"]), &["validation.confusion: is not 1 × 1"]),
        set("/classes", json!(names), &["is not 100000 × 100000"]),
        set("/validation/confusion", json!([[64]]), &["validation.confusion: is not 2 × 2"]),
        set("/validation/confusion/0/0", json!(u64::MAX), &["validation.n: is 64, which is not the sum"]),
        set("/validation/accuracy", json!(2.0), &["validation.accuracy: is 2, but `confusion` says"]),
        set("/validation/per_class_accuracy", json!([]), &["validation.per_class_accuracy: has 0 numbers"]),
        set("/probe/inputs/0/0/0", json!(1_000_000_000), &["probe.inputs: has row 1000000000"]),
        set("/probe/inputs/0/0/0", json!(0), &["probe.inputs: has row 0; the vocabulary has rows 1 to"]),
        set("/probe/inputs/0/0", json!(token), &["a token has 100000 rows; the vocabulary allows 1"]),
        set("/probe/inputs/0", json!(vec![[1]; 1000]), &["a text has 1000 tokens; must be 1 to 256"]),
        set("/probe/inputs/0", json!([]), &["a text has 0 tokens; must be 1 to 256"]),
        set("/probe/inputs", json!([]), &["probe.inputs: has 0 texts; must be 1 to 4"]),
        set("/probe/logits", json!([]), &["probe.logits: has 0 rows for 4 texts"]),
        set("/probe/logits/0", json!(vec![0.0; 5]), &["probe.logits: has a row of 5 numbers for 2 classes"]),
        set("/probe/logits/0/0", json!(1e300), &["manifest.json: number out of range at line "]),
        set("/probe/ema_logits", json!(null), &["probe.ema_logits: is missing, but optim.ema_decay is 0.9"]),
        set("/optimized/0", json!("head.scale"), &["optimized: names `head.scale`"]),
        set("/optimized/1", json!("conv.bias"), &["conv.bias"]),
        set("/optimized/0", json!("head.bias"), &["optimized: names `head.bias` twice"]),
    ]);
}
