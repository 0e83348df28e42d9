//! Generated texts with a known truth: hidden domains that turn the polarity of words around.
//!
//! A text belongs to one of K domains (by their shares, which are equal unless said otherwise) and has a clean label, which is
//! uniform. It consists of
//!
//! - markers `mark{domain}x{i}`, words that only its domain uses,
//! - polar words `polar{i}`, shared by all domains, each with a polarity per domain; a polar word of the
//!   text has the polarity of the clean label with probability q, the other one with 1 − q,
//! - fillers `filler{i}`, which say nothing,
//!
//! in random order. The label is the clean label, flipped with probability ε.
//!
//! Bayes accuracy: markers give the domain away. Given the domain, n polar words are n independent votes,
//! each right with probability q, so the majority is the best guess of the clean label and is right with
//! A = P(Binomial(n, q) > n/2) + ½ P(= n/2). With the flip: A (1 − ε) + (1 − A) ε. (A word's likelihood
//! ratio is q : 1 − q whatever the number of words of its polarity, since that number cancels.) Where domains have a q
//! each, it is the mean over domains by their shares.
//!
//! With `data.planted.live` domains come and go during training; see `drifting.rs`. Training texts are the same
//! as without, but a step sees only those of live domains; texts that judge belong to a time and to a domain
//! that is live then. None of this changes how a text of a domain is made, so Bayes accuracy is the same: that
//! of someone who knows every domain from its first text on.

use std::cmp::Ordering;

use moelt_schema::{ConfigFault, Drift, PlantedConfig, Stream, Streams};
use rand::{
    Rng, RngExt,
    seq::{IndexedRandom, SliceRandom},
};
use rand_distr::{Distribution, weighted::WeightedIndex};

use crate::{DataError, Example, Splits, drifting};

/// Stream index of the polarity tables; the splits follow.
const TABLES: u64 = 0;

/// Generates the three splits. Each has a stream of its own, so a larger split begins like a smaller one.
pub(crate) fn generate(config: &PlantedConfig) -> Result<Splits, DataError> {
    let drift = check(config)?;
    let streams = Streams::new(config.seed);
    let polarity = polarity_tables(config, &mut streams.rng(Stream::Planted, TABLES))?;
    let split = |index, size, drift: Option<&Drift>| -> Vec<Example> {
        let mut rng = streams.rng(Stream::Planted, TABLES + index);
        let examples = (0..size).map(|i| match drift.map(|drift| drifting::asked(drift, i)) {
            None => {
                let domain = draw_domain(config, &mut rng);
                example(config, &polarity, domain, None, &mut rng)
            }
            Some((time, domain)) => example(config, &polarity, domain as usize, Some(time), &mut rng),
        });
        examples.collect()
    };
    let train = split(1, config.train, None);
    if drift.is_some() {
        drifting::check_train(&train, config)?;
    }
    let domain_is_known = config.markers_per_text > 0 || config.domains == 1;
    Ok(Splits {
        classes: ["negative", "positive"].map(str::to_owned).to_vec(),
        domains: (0..config.domains).map(|domain| domain.to_string()).collect(),
        train,
        validation: split(2, config.validation, drift.as_ref()),
        test: split(3, config.test, drift.as_ref()),
        bayes_accuracy: domain_is_known.then(|| bayes_accuracy(config)),
        notes: drift.iter().map(Drift::to_string).collect(),
        drift,
    })
}

/// Refuses what no data set can be made with; gives the drift, if there is one.
fn check(config: &PlantedConfig) -> Result<Option<Drift>, DataError> {
    let drift = config.check().and_then(|()| config.drift());
    let drift = drift.map_err(|fault| DataError::from(fault.within("planted").within("data")))?;
    drift.iter().try_for_each(|drift| drifting::check_sizes(config, drift))?;
    Ok(drift)
}

fn draw_domain(config: &PlantedConfig, rng: &mut impl Rng) -> usize {
    if config.shares.is_empty() {
        return rng.random_range(0..config.domains);
    }
    let shares = WeightedIndex::new(&config.shares).expect("a checked config has a share above 0 per domain");
    shares.sample(rng)
}

/// See the module's text.
fn bayes_accuracy(config: &PlantedConfig) -> f64 {
    if config.agreements.is_empty() {
        return bayes_accuracy_of(config, 0);
    }
    (0..config.domains).map(|domain| config.share_of(domain) * bayes_accuracy_of(config, domain)).sum()
}

fn bayes_accuracy_of(config: &PlantedConfig, domain: usize) -> f64 {
    let (n, q, noise) = (config.polar_per_text, config.agreement_of(domain), config.label_noise);
    let (mut right, mut choose) = (0.0, 1.0);
    for k in 0..=n {
        let probability = choose * q.powi(k as i32) * (1.0 - q).powi((n - k) as i32);
        right += match (2 * k).cmp(&n) {
            Ordering::Less => 0.0,
            Ordering::Equal => 0.5 * probability,
            Ordering::Greater => probability,
        };
        choose *= (n - k) as f64 / (k + 1) as f64;
    }
    right * (1.0 - noise) + (1.0 - right) * noise
}

/// For each domain, which polar words are positive in it. Every word is positive in half of the domains
/// (one more or less when K is odd), so that no word says anything about the label on its own: whoever
/// ignores the domain is left with chance. Every domain has words of both polarities, and any two domains
/// disagree about a quarter of the words at least.
fn polarity_tables(config: &PlantedConfig, rng: &mut impl Rng) -> Result<Vec<Vec<bool>>, DataError> {
    const TRIES: usize = 1000;
    for _ in 0..TRIES {
        let tables = balanced_tables(config, rng);
        if usable(&tables, config.polar_words.div_ceil(4)) {
            return Ok(tables);
        }
    }
    let message =
        format!("is {}: too few for {} domains that differ; raise it", config.polar_words, config.domains);
    Err(DataError::Config(ConfigFault::new("data.planted.polar_words", message)))
}

fn balanced_tables(config: &PlantedConfig, rng: &mut impl Rng) -> Vec<Vec<bool>> {
    let mut tables = vec![Vec::with_capacity(config.polar_words); config.domains];
    for _ in 0..config.polar_words {
        let positive = (config.domains + usize::from(rng.random_bool(0.5))) / 2;
        let mut polarity: Vec<bool> = (0..config.domains).map(|domain| domain < positive).collect();
        polarity.shuffle(rng);
        tables.iter_mut().zip(polarity).for_each(|(table, polarity)| table.push(polarity));
    }
    tables
}

/// Whether every table has both polarities and any two differ in `least` words.
fn usable(tables: &[Vec<bool>], least: usize) -> bool {
    let both = |table: &Vec<bool>| table.contains(&true) && table.contains(&false);
    let differ = |a: &[bool], b: &[bool]| a.iter().zip(b).filter(|(a, b)| a != b).count() >= least;
    let distinct = |(i, table): (usize, &Vec<bool>)| tables[..i].iter().all(|other| differ(other, table));
    tables.iter().all(both) && tables.iter().enumerate().all(distinct)
}

fn example(
    config: &PlantedConfig,
    polarity: &[Vec<bool>],
    domain: usize,
    time: Option<u32>,
    rng: &mut impl Rng,
) -> Example {
    let positive = rng.random_bool(0.5);
    let of_polarity = |wanted: bool| -> Vec<usize> {
        (0..config.polar_words).filter(|&word| polarity[domain][word] == wanted).collect()
    };
    let (agreeing, disagreeing) = (of_polarity(positive), of_polarity(!positive));
    let mut words = Vec::new();
    for _ in 0..config.markers_per_text {
        words.push(format!("mark{domain}x{}", rng.random_range(0..config.markers_per_domain)));
    }
    for _ in 0..config.polar_per_text {
        let words_of = if rng.random_bool(config.agreement_of(domain)) { &agreeing } else { &disagreeing };
        let word = words_of.choose(rng).expect("every domain has words of both polarities");
        words.push(format!("polar{word}"));
    }
    for _ in 0..config.fillers_per_text {
        words.push(format!("filler{}", rng.random_range(0..config.filler_words)));
    }
    words.shuffle(rng);
    let flipped = rng.random_bool(config.label_noise);
    let (text, label) = (words.join(" "), u32::from(positive != flipped));
    Example { text, label, domain: Some(domain as u32), time }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn small() -> PlantedConfig {
        PlantedConfig { train: 4000, validation: 500, test: 500, ..PlantedConfig::default() }
    }

    fn tables(config: &PlantedConfig) -> Vec<Vec<bool>> {
        polarity_tables(config, &mut Streams::new(config.seed).rng(Stream::Planted, TABLES)).unwrap()
    }

    /// The label that most polar words of a text vote for.
    fn majority(example: &Example, tables: &[Vec<bool>]) -> u32 {
        let table = &tables[example.domain.unwrap() as usize];
        let polar = example.text.split(' ').filter_map(|word| word.strip_prefix("polar"));
        let votes: Vec<bool> = polar.map(|word| table[word.parse::<usize>().unwrap()]).collect();
        u32::from(2 * votes.iter().filter(|vote| **vote).count() > votes.len())
    }

    #[test]
    fn texts_consist_of_what_was_asked_for() {
        let data = generate(&small()).unwrap();
        assert_eq!((data.train.len(), data.validation.len(), data.test.len()), (4000, 500, 500));
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
    fn the_majority_reaches_bayes_accuracy_and_no_more() {
        let config = PlantedConfig { train: 40_000, label_noise: 0.1, polar_agreement: 0.75, ..small() };
        let (data, tables) = (generate(&config).unwrap(), tables(&config));
        let right = data.train.iter().filter(|e| e.label == majority(e, &tables)).count() as f64;
        // A = P(Binomial(7, ¾) ≥ 4) = 0.929443; 0.929443 · 0.9 + 0.070557 · 0.1
        let bayes = data.bayes_accuracy.unwrap();
        assert!((bayes - 0.843_554).abs() < 1e-6, "{bayes}");
        assert!((right / 40_000.0 - bayes).abs() < 0.006, "{right}");
    }

    #[test]
    fn without_noise_every_word_agrees() {
        let config = PlantedConfig { label_noise: 0.0, polar_agreement: 1.0, ..small() };
        let (data, tables) = (generate(&config).unwrap(), tables(&config));
        assert_eq!(data.bayes_accuracy, Some(1.0));
        assert!(data.train.iter().all(|e| e.label == majority(e, &tables)));
    }

    #[test]
    fn domains_have_their_shares_and_their_difficulty() {
        let (shares, agreements) = (vec![6.0, 3.0, 1.0], vec![1.0, 0.75, 0.5]);
        let config =
            PlantedConfig { domains: 3, shares, agreements, label_noise: 0.0, train: 20_000, ..small() };
        let (data, tables) = (generate(&config).unwrap(), tables(&config));
        let of = |domain| data.train.iter().filter(move |e| e.domain == Some(domain));
        for (domain, (share, bayes)) in (0..).zip([(0.6, 1.0), (0.3, 0.929_443), (0.1, 0.5)]) {
            let n = of(domain).count() as f64;
            assert!((n / 20_000.0 - share).abs() < 0.01, "{n}");
            let right = of(domain).filter(|e| e.label == majority(e, &tables)).count() as f64 / n;
            assert!((right - bayes).abs() < 0.03, "{domain}: {right}");
        }
        let expected = 0.6 + 0.3 * 0.929_443 + 0.1 * 0.5;
        assert!((data.bayes_accuracy.unwrap() - expected).abs() < 1e-6);
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
        assert!(words(&data.test).is_subset(&words(&data.train)));
        assert_ne!(data.validation, data.test);
        let longer = generate(&PlantedConfig { train: 5000, ..small() }).unwrap();
        assert_eq!(longer.train[..4000], data.train);
        assert_eq!(longer.test, data.test);
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
        assert_eq!(digest.short(), "dcdf0966");
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
    fn no_word_says_anything_without_the_domain() {
        for domains in [2, 3, 8] {
            let tables = tables(&PlantedConfig { domains, ..small() });
            for word in 0..60 {
                let positive = tables.iter().filter(|table| table[word]).count();
                assert!((domains / 2..=domains.div_ceil(2)).contains(&positive), "{positive} of {domains}");
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
        assert!(message(PlantedConfig { label_noise: 0.7, ..small() }).contains("label_noise"));
    }

    #[test]
    fn bayes_accuracy_is_unknown_when_nothing_tells_the_domain() {
        let config = PlantedConfig { markers_per_text: 0, ..small() };
        assert_eq!(generate(&config).unwrap().bayes_accuracy, None);
        assert!(generate(&PlantedConfig { domains: 1, ..config }).unwrap().bayes_accuracy.is_some());
    }
}
