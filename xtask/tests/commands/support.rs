//! A workspace in a temporary folder with the real configs, and a stand-in for the moelt binary.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use moelt_eval::{Decided, metrics, predictions_to_csv};
use moelt_schema::{
    AblationPlan, Cell, CellResult, Digest, EditLog, Flops, Inherited, LastCheckpoint, Prediction,
    RESULT_FORMAT, RunDir, SplitSizes,
};
use tempfile::TempDir;

/// Called as `moelt train CONFIG --out FOLDER --threads 1 --quiet --verbose --texts FOLDER`: notes the call and copies what the
/// test has prepared for the cell. A cell that is not prepared fails, and so does one whose config names
/// a run that is not finished; one with a file `wait` in it runs until Ctrl-C.
const STAND_IN: &str = r#"#!/bin/sh
id=$(basename "$4")
echo "$id" >> "$0.calls"
[ "$*" = "train $2 --out $4 --threads 1 --quiet --verbose --texts ${10}" ] && grep -q '^seed = ' "$2" || exit 9
for run in $(sed -nE 's/^(run|edits_of) = "(.+)"$/\2/p' "$2"); do
    [ -f "$run/result.json" ] || exit 8
done
if [ ! -d "$0.cells/$id" ]; then
    echo "first line"
    echo "Error: the loss is NaN at step 7" >&2
    exit 1
fi
mkdir -p "$4" && cp -R "$0.cells/$id/." "$4/"
if [ -f "$4/wait" ]; then
    trap 'exit 130' INT
    while :; do sleep 0.1; done
fi
"#;

/// The workspace; removed when dropped.
pub(crate) struct TestWorkspace {
    folder: TempDir,
}

impl TestWorkspace {
    /// Real configs, no runs, no data.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
        copy(&configs, &folder.path().join("configs"));
        let _ = fs::remove_dir_all(folder.path().join("configs/baselines"));
        let workspace = Self { folder };
        // A copy of it is what runs.
        let here = workspace.stand_in().display().to_string();
        fs::write(workspace.stand_in(), STAND_IN.replace("$0", &here)).unwrap();
        fs::set_permissions(workspace.stand_in(), fs::Permissions::from_mode(0o755)).unwrap();
        workspace
    }

    /// A file below the root.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn stand_in(&self) -> PathBuf {
        self.path("moelt")
    }

    /// `cargo xtask ARGS` here, with the stand-in.
    pub(crate) fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.arg("--root").arg(self.folder.path()).args(args).env("MOELT_BIN", self.stand_in());
        command
    }

    /// Runs `cargo xtask ARGS` and expects this exit code; gives what it printed, stdout before stderr.
    pub(crate) fn xtask(&self, args: &[&str], code: i32) -> String {
        let assert = assert_cmd::Command::from_std(self.command(args)).assert().code(code);
        let output = assert.get_output();
        String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
    }

    /// Plans and gives the plan.
    pub(crate) fn plan(&self, name: &str, args: &[&str]) -> AblationPlan {
        self.xtask(&[&["ablate", "plan", "--name", name], args].concat(), 0);
        let json = fs::read_to_string(self.path(&format!("runs/{name}/plan.json"))).unwrap();
        serde_json::from_str(&json).unwrap()
    }

    /// Makes the stand-in finish this cell, with `right` of 100 examples right on validation and test.
    pub(crate) fn prepare(&self, cell: &Cell, right: usize) {
        let events = "{\"step\":0,\"event\":\"start\",\"total_steps\":9}\n{\"step\":9}\n";
        write_run(&RunDir::new(self.prepared(cell)), cell, &predictions(right), events);
    }

    /// Leaves a finished cell of `plan`, as if it had been run.
    pub(crate) fn finish(&self, plan: &AblationPlan, cell: &Cell, predictions: &[Prediction], events: &str) {
        let cells = self.path(&format!("runs/{}/cells", plan.name));
        write_run(&RunDir::new(cells.join(&cell.id)), cell, predictions, events);
        fs::write(cells.join(format!("{}.plan", cell.id)), plan.digest().to_string()).unwrap();
    }

    /// Makes the stand-in run this cell until Ctrl-C.
    pub(crate) fn prepare_to_wait(&self, cell: &Cell) {
        fs::create_dir_all(self.prepared(cell)).unwrap();
        fs::write(self.prepared(cell).join("wait"), "").unwrap();
    }

    /// What the stand-in leaves of a cell.
    pub(crate) fn prepared(&self, cell: &Cell) -> PathBuf {
        self.path("moelt.cells").join(&cell.id)
    }

    /// The cells that the stand-in was started for, in order.
    pub(crate) fn calls_in_order(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("moelt.calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The cells that the stand-in was started for, sorted.
    pub(crate) fn calls(&self) -> Vec<String> {
        let mut calls = self.calls_in_order();
        calls.sort();
        calls
    }
}

/// A finished run, with the first of its predictions on test, at most 2,000, on validation too.
fn write_run(run: &RunDir, cell: &Cell, predictions: &[Prediction], events: &str) {
    let validation = &predictions[..predictions.len().min(2_000)];
    fs::create_dir_all(run.path().join("predictions")).unwrap();
    let files = [("validation", validation), ("test", predictions)].map(|(split, predictions)| {
        let (name, csv) = (RunDir::predictions_name(split), predictions_to_csv(predictions));
        fs::write(run.path().join(&name), &csv).unwrap();
        (name, Digest::of_bytes(csv.as_bytes()))
    });
    fs::write(run.events(), events).unwrap();
    let result = result(cell, predictions, files.into());
    fs::write(run.result(), serde_json::to_vec(&result).unwrap()).unwrap();
}

/// A hundred predictions of which `right` are right.
fn predictions(right: usize) -> Vec<Prediction> {
    let prediction = |example: usize| Prediction {
        label: 0,
        domain: None,
        probabilities: if example < right { vec![0.75, 0.25] } else { vec![0.25, 0.75] },
    };
    (0..100).map(prediction).collect()
}

fn result(cell: &Cell, predictions: &[Prediction], files: BTreeMap<String, Digest>) -> CellResult {
    CellResult {
        format: RESULT_FORMAT,
        moelt: "0.1.0".into(),
        arm: cell.arm.clone(),
        seed: cell.seed,
        config: cell.digest,
        data: Digest::of_bytes(b"data"),
        layout: cell.config.model.initial_layout(),
        edits: EditLog::new(cell.config.model.initial_layout()),
        n_params: 1_000,
        n_active_params: 100,
        steps: 9,
        best_step: 9,
        splits: SplitSizes { train: 1_000, validation: predictions.len(), test: predictions.len() },
        notes: Vec::new(),
        validation: metrics(predictions, 2),
        test: metrics(predictions, 2),
        domains: Vec::new(),
        per_time: Vec::new(),
        routing: Vec::new(),
        test_flops: Flops::unpadded(1),
        bayes_accuracy: Some(0.97),
        last: LastCheckpoint { step: 9, validation: 0.9, test: 0.9 },
        flops: Flops { computed: 3_000_000, unpadded: 2_000_000 },
        measuring_flops: Flops::default(),
        taught_flops: Flops::default(),
        inherited: Inherited::default(),
        seconds: 1.5,
        machine: None,
        files,
        decisions: Decided::digest(&[]),
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
