//! Generated texts with a known truth: hidden domains that turn the polarity of words around.
//!
//! A text belongs to one of K domains and has a clean label, both uniform. It consists of
//!
//! - markers `mark{domain}x{i}`, words that only its domain uses,
//! - polar words `polar{i}`, shared by all domains, whose polarity in this domain is the clean label,
//! - fillers `filler{i}`, which say nothing,
//!
//! in random order. The label is the clean label, flipped with probability ε. Markers give the domain away
//! and, with it, each polar word gives the clean label away, so the best classifier knows the clean label
//! and errs exactly when it was flipped: Bayes accuracy is max(ε, 1 − ε).

use moelt_schema::{PlantedConfig, Stream, Streams};
use rand::{
    Rng, RngExt,
    seq::{IndexedRandom, SliceRandom},
};

use crate::{DataError, Dataset, Example};

/// Stream index of the polarity tables; the splits follow.
const TABLES: u64 = 0;

/// Generates the three splits. Each has a stream of its own, so a larger split begins like a smaller one.
pub(crate) fn generate(config: &PlantedConfig) -> Result<Dataset, DataError> {
    check(config)?;
    let streams = Streams::new(config.seed);
    let polarity = polarity_tables(config, &mut streams.rng(Stream::Planted, TABLES))?;
    let split = |index, size| -> Vec<Example> {
        let mut rng = streams.rng(Stream::Planted, TABLES + index);
        (0..size).map(|_| example(config, &polarity, &mut rng)).collect()
    };
    let domain_is_known = config.markers_per_text > 0 || config.domains == 1;
    Ok(Dataset {
        classes: ["negative", "positive"].map(str::to_owned).to_vec(),
        train: split(1, config.train),
        selection: split(2, config.selection),
        verdict: split(3, config.verdict),
        bayes_accuracy: domain_is_known.then(|| config.label_noise.max(1.0 - config.label_noise)),
        notes: Vec::new(),
    })
}

fn check(config: &PlantedConfig) -> Result<(), DataError> {
    let needed = |per_text| usize::from(per_text > 0);
    let at_least = [
        ("data.planted.domains", config.domains, 1),
        ("data.planted.polar_words", config.polar_words, 2),
        ("data.planted.polar_per_text", config.polar_per_text, 1),
        ("data.planted.markers_per_domain", config.markers_per_domain, needed(config.markers_per_text)),
        ("data.planted.filler_words", config.filler_words, needed(config.fillers_per_text)),
        ("data.planted.train", config.train, 1),
        ("data.planted.selection", config.selection, 1),
        ("data.planted.verdict", config.verdict, 1),
    ];
    for (key, value, least) in at_least {
        if value < least {
            return Err(DataError::Config { key, message: format!("is {value}; must be at least {least}") });
        }
    }
    if !(0.0..=1.0).contains(&config.label_noise) {
        let message = format!("is {}; must be a probability", config.label_noise);
        return Err(DataError::Config { key: "data.planted.label_noise", message });
    }
    Ok(())
}

/// For each domain, which polar words are positive in it: random, but every domain has words of both
/// polarities, and any two domains disagree about a quarter of the words at least.
fn polarity_tables(config: &PlantedConfig, rng: &mut impl Rng) -> Result<Vec<Vec<bool>>, DataError> {
    const TRIES: usize = 10_000;
    let least = config.polar_words.div_ceil(4);
    let differ = |a: &[bool], b: &[bool]| a.iter().zip(b).filter(|(a, b)| a != b).count() >= least;
    let mut tables: Vec<Vec<bool>> = Vec::new();
    for _ in 0..TRIES {
        if tables.len() == config.domains {
            break;
        }
        let table: Vec<bool> = (0..config.polar_words).map(|_| rng.random_bool(0.5)).collect();
        let both = table.contains(&true) && table.contains(&false);
        if both && tables.iter().all(|other| differ(other, &table)) {
            tables.push(table);
        }
    }
    if tables.len() < config.domains {
        let message = format!(
            "is {}: too few for {} domains that differ; raise it",
            config.polar_words, config.domains
        );
        return Err(DataError::Config { key: "data.planted.polar_words", message });
    }
    Ok(tables)
}

fn example(config: &PlantedConfig, polarity: &[Vec<bool>], rng: &mut impl Rng) -> Example {
    let domain = rng.random_range(0..config.domains);
    let positive = rng.random_bool(0.5);
    let agreeing: Vec<usize> =
        (0..config.polar_words).filter(|&word| polarity[domain][word] == positive).collect();
    let mut words = Vec::new();
    for _ in 0..config.markers_per_text {
        words.push(format!("mark{domain}x{}", rng.random_range(0..config.markers_per_domain)));
    }
    for _ in 0..config.polar_per_text {
        let word = agreeing.choose(rng).expect("every domain has words of both polarities");
        words.push(format!("polar{word}"));
    }
    for _ in 0..config.fillers_per_text {
        words.push(format!("filler{}", rng.random_range(0..config.filler_words)));
    }
    words.shuffle(rng);
    let flipped = rng.random_bool(config.label_noise);
    Example { text: words.join(" "), label: u32::from(positive != flipped), domain: Some(domain as u32) }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn small() -> PlantedConfig {
        PlantedConfig { train: 4000, selection: 500, verdict: 500, ..PlantedConfig::default() }
    }

    fn tables(config: &PlantedConfig) -> Vec<Vec<bool>> {
        polarity_tables(config, &mut Streams::new(config.seed).rng(Stream::Planted, TABLES)).unwrap()
    }

    /// Clean label, by the polar words of a text, which must agree.
    fn clean_label(example: &Example, tables: &[Vec<bool>]) -> u32 {
        let table = &tables[example.domain.unwrap() as usize];
        let polar = example.text.split(' ').filter_map(|word| word.strip_prefix("polar"));
        let labels: BTreeSet<bool> = polar.map(|word| table[word.parse::<usize>().unwrap()]).collect();
        assert_eq!(labels.len(), 1, "{}", example.text);
        u32::from(labels.contains(&true))
    }

    #[test]
    fn texts_consist_of_what_was_asked_for() {
        let data = generate(&small()).unwrap();
        assert_eq!((data.train.len(), data.selection.len(), data.verdict.len()), (4000, 500, 500));
        for example in &data.train {
            let count =
                |prefix: &str| example.text.split(' ').filter(|word| word.starts_with(prefix)).count();
            assert_eq!((count("mark"), count("polar"), count("filler")), (5, 7, 3));
            assert_eq!(count(&format!("mark{}x", example.domain.unwrap())), 5);
        }
        let firsts: BTreeSet<char> = data.train.iter().filter_map(|e| e.text.chars().next()).collect();
        assert_eq!(firsts, BTreeSet::from(['m', 'p', 'f']), "words are shuffled");
    }

    #[test]
    fn labels_are_clean_but_for_the_noise() {
        let config = PlantedConfig { label_noise: 0.1, ..small() };
        let (data, tables) = (generate(&config).unwrap(), tables(&config));
        let flipped = data.train.iter().filter(|e| e.label != clean_label(e, &tables)).count();
        // 400 ± 19 expected.
        assert!((340..460).contains(&flipped), "{flipped}");
        assert_eq!(data.bayes_accuracy, Some(0.9));
        let clean = generate(&PlantedConfig { label_noise: 0.0, ..small() }).unwrap();
        assert!(clean.train.iter().all(|e| e.label == clean_label(e, &tables)));
    }

    #[test]
    fn domains_and_labels_are_uniform() {
        let mut counts: BTreeMap<(Option<u32>, u32), usize> = BTreeMap::new();
        for example in generate(&small()).unwrap().train {
            *counts.entry((example.domain, example.label)).or_default() += 1;
        }
        assert_eq!(counts.len(), 8);
        assert!(counts.values().all(|count| (400..600).contains(count)), "{counts:?}");
    }

    #[test]
    fn splits_share_words_but_no_stream() {
        let data = generate(&small()).unwrap();
        let words = |split: &[Example]| -> BTreeSet<String> {
            split.iter().flat_map(|e| e.text.split(' ').map(str::to_owned)).collect()
        };
        assert_eq!(words(&data.train).len(), 60 + 4 * 4 + 40);
        assert!(words(&data.verdict).is_subset(&words(&data.train)));
        assert_ne!(data.selection, data.verdict);
        let longer = generate(&PlantedConfig { train: 5000, ..small() }).unwrap();
        assert_eq!(longer.train[..4000], data.train);
        assert_eq!(longer.verdict, data.verdict);
    }

    #[test]
    fn the_seed_decides() {
        let digest = |seed| generate(&PlantedConfig { seed, ..small() }).unwrap().digest();
        assert_eq!(digest(1), digest(1));
        assert_ne!(digest(1), digest(2));
    }

    #[test]
    fn the_data_set_is_the_same_everywhere_and_for_ever() {
        let digest = generate(&PlantedConfig::default()).unwrap().digest();
        // Results in docs/ rest on this data: whoever changes it (a new rand may) must say so there.
        assert_eq!(digest.short(), "d6742878");
    }

    #[test]
    fn domains_have_both_polarities_and_differ() {
        for seed in 0..50 {
            let config = PlantedConfig { seed, domains: 8, polar_words: 16, ..small() };
            let tables = tables(&config);
            assert_eq!(tables.len(), 8);
            for (i, table) in tables.iter().enumerate() {
                assert!(table.contains(&true) && table.contains(&false));
                for other in &tables[..i] {
                    assert!(table.iter().zip(other).filter(|(a, b)| a != b).count() >= 4);
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_is_said_with_its_key() {
        let message = |config| generate(&config).unwrap_err().to_string();
        let few = message(PlantedConfig { polar_words: 2, domains: 3, ..small() });
        assert_eq!(few, "`data.planted.polar_words`: is 2: too few for 3 domains that differ; raise it");
        let none = message(PlantedConfig { domains: 0, ..small() });
        assert_eq!(none, "`data.planted.domains`: is 0; must be at least 1");
        assert!(message(PlantedConfig { filler_words: 0, ..small() }).contains("filler_words"));
        assert!(message(PlantedConfig { label_noise: 2.0, ..small() }).contains("must be a probability"));
    }

    #[test]
    fn bayes_accuracy_is_unknown_when_nothing_tells_the_domain() {
        let config = PlantedConfig { markers_per_text: 0, ..small() };
        assert_eq!(generate(&config).unwrap().bayes_accuracy, None);
        assert_eq!(generate(&PlantedConfig { domains: 1, ..config }).unwrap().bayes_accuracy, Some(0.97));
    }
}
