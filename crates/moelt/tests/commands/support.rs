//! What the tests share: small runs, the command line, and what a folder holds.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use moelt_schema::{Digest, RunDir};
use serde_json::Value;

/// Generated texts and a small model with averaged weights: a run takes a fraction of a second. Learning is
/// so fast that the best evaluation is not the last one.
pub(crate) const TINY: &str = "
arm = 'tiny'
[data.planted]
train = 640
validation = 64
test = 64
[model]
d_model = 16
d_ff = 8
[optim]
ema_decay = 0.9
[train]
batch_size = 32
checkpoint_every = 7
eval_every = 10
log_every = 5
";

/// Laid over [`TINY`]: 15 decisions in 80 steps, and thresholds at which some experts go and some come.
pub(crate) const EDITED: &str = "
[control.edits]
every = 5
warmup = 0.05
until = 0.9
ramp_in = 12
[control.policy.rule]
cooldown = 1
confirm = 2
grow_above = 0.5
grow_load_above = 0.5
prune_below = 0.95
";

/// A small ablation, in a second. Two levels: rule-continued needs rule.
pub(crate) const TINY_ABLATION: [&str; 15] = [
    "ablate",
    "--name",
    "tiny",
    "--phases",
    "dense,rule,rule-continued",
    "--seeds",
    "1",
    "--set",
    "data.planted.train=640",
    "--set",
    "data.planted.test=64",
    "--set",
    "data.planted.validation=64",
    "--set",
    "train.budget.epochs=1",
];

/// `moelt` with arguments.
pub(crate) fn moelt<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_moelt"));
    command.args(args);
    command
}

/// A command after `limit`, words of a shell that bind what comes after them.
pub(crate) fn under(limit: &str, command: &Command) -> Command {
    let mut limited = Command::new("bash");
    limited.args(["-c", &format!("{limit}; exec \"$0\" \"$@\"")]);
    limited.arg(command.get_program()).args(command.get_args());
    limited
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// Of a command that is run to its end with `input` on standard input.
    pub(crate) fn of(command: Command, input: impl Into<Vec<u8>>) -> Self {
        Self::from(assert_cmd::Command::from_std(command).write_stdin(input).output().unwrap())
    }

    /// Of `moelt` with these arguments and nothing on standard input.
    pub(crate) fn moelt<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Self {
        Self::of(moelt(args), "")
    }

    /// The same, when it ended well.
    #[track_caller]
    pub(crate) fn well(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self
    }

    /// Asserts that it failed with one error message that has all `parts`.
    #[track_caller]
    pub(crate) fn with_error(&self, what: &str, parts: &[&str]) {
        assert_eq!(self.code, Some(1), "{what}: {self:?}");
        let message = self.stderr.split_once("error: ").map_or("", |(_, message)| message);
        let missing = parts.iter().find(|part| !message.contains(**part));
        assert_eq!(missing, None, "{what}: {}", self.stderr);
        assert!(!self.stderr.contains("panicked"), "{what}: {}", self.stderr);
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// A run: a config file, what is set over it, and the folder.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    config: PathBuf,
    sets: Vec<String>,
    pub(crate) dir: RunDir,
}

impl Run {
    /// A run of `config` (TOML) in `folder/name`. Nothing is started.
    pub(crate) fn new(folder: &Path, name: &str, config: &str) -> Self {
        let path = folder.join(format!("{name}.toml"));
        fs::write(&path, config).unwrap();
        Self { config: path, sets: Vec::new(), dir: RunDir::new(folder.join(name)) }
    }

    /// The same with a value set.
    pub(crate) fn set(mut self, set: impl Into<String>) -> Self {
        self.sets.push(set.into());
        self
    }

    /// The same run in another folder.
    pub(crate) fn in_folder(&self, path: impl Into<PathBuf>) -> Self {
        Self { dir: RunDir::new(path), ..self.clone() }
    }

    /// `moelt train` for it, on one thread.
    pub(crate) fn command(&self) -> Command {
        self.command_on(1)
    }

    /// `moelt train` for it, on so many threads.
    pub(crate) fn command_on(&self, threads: usize) -> Command {
        let mut command = moelt(["train", "--threads", &threads.to_string()]);
        command.arg(&self.config).arg("--out").arg(self.dir.path());
        self.sets.iter().for_each(|set| {
            command.args(["--set", set]);
        });
        command
    }

    /// Trains, or goes on, until it ends.
    pub(crate) fn train(&self) -> Ended {
        Ended::of(self.command(), "")
    }

    /// A file or folder of its checkpoints.
    pub(crate) fn checkpoint(&self, name: &str) -> PathBuf {
        self.dir.checkpoints().join(name)
    }

    /// Folder name of the checkpoint that `latest` or `best` names.
    pub(crate) fn pointed(&self, pointer: &str) -> Option<String> {
        let line = fs::read_to_string(self.checkpoint(pointer)).ok()?;
        Some(line.split_once(' ')?.0.to_owned())
    }

    /// Folder of the checkpoint that `latest` or `best` names.
    pub(crate) fn pointed_folder(&self, pointer: &str) -> PathBuf {
        self.checkpoint(&self.pointed(pointer).unwrap())
    }

    /// The lines of its event log without their wall-clock facts.
    pub(crate) fn events(&self) -> Vec<Value> {
        let lines = fs::read_to_string(self.dir.events()).unwrap();
        let event = |line| without(serde_json::from_str(line).unwrap(), &["/wall"]);
        lines.lines().map(event).collect()
    }
}

/// Everything that a finished run must have in common with its repetition: events, result, predictions and
/// the checkpoints named, but not the lock, without wall-clock facts and what follows from their digits (the length of the
/// event log in bytes, hashes of manifests).
pub(crate) fn reproducible(run: &Run, checkpoints: &[String]) -> BTreeMap<String, Value> {
    let mut facts: BTreeMap<String, Value> = ["latest", "best"]
        .map(|pointer| (pointer.to_owned(), Value::from(run.pointed(pointer))))
        .into_iter()
        .collect();
    facts.insert("events".into(), Value::from(run.events()));
    facts.insert("result".into(), without(json(&run.dir.result()), &["/seconds", "/machine"]));
    for name in checkpoints {
        let path = run.checkpoint(name).join("manifest.json");
        facts.insert(format!("{name}/manifest"), without(json(&path), &["/state/seconds", "/events/bytes"]));
    }
    let in_checkpoint = |path: &str| path.starts_with("checkpoints/");
    let named = |path: &str| checkpoints.iter().any(|name| path.starts_with(&format!("checkpoints/{name}/")));
    let told =
        |path: &str| ["events.jsonl", "result.json", "lock"].contains(&path) || path.contains("/manifest.");
    let files = files(run.dir.path()).into_iter();
    let kept = files.filter(|(path, _)| !told(path) && (!in_checkpoint(path) || named(path)));
    facts.extend(kept.map(|(path, digest)| (path, Value::from(digest.to_string()))));
    facts
}

/// Names of a run's checkpoint folders.
pub(crate) fn checkpoints(run: &Run) -> Vec<String> {
    let entries = fs::read_dir(run.dir.checkpoints()).unwrap().map(|entry| entry.unwrap());
    let folders = entries.filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> = folders.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Every file below a folder with its hash.
pub(crate) fn files(folder: &Path) -> BTreeMap<String, Digest> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for path in fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().replace('\\', "/");
                found.insert(name, Digest::of_file(&path).unwrap());
            }
        }
    }
    found
}

/// A copy of a folder.
pub(crate) fn copy(from: &Path, to: &Path) {
    for name in files(from).keys() {
        fs::create_dir_all(to.join(name).parent().unwrap()).unwrap();
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

/// A JSON file.
pub(crate) fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// A value with the places that `pointers` name made null. They must be there.
fn without(mut value: Value, pointers: &[&str]) -> Value {
    pointers.iter().for_each(|pointer| *value.pointer_mut(pointer).unwrap() = Value::Null);
    value
}
