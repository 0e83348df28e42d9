//! The event log: one JSON object a line, cut back to the checkpoint on resume.

use std::{
    fs::{File, OpenOptions},
    io::{Seek, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use moelt_schema::{Event, EventRecord, EventsPosition, Wall};

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
    /// When it cannot be opened, or is shorter than `position`: events are missing.
    pub fn open(path: &Path, position: EventsPosition) -> Result<Self, TrainError> {
        let io = || TrainError::io(path);
        let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(io())?;
        let length = file.metadata().map_err(io())?.len();
        if length < position.bytes {
            let message = format!("has {length} bytes; the checkpoint was written after {}", position.bytes);
            return Err(TrainError::Damaged { path: path.into(), message });
        }
        file.set_len(position.bytes).map_err(io())?;
        file.seek(std::io::SeekFrom::End(0)).map_err(io())?;
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
}
