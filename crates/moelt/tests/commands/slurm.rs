//! `moelt ablate --engine slurm` with stand-ins for Slurm's commands; the tasks run for real. `.ci/slurm` has a real Slurm.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use moelt_schema::{AblationPlan, Cell};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Ended, TINY_ABLATION, json, moelt};

/// Notes the call, keeps a copy of the script as Slurm does, and prints an id; refuses the job that `refused` names.
const SBATCH: &str = r#"#!/bin/sh
cd "$SLURM_STAND_IN" || exit 9
echo "$*" >> calls
job=$(($(cat last 2>/dev/null || echo 0) + 1))
if [ "$job" = "$(cat refused 2>/dev/null)" ]; then
    echo "sbatch: error: invalid partition specified: cpu" >&2
    exit 1
fi
echo $job > last
for script; do :; done
cp "$SLURM_CLUSTER/$script" "$job.sh"
echo $job
"#;

/// What the test says is in the queue; where it says nothing, every job is forgotten.
const SQUEUE: &str = r#"#!/bin/sh
[ "$1 $2 $3 $4" = "--noheader --array --format=%i --jobs" ] || exit 9
cat "$SLURM_STAND_IN/queue" 2>/dev/null && exit
echo "slurm_load_jobs error: Invalid job id specified" >&2
exit 1
"#;

const SCONTROL: &str = r#"#!/bin/sh
echo "$*" >> "$SLURM_STAND_IN/requeued"
"#;

/// A folder with ablations, and Slurm.
struct Cluster {
    folder: TempDir,
    slurm: TempDir,
}

impl Cluster {
    fn new() -> Self {
        let cluster = Self { folder: TempDir::new().unwrap(), slurm: TempDir::new().unwrap() };
        for (name, text) in [("sbatch", SBATCH), ("squeue", SQUEUE), ("scontrol", SCONTROL)] {
            let path = cluster.slurm.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        cluster
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Lets a command know where Slurm is.
    fn with_slurm(&self, command: &mut Command) {
        let path = format!("{}:{}", self.slurm.path().display(), std::env::var("PATH").unwrap());
        command.current_dir(self.folder.path()).env("PATH", path);
        command.env("SLURM_STAND_IN", self.slurm.path()).env("SLURM_CLUSTER", self.folder.path());
    }

    fn moelt(&self, args: &[&str]) -> Ended {
        let mut command = moelt(args);
        self.with_slurm(&mut command);
        Ended::of(command, "")
    }

    fn submit(&self, args: &[&str]) -> Ended {
        self.moelt(&[&TINY_ABLATION[..], &["--engine", "slurm"], args].concat())
    }

    /// Says what Slurm has in its queue.
    fn queue(&self, tasks: &str) {
        fs::write(self.slurm.path().join("queue"), tasks).unwrap();
    }

    /// What a stand-in noted.
    fn noted(&self, file: &str) -> Vec<String> {
        let text = fs::read_to_string(self.slurm.path().join(file)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// A task of a job, as Slurm starts it.
    fn task(&self, job: u64, index: u64) -> Command {
        let mut command = Command::new("bash");
        command.arg(self.slurm.path().join(format!("{job}.sh"))).stdout(Stdio::null()).stderr(Stdio::null());
        self.with_slurm(&mut command);
        command.env("SLURM_ARRAY_JOB_ID", job.to_string()).env("SLURM_ARRAY_TASK_ID", index.to_string());
        command
    }

    fn run_task(&self, job: u64, index: u64) {
        assert_eq!(self.task(job, index).status().unwrap().code(), Some(0), "{job}_{index}");
    }

    fn plan(&self) -> AblationPlan {
        serde_json::from_slice(&fs::read(self.path("runs/tiny/plan.json")).unwrap()).unwrap()
    }

    fn jobs(&self) -> Value {
        json(&self.path("runs/tiny/slurm/jobs.json"))
    }

    fn collect(&self) -> Ended {
        self.moelt(&["ablate", "collect", "--name", "tiny"]).well()
    }
}

/// A report without what differs from one run to the next.
fn timeless(path: &Path) -> Value {
    fn strip(value: Value) -> Value {
        match value {
            Value::Object(fields) => fields
                .into_iter()
                .filter(|(key, _)| key != "seconds")
                .map(|(key, v)| (key, strip(v)))
                .collect(),
            Value::Array(values) => values.into_iter().map(strip).collect(),
            value => value,
        }
    }
    strip(json(path))
}

fn send(signal: &str, child: &Child) {
    let sent = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn arrays_follow_the_graph_and_end_in_the_report_of_the_local_engine() {
    let (local, cluster) = (Cluster::new(), Cluster::new());
    local.moelt(&TINY_ABLATION).well();
    let submitted = cluster.submit(&["--throttle", "2", "--partition", "cpu"]).well();
    let calls = ["runs/tiny/slurm/array-1.sh", "--dependency=afterany:1 runs/tiny/slurm/array-2.sh"];
    assert_eq!(cluster.noted("calls"), calls.map(|call| format!("--parsable {call}")));
    for said in
        ["job 1: 2 cells, ", "job 2: 1 cells, runs/tiny/slurm/array-2.sh, after 1\n", "squeue -j 1,2\n"]
    {
        assert!(submitted.stdout.contains(said), "{}", submitted.stdout);
    }
    let cells = cluster.plan().cells;
    let ids: Vec<&str> = cells.iter().map(|cell| cell.id.as_str()).collect();
    let noted = json!([{"job": "1", "cells": ids[..2]}, {"job": "2", "cells": ids[2..]}]);
    assert_eq!(cluster.jobs(), noted);

    cluster.run_task(1, 0);
    let part = cluster.collect();
    assert!(part.stdout.contains(&format!("missing {}", ids[1])), "{}", part.stdout);
    cluster.run_task(1, 1);
    cluster.run_task(2, 0);
    cluster.collect();
    let [whole, arrays] = [&local, &cluster].map(|site| timeless(&site.path("runs/tiny/report.json")));
    assert_eq!(whole, arrays);
    // What is finished is neither run nor submitted again.
    cluster.run_task(1, 0);
    let again = cluster.submit(&[]).well();
    assert!(again.stderr.contains("3 cells are finished already"), "{}", again.stderr);
    assert!(again.stdout.contains("nothing to submit\n"), "{}", again.stdout);
    assert_eq!(cluster.jobs(), noted);
}

#[test]
fn what_is_in_the_queue_is_not_submitted_again_and_what_was_cancelled_is() {
    let cluster = Cluster::new();
    cluster.submit(&[]).well();
    cluster.queue("1_0\n2_0\n");
    let again = cluster.submit(&[]).well();
    assert!(again.stderr.contains("2 cells are in the queue already: 1, 2"), "{}", again.stderr);
    let rule = cluster.plan().cells[1].id.clone();
    assert_eq!(cluster.jobs()[2], json!({"job": "3", "cells": [rule]}));
    assert_eq!(cluster.noted("calls")[2..], ["--parsable runs/tiny/slurm/array-1.sh"]);
    cluster.queue("1_0\n2_0\n3_0\n");
    let third = cluster.submit(&[]).well();
    assert!(third.stdout.contains("squeue -j 1,2,3\n"), "{}", third.stdout);
    // The last level alone, after the second submission of what it needs.
    cluster.queue("1_0\n3_0\n");
    cluster.submit(&[]).well();
    assert_eq!(
        cluster.noted("calls")[3..],
        ["--parsable --dependency=afterany:3 runs/tiny/slurm/array-1.sh"]
    );
    // A cell that starts before what it needs is refused, and does not stay so.
    assert_eq!(cluster.task(4, 0).status().unwrap().code(), Some(1));
    cluster.run_task(3, 0);
    cluster.run_task(4, 0);
}

#[test]
fn a_dry_run_writes_scripts_and_submits_nothing() {
    let cluster = Cluster::new();
    let Ended { stdout, stderr, .. } = cluster.submit(&["--dry-run"]).well();
    assert_eq!(
        stdout,
        "array1=$(sbatch --parsable runs/tiny/slurm/array-1.sh)\n\
         array2=$(sbatch --parsable --dependency=afterany:$array1 runs/tiny/slurm/array-2.sh)\n"
    );
    assert!(cluster.path("runs/tiny/slurm/array-2.sh").exists());
    assert!(cluster.noted("calls").is_empty() && !cluster.path("runs/tiny/slurm/jobs.json").exists());
    assert!(stderr.contains("submit by hand are not noted in runs/tiny/slurm/jobs.json: "), "{stderr}");
}

#[test]
fn a_dry_run_leaves_a_damaged_result_where_it_is() {
    let cluster = Cluster::new();
    cluster.submit(&[]).well();
    cluster.run_task(1, 0);
    let cell = &cluster.plan().cells[0].id;
    let run = cluster.path(&format!("runs/tiny/cells/{cell}"));
    fs::write(run.join("predictions/test.csv"), "tampered").unwrap();
    let refused = run.join("result.refused.json");
    let submits = |args: &[&str]| cluster.submit(args).well();
    assert!(submits(&["--dry-run"]).stdout.starts_with("array1=$(sbatch "));
    let script = fs::read_to_string(cluster.path("runs/tiny/slurm/array-1.sh")).unwrap();
    assert!(script.contains(cell.as_str()), "the cell would run again: {script}");
    assert!(run.join("result.json").exists() && !refused.exists());
    assert!(submits(&[]).stderr.contains("; the cell runs again"));
    assert!(!run.join("result.json").exists() && refused.exists());
}

#[test]
fn what_was_accepted_before_a_refusal_is_noted() {
    let cluster = Cluster::new();
    fs::write(cluster.slurm.path().join("refused"), "2").unwrap();
    let refused = cluster.submit(&[]);
    refused.with_error("refused", &["1 cells are not submitted", "invalid partition specified: cpu"]);
    assert_eq!(cluster.jobs().as_array().unwrap().len(), 1);
    fs::remove_file(cluster.slurm.path().join("refused")).unwrap();
    cluster.queue("1_0\n1_1\n");
    cluster.submit(&[]).well();
    assert_eq!(
        cluster.noted("calls")[2..],
        ["--parsable --dependency=afterany:1 runs/tiny/slurm/array-1.sh"]
    );
}

#[test]
fn what_cannot_be_submitted_is_said() {
    let cluster = Cluster::new();
    let mut alone = moelt([&TINY_ABLATION[..], &["--engine", "slurm"]].concat());
    alone.current_dir(cluster.folder.path()).env("PATH", cluster.folder.path());
    Ended::of(alone, "").with_error("no Slurm", &["there is no `sbatch` on PATH", "docs/cluster.md"]);
    let other = |args: &[&str]| cluster.moelt(&[&["ablate", "run", "--name", "tiny"], args].concat());
    other(&["--dry-run"]).with_error("local", &["--dry-run belongs to --engine slurm"]);
    other(&["--engine", "slurm", "--jobs", "2"]).with_error("jobs", &["--jobs belongs to --engine local"]);
    other(&["--cell", "3"]).with_error("place", &["tiny has no cell 3: they are 0 to 2"]);
    other(&["--cell", "moe-s0"]).with_error("id", &["tiny has no cell `moe-s0`"]);
    let word = other(&["--engine", "slurm", "--account", "a b"]);
    assert!(word.code == Some(2) && word.stderr.contains("use letters, digits and"), "{}", word.stderr);
}

/// Long enough to be stopped in the middle.
const LONG: [&str; 2] = ["--set", "data.planted.train=64000"];

/// Starts a task and comes back when its cell has logged something, so that it trains.
fn start_until_training(cluster: &Cluster, cell: &Cell) -> Child {
    let events = cluster.path(&format!("runs/tiny/cells/{}/events.jsonl", cell.id));
    let length = || fs::metadata(&events).map_or(0, |log| log.len());
    let (begun, before) = (Instant::now(), length());
    let task = cluster.task(1, 0).spawn().unwrap();
    while length() <= before {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing was logged");
        thread::sleep(Duration::from_millis(5));
    }
    task
}

#[test]
fn a_preempted_cell_is_queued_again_and_goes_on_a_cancelled_one_is_not() {
    let cluster = Cluster::new();
    cluster.submit(&LONG).well();
    let cell = &cluster.plan().cells[0];
    let latest = cluster.path(&format!("runs/tiny/cells/{}/checkpoints/latest", cell.id));
    for (signal, requeued) in [("TERM", 0), ("USR2", 1)] {
        let mut task = start_until_training(&cluster, cell);
        send(signal, &task);
        assert_eq!(task.wait().unwrap().code(), Some(130), "{signal}");
        assert_eq!(cluster.noted("requeued"), vec!["requeue 1_0"; requeued]);
        assert!(latest.exists() && cluster.collect().stdout.contains(&format!("missing {}", cell.id)));
    }
    cluster.run_task(1, 0);
    let log = fs::read_to_string(cluster.path(&format!("runs/tiny/cells/{}.log", cell.id))).unwrap();
    assert!(log.contains("resuming at step "), "{log}");
}
