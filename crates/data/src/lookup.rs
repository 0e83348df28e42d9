//! Which class a label means: by its name or, when no class is named by a number, by its place in the list of classes.

use std::collections::{BTreeSet, HashMap};

use crate::{DataError, error::shorten};

/// Classes by name.
pub(crate) struct Lookup<'a> {
    classes: &'a [String],
    by_name: HashMap<&'a str, u32>,
    /// Some class is named by a number, so that a number is no place.
    numbered: bool,
}

impl<'a> Lookup<'a> {
    pub(crate) fn new(classes: &'a [String]) -> Self {
        let by_name = classes.iter().map(String::as_str).zip(0..).collect();
        Self { classes, by_name, numbered: classes.iter().any(|class| class.parse::<u64>().is_ok()) }
    }

    /// The class that a label names, by name or else by place.
    pub(crate) fn class(&self, label: &str) -> Option<u32> {
        let place = || self.place(label).filter(|at| *at < self.classes.len() as u64).map(|at| at as u32);
        self.by_name.get(label).copied().or_else(place)
    }

    /// The place that a label means, in the list of classes or beyond it.
    fn place(&self, label: &str) -> Option<u64> {
        label.parse().ok().filter(|_| !self.numbered)
    }

    /// A note on the labels of a file, each with its line, that are read as places, and as what.
    ///
    /// # Errors
    /// When another one lies beyond the list: then the numbers count something else, such as classes from 1.
    pub(crate) fn places_note<'l>(
        &self,
        file: &str,
        column: &str,
        labels: impl IntoIterator<Item = (u64, &'l str)>,
    ) -> Result<Option<String>, DataError> {
        const SHOWN: usize = 5;
        let labels: Vec<(u64, &str)> =
            labels.into_iter().filter(|(_, label)| self.place(label).is_some()).collect();
        let read: BTreeSet<u32> = labels.iter().filter_map(|(_, label)| self.class(label)).collect();
        let Some(first) = read.first() else { return Ok(None) };
        if let Some((line, label)) = labels.iter().find(|(_, label)| self.class(label).is_none()) {
            let (file, line, label, known) =
                (file.to_owned(), *line, (*label).to_owned(), self.classes.to_vec());
            return Err(DataError::NoPlace { file, line, label, place: *first, known });
        }
        let more = read.len().saturating_sub(SHOWN);
        let told = |class: &u32| format!("{class} as `{}`", shorten(&self.classes[*class as usize]));
        let mut shown: Vec<String> = read.iter().take(SHOWN).map(told).collect();
        shown.extend((more > 0).then(|| format!("{more} more")));
        Ok(Some(format!(
            "{file}: column `{column}` has numbers, which are read as places in the list of classes, from 0: {}. Where they \
             mean something else, write the names of the classes into it",
            shown.join(", ")
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(classes: &[&str]) -> Vec<String> {
        classes.iter().map(|class| (*class).to_owned()).collect()
    }

    #[test]
    fn labels_name_a_class_or_its_place() {
        let class = |label: &str, classes: [&str; 2]| Lookup::new(&names(&classes)).class(label);
        assert_eq!(class("positive", ["negative", "positive"]), Some(1));
        assert_eq!(class("1", ["negative", "positive"]), Some(1));
        assert_eq!(class("2", ["negative", "positive"]), None);
        assert_eq!(class("1", ["1", "2"]), Some(0));
        assert_eq!(class("0", ["1", "2"]), None);
        assert_eq!(class("4294967296", ["negative", "positive"]), None);
    }

    fn note(labels: &[&str], classes: &[&str]) -> Result<Option<String>, String> {
        let classes = names(classes);
        let labels = (2..).zip(labels.iter().copied());
        Lookup::new(&classes).places_note("a.csv", "stars", labels).map_err(|error| error.to_string())
    }

    #[test]
    fn numbers_that_are_read_as_places_are_noted() {
        let two = ["negative", "positive"];
        let expected = "a.csv: column `stars` has numbers, which are read as places in the list of classes, from 0: 0 as \
                        `negative`, 1 as `positive`. Where they mean something else, write the names of the classes into it";
        assert_eq!(note(&["1", "0", "1", "negative"], &two).unwrap().unwrap(), expected);
        let many =
            note(&["6", "5", "4", "3", "2", "1"], &["a", "b", "c", "d", "e", "f", "g"]).unwrap().unwrap();
        assert!(
            many.contains("from 0: 1 as `b`, 2 as `c`, 3 as `d`, 4 as `e`, 5 as `f`, 1 more. "),
            "{many}"
        );
        for labels in [&["negative", "positive", "odd"][..], &["7", "8"], &["-1", "positive"], &[]] {
            assert_eq!(note(labels, &two).unwrap(), None, "{labels:?}");
        }
        assert_eq!(note(&["1", "7"], &["1", "2"]).unwrap(), None, "these are names");
    }

    /// Classes counted from 1: the `1` is no `positive`.
    #[test]
    fn places_beyond_the_list_make_all_of_them_doubtful() {
        let expected = "a.csv:3: label `2` lies beyond the 2 classes, whose places are counted from 0, so that other numbers, such as \
                        1, are most likely no places either; write the names into the column of labels: `negative`, `positive`";
        assert_eq!(note(&["1", "2", "1", "3"], &["negative", "positive"]).unwrap_err(), expected);
    }
}
