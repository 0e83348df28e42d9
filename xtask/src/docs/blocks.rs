//! The fenced blocks of a Markdown page.

/// What stands between two fences.
#[derive(Debug, PartialEq)]
pub(super) struct Block {
    /// Number of its first line in the page.
    pub(super) line: usize,
    /// What stands behind the opening fence.
    pub(super) language: String,
    pub(super) text: String,
}

impl Block {
    /// Whether it has no language, or that of a terminal.
    pub(super) fn may_be_shell(&self) -> bool {
        ["", "sh", "console"].contains(&self.language.as_str())
    }
}

/// The blocks of a page, in order. One that is not closed ends with the page.
pub(super) fn of(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in page.lines().enumerate() {
        match (line.trim_start().strip_prefix("```"), open.as_mut()) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(language), None) => {
                let language = language.trim().to_owned();
                open = Some(Block { line: index + 2, language, text: String::new() });
            }
            (None, Some(block)) => block.text += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    blocks.extend(open);
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_know_language_and_line() {
        let page = "a\n```\nb\n\n```\nc ```d```\n  ```sh\n  e\n  ```\n";
        let block = |line, language: &str, text: &str| Block {
            line,
            language: language.to_owned(),
            text: text.to_owned(),
        };
        assert_eq!(of(page), [block(3, "", "b\n\n"), block(8, "sh", "  e\n")]);
        assert_eq!(of("```toml\na = 1"), [block(2, "toml", "a = 1\n")]);
    }
}
