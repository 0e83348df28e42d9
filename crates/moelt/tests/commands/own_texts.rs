//! One's own texts, messy as they are: what is skipped, guessed and cut is said, and no text is on two sides.

use std::{
    fs,
    path::{Path, PathBuf},
};

use moelt_schema::Digest;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    support::{Ended, Run, json},
    usage::SENTIMENT,
};

fn write(folder: &TempDir, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    path
}

fn run(folder: &TempDir, name: &str, train: &Path) -> Run {
    Run::new(folder.path(), name, SENTIMENT).set(format!("data.csv.train={}", train.display()))
}

fn notes(run: &Run) -> String {
    let result = json(&run.dir.result());
    let notes = result["notes"].as_array().unwrap().iter().map(|note| note.as_str().unwrap());
    notes.map(|note| format!("note: {note}\n")).collect()
}

/// 3,775 reviews as a spreadsheet exports them: semicolons, capital headers, four empty texts, three long ones.
fn exported() -> String {
    let row = |i: usize| match (i, if i.is_multiple_of(2) { "good" } else { "bad" }) {
        (10 | 20 | 30 | 40, word) => format!(";{word}\n"),
        (1000 | 2000 | 3000, word) => format!("{}{word};{word}\n", "long ".repeat(2999)),
        (_, word) => format!("\"{word}; review {i}\";{word}\n"),
    };
    "Text;Label\n".to_owned() + &(0..3775).map(row).collect::<String>()
}

#[test]
fn an_exported_table_trains_and_says_what_was_skipped_guessed_and_cut() {
    let folder = TempDir::new().unwrap();
    let file = write(&folder, "reviews.csv", exported());
    let run = run(&folder, "run", &file).set("train.budget.epochs=1").set("train.batch_size=64");
    let said = run.train().well().stderr;
    let result = json(&run.dir.result());
    let n: u64 = ["train", "validation", "test"].iter().map(|s| result["splits"][s].as_u64().unwrap()).sum();
    assert_eq!(n, 3771);
    let file = file.to_str().unwrap();
    let expected = [
        format!("note: {file}: read as semicolon-separated, as its header is\n"),
        format!("note: {file}: column `Text` taken for `text`\n"),
        format!("note: {file}: column `Label` taken for `label`\n"),
        format!(
            "note: {file}: 4 of 3775 rows cannot be used and are skipped: {file}:12: the text is empty; \
             {file}:22: the text is empty; {file}:32: the text is empty; {file}:42: the text is empty\n"
        ),
        " texts are cut at text.max_tokens = 64; the longest has 3000 tokens\n".to_owned(),
    ];
    for note in expected {
        assert!(said.contains(&note) && notes(&run).contains(&note), "{note} is not in\n{said}");
    }
    // The same file to judge on, strict or not, and to predict.
    let folder = run.dir.path().to_str().unwrap();
    let eval = Ended::moelt(["eval", folder, "--file", file, "--json"]).well();
    assert_eq!(serde_json::from_str::<Value>(&eval.stdout).unwrap()["n"], 3771);
    assert!(eval.stderr.contains("4 of 3775 rows cannot be used"), "{}", eval.stderr);
    assert!(eval.stderr.contains("3 of 3771 texts are cut at text.max_tokens = 64"), "{}", eval.stderr);
    let empty = ["reviews.csv:12: the text is empty; fill it in"];
    Ended::moelt(["eval", folder, "--file", file, "--bad-lines", "error"]).with_error("strict", &empty);
    let predicted = Ended::moelt(["predict", folder, file]).well();
    let lines: Vec<&str> = predicted.stdout.lines().skip(1).collect();
    let without: Vec<usize> = (0..lines.len()).filter(|i| lines[*i] == ",").collect();
    assert_eq!((lines.len(), without), (3775, vec![10, 20, 30, 40]));
    assert!(predicted.stderr.contains("4 of 3775 rows get an empty answer: "), "{}", predicted.stderr);
}

#[test]
fn bad_rows_can_be_errors_in_training_and_in_the_files_to_judge_on() {
    let folder = TempDir::new().unwrap();
    let good = "text,label\na good film,1\na bad film,0\ngood fun,1\nbad luck,0\n";
    let [fine, bad] =
        [write(&folder, "fine.csv", good), write(&folder, "bad.csv", format!("{good}fun,2\n,1\n"))];
    let judged = |name: &str| {
        let judged = run(&folder, name, &fine).set(format!("data.csv.validation={}", fine.display()));
        judged.set(format!("data.csv.test={}", bad.display()))
    };
    let skipping = judged("skipping");
    skipping.train().well();
    assert_eq!(json(&skipping.dir.result())["splits"]["test"], 4);
    let listed = format!("{0}:6: unknown label `2`; {0}:7: the text is empty", bad.display());
    assert!(notes(&skipping).contains(&listed), "{}", notes(&skipping));
    let unknown = ["bad.csv:6: unknown label `2`; the classes are `0`, `1`"];
    judged("by-key").set("data.csv.bad_lines=error").train().with_error("by key", &unknown);
    let mut command = judged("by-flag").command();
    command.args(["--bad-lines", "error"]);
    Ended::of(command, "").with_error("by flag", &unknown);
    run(&folder, "mostly", &write(&folder, "mostly.csv", format!("{good}{}", ",1\n".repeat(5))))
        .train()
        .with_error("mostly bad", &["mostly.csv:6: the text is empty", "Of 9 rows 5 cannot be used"]);
}

/// Texts of a few words and a word of their own, with labels that a coin decides: nothing to learn but by heart.
fn coin_flips() -> Vec<(String, u32)> {
    const WORDS: [&str; 8] = ["café", "film", "naïve", "good", "soirée", "plot", "crème", "actor"];
    let text = |i: u32| {
        let digest = Digest::of_bytes(&i.to_le_bytes()).to_string();
        let digits: Vec<usize> = digest.chars().filter_map(|c| Some(c.to_digit(16)? as usize)).collect();
        let words: Vec<&str> = digits[1..5].iter().map(|digit| WORDS[digit % 8]).collect();
        (format!("{} titleé{i}", words.join(" ")), digits[0] as u32 % 2)
    };
    (0..600).map(text).collect()
}

fn capitalised(text: &str) -> String {
    let first = text.chars().next().unwrap();
    first.to_uppercase().chain(text[first.len_utf8()..].chars()).collect()
}

fn full_width(text: &str) -> String {
    let wide = |c: char| match c {
        ' ' => '\u{3000}',
        '!'..='~' => char::from_u32(c as u32 + 0xfee0).unwrap(),
        other => other,
    };
    text.chars().map(wide).collect()
}

/// Accents apart from their letters, for those that [`coin_flips`] has.
fn decomposed(text: &str) -> String {
    text.replace('é', "e\u{301}").replace('è', "e\u{300}").replace('ï', "i\u{308}")
}

type Form = fn(&str) -> String;

const CASES: [Form; 3] = [str::to_owned, capitalised, str::to_uppercase];
const ALL: [Form; 8] = [
    str::to_owned,
    capitalised,
    str::to_uppercase,
    |text| text.replace(' ', "  "),
    |text| text.replace(' ', "\t"),
    full_width,
    decomposed,
    |text| decomposed(text).to_uppercase(),
];

fn csv(texts: &[(String, u32)], forms: &[Form]) -> String {
    let of_form = |form: &Form| {
        texts.iter().map(|(text, label)| format!("{},{label}\n", form(text))).collect::<String>()
    };
    "text,label\n".to_owned() + &forms.iter().map(of_form).collect::<String>()
}

#[test]
fn texts_that_the_tokenizer_cannot_tell_apart_do_not_leak() {
    let folder = TempDir::new().unwrap();
    let texts = coin_flips();
    for (name, forms) in [("cases", &CASES[..]), ("forms", &ALL[..])] {
        let file = write(&folder, &format!("{name}.csv"), csv(&texts, forms));
        let run = run(&folder, name, &file).set("data.csv.test_fraction=0.4").set("train.batch_size=64");
        run.train().well();
        let result = json(&run.dir.result());
        let accuracy = result["test"]["accuracy"].as_f64().unwrap();
        assert!((0.42..=0.58).contains(&accuracy), "{name}: {accuracy}");
        assert_eq!(result["notes"][0], "600 texts are repeated, 0 of them with different labels");
    }
}

/// What the test above would measure if texts leaked: here they do, on purpose, and that is said.
#[test]
fn leaks_between_given_files_are_noted() {
    let folder = TempDir::new().unwrap();
    let texts = coin_flips();
    let [train, again] = [("train.csv", &ALL[..1]), ("again.csv", &ALL[1..])]
        .map(|(name, forms)| write(&folder, name, csv(&texts, forms)));
    let run = run(&folder, "run", &train)
        .set(format!("data.csv.validation={}", again.display()))
        .set(format!("data.csv.test={}", again.display()));
    run.train().well();
    let accuracy = json(&run.dir.result())["test"]["accuracy"].as_f64().unwrap();
    assert!(accuracy > 0.9, "{accuracy}");
    let said = notes(&run);
    let pairs = ["4200 of 4200 texts are also in the training split", "4200 of 4200 texts are also in "];
    assert!(
        pairs.iter().all(|pair| said.contains(pair)) && said.matches("4200 of 4200").count() == 3,
        "{said}"
    );
}

#[test]
fn every_row_is_answered_in_its_place() {
    let folder = TempDir::new().unwrap();
    let train =
        write(&folder, "train.csv", "text,label\na good film,1\na bad film,0\ngood fun,1\nbad luck,0\n");
    let run = run(&folder, "run", &train)
        .set(format!("data.csv.validation={}", train.display()))
        .set(format!("data.csv.test={}", train.display()));
    run.train().well();
    let predict = |name: &str, content: &str| {
        let file = write(&folder, name, content);
        let ended = Ended::moelt(["predict".as_ref(), run.dir.path(), file.as_path()]).well();
        let answers = ended.stdout.lines().skip(1).map(|line| line.split(',').next().unwrap().to_owned());
        (answers.collect::<Vec<_>>(), ended.stderr)
    };
    let (answers, said) = predict("a.csv", "id;Text\n1;good\n2;bad; really\n3; \n4\n5;bad\n");
    assert_eq!(answers, ["1", "", "", "", "0"]);
    let list = "a.csv:3: has 3 fields where the header has 2; ";
    assert!(said.contains("3 of 5 rows get an empty answer: ") && said.contains(list), "{said}");
    assert_eq!(predict("a.txt", "good\n\n\nbad\n").0, ["1", "", "", "0"]);
    let (answers, said) = predict("long.txt", &format!("good\n{}\n", "good ".repeat(3000)));
    assert_eq!(answers, ["1", "1"]);
    assert!(
        said.contains("1 of 2 texts are cut at text.max_tokens = 64; the longest has 3000 tokens"),
        "{said}"
    );
}

#[test]
fn what_was_chosen_by_comes_first_and_the_test_is_marked() {
    let folder = TempDir::new().unwrap();
    let train = write(&folder, "train.csv", csv(&coin_flips(), &ALL[..1]));
    let run = run(&folder, "run", &train).set("train.budget.epochs=1");
    let summary = run.train().well().stdout;
    let (first, second) = summary.split_once('\n').unwrap();
    assert!(first.starts_with("sentiment seed 0: validation ") && !first.contains("test"), "{summary}");
    assert!(second.starts_with("test ") && second.contains("judged once"), "{summary}");
    assert!(second.contains(" % [") && !first.contains('['), "what was chosen by has no interval: {summary}");
    let result = fs::read_to_string(run.dir.result()).unwrap();
    assert!(result.find("\"validation\": {") < result.find("\"test\": {"));
    let judged = Ended::moelt(["eval", run.dir.path().to_str().unwrap(), "--split", "test"]).well();
    assert!(judged.stderr.contains("do not choose or tune by it"), "{}", judged.stderr);
    let accuracy = |line: &str| line.split(" (n = ").next().unwrap().to_owned();
    let told = accuracy(&judged.stdout).replacen("accuracy  ", "test ", 1);
    assert_eq!(told, accuracy(second), "both say the same");
    let chosen_by = Ended::moelt(["eval", run.dir.path().to_str().unwrap()]).well().stdout;
    assert!(!chosen_by.lines().next().unwrap().contains('['), "{chosen_by}");
}
