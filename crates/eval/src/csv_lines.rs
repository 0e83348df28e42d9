//! Lines of records in CSV. The reader's own are one too few where lines end in CR LF: it takes the LF for the beginning of the next record.

/// Says on which line records begin, one after another.
pub(crate) struct Lines<'a> {
    text: &'a str,
    /// As far as line feeds have been counted.
    at: usize,
    /// The line there, from 1.
    line: u64,
}

impl<'a> Lines<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        Self { text, at: 0, line: 1 }
    }

    /// The line of the record at a position, which lies behind those that were asked for before; 0 where there is none.
    pub(crate) fn at(&mut self, position: Option<&csv::Position>) -> u64 {
        let Some(position) = position else { return 0 };
        let bytes = self.text.as_bytes();
        let mut end = usize::try_from(position.byte()).unwrap_or(usize::MAX).min(bytes.len()).max(self.at);
        while bytes.get(end).is_some_and(|byte| matches!(byte, b'\r' | b'\n')) {
            end += 1;
        }
        self.line += bytes[self.at..end].iter().filter(|byte| **byte == b'\n').count() as u64;
        self.at = end;
        self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_begin_on_the_lines_that_an_editor_shows() {
        for (end, lines) in [("\n", [2, 3, 6]), ("\r\n", [2, 3, 6])] {
            let text = ["a,b", "1,2", "\"3", "3\",4", "", "5,6", ""].join(end);
            let mut reader = csv::Reader::from_reader(text.as_bytes());
            let mut of = Lines::of(&text);
            let found: Vec<u64> = reader.records().map(|record| of.at(record.unwrap().position())).collect();
            assert_eq!(found, lines, "{end:?}");
        }
    }
}
