//! The help of every command.

use crate::support::TestWorkspace;

#[test]
fn every_command_has_help_with_an_example() {
    let workspace = TestWorkspace::new();
    let commands: [&[&str]; 12] = [
        &["ablate"],
        &["ablate", "plan"],
        &["ablate", "run"],
        &["ablate", "collect"],
        &["ablate", "aa"],
        &["data"],
        &["data", "sst2"],
        &["data", "minilm"],
        &["docs"],
        &["regress"],
        &["validate"],
        &["tidy"],
    ];
    for command in commands {
        let text = workspace.xtask(&[command, &["--help"]].concat(), 0);
        assert!(text.contains("Example") && text.contains("  cargo xtask "), "{command:?}\n{text}");
        assert!(!text.contains("moelt ablate"), "{command:?}\n{text}");
    }
}
