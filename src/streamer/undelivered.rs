//! The file of tweets that the broker did not take, for [`Replay`](crate::source::Replay): nothing
//! that the source gave is lost, it is here or in the topic.
//!
//! It is made when the first one fails, in the folder in which the program runs, and named after
//! the topic and the time. A tweet in it may be in the topic all the same, where only the broker's
//! answer was lost; the Listener counts it once.

use super::line_file::LineFile;
use jiff::Timestamp;
use std::path::{Path, PathBuf};

#[derive(Default)]
pub(super) struct Undelivered {
    file: Option<(PathBuf, LineFile)>,
    trouble: Option<String>,
}

impl Undelivered {
    /// Adds a tweet's message. If that fails too, it is told once, see [`Undelivered::trouble`].
    pub(super) fn add(&mut self, topic: &str, message: &[u8]) {
        if self.trouble.is_none()
            && let Err(error) = self.write(topic, message)
        {
            self.trouble = Some(format!(
                "tweets that Kafka did not take could not be saved either: {error}"
            ));
        }
    }

    fn write(&mut self, topic: &str, message: &[u8]) -> std::io::Result<()> {
        let (_, file) = match &mut self.file {
            Some(open) => open,
            none => {
                let now = Timestamp::now().strftime("%Y%m%dT%H%M%S%.3fZ");
                let path =
                    std::env::current_dir()?.join(format!("undelivered-{topic}-{now}.jsonl"));
                let file = LineFile::open(&path)?;
                none.insert((path, file))
            }
        };
        file.append(&[message, b"\n"].concat())
    }

    /// Where they are, if there are any.
    pub(super) fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(|(path, _)| path.as_path())
    }

    /// Why they could not be saved, if so.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }
}
