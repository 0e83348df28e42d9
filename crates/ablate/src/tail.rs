//! Following a cell's `events.jsonl` while it grows.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::PathBuf,
};

use serde::Deserialize;

/// How far a run has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Steps {
    /// Steps done.
    pub(super) done: u64,
    /// Steps the run takes in all; 0 until it says so.
    pub(super) total: u64,
}

/// The parts of an event that tell it.
#[derive(Deserialize)]
struct Line {
    step: u64,
    #[serde(default)]
    total_steps: u64,
}

/// A reader that remembers where it stopped.
pub(super) struct EventTail {
    path: PathBuf,
    offset: u64,
    steps: Steps,
}

impl EventTail {
    /// Follows the file at `path`, which need not exist yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, offset: 0, steps: Steps::default() }
    }

    /// Reads what is new. The file may not be there yet, end in half a line, or have been cut back to
    /// a checkpoint by a resuming run: it is only looked at for progress.
    pub(super) fn poll(&mut self) -> Steps {
        if let Ok(new) = self.read_new() {
            let complete = new.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
            self.offset += complete as u64;
            for line in new[..complete].split(|&byte| byte == b'\n') {
                if let Ok(line) = serde_json::from_slice::<Line>(line) {
                    self.steps.done = line.step;
                    self.steps.total = self.steps.total.max(line.total_steps);
                }
            }
        }
        self.steps
    }

    fn read_new(&mut self) -> io::Result<Vec<u8>> {
        let mut file = File::open(&self.path)?;
        if file.metadata()?.len() < self.offset {
            self.offset = 0;
        }
        file.seek(SeekFrom::Start(self.offset))?;
        let mut new = Vec::new();
        file.read_to_end(&mut new)?;
        Ok(new)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write};

    use super::*;

    #[test]
    fn follows_a_file_that_grows_and_is_cut_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let mut tail = EventTail::new(path.clone());
        assert_eq!(tail.poll(), Steps::default());
        let mut file = File::create(&path).unwrap();
        file.write_all(b"{\"step\":0,\"event\":\"start\",\"total_steps\":90}\n{\"step\":2").unwrap();
        assert_eq!(tail.poll(), Steps { done: 0, total: 90 });
        file.write_all(b"5,\"event\":\"window\"}\n{\"step\":50,\"event\":\"window\"}\n").unwrap();
        assert_eq!(tail.poll(), Steps { done: 50, total: 90 });
        fs::write(&path, "{\"step\":40,\"event\":\"window\"}\n").unwrap();
        assert_eq!(tail.poll(), Steps { done: 40, total: 90 });
    }
}
