//! Holding examples out by seed: stratified by label, texts that a model cannot tell apart on one side.

use std::collections::HashMap;

use moelt_schema::{Stream, Streams};
use rand::seq::SliceRandom;

use crate::Example;

/// Holds out two parts of `examples`, each about its fraction of every class, in the order of the file.
///
/// Texts with equal `keys` go together, with the class of the first of them, so a part may be a little larger
/// than asked. Which texts go where depends on `seed`, the examples and their keys alone.
pub(crate) fn hold_out(
    examples: Vec<Example>,
    keys: &[String],
    fractions: [f64; 2],
    seed: u64,
) -> (Vec<Example>, [Vec<Example>; 2]) {
    let mut rng = Streams::new(seed).rng(Stream::Split, 0);
    let mut part_of = vec![None; examples.len()];
    for mut groups in groups_by_class(&examples, keys) {
        groups.shuffle(&mut rng);
        let size: usize = groups.iter().map(Vec::len).sum();
        let mut groups = groups.into_iter();
        for (part, fraction) in fractions.into_iter().enumerate() {
            let wanted = (size as f64 * fraction).round() as usize;
            let mut held = 0;
            while held < wanted
                && let Some(group) = groups.next()
            {
                held += group.len();
                group.into_iter().for_each(|i| part_of[i] = Some(part));
            }
        }
    }
    let (mut train, mut parts) = (Vec::new(), [Vec::new(), Vec::new()]);
    for (example, part) in examples.into_iter().zip(part_of) {
        part.map_or(&mut train, |part| &mut parts[part]).push(example);
    }
    (train, parts)
}

/// For each class, the places of its examples, those of equal keys together, by first occurrence.
fn groups_by_class(examples: &[Example], keys: &[String]) -> Vec<Vec<Vec<usize>>> {
    let n_classes = examples.iter().map(|example| example.label + 1).max().unwrap_or(0);
    let mut classes = vec![Vec::<Vec<usize>>::new(); n_classes as usize];
    let mut home: HashMap<&str, (usize, usize)> = HashMap::new();
    for (i, (example, key)) in examples.iter().zip(keys).enumerate() {
        let class = example.label as usize;
        let &mut (class, group) = home.entry(key).or_insert((class, classes[class].len()));
        if group == classes[class].len() {
            classes[class].push(Vec::new());
        }
        classes[class][group].push(i);
    }
    classes
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use moelt_schema::TextConfig;
    use proptest::prelude::*;

    use super::*;
    use crate::key::{key, keys};

    /// [`hold_out`] as a data set does it.
    fn hold_out(examples: Vec<Example>, fractions: [f64; 2], seed: u64) -> (Vec<Example>, [Vec<Example>; 2]) {
        let keys = keys(&examples, &TextConfig::default());
        super::hold_out(examples, &keys, fractions, seed)
    }

    fn examples(n: usize) -> Vec<Example> {
        let example = |i: usize| Example {
            text: format!("text {i}"),
            label: (i % 4 / 3) as u32,
            domain: None,
            time: None,
        };
        (0..n).map(example).collect()
    }

    fn texts(examples: &[Example]) -> BTreeSet<&str> {
        examples.iter().map(|example| example.text.as_str()).collect()
    }

    #[test]
    fn parts_have_their_size_and_their_share_of_each_class() {
        let (train, [a, b]) = hold_out(examples(400), [0.1, 0.2], 1);
        assert_eq!((train.len(), a.len(), b.len()), (280, 40, 80));
        let of_class_1 = |part: &[Example]| part.iter().filter(|example| example.label == 1).count();
        assert_eq!((of_class_1(&train), of_class_1(&a), of_class_1(&b)), (70, 10, 20));
        assert!(texts(&train).is_disjoint(&texts(&a)) && texts(&a).is_disjoint(&texts(&b)));
    }

    #[test]
    fn the_seed_decides() {
        let held = |seed| hold_out(examples(100), [0.1, 0.1], seed);
        assert_eq!(held(1), held(1));
        assert_ne!(held(1), held(2));
    }

    #[test]
    fn equal_texts_stay_together_even_with_two_labels() {
        let mut all = examples(60);
        for i in 0..60 {
            all.push(Example {
                text: format!("text {}", i / 2),
                label: (i % 2) as u32,
                domain: None,
                time: None,
            });
        }
        let (train, [a, b]) = hold_out(all, [0.3, 0.3], 5);
        assert_eq!(train.len() + a.len() + b.len(), 120);
        assert!(texts(&train).is_disjoint(&texts(&a)));
        assert!(texts(&train).is_disjoint(&texts(&b)));
        assert!(texts(&a).is_disjoint(&texts(&b)));
    }

    #[test]
    fn a_fraction_of_nothing_holds_nothing_out() {
        let (train, parts) = hold_out(examples(10), [0.0, 0.0], 1);
        assert_eq!((train, parts), (examples(10), [vec![], vec![]]));
    }

    #[test]
    fn other_forms_of_a_text_stay_with_it() {
        let mut all = examples(90);
        for form in
            [str::to_uppercase, |text: &str| text.replace(' ', "\t"), |text: &str| text.replace("t", "ｔ")]
        {
            all.extend(examples(90).into_iter().map(|e| Example {
                text: form(&e.text),
                label: 1 - e.label,
                ..e
            }));
        }
        let (train, [a, b]) = hold_out(all, [0.3, 0.3], 5);
        let keys = |part: &[Example]| -> BTreeSet<String> {
            keys(part, &TextConfig::default()).into_iter().collect()
        };
        assert_eq!(train.len() + a.len() + b.len(), 360);
        assert_eq!(keys(&train).len() + keys(&a).len() + keys(&b).len(), 90);
    }

    proptest! {
        #[test]
        fn no_text_is_on_two_sides(
            texts in prop::collection::vec("[aAｂBéE\u{301} \t\u{3000}.']{1,4}|\\PC{1,3}", 1..40),
            lowercase: bool,
            max_tokens in 1usize..3,
            seed: u64,
        ) {
            let config = TextConfig { lowercase, max_tokens, ..TextConfig::default() };
            let example = |(i, text): (usize, &String)| Example {
                text: text.clone(),
                label: (i % 2) as u32,
                domain: None,
                time: None,
            };
            let examples: Vec<Example> = texts.iter().enumerate().map(example).collect();
            let (train, [a, b]) = super::hold_out(examples.clone(), &keys(&examples, &config), [0.3, 0.3], seed);
            prop_assert_eq!(train.len() + a.len() + b.len(), texts.len());
            for (one, other) in [(&train, &a), (&train, &b), (&a, &b)] {
                let seen: BTreeSet<Vec<String>> = one.iter().map(|e| crate::tokenize(&e.text, &config)).collect();
                let again = other.iter().find(|e| seen.contains(&crate::tokenize(&e.text, &config)));
                prop_assert_eq!(again, None);
                let seen: BTreeSet<String> = one.iter().map(|e| key(&e.text, &config)).collect();
                prop_assert!(other.iter().all(|e| !seen.contains(&key(&e.text, &config))));
            }
        }
    }
}
