//! The commands of a block, read as a shell would, as far as the docs need it.

use super::blocks::Block;

/// A command of moelt's.
#[derive(Debug, PartialEq)]
pub(super) struct Typed {
    /// Number of the line in the page.
    pub(super) line: usize,
    /// `moelt` or `cargo xtask`, and what follows.
    pub(super) words: Vec<String>,
}

/// The commands `moelt` and `cargo xtask` of a block, also behind a prompt, another program (`time`) or within a pipe.
pub(super) fn commands(block: &Block) -> Vec<Typed> {
    let typed = |(line, text): (usize, String)| {
        split(&text).into_iter().filter_map(own).map(move |words| Typed { line, words })
    };
    logical_lines(block).into_iter().flat_map(typed).collect()
}

/// Lines with those that they go on in.
fn logical_lines(block: &Block) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (index, line) in block.text.lines().enumerate() {
        let (text, more) = line.strip_suffix('\\').map_or((line, false), |text| (text, true));
        match lines.last_mut().filter(|_| goes_on) {
            Some((_, before)) => *before += text,
            None => lines.push((block.line + index, text.to_owned())),
        }
        goes_on = more;
    }
    lines
}

/// What begins with `moelt` or `cargo xtask`. What other commands of cargo say of moelt is a package.
fn own(mut words: Vec<String>) -> Option<Vec<String>> {
    let is_cargo = |index: usize| words.get(index).is_some_and(|word| word == "cargo");
    let cargo = [0, 1].into_iter().find(|index| is_cargo(*index));
    let start = match cargo {
        Some(index) => words.get(index + 1).filter(|word| *word == "xtask").map(|_| index),
        None => words.iter().position(|word| word == "moelt"),
    };
    start.map(|start| words.split_off(start).into_iter().map(filled).collect())
}

/// A word with numbers in place of capitals that stand for them: `--threads N`, `--set seed=S`, `--name k-$K`.
fn filled(word: String) -> String {
    let mut parts = word.split('$');
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        filled += "4";
        filled += part.get(1..).unwrap_or_default();
    }
    match filled.as_bytes() {
        [before @ .., b'A'..=b'Z'] if before.last().is_none_or(|byte| *byte == b'=') => {
            filled.pop();
            filled + "4"
        }
        _ => filled,
    }
}

/// The words of each command of a line, without comments and redirections.
fn split(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let (mut word, mut quote, mut is_target) = (String::new(), None, false);
    for c in line.chars().chain([' ']) {
        match (quote, c) {
            (Some(end), c) if c == end => quote = None,
            (Some(_), c) => word.push(c),
            (None, '\'' | '"') => quote = Some(c),
            (None, '#') if word.is_empty() => break,
            (None, c) if c.is_whitespace() || "|;&<>".contains(c) => {
                let ended = std::mem::take(&mut word);
                let is_word = !ended.is_empty();
                if is_word && !std::mem::take(&mut is_target) {
                    commands.last_mut().expect("there is always one").push(ended);
                }
                is_target |= "<>".contains(c);
                if "|;&".contains(c) {
                    commands.push(Vec::new());
                }
            }
            (None, c) => word.push(c),
        }
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Line and words, joined by `_`, of each command.
    fn found(text: &str) -> Vec<(usize, String)> {
        let block = Block { line: 10, language: String::new(), text: text.to_owned() };
        commands(&block).into_iter().map(|typed| (typed.line, typed.words.join("_"))).collect()
    }

    fn one(line: usize, words: &str) -> Vec<(usize, String)> {
        vec![(line, words.to_owned())]
    }

    #[test]
    fn commands_are_found_wherever_they_stand() {
        assert_eq!(found("a\n$ moelt train # or eval"), one(11, "moelt_train"));
        assert_eq!(found("moelt a \\\n  --b 'c d'\nls\n"), one(10, "moelt_a_--b_c d"));
        assert_eq!(found("echo 'moelt x' | moelt predict run > out.csv"), one(10, "moelt_predict_run"));
        assert_eq!(found("/usr/bin/time -v moelt a < in && ls"), one(10, "moelt_a"));
        assert_eq!(found("cargo xtask tidy"), one(10, "cargo_xtask_tidy"));
    }

    #[test]
    fn a_letter_is_a_number() {
        assert_eq!(
            found("moelt a --threads N --set seed=S x=$K k-$K-$N"),
            one(10, "moelt_a_--threads_4_--set_seed=4_x=4_k-4-4")
        );
        assert_eq!(found("moelt eval DIR a=b=PATH"), one(10, "moelt_eval_DIR_a=b=PATH"));
    }

    #[test]
    fn other_programs_and_pictures_are_none() {
        assert_eq!(found("cargo build -p moelt\ncargo install moelt\ncrates/moelt → moelt-data\n"), []);
    }
}
