//! Commands in pages that do not work are found, with page and line.

use std::fs;

use crate::support::TestWorkspace;

#[test]
fn what_does_not_work_is_named_by_page_and_line() {
    let workspace = TestWorkspace::new();
    let page = |text: &str| fs::write(workspace.path("page.md"), text).unwrap();
    page(
        "Fine:\n```\ncargo xtask tidy\ncargo xtask bench --threads N\n```\n```sh\ntest -s reviews.csv\n```\n",
    );
    let text = workspace.xtask(&["docs", "page.md"], 0);
    assert!(text.contains("docs: 2 commands read, 1 blocks run"), "{text}");
    // The stand-in for moelt understands nothing of this.
    page("```\ncargo xtask tidyy\nls\ncargo xtask data sst2 --form x\nmoelt train\n```\n");
    let text = workspace.xtask(&["docs", "page.md"], 1);
    for place in
        ["3 place(s)", "page.md:2: cargo xtask tidyy: ", "page.md:4: cargo xtask data", "page.md:5: moelt"]
    {
        assert!(text.contains(place), "{place}: {text}");
    }
    page("```sh\ntrue\n```\n```sh\necho out | grep in\ntrue\n```\n");
    let text = workspace.xtask(&["docs", "page.md"], 1);
    assert!(text.contains("page.md: block of line 5: exit status: 1"), "{text}");
}
