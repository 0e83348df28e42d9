//! Data whose domains come and go: what each training step may see, and when a model is asked about what.

use std::collections::BTreeSet;

use moelt_schema::{ConfigFault, Drift, PlantedConfig};

use crate::{DataError, Example, Segment, Splits, error::shorten};

/// Evaluation time and domain of example `i` of a split that judges. Examples take times, and those of a time
/// its live domains, in turn: every prefix of a split is spread as evenly as can be.
pub(crate) fn asked(drift: &Drift, i: usize) -> (u32, u32) {
    let (times, i) = (drift.times(), i as u32);
    let time = 1 + i % times;
    let live = drift.live_before(drift.at(time));
    (time, live[(i / times) as usize % live.len()])
}

/// Refuses splits in which some live domain would not be asked about.
pub(crate) fn check_sizes(config: &PlantedConfig, drift: &Drift) -> Result<(), DataError> {
    let live = (1..=drift.times()).map(|time| drift.live_before(drift.at(time)).len()).max().unwrap_or(0);
    let least = live * drift.times() as usize;
    let sizes = [("data.planted.validation", config.validation), ("data.planted.test", config.test)];
    match sizes.into_iter().find(|(_, size)| *size < least) {
        None => Ok(()),
        Some((key, size)) => {
            let message = format!(
                "is {size}; must be at least {least}: {} evaluation times, up to {live} live domains each",
                drift.times()
            );
            Err(DataError::Config(ConfigFault::new(key, message)))
        }
    }
}

/// Refuses a training split without an example of some domain: a step that sees only that one had nothing.
pub(crate) fn check_train(train: &[Example], config: &PlantedConfig) -> Result<(), DataError> {
    let there: BTreeSet<u32> = train.iter().filter_map(|example| example.domain).collect();
    match (0..config.domains as u32).find(|domain| !there.contains(domain)) {
        None => Ok(()),
        Some(domain) => {
            let message = format!("is {}: domain {domain} has no example; raise it", config.train);
            Err(DataError::Config(ConfigFault::new("data.planted.train", message)))
        }
    }
}

/// Refuses a stream of tasks that is none, or of which a split lacks a task.
pub(crate) fn check_stream(splits: &Splits) -> Result<(), DataError> {
    let wrong = |message: String| Err(ConfigFault::new("data.csv.stream", message).into());
    if splits.drift.is_none() {
        return Ok(());
    }
    if splits.domains.len() < 2 {
        return wrong(format!("needs two domains to arrive; the texts are of {}", splits.domains.len()));
    }
    for (name, split) in splits.named() {
        if let Some(at) = split.iter().position(|example| example.domain.is_none()) {
            let text = shorten(&split[at].text);
            return wrong(format!(
                "needs a domain for every text; `{text}` of the {name} split has none that training knows"
            ));
        }
        let there: BTreeSet<u32> = split.iter().filter_map(|example| example.domain).collect();
        if let Some((_, domain)) = (0..).zip(&splits.domains).find(|(domain, _)| !there.contains(domain)) {
            return wrong(format!("has domain `{domain}` arrive, of which the {name} split has no text"));
        }
    }
    Ok(())
}

impl Splits {
    /// Which training examples each step of a run of `total` steps may see: all of them or, where domains
    /// drift, those of the domains that are live.
    pub fn segments(&self, total: u64) -> Vec<Segment> {
        let Some(drift) = &self.drift else {
            return vec![Segment { from: 0, examples: (0..self.train.len()).collect() }];
        };
        let examples_of = |domains: &[u32]| {
            let is_live = |i: &usize| self.train[*i].domain.is_some_and(|domain| domains.contains(&domain));
            (0..self.train.len()).filter(is_live).collect()
        };
        let stretches = drift.stretches(total).into_iter();
        stretches.map(|s| Segment { from: s.from, examples: examples_of(&s.domains) }).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use moelt_schema::{DataConfig, Streams, TextConfig};

    use super::*;
    use crate::{Batches, Dataset, Encoded};

    /// Domain 0 goes at a half, 2 comes at a third, 3 at two thirds.
    fn config() -> PlantedConfig {
        let live = vec![[0.0, 0.5], [0.0, 1.0], [0.3333, 1.0], [0.6667, 1.0]];
        PlantedConfig { train: 600, validation: 100, test: 240, live, ..PlantedConfig::default() }
    }

    fn dataset(planted: PlantedConfig) -> Splits {
        DataConfig::Planted(planted).splits(&TextConfig::default()).unwrap()
    }

    #[test]
    fn a_split_that_judges_asks_evenly_about_what_is_live() {
        let data = dataset(config());
        let mut counts: BTreeMap<(u32, u32), usize> = BTreeMap::new();
        for example in &data.test {
            *counts.entry((example.time.unwrap(), example.domain.unwrap())).or_default() += 1;
        }
        let live = |time: u32| match time {
            1..=3 => vec![0, 1],
            4..=5 => vec![0, 1, 2],
            6 => vec![1, 2],
            _ => vec![1, 2, 3],
        };
        let expected = (1..=10).flat_map(|time| {
            let live = live(time);
            let each = 24 / live.len();
            live.into_iter().map(move |domain| ((time, domain), each))
        });
        assert_eq!(counts, expected.collect());
        assert!(data.validation[..30].iter().zip(0..).all(|(e, i)| e.time == Some(1 + i % 10)));
    }

    #[test]
    fn training_texts_and_bayes_accuracy_are_those_without_drift() {
        let (drifting, still) = (dataset(config()), dataset(PlantedConfig { live: vec![], ..config() }));
        assert_eq!(drifting.train, still.train);
        assert_eq!(drifting.bayes_accuracy, still.bayes_accuracy);
        assert_ne!(drifting.digest(), still.digest());
        let other =
            PlantedConfig { live: vec![[0.0, 0.5], [0.0, 1.0], [0.34, 1.0], [0.6667, 1.0]], ..config() };
        assert_ne!(drifting.digest(), dataset(other).digest(), "the same texts, seen at other steps");
    }

    #[test]
    fn labels_are_as_likely_right_as_without_drift() {
        let config = PlantedConfig { polar_agreement: 1.0, label_noise: 0.1, test: 20_000, ..config() };
        let data = dataset(PlantedConfig { validation: 20_000, ..config });
        assert_eq!(data.bayes_accuracy, Some(0.9));
        // Without disagreeing words a domain's word tells the clean label, so labels of one word agree.
        let mut words: BTreeMap<(u32, String), [f64; 2]> = BTreeMap::new();
        for example in data.validation.iter().chain(&data.test) {
            let polar = example.text.split(' ').find(|word| word.starts_with("polar")).unwrap();
            words.entry((example.domain.unwrap(), polar.into())).or_default()[example.label as usize] += 1.0;
        }
        let right: f64 = words.values().map(|[negative, positive]| negative.max(*positive)).sum();
        assert!((right / 40_000.0 - 0.9).abs() < 0.01, "{right}");
    }

    #[test]
    fn steps_see_only_what_is_live_and_each_of_it_equally_often() {
        let data = dataset(config());
        let texts = vec![Encoded::from_tokens(&[vec![1]]); 600];
        let (total, segments) = (300, data.segments(300));
        assert_eq!(segments.iter().map(|s| s.from).collect::<Vec<_>>(), [0, 100, 150, 200]);
        let mut batches = Batches::drifting(texts, vec![0; 600], 16, Streams::new(5), segments.clone());
        for (i, segment) in segments.iter().enumerate() {
            let mut seen = BTreeMap::from_iter(segment.examples.iter().map(|example| (*example, 0)));
            for step in segment.from..segments.get(i + 1).map_or(total, |next| next.from) {
                let at = step as f64 / total as f64;
                for example in batches.at(step).examples {
                    let [from, to] = config().live[data.train[example].domain.unwrap() as usize];
                    assert!(from <= at + 0.5 / 300.0 && at < to, "step {step}");
                    *seen.get_mut(&example).unwrap() += 1;
                }
            }
            let (least, most) = (seen.values().min().unwrap(), seen.values().max().unwrap());
            assert!(most - least <= 1 && *least > 0, "{least} to {most}");
        }
    }

    #[test]
    fn too_few_examples_are_refused_by_key() {
        let message = |planted| {
            DataConfig::Planted(planted).splits(&TextConfig::default()).map(drop).unwrap_err().to_string()
        };
        let few = message(PlantedConfig { validation: 29, ..config() });
        let expected = "`data.planted.validation`: is 29; must be at least 30: 10 evaluation times, up to 3 live domains each";
        assert_eq!(few, expected);
        let few = message(PlantedConfig { train: 2, ..config() });
        assert!(few.starts_with("`data.planted.train`: is 2: domain "), "{few}");
        let few = message(PlantedConfig { live: vec![[0.0, 1.0]], ..config() });
        assert!(few.starts_with("`data.planted.live`: has 1 pairs for 4 domains"), "{few}");
    }
}
