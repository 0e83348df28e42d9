//! Rules about how long a file and a function may be.

/// Lines of a file before its tests.
const FILE: usize = 400;

/// Lines of a function, from `fn` to its last brace.
const FUNCTION: usize = 60;

/// One line for each file and function of a Rust file that is too long.
pub(super) fn violations_in(file: &str, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    let own = lines.windows(2).position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod "));
    let own = own.unwrap_or(lines.len());
    if own > FILE {
        found.push(format!("{file}: has {own} lines before its tests; {FILE} are the most"));
    }
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let length = length_of(&lines[at..]);
        if length > FUNCTION {
            let line = at + 1;
            found.push(format!("{file}:{line}: `{name}` has {length} lines; {FUNCTION} are the most"));
        }
    }
    found
}

/// The name of the function that begins on this line.
fn function_name(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let is_modifier = |word: &str| {
        word.starts_with("pub")
            || word.ends_with(')')
            || ["const", "async", "unsafe", "extern"].contains(&word)
    };
    let name = after.split(|c: char| !c.is_alphanumeric() && c != '_').next()?;
    (before.split_whitespace().all(is_modifier) && !name.is_empty()).then_some(name)
}

/// Lines of the function that begins on the first line, as rustfmt lays it out: it ends on the first line that is
/// indented like it and closes it, with a brace or, where it has no body, a semicolon.
fn length_of(lines: &[&str]) -> usize {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let ends = |line: &&str| {
        !line.is_empty() && indent(line) == indent(lines[0]) && (line.ends_with('}') || line.ends_with(';'))
    };
    lines.iter().position(ends).map_or(lines.len(), |last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_is_named_without_its_tests() {
        let lines = "// a line\n".repeat(FILE);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{lines}}}\n");
        assert_eq!(violations_in("a.rs", &format!("{lines}{tests}")), [""; 0]);
        let found = violations_in("a.rs", &format!("//! One more.\n{lines}{tests}"));
        assert_eq!(found, ["a.rs: has 401 lines before its tests; 400 are the most"]);
    }

    #[test]
    fn a_long_function_is_named_wherever_it_stands() {
        let function = |head: &str, inner: usize| {
            format!("    {head} {{\n{}    }}\n\n    fn next() {{}}\n", "        let x = {};\n".repeat(inner))
        };
        let head = "pub(in crate::a) async fn long(a: u8)";
        assert_eq!(violations_in("a.rs", &function(head, FUNCTION - 2)), [""; 0]);
        let found = violations_in("a.rs", &format!("//!\n{}", function(head, FUNCTION - 1)));
        assert_eq!(found, ["a.rs:2: `long` has 61 lines; 60 are the most"]);
        let declared = "trait A {\n    fn a(\n        x: u8,\n    ) -> u8;\n}\n";
        assert_eq!(length_of(&declared.lines().skip(1).collect::<Vec<_>>()), 3);
        assert_eq!(function_name("    let f: fn (u8) = g; // no fn here"), None);
    }
}
