//! Rows that are read on a thread of their own while earlier ones are classified.

use std::{
    io::Read,
    panic::resume_unwind,
    sync::mpsc::{Receiver, sync_channel},
    thread::{self, JoinHandle},
};

use moelt_data::{DataError, TextReader, TextRow};

/// Blocks that wait to be classified, for each thread that classifies: 64 KiB of text each, or a longer row.
const BLOCKS: usize = 8;

/// What each row says, where there is something to classify.
type Rows = Vec<Option<TextRow>>;

/// What rows are read from.
pub(super) type Input = Box<dyn Read + Send>;

/// A reader that runs ahead, but not far.
pub(super) struct ReadAhead {
    blocks: Receiver<Result<Rows, DataError>>,
    /// Blocks that wait at most.
    most: usize,
    thread: JoinHandle<TextReader<Input>>,
    /// What ended the input after rows that were given out.
    fault: Option<DataError>,
}

impl ReadAhead {
    pub(super) fn start(mut reader: TextReader<Input>) -> Self {
        let most = BLOCKS * rayon::current_num_threads();
        let (sender, blocks) = sync_channel(most);
        let thread = thread::spawn(move || {
            // Nobody listens any more where answers cannot be written.
            let _ = reader.try_for_each(|block| sender.send(block));
            reader
        });
        Self { blocks, most, thread, fault: None }
    }

    /// The rows that are there, or those that come next; none at the end. So whoever writes one row and waits has its
    /// answer, and whoever writes many has them classified together.
    ///
    /// # Errors
    /// When the input cannot be read on. The rows before that have been given out.
    pub(super) fn next_rows(&mut self) -> Result<Option<Rows>, DataError> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        let Ok(first) = self.blocks.recv() else { return Ok(None) };
        let mut rows = first?;
        for block in self.blocks.try_iter().take(self.most) {
            match block {
                Ok(block) => rows.extend(block),
                Err(fault) => {
                    self.fault = Some(fault);
                    break;
                }
            }
        }
        Ok(Some(rows))
    }

    /// The reader, after the last row.
    pub(super) fn into_reader(self) -> TextReader<Input> {
        drop(self.blocks);
        self.thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    }
}
