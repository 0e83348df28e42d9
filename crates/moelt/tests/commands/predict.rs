//! Predictions as a stream: answers before the input ends, errors in its middle, and a file that is there whole or not at
//! all.

use std::{
    fs,
    io::{BufRead, BufReader, Lines, Write},
    process::{Child, ChildStdin, ChildStdout, Stdio},
    thread,
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    support::{Ended, moelt},
    usage::TRAINED,
};

/// `moelt predict` while it runs.
struct Running {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(args: &[&str]) -> Self {
        let mut command = moelt(["predict"]);
        command.arg(&TRAINED.run).args(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, stdin, lines: BufReader::new(stdout).lines() }
    }

    fn say(&mut self, text: &str) {
        self.stdin.write_all(text.as_bytes()).unwrap();
    }

    fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    /// What is left of the output when the input ends.
    fn end(self) -> Ended {
        drop(self.stdin);
        let rest: String = self.lines.map(|line| line.unwrap() + "\n").collect();
        Ended { stdout: rest, ..Ended::from(self.child.wait_with_output().unwrap()) }
    }
}

/// Lines of many lengths.
fn texts(n: usize) -> String {
    let word = |i: usize| ["good", "bad", "well", "film"][i * 7919 % 4];
    let text = |i: usize| (0..i * 31 % 23).map(|j| word(i + j)).collect::<Vec<_>>().join(" ");
    (0..n).map(|i| text(i) + "\n").collect()
}

/// What is predicted for a whole input.
fn predict(args: &[&str], input: impl Into<Vec<u8>>) -> Ended {
    let mut command = moelt(["predict"]);
    command.arg(&TRAINED.run).args(args);
    Ended::of(command, input)
}

#[test]
fn a_line_is_answered_before_the_next_one_is_written() {
    let mut running = Running::start(&[]);
    for (text, label) in [("a good film\n", "praise"), ("bad\n", "blame"), ("\n", ""), ("good\n", "praise")] {
        running.say(text);
        if text == "a good film\n" {
            assert_eq!(running.line(), "label,probability");
        }
        assert_eq!(running.line().split(',').next(), Some(label), "{text}");
    }
    running.say("no line end");
    let ended = running.end().well();
    assert_eq!(ended.stdout.lines().count(), 1);
    assert!(ended.stderr.contains("1 of 5 rows get an empty answer: <stdin>:3: "), "{}", ended.stderr);
}

#[test]
fn an_input_without_an_end_is_read_as_far_as_anybody_listens() {
    let Running { child, mut stdin, mut lines } = Running::start(&["-"]);
    let writer = thread::spawn(move || while stdin.write_all(b"a good film\n").is_ok() {});
    let first: Vec<String> = lines.by_ref().take(1000).map(Result::unwrap).collect();
    assert!(first[1..].iter().all(|line| line.starts_with("praise,")), "{first:?}");
    drop(lines);
    let ended = Ended::from(child.wait_with_output().unwrap()).well();
    writer.join().unwrap();
    assert!(!ended.stderr.contains("rror") && !ended.stderr.contains("panicked"), "{}", ended.stderr);
}

#[test]
fn answers_depend_neither_on_threads_nor_on_how_the_input_comes() {
    let input = texts(3000);
    let whole = predict(&[], input.as_str()).well().stdout;
    assert_eq!(whole.lines().count(), 3001);
    for threads in ["1", "2", "5"] {
        assert_eq!(predict(&["--threads", threads], input.as_str()).well().stdout, whole);
    }
    let mut running = Running::start(&[]);
    let mut answers = Vec::new();
    let mut lines = input.split_inclusive('\n');
    for n in [1, 2, 7, 300] {
        running.say(&lines.by_ref().take(n).collect::<String>());
        answers.extend((0..n).map(|_| running.line()));
    }
    let rest: String = lines.collect();
    thread::scope(|scope| {
        let Running { child, mut stdin, lines } = running;
        scope.spawn(move || stdin.write_all(rest.as_bytes()).unwrap());
        answers.extend(lines.map(Result::unwrap));
        Ended::from(child.wait_with_output().unwrap()).well();
    });
    assert_eq!(answers, whole.lines().collect::<Vec<_>>());
}

#[test]
fn what_was_answered_before_an_error_stays() {
    let folder = TempDir::new().unwrap();
    let lines = texts(400);
    let quoted = format!("id,text\n{}400,\"open\n401,fine\n", "1,a good film\n".repeat(400));
    let cases: [(&str, Vec<u8>, &str); 2] = [
        ("a.txt", [lines.as_bytes(), b"na\xefve\nfine\n"].concat(), "a.txt:401: is not UTF-8"),
        ("a.csv", quoted.into_bytes(), "a.csv:402: the double quotes"),
    ];
    for (name, content, error) in cases {
        let file = folder.path().join(name);
        fs::write(&file, content).unwrap();
        let ended = predict(&[file.to_str().unwrap()], "");
        ended.with_error(name, &[error]);
        assert_eq!(ended.stdout.lines().count(), 401, "{name}");
        let out = folder.path().join("out.csv");
        fs::write(&out, "old").unwrap();
        predict(&[file.to_str().unwrap(), "--out", out.to_str().unwrap()], "").with_error(name, &[error]);
        assert_eq!(fs::read_to_string(&out).unwrap(), "old");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "no temporary file is left");
}

#[test]
fn a_file_of_answers_is_there_when_it_is_whole() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out.csv");
    let mut running = Running::start(&["--out", out.to_str().unwrap()]);
    running.say("a good film\n");
    while fs::read_dir(folder.path()).unwrap().count() == 0 {
        thread::sleep(Duration::from_millis(5));
    }
    assert!(!out.exists());
    assert_eq!(running.end().well().stdout, "");
    assert_eq!(fs::read_to_string(&out).unwrap(), predict(&[], "a good film\n").well().stdout);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn nothing_is_answered_with_a_header() {
    assert_eq!(predict(&[], "").well().stdout, "label,probability\n");
    assert_eq!(predict(&[], "id,text\n").well().stdout, "label,probability\n");
}

/// A second model is the first one with its answers turned around.
#[test]
fn labels_beside_predictions_make_what_compare_reads() {
    let folder = TempDir::new().unwrap();
    let file = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name).to_str().unwrap().to_owned()
    };
    let rows = "a good film,praise\na bad film,blame\nfine,\n\"bad, bad\",blame\n";
    let table = file("held.csv", &format!("review,test\n{}", rows.repeat(10)));
    let answers = predict(&["--label-column", "test", &table], "").well();
    let lines: Vec<&str> = answers.stdout.lines().collect();
    assert_eq!((lines[0], lines.len()), ("id,label,prediction,probability", 31));
    let numbered = ["0,praise,praise,", "1,blame,blame,", "3,blame,blame,", "4,praise,praise,"];
    for (line, begin) in lines[1..].iter().zip(numbered) {
        assert!(line.starts_with(begin), "{line}: {begin}");
    }
    let note = "held.csv: 10 of 40 rows are left out: ";
    assert!(answers.stderr.contains(note), "{}", answers.stderr);
    assert_eq!(predict(&["--label-column", "test"], fs::read(&table).unwrap()).well().stdout, answers.stdout);
    let mine = file("mine.csv", &answers.stdout);
    let turned = |line: &&str| {
        let [id, label, prediction] = [0, 1, 2].map(|at| line.split(',').nth(at).unwrap());
        format!("{id},{label},{}\n", if prediction == "praise" { "blame" } else { "praise" })
    };
    let turned: String = lines[1..].iter().map(turned).collect();
    let other = file("other.csv", &format!("id,label,prediction\n{turned}"));
    let said = Ended::moelt(["compare", &mine, &other]).well().stdout;
    assert!(said.contains("mine is better than other by more than 0.50 pp"), "{said}");
    let alone = file("alone.csv", &predict(&[&table], "").well().stdout);
    Ended::moelt(["compare", &alone, &mine]).with_error("no labels", &["alone.csv:1: ", "--label-column"]);
    predict(&["--label-column", "stars", &table], "").with_error("none", &["held.csv:1: no column `stars`"]);
}

#[test]
fn labels_of_another_kind_than_the_classes_are_told_with_both() {
    let folder = TempDir::new().unwrap();
    let table = folder.path().join("numbers.csv");
    let told = |args: &[&str], labels: [usize; 2], parts: &[&str]| {
        let [good, bad] = labels;
        fs::write(&table, format!("review,label\na good film,{good}\na bad film,{bad}\n")).unwrap();
        let (run, table) = (TRAINED.run.to_str().unwrap(), table.to_str().unwrap());
        let args = args.iter().map(|arg| arg.replace("RUN", run).replace("FILE", table));
        let ended = Ended::moelt(args);
        for part in parts {
            assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
        }
        ended.code
    };
    let none =
        ["numbers.csv:", "the classes are `blame`, `praise`", "a number is none of them: write the names"];
    let predict = ["predict", "RUN", "FILE", "--label-column", "label"];
    let eval = ["eval", "RUN", "--file", "FILE", "--label-column", "label"];
    assert_eq!(told(&predict, [1, 0], &none), Some(0));
    assert_eq!(told(&eval, [3, 2], &none), Some(1));
    let read = [
        "note: ",
        "numbers.csv: column `label` has numbers, which are read as places",
        "0 as `blame`, 1 as `praise`",
    ];
    assert_eq!(told(&eval, [1, 0], &read), Some(0));
    let from_1 =
        ["numbers.csv:2: label `2` lies beyond the 2 classes", "write the names", "`blame`, `praise`"];
    assert_eq!(told(&eval, [2, 1], &from_1), Some(1));
}

#[test]
fn devices_are_listed_and_pointed_to() {
    let listed = Ended::moelt(["devices"]).well().stdout;
    for name in ["flex", "wgpu", "cuda"] {
        assert!(listed.lines().any(|line| line.starts_with(name)), "{listed}");
    }
    let unknown = predict(&["--device", "gpu"], "");
    assert_eq!(unknown.code, Some(2));
    assert!(
        unknown.stderr.contains("there are flex, wgpu and cuda; `moelt devices` lists"),
        "{}",
        unknown.stderr
    );
    if cfg!(not(feature = "cuda")) {
        assert!(listed.contains("cuda  not compiled in; build with `--features cuda`\n"), "{listed}");
        predict(&["--device", "cuda"], "")
            .with_error("cuda", &["`cuda` was not compiled in; `moelt devices`"]);
    }
}
