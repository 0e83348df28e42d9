//! Tables of texts and of predictions.

use super::{Case, one, refused};

#[test]
fn texts() {
    const TRAIN: &[&str] = &["train", "--data", "a.csv", "--out", "out"];
    let header = |n: usize| (0..n).map(|i| format!("c{i}")).collect::<Vec<_>>().join(",");
    let ids = (0..50_000).map(|i| format!("text {i},{i}\n")).collect::<String>();
    refused(vec![
        one("a.csv", "", TRAIN, &["a.csv", "no rows"]),
        one("a.csv", "\n\n\n", TRAIN, &["a.csv"]),
        one("a.csv", "text,label\n", TRAIN, &["a.csv", "no rows"]),
        one("a.csv", header(200_000), TRAIN, &["a.csv:1", "no column `text`", "200000 in all"]),
        one("a.csv", "[".repeat(1_000_000), TRAIN, &["a.csv:1", "no column `text`"]),
        one(
            "a.csv",
            format!("text,label\n{},1\n", "a".repeat(20_000_000)),
            TRAIN,
            &["a.csv:2", "two classes"],
        ),
        one(
            "a.csv",
            format!("text,label\n\"{}", "a,1\n".repeat(100_000)),
            TRAIN,
            &["a.csv:2", "double quotes"],
        ),
        one("a.csv", "text,text,label\na,b,1\n", TRAIN, &["a.csv:1", "text"]),
        one("a.csv", format!("text,label\n{ids}"), TRAIN, &["a.csv", "label"]),
        one("a.csv", b"text,label\n\xff\xff,1\n".to_vec(), TRAIN, &["a.csv:2", "UTF-8"]),
        one("a.csv", b"t\0e\0x\0t\0,\0l\0".to_vec(), TRAIN, &["a.csv:1"]),
        one("a.csv", "text,label\n".to_owned() + &",1\n".repeat(1000), TRAIN, &["a.csv"]),
        one("a.csv", "text,label\n".to_owned() + &"a,b,c,d\n".repeat(1000), TRAIN, &["a.csv"]),
    ]);
}

#[test]
fn predictions() {
    const COMPARE: &[&str] = &["compare", "a.csv", "b.csv"];
    const GOOD: &str = "id,label,prediction\n1,a,a\n2,b,b\n3,a,b\n";
    let pair = |what, a: &[u8], says| Case {
        what,
        files: vec![("a.csv", a.to_vec()), ("b.csv", GOOD.as_bytes().to_vec())],
        command: COMPARE,
        says,
    };
    let long = format!("id,label,prediction\n{},a,a\n", "x".repeat(20_000_000));
    refused(vec![
        pair("no file", b"", &["a.csv:1", "no column"]),
        pair("a header alone", b"id,label,prediction\n", &["a.csv:1", "no prediction"]),
        pair("an id twice", b"id,label,prediction\n1,a,a\n1,b,b\n", &["a.csv:3", "comes twice"]),
        pair("an example less", b"id,label,prediction\n1,a,a\n", &["b.csv:3", "is not in a.csv"]),
        pair("another example", b"id,label,prediction\n1,a,a\n2,b,b\n4,a,b\n", &["a.csv", "4"]),
        pair("another label", b"id,label,prediction\n1,b,a\n2,b,b\n3,a,b\n", &["the label is"]),
        pair("an empty field", b"id,label,prediction\n1,,a\n", &["a.csv:2", "label is empty"]),
        pair(
            "a row too short",
            b"id,label,prediction\n1,a\n",
            &["a.csv:2: has 2 fields where the header has 3"],
        ),
        pair(
            "a quote that stays open",
            b"id,label,prediction\n\"1,a,a\n",
            &["a.csv:2: has 1 fields", "in pairs"],
        ),
        pair("not UTF-8", b"id,label,prediction\n1,\xff,a\n", &["a.csv: line 2 is not UTF-8", "iconv"]),
        pair("no ids on one side", b"label,prediction\na,a\nb,b\na,b\n", &["a.csv:1", "no column of ids"]),
        pair("an endless id", long.as_bytes(), &["is not in"]),
    ]);
}
