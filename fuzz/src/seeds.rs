//! Small sound files of every format, from which mutations start: those of a run of a few steps, and written ones.

use std::{collections::BTreeMap, fs, path::Path, sync::LazyLock};

use burn::tensor::Device;
use moelt_data::{TextGroups, Vocabulary};
use moelt_schema::{
    AblationPlan, Cell, ClaimKind, CollapseRule, Comparison, Digest, Flops, ForecastErrors, Metric, Move,
    PLAN_FORMAT, RunConfig, RunDir, TaughtFile, TaughtHead, Teaching, TeachingRanges, TextConfig,
};
use moelt_train::{CheckpointStore, Trainer};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Contents by name.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// A run in which every kind of thing is logged within a few steps.
const CONFIG: &str = "
[data.planted]
domains = 2
polar_words = 4
markers_per_domain = 1
filler_words = 2
markers_per_text = 1
polar_per_text = 2
fillers_per_text = 1
train = 32
validation = 8
test = 8
[model]
d_model = 4
d_ff = 2
n_layers = 1
[model.routing.top_k]
n_experts = 2
[optim]
ema_decay = 0.5
[train]
budget = { epochs = 2 }
batch_size = 8
log_every = 2
eval_every = 4
checkpoint_every = 4
keep_last = 1
[control.edits]
every = 2
warmup = 0.0
until = 1.0
max_experts = 4
[control.policy.lookahead]
cooldown = 0
horizon = 1
[control.policy.lookahead.head]
hidden = 1
";

/// What a run left.
struct Run {
    folder: Files,
    checkpoint: Files,
}

static RUN: LazyLock<Run> = LazyLock::new(|| {
    let folder = TempDir::new().expect("the folder of temporary files can be written");
    let run = RunDir::new(folder.path());
    let config = RunConfig::from_toml(CONFIG).expect("the config is sound");
    Trainer::new(config).run(run.path(), &Device::flex()).expect("the run comes to its end");
    let newest = CheckpointStore::at(run.checkpoints()).newest().expect("the folder can be read");
    let checkpoint = files(&newest.expect("there is a checkpoint"));
    let mut folder = files(run.path());
    folder.extend(files(&run.path().join("predictions")));
    Run { folder, checkpoint }
});

/// The files of a folder, without those of folders in it.
fn files(folder: &Path) -> Files {
    let entries = fs::read_dir(folder).expect("a run wrote the folder");
    let paths = entries.map(|entry| entry.expect("a run wrote the folder").path());
    let named = paths
        .filter(|path| path.is_file())
        .filter_map(|path| Some((path.file_name()?.to_str()?.to_owned(), fs::read(&path).ok()?)));
    named.collect()
}

/// The files of the run's last checkpoint.
pub(super) fn checkpoint() -> &'static Files {
    &RUN.checkpoint
}

/// The seeds of the function of this name.
pub fn seeds(of: &str) -> Vec<Vec<u8>> {
    let (run, checkpoint) = (|name: &str| RUN.folder[name].clone(), |name: &str| checkpoint()[name].clone());
    match of {
        "config" => [run("config.toml"), CONFIG_WITH_SETS.into()].into(),
        "encoder" => {
            vec![safetensors("w", "F32", 4), safetensors("w", "F16", 2), checkpoint("model.safetensors")]
        }
        "events" => vec![run("events.jsonl")],
        "glue" => vec![GLUE.into()],
        "groups" => vec![groups()],
        "manifest" => vec![compact(&checkpoint("manifest.json"))],
        "plan" => vec![plan()],
        "predictions" => [run("test.csv"), PREDICTIONS.into(), PREDICTIONS.replace(',', "\t").into()].into(),
        "result" => vec![run("result.json")],
        "tables" => TABLES.map(Vec::from).into(),
        "taught_head" => vec![taught_head()],
        "tokenizer" => vec![tokenizer()],
        "vectors" => {
            [VECTORS.into(), safetensors("embeddings", "F32", 4), safetensors("weight", "BF16", 2)].into()
        }
        "vocabulary" => [checkpoint("vocabulary.json"), words(), pretrained()].into(),
        "weights" => vec![checkpoint("model.safetensors")],
        _ => panic!("there is no function `{of}`"),
    }
}

/// JSON without blanks, so that more mutations meet what counts.
fn compact(json: &[u8]) -> Vec<u8> {
    serde_json::from_slice::<Value>(json).expect("a run wrote it").to_string().into()
}

const CONFIG_WITH_SETS: &str = "arm = 'a'
[data.csv]
train = 'a.csv'
domain_column = 'd'
stream = 'sequential'
[model]
encoder = { conv = { width = 3 } }
[model.routing.top_k]
n_experts = 3
[control]
policy = 'rule'
--set seed=7
--set control.policy.rule.cooldown=2
--set text.subwords={ prefixes = [3, 4], suffix = 2, hyphen_parts = true }";

/// Texts with quotes, line breaks within them, a field too many and an empty one; other delimiters and headers.
const TABLES: [&str; 4] = [
    "text,label\na b,0\n\"c, \"\"d\"\"\ne\",1\nf,0\ng,1\nh,0\ni,1\nj,0\nk,1\nl,0\nm,1\nn,2,3\n,1\n",
    "\u{feff}Review;Sentiment\r\ngut;1\r\nschlecht;0\r\nnaïve;1\r\n",
    "id\ttext\tlabel\n1\tso \"so\t1\n2\tfine\t0\n",
    "one text\n\nper line\n",
];

const GLUE: &str = "sentence\tlabel\na good film \t1\ngood film \t1\na bad one \t0\nbad one \t0\nneither of them \t0\nthe last one \t1\n";

const PREDICTIONS: &str = "id,label,prediction\n1,a,b\n2,\"b\",b\n";

const VECTORS: &str = "3 2\nfilm 0.5 -1e-3\nat once 1 2\nnaïve\t.1\t-7\n";

/// A safetensors file of one tensor of two rows of two values, each of so many bytes.
fn safetensors(name: &str, dtype: &str, width: usize) -> Vec<u8> {
    let tensor =
        json!({ name: { "dtype": dtype, "shape": [2, 2], "data_offsets": [0, 4 * width] } }).to_string();
    [&(tensor.len() as u64).to_le_bytes(), tensor.as_bytes(), &vec![0; 4 * width]].concat()
}

fn groups() -> Vec<u8> {
    TextGroups::named(&["the film", "der film", "oder"], &[0, 1, 1], 2).to_json().into()
}

fn plan() -> Vec<u8> {
    let config = RunConfig::from_toml(CONFIG).expect("the config is sound");
    let cells = ["dense", "moe"].map(|arm| Cell::new(RunConfig { arm: arm.to_owned(), ..config.clone() }));
    let comparison = Comparison {
        name: "moe against dense".to_owned(),
        metric: Metric::Utility { price: 0.01 },
        arm: "moe".to_owned(),
        against: vec!["dense".to_owned()],
        kind: ClaimKind::Superiority,
        margin: 0.005,
        alpha: 0.05,
        family: "moe".to_owned(),
    };
    let needs = vec![cells[0].id.clone()];
    let [dense, moe] = cells;
    let plan = AblationPlan {
        format: PLAN_FORMAT,
        name: "fuzzed".to_owned(),
        moelt: "0".to_owned(),
        code: Digest::of_bytes(b""),
        data: BTreeMap::from([("a.csv".to_owned(), Digest::of_bytes(b""))]),
        resamples: 10,
        collapse: CollapseRule::default(),
        comparisons: vec![comparison],
        cells: vec![dense.of_sweep(1), moe.after(needs)],
    };
    json!(plan).to_string().into()
}

fn taught_head() -> Vec<u8> {
    let errors = ForecastErrors { bounds: vec![0.0], groups: vec![vec![-0.5, 0.5], vec![1.0]] };
    let teaching = Teaching {
        first_seed: 1,
        tasks: 2,
        left_out: 1,
        configs: Digest::of_bytes(b""),
        records: BTreeMap::from([(Move::Grow, 3)]),
        fitting: 4,
    };
    let head = TaughtHead {
        hidden: 1,
        networks: vec![vec![0.5, -0.5]],
        errors: BTreeMap::from([(Move::Grow, errors)]),
        flops: Flops::unpadded(9),
    };
    TaughtFile::new("0", TeachingRanges::default(), teaching, head).to_json().into()
}

fn tokenizer() -> Vec<u8> {
    let added = |id: u32, content: &str| {
        json!({
            "id": id, "content": content, "special": true, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false
        })
    };
    let file = json!({
        "version": "1.0",
        "added_tokens": [added(0, "[PAD]"), added(1, "[UNK]"), added(5, "<new>")],
        "normalizer": {
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
            "lowercase": true
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[UNK]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [],
            "special_tokens": {"[UNK]": {"id": "[UNK]", "ids": [1], "tokens": ["[UNK]"]}}
        },
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": {"[PAD]": 0, "[UNK]": 1, "a": 2, "film": 3, "##s": 4}
        }
    });
    file.to_string().into()
}

/// A vocabulary with parts of words.
fn words() -> Vec<u8> {
    let mut text = TextConfig::default();
    text.subwords.prefixes = vec![2, 4];
    text.subwords.suffix = 2;
    text.subwords.hyphen_parts = true;
    Vocabulary::build(["naïve-film film-maker", "filming makers"], &text).to_json().into()
}

/// A vocabulary of a pretrained encoder.
fn pretrained() -> Vec<u8> {
    let tokenizer = String::from_utf8(tokenizer()).expect("JSON is text");
    let vocabulary = Vocabulary::pretrained(&tokenizer, &TextConfig::default());
    vocabulary.expect("the tokenizer is sound").to_json().into()
}
