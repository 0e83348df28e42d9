//! What an ablation is called that is given no name.

use std::fs;

use crate::support::TestWorkspace;

#[test]
fn the_default_name_tells_what_deviates_from_the_preset() {
    let workspace = TestWorkspace::new();
    workspace.xtask(&["ablate", "plan"], 0);
    workspace.xtask(&["ablate", "plan", "--seeds", "29"], 0);
    workspace.xtask(&["ablate", "plan", "--seeds", "1"], 0);
    let mut names: Vec<String> = fs::read_dir(workspace.path("runs"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(names[0], "planted-standard");
    assert!(names[1].starts_with("planted-standard-"), "{names:?}");
}
