//! Predictions of two systems compared: of other tools, of moelt's own runs, and files that do not fit.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Ended, Run, TINY, json};

/// Three seeds of scikit-learn and of fastText on generated texts: `fixtures/predictions/make.py`.
fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/predictions");
    folder.join(name).to_str().unwrap().to_owned()
}

fn compare(args: &[&str]) -> Ended {
    Ended::moelt(["compare"].iter().chain(args))
}

/// Fails with a message that has all `parts`.
#[track_caller]
fn refused(args: &[&str], parts: &[&str]) {
    compare(args).with_error(&args.join(" "), parts);
}

fn file(folder: &TempDir, name: &str, text: &str) -> String {
    let path: PathBuf = folder.path().join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn one_file_of_each_tool_gets_a_verdict_over_examples() {
    let (a, b) = (fixture("fasttext-1.csv"), fixture("sklearn-1.csv"));
    let said = compare(&[&a, &b]).well().stdout;
    for told in [
        "fasttext-1 against sklearn-1",
        "fasttext-1 is better than sklearn-1 by more than 0.50 pp",
        "fasttext-1 is not worse than sklearn-1 by more than 0.50 pp",
        "over examples alone: it is about these two models",
        "examples would do",
        "McNemar",
    ] {
        assert!(said.contains(told), "{told}\n\n{said}");
    }
    let other_way: Value = serde_json::from_str(&compare(&[&b, &a, "--json"]).well().stdout).unwrap();
    let this_way: Value = serde_json::from_str(&compare(&[&a, &b, "--json"]).well().stdout).unwrap();
    let gain = |report: &Value| report["claims"][0]["judged"]["difference"].as_f64().unwrap();
    assert!((gain(&this_way) + gain(&other_way)).abs() < 1e-12);
    assert_eq!(this_way["over"], "examples");
}

#[test]
fn several_seeds_are_paired_in_order_and_may_collapse_unseen() {
    let of = |tool: &str| [1, 2, 3].map(|seed| fixture(&format!("{tool}-{seed}.csv")));
    let (a, b) = (of("sklearn"), of("fasttext"));
    let sides = [&["--a".to_owned()][..], &a, &["--b".to_owned()], &b].concat();
    let sides: Vec<&str> = sides.iter().map(String::as_str).collect();
    let strict = compare(&sides).well().stdout;
    assert!(
        strict.contains("sklearn against fasttext") && strict.contains("crossed over seeds and examples")
    );
    assert!(strict.contains("seeds would do"), "{strict}");
    let folder = TempDir::new().unwrap();
    let markdown = folder.path().join("said.md");
    let options =
        ["--claim", "superiority", "--collapse-rate", "1", "--markdown", markdown.to_str().unwrap()];
    let said = compare(&[&sides, &options[..]].concat()).well().stdout;
    assert!(!said.contains("not worse"), "{said}");
    assert!(fs::read_to_string(&markdown).unwrap().starts_with("# sklearn against fasttext\n\n| system"));
    let f1 = compare(&[&sides, &["--metric", "macro-f1", "--json"][..]].concat()).well().stdout;
    assert_eq!(serde_json::from_str::<Value>(&f1).unwrap()["over"], "seeds");
}

#[test]
fn a_run_is_compared_with_another_tool_row_by_row() {
    let folder = TempDir::new().unwrap();
    let run = Run::new(folder.path(), "run", TINY);
    run.train().well();
    let own = fs::read_to_string(run.dir.path().join("predictions/test.csv")).unwrap();
    let always = |line: &str| format!("{}\t1\n", line.split(',').nth(2).unwrap());
    let other: String = own.lines().skip(1).map(always).collect();
    let with_ids: String = (0..).zip(other.lines()).map(|(id, line)| format!("{id}\t{line}\n")).collect();
    let other = file(&folder, "always.tsv", &format!("id\ttruth\tguess\n{with_ids}"));
    let run_folder = run.dir.path().to_str().unwrap();
    // Headers that are named are those of whatever file has them, and must be somewhere.
    let columns = ["--label-column", "truth", "--prediction-column", "guess"];
    compare(&[&[run_folder, &other][..], &columns].concat()).well();
    let mistyped = ["--label-column", "truth", "--prediction-column", "gess"];
    refused(
        &[&[run_folder, &other][..], &mistyped].concat(),
        &["always.tsv:1: no column `gess` or `prediction` or `predicted` among `id`, `truth`, `guess`"],
    );
    refused(&[run_folder, run_folder, "--label-column", "truth"], &["no file has a column `truth`"]);
    let renamed = fs::read_to_string(&other).unwrap().replace("truth\tguess", "label\tprediction");
    let other = file(&folder, "always.tsv", &renamed);
    let report = compare(&[run_folder, &other, "--json"]).well().stdout;
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((&report["a"]["name"], &report["b"]["name"]), (&"run".into(), &"always".into()));
    let accuracy = json(&run.dir.result())["test"]["accuracy"].as_f64().unwrap();
    assert!((report["a"]["values"][0].as_f64().unwrap() - accuracy).abs() < 1e-9);
}

#[test]
fn files_without_ids_are_paired_by_order_and_folders_hold_seeds() {
    let folder = TempDir::new().unwrap();
    for (name, predicted) in [("new", "x"), ("old", "y")] {
        fs::create_dir(folder.path().join(name)).unwrap();
        for seed in 1..=2 {
            let text = "label,prediction\n".to_owned() + &format!("x,x\nx,{predicted}\ny,y\n").repeat(40);
            fs::write(folder.path().join(format!("{name}/s{seed}.csv")), text).unwrap();
        }
    }
    let [new, old] = ["new", "old"].map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    let said = compare(&[&new, &old, "--collapse-rate", "1"]).well().stdout;
    assert!(said.contains("in the order of the files") && said.contains("GO: the lower bound"), "{said}");
}

#[test]
fn what_does_not_fit_is_refused_with_its_place() {
    let folder = TempDir::new().unwrap();
    let good = file(&folder, "good.csv", "id,label,prediction\n1,x,x\n2,y,x\n");
    let bad = |text: &str| file(&folder, "bad.csv", text);
    for (text, error) in [
        ("", "bad.csv:1: no column `label`"),
        ("id,label,prediction\n", "bad.csv:1: there is no prediction"),
        ("id,label,prediction\n1,x,x\n1,x,x\n", "bad.csv:3: id `1` comes twice, first in line 2"),
        ("id,label,prediction\n1,x,x\n3,y,y\n", "bad.csv:3: id `3` is not in "),
        ("id,label,prediction\n0,x,x\n1,y,y\n", "ids are rows counted from 0"),
        ("id,label,prediction\n1,x,x\n", "good.csv:3: id `2` is not in "),
        ("id,label,prediction\n1,x,x\n2,z,x\n", "bad.csv:3: the label is `z`, but `y` in "),
        ("id,label,prediction\n1,x,0\n2,y,1\n", "bad.csv:2: no prediction is one of the labels"),
        ("id,label,guess\n1,x,x\n2,y,x\n", "name it with --prediction-column"),
    ] {
        refused(&[&good, &bad(text)], &[error]);
    }
    refused(&[&good, "none.csv"], &["none.csv: "]);
    refused(&[folder.path().join("empty").to_str().unwrap(), &good], &["empty"]);
    refused(&["--a", &good, &good, "--b", &good], &["A has 2 file(s) and B 1; give both one for each seed"]);
    refused(&[&good, &good, "--metric", "macro-f1"], &["--metric macro-f1: ", "two seeds at least"]);
    refused(&[&good, &good, "--margin=-1"], &["the margin is -1"]);
    refused(&[&good, &good, "--margin=1"], &["--margin 1: is 100 percentage points; one is 0.01"]);
    refused(&[&good, &good, "--alpha", "2"], &["alpha is 2"]);
    refused(&[&good, &good, "--collapse-rate", "0"], &["--collapse-rate: collapse.rate: is 0"]);
    for (given, said) in [
        (&[&good][..], "good.csv` alone is given, and two systems are compared"),
        (&[], "nothing is given"),
        (&[&good, &good, &good], "3 paths are given"),
    ] {
        let given: Vec<&str> = given.iter().map(|path| path.as_str()).collect();
        let ended = compare(&given);
        assert_eq!(ended.code, Some(2));
        for part in [said, "as in `moelt compare new.csv old.csv`", "--a and --b"] {
            assert!(ended.stderr.contains(part), "{}", ended.stderr);
        }
    }
}

#[test]
fn fields_are_separated_by_whatever_the_header_has() {
    let folder = TempDir::new().unwrap();
    let rows = "id,label,prediction\n".to_owned()
        + &(0..40).map(|id| format!("{id},x,{}\n", ["x", "y"][id % 2])).collect::<String>();
    let commas = file(&folder, "commas.csv", &rows);
    let expected = compare(&[&commas, &commas, "--json"]).well().stdout;
    let with_classes = rows.replace("\n", ",0\n").replace("prediction,0", "prediction,a;b;c;d;e");
    let with_classes = file(&folder, "classes.csv", &with_classes);
    compare(&[&with_classes, &commas]).well();
    for (name, delimiter) in [("semicolons.csv", ";"), ("tabs.tsv", "\t"), ("tabs.txt", "\t")] {
        let other = file(&folder, name, &rows.replace(',', delimiter));
        let report = compare(&[&commas, &other, "--json"]).well().stdout;
        let [report, expected]: [Value; 2] =
            [&report, &expected].map(|text| serde_json::from_str(text).unwrap());
        assert_eq!(report["b"]["values"], expected["b"]["values"], "{name}");
    }
}
