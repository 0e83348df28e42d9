//! Files of fifteen formats with some bytes changed: they are read as what they say or refused, and nothing panics. What
//! reads them is what libFuzzer calls for longer (`fuzz/`).
//!
//! `MOELT_CORPUS=fuzz/corpus cargo test -p moelt-train --test mutated` also writes the sound files for it.

#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

#[allow(unreachable_pub)] // it is a crate of its own, too
#[path = "../../../fuzz/src/lib.rs"]
mod targets;

use std::{env, fs, path::Path};

use proptest::{prelude::*, sample::Index, test_runner::TestRunner};

/// What stands in the place of a number.
const EXTREMES: [&str; 12] = [
    "0",
    "-1",
    "1",
    "255",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "1e308",
    "-1e-320",
    "0.5",
    "null",
];

/// A change of some bytes, at places in whatever is there.
#[derive(Clone, Debug)]
enum Change {
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    Delete(Index, Index),
    /// A stretch comes twice.
    Repeat(Index, Index),
    /// The end is that of another seed.
    Splice(Index, Index, Index),
    Number(Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    let place = any::<Index>;
    prop_oneof![
        1 => (place(), 0..8u8).prop_map(|(at, bit)| Change::Flip(at, 1 << bit)),
        1 => (place(), prop::collection::vec(any::<u8>(), 1..4)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        1 => (place(), place()).prop_map(|(from, to)| Change::Delete(from, to)),
        1 => (place(), place()).prop_map(|(from, to)| Change::Repeat(from, to)),
        1 => (place(), place(), place()).prop_map(|(at, of, from)| Change::Splice(at, of, from)),
        4 => (place(), place()).prop_map(|(at, by)| Change::Number(at, by)),
    ]
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let place = |at: &Index, bytes: &[u8]| at.index(bytes.len() + 1);
        // Short ones leave more of the rest sound.
        let stretch = |from: &Index, to: &Index, bytes: &[u8]| {
            let from = place(from, bytes);
            from..(from + to.index(40)).min(bytes.len())
        };
        match self {
            Self::Flip(at, bits) => {
                let at = place(at, bytes);
                bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= bits);
            }
            Self::Insert(at, new) => {
                let at = place(at, bytes);
                bytes.splice(at..at, new.iter().copied());
            }
            Self::Delete(from, to) => drop(bytes.drain(stretch(from, to, bytes))),
            Self::Repeat(from, to) => {
                let stretch = stretch(from, to, bytes);
                let again = bytes[stretch.clone()].to_vec();
                bytes.splice(stretch.end..stretch.end, again);
            }
            Self::Splice(at, of, from) => {
                let other = of.get(seeds);
                bytes.truncate(place(at, bytes));
                bytes.extend(&other[place(from, other)..]);
            }
            Self::Number(at, by) => {
                let is_digit = |at: &usize| bytes[*at].is_ascii_digit();
                let starts = (0..bytes.len()).filter(|at| is_digit(at) && (*at == 0 || !is_digit(&(at - 1))));
                let starts: Vec<usize> = starts.collect();
                if !starts.is_empty() {
                    let start = *at.get(&starts);
                    let end = (start..bytes.len()).find(|at| !is_digit(at)).unwrap_or(bytes.len());
                    bytes.splice(start..end, by.get(&EXTREMES).bytes());
                }
            }
        }
    }
}

/// Runs `read` on seeds, which it accepts, and on a few hundred that were changed.
fn withstands(name: &str, read: fn(&[u8]) -> bool, cases: u32) {
    let seeds = targets::seeds(name);
    for (at, seed) in seeds.iter().enumerate() {
        assert!(read(seed), "{name}: {}", String::from_utf8_lossy(seed));
        if let Ok(corpus) = env::var("MOELT_CORPUS") {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(corpus).join(name);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(format!("seed-{at}")), seed).unwrap();
        }
    }
    let changed = (any::<Index>(), prop::collection::vec(change(), 1..5)).prop_map(|(which, changes)| {
        let mut bytes = which.get(&seeds).clone();
        changes.iter().for_each(|change| change.apply(&mut bytes, &seeds));
        bytes
    });
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let ran = TestRunner::new(config).run(&changed, |bytes| {
        read(&bytes);
        Ok(())
    });
    ran.unwrap_or_else(|error| panic!("{name}: {error}"));
}

/// A test for each of these functions, with so many cases.
macro_rules! withstand {
    ($($name:ident: $cases:literal,)*) => {
        $(#[test] fn $name() { withstands(stringify!($name), targets::$name, $cases); })*
    };
}

withstand! {
    config: 1000,
    encoder: 1000,
    events: 1000,
    glue: 1000,
    groups: 1000,
    manifest: 1000,
    plan: 1000,
    predictions: 1000,
    result: 1000,
    tables: 1000,
    taught_head: 1000,
    tokenizer: 1000,
    vectors: 1000,
    vocabulary: 1000,
    weights: 1000,
}
