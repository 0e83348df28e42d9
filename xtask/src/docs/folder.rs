//! A folder as the docs suppose it: texts of one's own, predictions, and a clone's data.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use tempfile::TempDir;

/// An encoder's config: that of `cargo xtask data minilm`, as far as sizes are read from it.
const ENCODER: &str = r#"{
  "architectures": ["BertModel"], "model_type": "bert", "hidden_act": "gelu", "hidden_size": 384, "intermediate_size": 1536,
  "layer_norm_eps": 1e-12, "max_position_embeddings": 512, "num_attention_heads": 12, "num_hidden_layers": 6,
  "type_vocab_size": 2, "vocab_size": 30522
}"#;

/// What must be there, for commands that are not run.
const NEVER_READ: [&str; 5] = [
    "datasets/sst2/train.tsv",
    "datasets/sst2/dev.tsv",
    "models/minilm/model.safetensors",
    "models/minilm/tokenizer.json",
    "glove.6B.100d.txt",
];

/// Tables of texts of several domains, which plans read.
const TABLES: [&str; 3] = ["lid49", "pos14", "posstream12"];

/// A folder that is gone when the value is.
///
/// # Errors
/// When it cannot be written.
pub(super) fn with_texts() -> Result<TempDir> {
    let folder = tempfile::tempdir().context("a folder for the commands of the docs")?;
    let write = |name: &str, text: &str| -> Result<()> {
        let path = folder.path().join(name);
        let parent = path.parent().unwrap_or(Path::new(""));
        fs::create_dir_all(parent).and_then(|()| fs::write(&path, text)).with_context(|| name.to_owned())
    };
    write("reviews.csv", &reviews("text,label", 0..400, |text, label| format!("{text},{label}")))?;
    write("labelled.csv", &reviews("text,label", 400..480, |text, label| format!("{text},{label}")))?;
    write("more.csv", &reviews("text", 480..500, |text, _| text.to_owned()))?;
    write("new.csv", &predictions(10))?;
    write("old.csv", &predictions(4))?;
    write("models/minilm/config.json", ENCODER)?;
    for name in TABLES {
        let row = |text: &str, label: &str| format!("{text},{label},{}", text.split(' ').count() % 2);
        write(&format!("datasets/{name}/train.csv"), &reviews("text,label,domain", 0..400, row))?;
        write(&format!("datasets/{name}/test.csv"), &reviews("text,label,domain", 400..480, row))?;
    }
    NEVER_READ.iter().try_for_each(|name| write(name, ""))?;
    Ok(folder)
}

/// Texts whose words give their labels away.
fn reviews(header: &str, numbers: std::ops::Range<usize>, row: impl Fn(&str, &str) -> String) -> String {
    let line = |i: usize| {
        let (word, label) = [("good", "praise"), ("bad", "blame")][i % 2];
        row(&format!("{}a {word} film number {i}", "well ".repeat(i % 4)), label) + "\n"
    };
    format!("{header}\n") + &numbers.map(line).collect::<String>()
}

/// Predictions of 200 texts, of which every `wrong`th is wrong.
fn predictions(wrong: usize) -> String {
    let line = |i: usize| {
        let predicted = if i.is_multiple_of(wrong) { 1 - i % 2 } else { i % 2 };
        format!("{i},{},{predicted}\n", i % 2)
    };
    "id,label,prediction\n".to_owned() + &(0..200).map(line).collect::<String>()
}
