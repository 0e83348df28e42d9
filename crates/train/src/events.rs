//! The event log: one JSON object a line, cut back to the checkpoint on resume.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use moelt_schema::{Event, EventRecord, EventsPosition, Wall, sync_folder};

use crate::TrainError;

/// `events.jsonl`, open for appending.
#[derive(Debug)]
pub struct EventLog {
    file: File,
    path: PathBuf,
    position: EventsPosition,
}

impl EventLog {
    /// Opens the log at `path` and cuts it to `position`; the zero position starts it anew.
    ///
    /// # Errors
    /// When it cannot be opened, is shorter than `position` (events are missing), or does not have as many lines
    /// up to there.
    pub fn open(path: &Path, position: EventsPosition) -> Result<Self, TrainError> {
        let io = || TrainError::io(path);
        let mut options = OpenOptions::new();
        let mut file = options.create(true).truncate(false).read(true).write(true).open(path).map_err(io())?;
        check_position(&mut file, position, path)?;
        file.set_len(position.bytes).map_err(io())?;
        file.seek(SeekFrom::End(0)).map_err(io())?;
        // A new file's name is not on disk before its folder is.
        sync_folder(path.parent().unwrap_or(Path::new(""))).map_err(io())?;
        Ok(Self { file, path: path.into(), position })
    }

    /// Appends a line. `seconds` are the training seconds so far.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn append(&mut self, step: u64, seconds: f64, event: Event) -> Result<EventRecord, TrainError> {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
        let record = EventRecord { step, event, wall: Wall { unix, seconds } };
        let mut line = serde_json::to_string(&record).expect("events always serialise");
        line.push('\n');
        self.file.write_all(line.as_bytes()).map_err(TrainError::io(&self.path))?;
        self.position.bytes += line.len() as u64;
        self.position.lines += 1;
        Ok(record)
    }

    /// Where the log stands.
    pub fn position(&self) -> EventsPosition {
        self.position
    }

    /// Makes sure that everything up to the returned position is on disk.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn sync(&mut self) -> Result<EventsPosition, TrainError> {
        self.file.sync_data().map_err(TrainError::io(&self.path))?;
        Ok(self.position)
    }
}

/// Refuses a position that is not the end of a line, and of as many as it says: a log must not be cut there.
fn check_position(file: &mut File, position: EventsPosition, path: &Path) -> Result<(), TrainError> {
    let damaged = |message| TrainError::Damaged { path: path.into(), message };
    let EventsPosition { bytes, lines } = position;
    let length = file.metadata().map_err(TrainError::io(path))?.len();
    if length < bytes {
        return Err(damaged(format!("has {length} bytes; the checkpoint was written after {bytes}")));
    }
    let (mut found, mut last) = (0, b'\n');
    let mut reader = BufReader::new(file.take(bytes));
    loop {
        let chunk = reader.fill_buf().map_err(TrainError::io(path))?;
        let Some(end) = chunk.last() else { break };
        found += chunk.iter().filter(|byte| **byte == b'\n').count() as u64;
        last = *end;
        let read = chunk.len();
        reader.consume(read);
    }
    if (found, last) == (lines, b'\n') {
        return Ok(());
    }
    Err(damaged(format!(
        "has {found} lines in its first {bytes} bytes; the checkpoint was written after {lines}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event::Checkpoint { name: "step-00000001".into() }
    }

    #[test]
    fn reopening_cuts_what_lies_beyond() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let mut log = EventLog::open(&path, EventsPosition::default()).unwrap();
        log.append(1, 0.0, event()).unwrap();
        let position = log.sync().unwrap();
        log.append(2, 0.0, event()).unwrap();
        let mut log = EventLog::open(&path, position).unwrap();
        log.append(3, 0.0, event()).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let steps: Vec<u64> =
            text.lines().map(|line| serde_json::from_str::<EventRecord>(line).unwrap().step).collect();
        assert_eq!(steps, [1, 3]);
    }

    #[test]
    fn a_log_that_lost_lines_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let beyond = EventsPosition { bytes: 10, lines: 1 };
        assert!(matches!(EventLog::open(&path, beyond), Err(TrainError::Damaged { .. })));
    }

    #[test]
    fn a_position_that_is_not_the_end_of_that_line_is_refused_and_nothing_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let mut log = EventLog::open(&path, EventsPosition::default()).unwrap();
        log.append(1, 0.0, event()).unwrap();
        log.append(2, 0.0, event()).unwrap();
        let EventsPosition { bytes, lines } = log.sync().unwrap();
        let wrong =
            [(bytes - 1, lines - 1), (bytes, lines - 1), (bytes, lines + 1), (10, 0), (10, 1), (0, 1)];
        for (bytes, lines) in wrong {
            let opened = EventLog::open(&path, EventsPosition { bytes, lines });
            assert!(matches!(opened, Err(TrainError::Damaged { .. })), "{bytes}, {lines}");
        }
        assert_eq!(std::fs::metadata(&path).unwrap().len(), bytes);
    }
}
