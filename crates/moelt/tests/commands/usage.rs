//! What a user gets: predictions in order, the same from any number of threads, runs that stay what they are.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::LazyLock,
    thread,
};

use tempfile::TempDir;

use crate::support::{Ended, Run, TINY, files, json, moelt};

/// For the user's own file: a model small enough to learn a handful of texts by heart in a moment.
pub(crate) const SENTIMENT: &str = "
arm = 'sentiment'
[data.csv]
[text]
max_tokens = 64
[model]
d_model = 16
d_ff = 8
top_k = 1
[model.routing.top_k]
n_experts = 2
[optim]
lr = 2e-2
[train]
batch_size = 16
[train.budget]
epochs = 20.0
";

/// Reviews of several lengths, whose words give their labels away.
fn reviews() -> String {
    let row = |i: usize| {
        let (word, label) = if i.is_multiple_of(2) { ("good", "praise") } else { ("bad", "blame") };
        format!("{i},{label},\"{}a {word}, {word} film\"\n", "well ".repeat(i % 5))
    };
    "id,test,review\n".to_owned() + &(0..100).map(row).collect::<String>()
}

pub(crate) struct Trained {
    _folder: TempDir,
    pub(crate) run: PathBuf,
}

/// A model of [`reviews`].
pub(crate) static TRAINED: LazyLock<Trained> = LazyLock::new(|| {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("reviews.csv");
    fs::write(&file, reviews()).unwrap();
    let run = Run::new(folder.path(), "run", SENTIMENT)
        .set(format!("data.csv.train={}", file.display()))
        .set("data.csv.text_column=review")
        .set("data.csv.label_column=test");
    run.train().well();
    Trained { run: run.dir.path().to_owned(), _folder: folder }
});

/// Texts to predict with the label that each must get. Lengths differ, so that batches are not cut in order.
const TEXTS: [(&str, &str); 6] = [
    ("a good film", "praise"),
    ("bad", "blame"),
    ("well well well well a bad , bad , bad film", "blame"),
    ("good", "praise"),
    ("what a \"bad\" film", "blame"),
    ("well a good , well a very good , a good , good film", "praise"),
];

/// What `moelt predict` with these arguments after the checkpoint says, given `input`.
fn predict(args: &[&str], input: impl Into<Vec<u8>>) -> Vec<(String, f64)> {
    let mut command = moelt(["predict"]);
    command.arg(&TRAINED.run).args(args);
    parse(&Ended::of(command, input).well().stdout)
}

/// `label,probability` after its header.
fn parse(csv: &str) -> Vec<(String, f64)> {
    let (header, rows) = csv.split_once('\n').unwrap();
    assert_eq!(header, "label,probability");
    let row = |line: &str| {
        let (label, probability) = line.split_once(',').unwrap();
        (label.to_owned(), probability.parse().unwrap())
    };
    rows.lines().map(row).collect()
}

#[test]
fn predictions_come_in_order_from_every_kind_of_input() {
    let folder = TempDir::new().unwrap();
    let lines: String = TEXTS.map(|(text, _)| format!("{text}\n")).concat();
    let tsv = "id\treview\n".to_owned() + &TEXTS.map(|(text, _)| format!("7\t{text}\n")).concat();
    let csv = "text,label\n".to_owned()
        + &TEXTS.map(|(text, _)| format!("\"{}\",\n", text.replace('"', "\"\""))).concat();
    let file = |name: &str, content: &str| {
        fs::write(folder.path().join(name), content).unwrap();
        folder.path().join(name).to_str().unwrap().to_owned()
    };
    let expected = predict(&[], lines.as_str());
    assert_eq!(expected.iter().map(|(label, _)| label.as_str()).collect::<Vec<_>>(), TEXTS.map(|(_, l)| l));
    assert!(expected.iter().all(|(_, probability)| (0.5..=1.0).contains(probability)), "{expected:?}");
    assert_eq!(predict(&["-"], lines.as_str()), expected);
    assert_eq!(predict(&[&file("a.txt", &lines)], ""), expected);
    assert_eq!(predict(&[&file("a.csv", &csv)], ""), expected);
    assert_eq!(predict(&[&file("a.tsv", &tsv), "--text-column", "review"], ""), expected);
    assert_eq!(predict(&["--text-column", "review"], tsv), expected);
    let out = folder.path().join("out.csv");
    let ended = Ended::moelt([
        "predict",
        TRAINED.run.to_str().unwrap(),
        &file("a.csv", &csv),
        "--out",
        out.to_str().unwrap(),
    ]);
    assert_eq!(ended.well().stdout, "");
    assert_eq!(parse(&fs::read_to_string(out).unwrap()), expected);
    for ((text, _), (label, probability)) in TEXTS.iter().zip(&expected) {
        let alone = &predict(&[], *text)[0];
        assert!(alone.0 == *label && (alone.1 - probability).abs() < 2e-6, "{text}: {alone:?}");
    }
}

/// Starts a command whose output is read as far as its first line, or not at all.
fn with_closed_pipe(args: &[&Path], input: String, read: bool) -> Ended {
    let mut command = moelt(args);
    let mut child: Child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A command that does not read its input closes that pipe, too.
    let writer = thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let mut first = String::new();
    let stdout = child.stdout.take().unwrap();
    if read {
        BufReader::with_capacity(64, stdout).read_line(&mut first).unwrap();
    }
    let mut ended = Ended::from(child.wait_with_output().unwrap());
    writer.join().unwrap();
    ended.stdout = first;
    ended
}

#[test]
fn a_reader_that_has_enough_is_no_error() {
    let run = TRAINED.run.as_path();
    // More output than a pipe holds.
    let lines = "a good film\n".repeat(20_000);
    let head = with_closed_pipe(&["predict".as_ref(), run], lines, true);
    assert_eq!(head.stdout, "label,probability\n");
    let none = ["eval", "inspect", "predict"]
        .map(|command| with_closed_pipe(&[command.as_ref(), run], "a good film\n".into(), false));
    for ended in [head].into_iter().chain(none) {
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(!ended.stderr.contains("rror") && !ended.stderr.contains("panicked"), "{}", ended.stderr);
    }
}

#[test]
fn a_run_goes_on_when_nobody_listens() {
    let folder = TempDir::new().unwrap();
    let run = Run::new(folder.path(), "run", TINY);
    let mut child = run.command().stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(run.dir.result().exists());
}

#[test]
fn quiet_is_quiet() {
    let folder = TempDir::new().unwrap();
    let run = Run::new(folder.path(), "run", TINY);
    let mut command = run.command();
    command.arg("--quiet");
    let ended = Ended::of(command, "").well();
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", ""));
}

#[test]
fn a_table_that_comes_through_a_pipe_is_read_as_the_file_would_be() {
    let run = TRAINED.run.as_path();
    let predict = || moelt(["predict".as_ref(), run]);
    let table = Ended::of(predict(), "id,review,test\n1,a good film,praise\n").well();
    assert_eq!(table.stdout.lines().count(), 2, "{}", table.stdout);
    let lines = Ended::of(predict(), "a review of a good film\nmore\n").well();
    assert_eq!(lines.stdout.lines().count(), 3, "{}", lines.stdout);
}

#[test]
fn a_run_is_not_begun_in_a_checkpoint_nor_a_checkpoint_looked_for_in_a_table() {
    let folder = TempDir::new().unwrap();
    let run = Run::new(folder.path(), "run", TINY);
    run.train().well();
    let checkpoint = run.checkpoint(&run.pointed("latest").unwrap());
    let before = files(&checkpoint);
    let within = run.in_folder(checkpoint.clone()).train();
    within.with_error("train", &["is a checkpoint", "start.weights.run"]);
    assert_eq!(files(&checkpoint), before);
    let table = folder.path().join("new.csv");
    fs::write(&table, "text\na b\n").unwrap();
    Ended::moelt(["predict".as_ref(), table.as_path(), run.dir.path()])
        .with_error("predict", &["new.csv: no checkpoint here", "a run folder"]);
}

#[test]
fn evaluation_repeats_what_the_run_reports() {
    let run = TRAINED.run.to_str().unwrap();
    let result = json(&TRAINED.run.join("result.json"));
    for split in ["validation", "test"] {
        let ended = Ended::moelt(["eval", run, "--split", split, "--json"]).well();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&ended.stdout).unwrap(), result[split]);
    }
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("more.tsv");
    fs::write(&file, "review\tstars\na good film\tpraise\na bad film\tpraise\n").unwrap();
    let eval = ["eval", run, "--text-column", "review", "--file", file.to_str().unwrap()];
    let ended = Ended::moelt(eval.into_iter().chain(["--label-column", "stars"])).well();
    assert!(ended.stdout.starts_with("accuracy  50.00 % [9.45, 90.55] (n = 2)\n"), "{}", ended.stdout);
    Ended::moelt(eval).with_error("no such column", &["more.tsv:1: no column `label`"]);
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    // Large enough that work is shared out.
    const WIDE: [&str; 6] = [
        "model.d_model=128",
        "model.d_ff=256",
        "model.encoder.conv.width=3",
        "train.batch_size=128",
        "train.budget.epochs=2",
        "data.planted.validation=512",
    ];
    let folder = TempDir::new().unwrap();
    let run = |threads: usize| {
        let name = threads.to_string();
        let run = WIDE.into_iter().fold(Run::new(folder.path(), &name, TINY), Run::set);
        Ended::of(run.command_on(threads), "").well();
        let is_bitwise = |name: &String| name.ends_with(".safetensors") || name.ends_with(".csv");
        let mut files = files(run.dir.path());
        files.retain(|name, _| is_bitwise(name));
        (files, run.events())
    };
    let one = run(1);
    assert!(one.0.len() >= 8, "{one:?}");
    assert_eq!(run(2), one);
    assert_eq!(run(5), one);
}

#[test]
fn a_finished_run_does_nothing_and_reports_the_same() {
    let folder = TempDir::new().unwrap();
    let run = Run::new(folder.path(), "run", TINY);
    let first = run.train().well();
    assert!(first.stdout.starts_with("tiny seed 0: validation "), "{}", first.stdout);
    let before = files(run.dir.path());
    assert_eq!(run.train().well().stdout, first.stdout);
    assert_eq!(files(run.dir.path()), before);
    fs::write(run.dir.path().join("predictions/test.csv"), "").unwrap();
    run.train().with_error("its predictions are gone", &["predictions/test.csv: has hash "]);
}

#[test]
fn another_config_is_refused_naming_what_differs() {
    let folder = TempDir::new().unwrap();
    let run = Run::new(folder.path(), "run", TINY);
    run.train().well();
    let cases = [
        ("optim.lr=0.5", "`optim.lr` is 0.002 there, 0.5 here"),
        ("seed=1", "`seed` is 0 there, 1 here"),
        ("control.policy.rule.confirm=3", "`control.policy.rule.confirm` is unset there, 3 here"),
    ];
    let refused = |what: &str| {
        let before = files(run.dir.path());
        for (set, differs) in cases {
            run.clone().set(set).train().with_error(what, &["holds a run of another config", differs]);
        }
        assert_eq!(files(run.dir.path()), before);
    };
    refused("a finished run");
    fs::remove_file(run.dir.result()).unwrap();
    refused("an unfinished run");
}

#[test]
fn other_data_under_the_same_name_are_refused() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("reviews.csv");
    fs::write(&file, reviews()).unwrap();
    let run = Run::new(folder.path(), "run", SENTIMENT)
        .set(format!("data.csv.train={}", file.display()))
        .set("data.csv.text_column=review")
        .set("data.csv.label_column=test");
    run.train().well();
    fs::remove_file(run.dir.result()).unwrap();
    fs::write(&file, reviews() + "100,praise,good\n").unwrap();
    let before = files(run.dir.path());
    run.train().with_error("one review more", &["step-", ": data ", ", but this run has "]);
    let eval = Ended::moelt(["eval".as_ref(), run.dir.path()]);
    eval.with_error("one review more", &["was trained on data ", "the data set here is "]);
    assert_eq!(files(run.dir.path()), before);
}

#[test]
fn a_loss_that_is_no_number_stops_the_run_with_a_checkpoint_that_is_good() {
    let folder = TempDir::new().unwrap();
    // So large a decay multiplies the weights by −999 each step.
    let grows = |name| Run::new(folder.path(), name, TINY).set("optim.lr=1").set("optim.weight_decay=1000");
    let late =
        grows("late").set("train.eval_every=2").set("train.checkpoint_every=0").set("optim.ema_decay=0");
    // Here a checkpoint is due at each step, also when the weights are past saving and the loss is not yet.
    let often = grows("often").set("train.checkpoint_every=1");
    for (run, what) in [(late, "the loss is "), (often, "training stopped")] {
        let ended = run.train();
        let good = run.pointed_folder("latest");
        let said = format!("The last good checkpoint is {}", good.display());
        ended.with_error(what, &["arm tiny, seed 0, step ", what, &said]);
        Ended::moelt(["inspect".as_ref(), good.as_path()]).well();
        let before = files(&good);
        assert_eq!(run.train().stderr.lines().last(), ended.stderr.lines().last(), "the same, again");
        assert_eq!(files(&good), before);
        assert!(!run.dir.result().exists());
    }
    let early = Run::new(folder.path(), "early", TINY).set("optim.lr=1e30").set("train.checkpoint_every=1");
    early.train().with_error("at once", &["arm tiny, seed 0, step 1: ", "No checkpoint had been written"]);
}

#[test]
fn what_cannot_be_meant_is_an_error() {
    let folder = TempDir::new().unwrap();
    let run = Run::new(folder.path(), "run", TINY);
    let cases: [(&str, &[&str]); 6] = [
        (
            "model.routing.top_k.n_expert=2",
            &[
                "--set model.routing.top_k.n_expert=2: `model.routing.top_k.n_expert`: unknown field",
                "n_experts",
            ],
        ),
        ("model.n_experts=2", &["`model.n_experts`: is called model.routing.top_k.n_experts"]),
        ("control.policy.rule.horizon=2", &["`control.policy.rule.horizon`: unknown field", "confirm"]),
        ("optim.lr=fast", &["--set optim.lr=fast: `optim.lr`: invalid type"]),
        ("train.batch_size=0", &["--set train.batch_size=0: `train.batch_size`: must be at least 1"]),
        ("seed", &["--set seed: expected key=value"]),
    ];
    for (set, parts) in cases {
        run.clone().set(set).train().with_error(set, parts);
    }
    assert!(!run.dir.path().exists());
}
