//! Who may know whom, and who may name a backend.

use crate::metadata::{Dependency, Metadata, Package};

/// Every crate of the workspace with the crates of the workspace it may depend on
/// (docs/architecture.md). What is not listed is forbidden.
const ALLOWED: &[(&str, &[&str])] = &[
    ("moelt-schema", &[]),
    ("moelt-data", &["moelt-schema"]),
    ("moelt-kernels", &["moelt-schema"]),
    ("moelt-model", &["moelt-schema", "moelt-kernels"]),
    ("moelt-optim", &["moelt-schema", "moelt-kernels"]),
    ("moelt-control", &["moelt-schema"]),
    ("moelt-surgery", &["moelt-schema", "moelt-optim"]),
    ("moelt-eval", &["moelt-schema"]),
    ("moelt-ablate", &["moelt-schema", "moelt-data", "moelt-eval"]),
    (
        "moelt-train",
        &[
            "moelt-schema",
            "moelt-data",
            // For its tests alone, which run the fused forms.
            "moelt-kernels",
            "moelt-model",
            "moelt-optim",
            "moelt-control",
            "moelt-surgery",
            "moelt-eval",
        ],
    ),
    // The binary and facade: whatever the training crates consist of.
    (
        "moelt",
        &[
            "moelt-schema",
            "moelt-data",
            "moelt-kernels",
            "moelt-model",
            "moelt-optim",
            "moelt-control",
            "moelt-surgery",
            "moelt-eval",
            "moelt-train",
            "moelt-ablate",
        ],
    ),
    (
        "moelt-bench",
        &[
            "moelt-schema",
            "moelt-data",
            "moelt-kernels",
            "moelt-model",
            "moelt-optim",
            "moelt-surgery",
            "moelt-eval",
            "moelt-train",
        ],
    ),
    ("xtask", &["moelt-schema", "moelt-data", "moelt-eval", "moelt-ablate"]),
];

/// Crates without tensors: no dependency of theirs may be Burn's.
const BURN_FREE: &[&str] =
    &["moelt-schema", "moelt-data", "moelt-control", "moelt-eval", "moelt-ablate", "xtask"];

/// Crates that choose a backend.
const BACKEND_CHOOSERS: &[&str] = &["moelt", "moelt-kernels", "moelt-optim"];

/// Burn's backends: crates `burn-<name>`, and features `<name>` of `burn`.
const BACKENDS: &[&str] =
    &["flex", "wgpu", "cuda", "ndarray", "candle", "tch", "vulkan", "metal", "webgpu", "rocm"];

/// One line for every broken rule.
pub(super) fn violations(metadata: &Metadata) -> Vec<String> {
    let names: Vec<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    metadata
        .packages
        .iter()
        .flat_map(|package| {
            let mut found = forbidden_edges(package, &names);
            found.extend(burn_in_burn_free(package));
            found.extend(backends_named(package));
            found
        })
        .collect()
}

fn forbidden_edges(package: &Package, workspace: &[&str]) -> Vec<String> {
    let name = &package.name;
    let Some((_, allowed)) = ALLOWED.iter().find(|(known, _)| known == name) else {
        return vec![format!("{name}: not in the table of allowed edges (xtask/src/tidy/edges.rs)")];
    };
    let is_forbidden = |known: &&str| workspace.contains(known) && !allowed.contains(known);
    let known = package.dependencies.iter().map(|dependency| dependency.name.as_str());
    known.filter(is_forbidden).map(|known| format!("{name}: must not know {known}")).collect()
}

fn burn_in_burn_free(package: &Package) -> Vec<String> {
    let name = &package.name;
    if !BURN_FREE.contains(&name.as_str()) {
        return Vec::new();
    }
    let burn = package.dependencies.iter().filter(|dependency| is_burns(&dependency.name));
    burn.map(|dependency| format!("{name}: must not depend on {} (it knows no Burn)", dependency.name))
        .collect()
}

fn is_burns(name: &str) -> bool {
    name == "burn" || name.starts_with("burn-")
}

/// Backends named by a crate that has none to choose; development dependencies may.
fn backends_named(package: &Package) -> Vec<String> {
    let name = &package.name;
    if BACKEND_CHOOSERS.contains(&name.as_str()) {
        return Vec::new();
    }
    let shipped = package.dependencies.iter().filter(|dependency| dependency.kind.as_deref() != Some("dev"));
    let by_dependency = shipped.flat_map(backends_of);
    let by_feature = package.features.values().flatten().filter_map(|item| backend_of_feature(item));
    by_dependency
        .chain(by_feature)
        .map(|backend| format!("{name}: must not name a backend ({backend})"))
        .collect()
}

/// The backends that a dependency is or turns on.
fn backends_of(dependency: &Dependency) -> Vec<String> {
    let itself = dependency.name.strip_prefix("burn-").filter(|name| BACKENDS.contains(name));
    let mut found: Vec<String> = itself.map(|_| dependency.name.clone()).into_iter().collect();
    if dependency.name == "burn" {
        let features = dependency.features.iter().filter(|feature| BACKENDS.contains(&feature.as_str()));
        found.extend(features.map(|feature| format!("burn/{feature}")));
    }
    found
}

/// The backend that an item of a feature list (`burn/wgpu`, `burn?/wgpu`) turns on.
fn backend_of_feature(item: &str) -> Option<String> {
    let (dependency, feature) = item.split_once('/')?;
    let is_backend = dependency.trim_end_matches('?') == "burn" && BACKENDS.contains(&feature);
    is_backend.then(|| item.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(packages: &[Package]) -> Metadata {
        Metadata { packages: packages.to_vec(), target_directory: "target".into() }
    }

    fn package(name: &str, dependencies: &[Dependency]) -> Package {
        let dependencies = dependencies.to_vec();
        Package { name: name.to_owned(), dependencies, features: Default::default() }
    }

    /// A normal dependency with these features of it.
    fn needs(name: &str, features: &[&str]) -> Dependency {
        let features = features.iter().map(|&feature| feature.to_owned()).collect();
        Dependency { name: name.to_owned(), kind: None, features }
    }

    fn for_tests(dependency: Dependency) -> Dependency {
        Dependency { kind: Some("dev".to_owned()), ..dependency }
    }

    #[test]
    fn allowed_edges_pass() {
        let burn = [needs("burn", &["std"]), for_tests(needs("burn", &["flex"]))];
        let fine = metadata(&[
            package("moelt-schema", &[needs("serde", &[])]),
            package("moelt-model", &[&burn[..], &[needs("moelt-schema", &[])]].concat()),
            package("moelt", &[needs("moelt-model", &[]), needs("burn-cuda", &[])]),
        ]);
        assert_eq!(violations(&fine), [""; 0]);
    }

    #[test]
    fn a_forbidden_edge_fails() {
        let edge = |from: &str, dependency: Dependency| {
            let to = package(&dependency.name, &[]);
            violations(&metadata(&[to, package(from, &[dependency])]))
        };
        let optim = || needs("moelt-optim", &[]);
        assert_eq!(edge("moelt-model", optim()), ["moelt-model: must not know moelt-optim"]);
        assert_eq!(edge("moelt-schema", optim()), ["moelt-schema: must not know moelt-optim"]);
        assert_eq!(edge("moelt-model", for_tests(optim())), ["moelt-model: must not know moelt-optim"]);
        assert_eq!(edge("xtask", needs("moelt", &[])), ["xtask: must not know moelt"]);
    }

    #[test]
    fn an_unknown_crate_fails() {
        assert!(violations(&metadata(&[package("moelt-new", &[])]))[0].contains("not in the table"));
    }

    #[test]
    fn burn_in_a_burn_free_crate_fails() {
        let found =
            burn_in_burn_free(&package("xtask", &[for_tests(needs("burn", &[])), needs("burnish", &[])]));
        assert_eq!(found, ["xtask: must not depend on burn (it knows no Burn)"]);
    }

    #[test]
    fn a_backend_in_a_library_fails() {
        let named = |dependency| backends_named(&package("moelt-train", &[dependency]));
        assert_eq!(named(needs("burn-wgpu", &[])), ["moelt-train: must not name a backend (burn-wgpu)"]);
        assert_eq!(
            named(needs("burn", &["std", "cuda"])),
            ["moelt-train: must not name a backend (burn/cuda)"]
        );
        let mut by_list = package("moelt-train", &[needs("burn", &[])]);
        by_list.features.insert("gpu".into(), vec!["burn?/wgpu".into()]);
        assert_eq!(backends_named(&by_list), ["moelt-train: must not name a backend (burn?/wgpu)"]);
    }
}
