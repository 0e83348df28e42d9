//! Labels that are numbers where classes have names, or the other way round.

/// What to do about a label that is a number where no class is, or has a name where all classes are numbers; nothing
/// where both are of a kind.
pub(crate) fn other_kind(label: &str, classes: &[String]) -> Option<&'static str> {
    let is_number = |name: &str| name.parse::<f64>().is_ok_and(f64::is_finite);
    let numbered = classes.iter().filter(|class| is_number(class)).count();
    if classes.is_empty() {
        None
    } else if is_number(label) && numbered == 0 {
        Some(
            "a number is none of them: write the names into the column of labels (files that eval or training judges on may have \
             places in this list instead, from 0)",
        )
    } else if !is_number(label) && numbered == classes.len() {
        Some(
            "they are numbers, and this is none: write the numbers that were trained on into the column of labels",
        )
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_told_apart() {
        let begin = |label: &str, classes: &[&str]| {
            let classes: Vec<String> = classes.iter().map(|class| (*class).to_owned()).collect();
            other_kind(label, &classes).map(|fix| &fix[..11])
        };
        assert_eq!(begin("1", &["ham", "spam"]), Some("a number is"));
        assert_eq!(begin("1.0", &["ham", "spam"]), Some("a number is"));
        assert_eq!(begin("1.0", &["0", "1"]), None);
        assert_eq!(begin("ham", &["0", "1"]), Some("they are nu"));
        for (label, classes) in [
            ("eggs", &["ham", "spam"][..]),
            ("7", &["0", "1"]),
            ("1", &["0", "spam"]),
            ("ham", &["0", "spam"]),
            ("ham", &[]),
        ] {
            assert_eq!(begin(label, classes), None, "{label}");
        }
    }
}
