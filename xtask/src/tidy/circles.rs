//! No modules of a crate use one another in a circle.
//!
//! The modules are those directly below the crate's root, each with everything in its folder. What is seen is a path
//! `crate::module`, also within the braces of a `use`, `super::module` where that is the same, and `crate::Name` where the
//! root re-exports the name from a module.

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
    let is_root = |module: &str| ["lib", "main"].contains(&module);
    let names: BTreeSet<&str> = modules.iter().map(|(name, _)| *name).collect();
    let roots = modules.iter().filter(|(module, _)| is_root(module));
    let homes: BTreeMap<&str, &str> = roots.flat_map(|(_, text)| re_exports(text)).collect();
    let mut uses = Uses::new();
    for (module, text) in modules.iter().filter(|(module, _)| !is_root(module)) {
        let home = |used: &str| names.get(used).or_else(|| homes.get(used)).copied();
        let used = used_modules(text).into_iter().filter_map(home);
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

/// The names that the root re-exports, each with the module it comes from.
fn re_exports(root: &str) -> Vec<(&str, &str)> {
    let code = root.split("#[cfg(test)]\nmod ").next().unwrap_or(root);
    let trees = code.split("\npub use ").skip(1).filter_map(|rest| rest.split(';').next());
    trees.flat_map(|tree| leaves(tree.trim_start_matches("self::"))).collect()
}

/// The names at the ends of a tree of `use`, each with the first name of its path.
fn leaves(tree: &str) -> Vec<(&str, &str)> {
    if let Some(inner) = tree.strip_prefix('{') {
        return branches(inner).into_iter().flat_map(leaves).collect();
    }
    let name = |path| str::rsplit(path, [':', ' ']).next().unwrap_or_default();
    let Some((first, rest)) = tree.split_once("::") else { return vec![(name(tree), tree)] };
    match rest.split_once('{') {
        Some((_, inner)) => {
            branches(inner).into_iter().flat_map(leaves).map(|(leaf, _)| (leaf, first)).collect()
        }
        None => vec![(name(rest), first)],
    }
}

/// The first name of a path, or of each path within its braces.
fn first_names(path: &str) -> Vec<&str> {
    let name = |path| {
        let end = |c: char| !c.is_alphanumeric() && c != '_';
        str::split(path, end).next().unwrap_or_default()
    };
    match path.strip_prefix('{') {
        Some(inner) => branches(inner).into_iter().map(name).collect(),
        None => vec![name(path)],
    }
}

/// What stands between the commas behind an opening brace, up to its closing one.
fn branches(inner: &str) -> Vec<&str> {
    let (mut depth, mut start, mut branches) = (0, 0, Vec::new());
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                branches.push(inner[start..at].trim());
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    branches.retain(|branch| !branch.is_empty());
    branches
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
    fn a_name_that_the_root_re_exports_counts_as_its_module() {
        let root = "mod a;\npub use self::{\n    a::{A, deep::{B}},\n    b::C as D,\n};\npub use c::E;\n";
        assert_eq!(re_exports(root), [("A", "a"), ("B", "a"), ("D", "b"), ("E", "c")]);
        let file = |path, text: &str| (path, text.to_owned());
        let files = [
            file("x/src/lib.rs", root),
            file("x/src/a.rs", "use crate::{D, other};"),
            file("x/src/b.rs", "fn f(_: crate::A) {}"),
        ];
        assert_eq!(violations(&files), ["x/src: modules use one another: a → b → a"]);
    }

    #[test]
    fn names_are_the_first_of_each_path() {
        assert_eq!(first_names("a::b"), ["a"]);
        assert_eq!(first_names("{a::{b, c}, d, e::f}; x"), ["a", "d", "e"]);
        assert_eq!(used_modules("//! crate::a\nuse moelt_crate::b;\nuse crate::c;"), BTreeSet::from(["c"]));
    }
}
