//! The live progress of a source that reads files.

use crate::task::locked;
use crate::wire::FileProgress;
use std::sync::{Arc, Mutex};

/// A shared [`FileProgress`]: the source updates it, and the streamer reads it. Clones share the same state.
#[derive(Clone, Debug, Default)]
pub struct FileWatch(Arc<Mutex<FileProgress>>);

impl FileWatch {
    /// Returns the current progress.
    pub fn now(&self) -> FileProgress {
        *locked(&self.0)
    }

    /// Sets the progress.
    pub fn set(&self, progress: FileProgress) {
        *locked(&self.0) = progress;
    }
}
