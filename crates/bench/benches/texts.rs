//! From texts to rows of the embedding table, one thousand sentences of 20 words at a time.
//!
//! `cargo bench -p moelt-bench --bench texts`

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use moelt_data::{Vocabulary, tokenize};
use moelt_schema::{SubwordConfig, TextConfig};

const SENTENCES: usize = 1_000;
const WORDS: usize = 20;

/// Words of a few thousand syllables, with what sentences have between them.
fn sentence(at: usize) -> String {
    const SYLLABLES: [&str; 12] =
        ["ka", "lo", "min", "ter", "su", "vel", "dra", "po", "ish", "en", "qua", "rit"];
    let syllable =
        |word: usize, part: usize| SYLLABLES[(at * 31 + word * 7 + part * 5 + at * word) % SYLLABLES.len()];
    let word =
        |word: usize| -> String { (0..1 + (at + word) % 4).map(|part| syllable(word, part)).collect() };
    let words: Vec<String> = (0..WORDS).map(word).collect();
    format!("{}, isn't it? {} (it's well-known).", words[..WORDS / 2].join(" "), words[WORDS / 2..].join(" "))
}

fn bench(criterion: &mut Criterion) {
    let sentences: Vec<String> = (0..SENTENCES).map(sentence).collect();
    let subwords =
        SubwordConfig { prefixes: vec![6, 5, 4], suffix: 3, hyphen_parts: true, ..SubwordConfig::default() };
    let config = TextConfig { subwords, ..TextConfig::default() };
    let vocabulary = Vocabulary::build(sentences.iter().map(String::as_str), &config);

    let mut group = criterion.benchmark_group("texts");
    group.throughput(Throughput::Elements(SENTENCES as u64));
    group.bench_function("tokenize", |bencher| {
        bencher.iter(|| sentences.iter().for_each(|text| drop(black_box(tokenize(text, &config)))));
    });
    group.bench_function("encode, with parts of words", |bencher| {
        bencher.iter(|| sentences.iter().for_each(|text| drop(black_box(vocabulary.encode(text)))));
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
