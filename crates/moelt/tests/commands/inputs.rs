//! Files as people have them: an error that names file and line, or a tolerance that is documented.

use std::{fs, path::Path};

use tempfile::TempDir;

use crate::{
    support::{Ended, Run, files, json},
    usage::SENTIMENT,
};

/// A whole small training file.
const GOOD: &str = "text,label\na good film,1\na bad film,0\ngood fun,1\nbad luck,0\n";

/// What becomes of an input.
enum Outcome {
    /// It is read: so many rows.
    Rows(usize),
    /// It is refused with an error that has these parts.
    Refused(&'static [&'static str]),
}

use Outcome::{Refused, Rows};

fn long_line(word: &str) -> String {
    word.repeat((1 << 20) / word.len())
}

/// A run on `train` with the good file to choose and to judge on.
fn csv_run(folder: &Path, train: &str) -> Run {
    let good = folder.join("good.csv");
    fs::write(&good, GOOD).unwrap();
    Run::new(folder, "run", SENTIMENT)
        .set(format!("data.csv.train={}", folder.join(train).display()))
        .set(format!("data.csv.validation={}", good.display()))
        .set(format!("data.csv.test={}", good.display()))
}

#[track_caller]
fn assert_trained(what: &str, run: &Run, outcome: &Outcome) {
    let ended = run.train();
    match outcome {
        Rows(rows) => {
            assert_eq!(ended.code, Some(0), "{what}: {}", ended.stderr);
            assert_eq!(json(&run.dir.result())["splits"]["train"], *rows, "{what}");
        }
        Refused(parts) => {
            ended.with_error(what, parts);
            assert!(!run.dir.path().exists(), "{what}: data that cannot be read make no run");
        }
    }
}

/// What it is, the file's name, its content and what becomes of it.
type Case = (&'static str, &'static str, Vec<u8>, Outcome);

/// The good file with more lines.
fn rows(tail: &str) -> Vec<u8> {
    format!("{GOOD}{tail}").into_bytes()
}

fn assert_all_trained(cases: Vec<Case>) {
    for (what, name, content, outcome) in cases {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join(name), content).unwrap();
        assert_trained(what, &csv_run(folder.path(), name), &outcome);
    }
}

#[test]
fn training_files_that_cannot_be_read() {
    assert_all_trained(vec![
        (
            "no header",
            "a.csv",
            b"fine,1\npoor,0\n".into(),
            Refused(&["a.csv:1: no column `text`", "`fine`, `1`"]),
        ),
        (
            "no label column",
            "a.csv",
            b"text,stars\nfine,1\n".into(),
            Refused(&["a.csv:1: no column `label`"]),
        ),
        (
            "not UTF-8",
            "a.csv",
            [&rows("")[..], b"na\xefve,1\n"].concat(),
            Refused(&["a.csv:6: is not UTF-8"]),
        ),
        (
            "one class",
            "a.csv",
            b"text,label\na,1\nb,1\n".into(),
            Refused(&["a.csv:3: ", "label `1` in column `label`; two classes", "--label-column"]),
        ),
        (
            "an Excel workbook",
            "a.csv",
            b"PK\x03\x04\x14\0\xff".into(),
            Refused(&["a.csv: is a ZIP archive, as Excel"]),
        ),
        ("an empty file", "a.csv", Vec::new(), Refused(&["a.csv: has no rows"])),
        ("a header alone", "a.csv", b"text,label\n".into(), Refused(&["a.csv: has no rows"])),
        ("an open quote", "a.csv", rows("\"fine,1\npoor,0\n"), Refused(&["a.csv:6: the double quotes"])),
        (
            "a tab too many in most rows",
            "a.tsv",
            b"text\tlabel\na\tb\t1\n".into(),
            Refused(&["a.tsv:2: has 3 fields", "Of 1 rows 1 cannot be used"]),
        ),
        (
            "two columns of a name",
            "a.csv",
            b"Text,TEXT,label\na,b,1\n".into(),
            Refused(&["a.csv:1: column `text` could be `Text`, `TEXT`"]),
        ),
    ]);
}

#[test]
fn rows_without_text_or_label_are_skipped() {
    assert_all_trained(vec![
        ("as it should be", "a.csv", rows(""), Rows(4)),
        // Skipped, counted and listed.
        ("no label", "a.csv", rows("fine,\n"), Rows(4)),
        ("empty text", "a.csv", rows(",1\n"), Rows(4)),
        ("blank text", "a.csv", rows("  ,1\n"), Rows(4)),
        ("a comma too many", "a.csv", rows("fine, really,1\n"), Rows(4)),
    ]);
}

/// A byte order mark, CRLF, blank lines, quotes, delimiters by extension or header, and lines of any length, of which
/// text.max_tokens tokens count.
#[test]
fn training_files_that_are_tolerated() {
    assert_all_trained(vec![
        ("a byte order mark", "a.csv", format!("\u{feff}{GOOD}").into(), Rows(4)),
        ("CRLF", "a.csv", GOOD.replace('\n', "\r\n").into(), Rows(4)),
        ("blank lines", "a.csv", rows("\n\nfine,1\n\n"), Rows(5)),
        ("no last line end", "a.csv", rows("fine,1"), Rows(5)),
        ("quotes", "a.csv", rows("\"fine, \"\"really\"\"\nfine\",1\n"), Rows(5)),
        ("quotes in TSV", "a.tsv", GOOD.replace(',', "\t").replace("a bad", "\"a bad").into(), Rows(4)),
        ("semicolons", "a.txt", GOOD.replace(',', ";").into(), Rows(4)),
        ("semicolons in .csv", "a.csv", GOOD.replace(',', ";").into(), Rows(4)),
        ("capital headers", "a.csv", GOOD.replace("text,label", " Text , LABEL ").into(), Rows(4)),
        ("a line of 1 MB", "a.csv", rows(&format!("{},1\n", long_line("fine "))), Rows(5)),
        ("a word of 1 MB", "a.csv", rows(&format!("{},1\n", long_line("fine"))), Rows(5)),
    ]);
}

#[test]
fn a_label_that_training_does_not_know_and_a_file_that_is_not_there() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("a.csv"), GOOD).unwrap();
    let other = folder.path().join("other.csv");
    fs::write(&other, "text,label\nso so,2\n").unwrap();
    let run = csv_run(folder.path(), "a.csv").set(format!("data.csv.test={}", other.display()));
    assert_trained("label", &run, &Refused(&["other.csv:2: unknown label `2`; the classes are `0`, `1`"]));
    assert_trained("file", &csv_run(folder.path(), "gone.csv"), &Refused(&["gone.csv: No such file"]));
    let column = csv_run(folder.path(), "a.csv").set("data.csv.text_column=review");
    assert_trained("column", &column, &Refused(&["a.csv:1: no column `review`", "data.csv.text_column"]));
    // The right command is not refused for what the failed ones left behind.
    assert_trained("right", &csv_run(folder.path(), "a.csv"), &Rows(4));
}

/// SST-2 as TSV: twenty sentences, each with one phrase.
fn sst2(extra: &str) -> String {
    let rows: String = (0..20).map(|i| format!("the film {i} is good \t{}\nfilm {i}\t1\n", i % 2)).collect();
    format!("sentence\tlabel\n{rows}{extra}")
}

#[test]
fn sst2_files() {
    let cases: [(&str, String, Outcome); 8] = [
        // Two quotes that a CSV reader would take for one field over three lines.
        ("quotes", sst2("\" so to say\t0\nof sorts\t0\nit 's \"\t1\n"), Rows(0)),
        ("CRLF", sst2("").replace('\n', "\r\n"), Rows(0)),
        ("a byte order mark", format!("\u{feff}{}", sst2("")), Rows(0)),
        (
            "no header",
            sst2("")["sentence\tlabel\n".len()..].into(),
            Refused(&["train.tsv:1: no column `sentence`"]),
        ),
        ("unknown label", sst2("so so\t2\n"), Refused(&["train.tsv:42: unknown label `2`"])),
        ("empty text", sst2(" \t1\n"), Refused(&["train.tsv:42: the sentence is empty"])),
        ("no label", sst2("fine\n"), Refused(&["train.tsv:42: has 1 fields"])),
        ("an empty file", String::new(), Refused(&["train.tsv: has no rows"])),
    ];
    for (what, train, outcome) in cases {
        let folder = TempDir::new().unwrap();
        let kept = train.lines().count().saturating_sub(1);
        fs::write(folder.path().join("train.tsv"), train).unwrap();
        fs::write(folder.path().join("dev.tsv"), "sentence\tlabel\n\" fine\t1\nnot \" so\t0\n").unwrap();
        let run = Run::new(folder.path(), "run", SENTIMENT)
            .set("data=sst2")
            .set(format!("data.sst2.dir={}", folder.path().display()));
        match outcome {
            Refused(_) => assert_trained(what, &run, &outcome),
            Rows(_) => {
                run.train().well();
                // Of 20 or more sentences 15 % are held out, with a phrase each.
                let splits = &json(&run.dir.result())["splits"];
                let [train, validation, test] =
                    ["train", "validation", "test"].map(|split| splits[split].as_u64().unwrap());
                assert!(validation >= 3 && test == 2, "{what}: {splits}");
                assert!(train < kept as u64 && train + 2 * validation >= kept as u64, "{what}: {splits}");
            }
        }
    }
    let folder = TempDir::new().unwrap();
    let gone = Run::new(folder.path(), "run", SENTIMENT).set("data=sst2").set("data.sst2.dir=gone");
    assert_trained("no folder", &gone, &Refused(&["train.tsv", "run `cargo xtask data sst2 --from PATH`"]));
}

#[test]
fn files_to_predict() {
    let folder = TempDir::new().unwrap();
    let run = csv_run(folder.path(), "good.csv");
    run.train().well();
    let before = files(run.dir.path());
    let cases: Vec<(&str, &str, Vec<u8>, Outcome)> = vec![
        ("no header", "a.csv", b"fine,1\n".into(), Refused(&["a.csv:1: no column `text`"])),
        (
            "not UTF-8",
            "a.txt",
            b"na\xefve\nfine\n".into(),
            Refused(&["a.txt:1: is not UTF-8", "iconv -f LATIN1"]),
        ),
        (
            "an Excel workbook",
            "a.xlsx",
            b"PK\x03\x04\x14\0\xff\n".into(),
            Refused(&["a.xlsx: is a ZIP archive"]),
        ),
        ("an empty table", "a.csv", Vec::new(), Refused(&["a.csv: has no rows"])),
        // Tolerated: a header alone, no lines at all, and, since each row has its line in the output, rows
        // that hold no text.
        ("a row too wide", "a.csv", b"id,text\n1,a\n2,b,c\n".into(), Rows(2)),
        ("a header alone", "a.csv", b"text\n".into(), Rows(0)),
        ("no lines", "a.txt", Vec::new(), Rows(0)),
        ("empty lines", "a.txt", b"\nfine\n\n".into(), Rows(3)),
        ("empty fields", "a.csv", b"id,text\n1,\n2,fine\n3,  \n".into(), Rows(3)),
        ("a byte order mark", "a.csv", b"\xef\xbb\xbftext\nfine\n".into(), Rows(1)),
        ("CRLF", "a.csv", b"id,text\r\n1,fine\r\n2,poor\r\n".into(), Rows(2)),
        ("quotes in TSV", "a.tsv", b"id\ttext\n1\t\"fine\n2\tpoor\"\n".into(), Rows(2)),
        ("labels that are unknown", "a.csv", b"text,label\nfine,9\n".into(), Rows(1)),
        ("a line of 1 MB", "a.txt", long_line("fine ").into(), Rows(1)),
        ("a word of 1 MB", "a.txt", long_line("fine").into(), Rows(1)),
    ];
    for (what, name, content, outcome) in cases {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        let ended = Ended::moelt(["predict".as_ref(), run.dir.path(), path.as_path()]);
        match outcome {
            Refused(parts) => {
                ended.with_error(what, parts);
                assert_eq!(ended.stdout, "", "{what}");
            }
            Rows(rows) => {
                assert_eq!(ended.code, Some(0), "{what}: {}", ended.stderr);
                assert_eq!(ended.stdout.lines().count(), 1 + rows, "{what}: {}", ended.stdout);
            }
        }
    }
    assert_eq!(files(run.dir.path()), before);
}
