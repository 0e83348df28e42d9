//! No modules of a crate use one another in a circle.
//!
//! The modules are those directly below the crate's root, each with everything in its folder. What is seen is a path
//! `crate::module`, also within the braces of a `use`, and `super::module` where that is the same. What goes through a
//! name that the root re-exports is not.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

/// Modules of a crate, each with those it uses.
type Uses<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// One line for every circle among the modules of each crate; files by path and text.
pub(super) fn violations(files: &[(&str, String)]) -> Vec<String> {
    let mut crates: BTreeMap<&str, Vec<(&str, Cow<'_, str>)>> = BTreeMap::new();
    for (path, text) in files {
        let Some((folder, file)) = path.strip_suffix(".rs").and_then(|path| path.split_once("/src/")) else {
            continue;
        };
        let module = match file.split_once('/') {
            Some((module, _)) => (module, Cow::Borrowed(text.as_str())),
            None => (file, Cow::Owned(text.replace("super::", "crate::"))),
        };
        crates.entry(folder).or_default().push(module);
    }
    crates.into_iter().flat_map(|(folder, modules)| circles(folder, &modules)).collect()
}

fn circles(folder: &str, modules: &[(&str, Cow<'_, str>)]) -> Vec<String> {
    let names: BTreeSet<&str> = modules.iter().map(|(name, _)| *name).collect();
    let mut uses = Uses::new();
    for (module, text) in modules.iter().filter(|(module, _)| !["lib", "main"].contains(module)) {
        let used = used_modules(text).into_iter().filter_map(|used| names.get(used).copied());
        uses.entry(module).or_default().extend(used.filter(|used| used != module));
    }
    let mut told = BTreeSet::new();
    let mut found = Vec::new();
    for module in &names {
        let Some(circle) = way_back(&uses, module) else { continue };
        if !circle.iter().any(|module| told.contains(module)) {
            found.push(format!("{folder}/src: modules use one another: {} → {module}", circle.join(" → ")));
        }
        told.extend(circle);
    }
    found
}

/// The modules on the shortest way from `start` back to it.
fn way_back<'a>(uses: &Uses<'a>, start: &'a str) -> Option<Vec<&'a str>> {
    let mut ways = vec![vec![start]];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            for used in way.last().and_then(|last| uses.get(last)).into_iter().flatten() {
                if *used == start {
                    return Some(way);
                }
                if seen.insert(*used) {
                    longer.push([&way[..], &[*used]].concat());
                }
            }
        }
        ways = longer;
    }
    None
}

/// What stands behind `crate::` in the code of a file, tests and comments left out.
fn used_modules(text: &str) -> BTreeSet<&str> {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or(text);
    let is_code = |at: usize| {
        let line = code[..at].rsplit('\n').next().unwrap_or_default();
        !line.contains("//") && !line.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
    };
    let places = code.match_indices("crate::").filter(|(at, _)| is_code(*at));
    places.flat_map(|(at, path)| first_names(&code[at + path.len()..])).collect()
}

/// The first name of a path, or of each path within its braces.
fn first_names(path: &str) -> Vec<&str> {
    let name = |path| {
        let end = |c: char| !c.is_alphanumeric() && c != '_';
        str::split(path, end).next().unwrap_or_default()
    };
    let Some(inner) = path.strip_prefix('{') else { return vec![name(path)] };
    let (mut depth, mut start, mut names) = (0, 0, Vec::new());
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                names.push(name(inner[start..at].trim_start()));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_is_named_once_with_its_modules() {
        let file = |path, text: &str| (path, text.to_owned());
        let a = "use crate::{\n    Item,\n    b::{self, c},\n};\n";
        let fine = [file("x/src/lib.rs", "use crate::a;"), file("x/src/a.rs", a), file("x/src/b.rs", "")];
        assert_eq!(violations(&fine), [""; 0]);
        let back = file("x/src/b/deep.rs", "fn f() { crate::c::g() }");
        let elsewhere = file("y/src/c.rs", "use super::a::A;");
        let circle =
            file("x/src/c.rs", "use super::a::A;\n// crate::c\n#[cfg(test)]\nmod tests { use crate::d; }");
        let found = violations(&[&fine[..], &[back, elsewhere, circle]].concat());
        assert_eq!(found, ["x/src: modules use one another: a → b → c → a"]);
    }

    #[test]
    fn names_are_the_first_of_each_path() {
        assert_eq!(first_names("a::b"), ["a"]);
        assert_eq!(first_names("{a::{b, c}, d, e::f}; x"), ["a", "d", "e"]);
        assert_eq!(used_modules("//! crate::a\nuse moelt_crate::b;\nuse crate::c;"), BTreeSet::from(["c"]));
    }
}
