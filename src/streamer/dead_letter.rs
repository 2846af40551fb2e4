//! The dead-letter file: the tweets that the broker did not accept, for
//! [`Replay`](crate::source::Replay). Every tweet that the source gave is in the topic or in this
//! file.
//!
//! The file is created with the first failed tweet, in the working directory, and named after the
//! topic and the time. A tweet in it may be in the topic as well, if only the broker's confirmation
//! was lost; the listener counts it once.
//!
//! A thread writes the file, so that neither the delivery reports nor a reader of the status waits
//! for the disk with a lock held. A short queue leads to it. When the disk is slow, the queue is
//! full and the sender waits: nothing is dropped.

use super::line_file::LineFile;
use crate::Result;
use crate::task::background::Background;
use crate::task::queue::{self, Receiver, Sender, TrySendError};
use crate::task::{block_on, locked};
use jiff::Timestamp;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// How many tweets wait for the disk at most, and how many bytes.
const QUEUE_TWEETS: usize = 256;
const QUEUE_BYTES: usize = 4 * 1024 * 1024;
/// A disk that writes nothing for this long has failed.
const DISK_LIMIT: Duration = Duration::from_secs(30);
/// The pause before a message is offered again to a full queue.
const FULL_PAUSE: Duration = Duration::from_millis(2);

pub(super) struct DeadLetters {
    messages: Mutex<Option<Arc<Sender<Vec<u8>>>>>,
    thread: Background,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    path: Option<PathBuf>,
    written: u64,
    /// Why tweets are missing in the file.
    error: Option<String>,
}

impl DeadLetters {
    /// Starts the thread. It creates no file before a tweet fails.
    pub(super) fn new(topic: &str) -> Result<DeadLetters> {
        let topic = topic.to_owned();
        let path = move || -> std::io::Result<PathBuf> {
            let now = Timestamp::now().strftime("%Y%m%dT%H%M%S%.3fZ");
            Ok(std::env::current_dir()?.join(format!("dead-letter-{topic}-{now}.jsonl")))
        };
        DeadLetters::with_path(path)
    }

    fn with_path(
        path: impl Fn() -> std::io::Result<PathBuf> + Send + 'static,
    ) -> Result<DeadLetters> {
        let (sender, messages) = queue::bounded(QUEUE_TWEETS, QUEUE_BYTES);
        let state = Arc::new(Mutex::new(State::default()));
        let writer_state = state.clone();
        let thread = Background::spawn_blocking("dead-letter writer", move |_| {
            write_all(messages, path, &writer_state);
        });
        Ok(DeadLetters {
            messages: Mutex::new(Some(Arc::new(sender))),
            thread,
            state,
        })
    }

    /// Passes a message to the thread. It blocks while the queue is full; a disk that writes nothing
    /// for 30 seconds is given up, and the status then says so.
    pub(super) fn add(&self, message: &[u8]) {
        let mut message = message.to_vec();
        let deadline = Instant::now() + DISK_LIMIT;
        while let Some(messages) = locked(&self.messages).clone() {
            let size = message.len();
            match messages.try_send(message, size) {
                Ok(()) | Err(TrySendError::Closed) => return,
                Err(TrySendError::Full(returned)) => message = returned,
            }
            if Instant::now() > deadline {
                locked(&self.messages).take();
                let seconds = DISK_LIMIT.as_secs();
                return self.give_up(&format!("the disk wrote nothing for {seconds} s"));
            }
            std::thread::sleep(FULL_PAUSE);
        }
    }

    fn give_up(&self, reason: &str) {
        locked(&self.state)
            .error
            .get_or_insert_with(|| unsaved(reason));
    }

    /// Returns the path of the file if there is one, and why tweets are missing in it, if any are.
    pub(super) fn status(&self) -> (Option<PathBuf>, Option<String>) {
        let state = locked(&self.state);
        (state.path.clone(), state.error.clone())
    }

    /// Blocks until every message is in the file, as long as the disk makes progress. Returns why
    /// tweets are missing in the file, if any are.
    pub(super) fn finish(&self) -> Option<String> {
        // The thread ends when the queue is empty and has no sender.
        locked(&self.messages).take();
        let mut written = 0;
        let mut deadline = Instant::now() + DISK_LIMIT;
        let pause = Duration::from_millis(200);
        while block_on(async { timeout(pause, self.thread.ended()).await }).is_err() {
            let now = locked(&self.state).written;
            if now != written {
                written = now;
                deadline = Instant::now() + DISK_LIMIT;
            }
            if Instant::now() > deadline {
                self.give_up("the disk does not respond");
                break;
            }
        }
        self.status().1
    }
}

/// Writes the messages until the queue is closed. After the first error it discards them.
fn write_all(
    mut messages: Receiver<Vec<u8>>,
    path: impl Fn() -> std::io::Result<PathBuf>,
    state: &Mutex<State>,
) {
    let mut file: Option<LineFile> = None;
    while let Some(mut message) = messages.blocking_recv() {
        if locked(state).error.is_some() {
            continue;
        }
        message.push(b'\n');
        let written = match &mut file {
            Some(file) => file.append(&message),
            none => path().and_then(|path| {
                let opened = none.insert(LineFile::open(&path)?);
                locked(state).path = Some(path);
                opened.append(&message)
            }),
        };
        let mut state = locked(state);
        match written {
            Ok(()) => state.written += 1,
            Err(error) => state.error = Some(unsaved(&error.to_string())),
        }
    }
}

fn unsaved(reason: &str) -> String {
    format!("failed to save tweets that Kafka did not accept: {reason}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};

    #[test]
    fn a_slow_disk_delays_dead_letters_and_loses_none() {
        // A named pipe whose reader is slow stands for the disk: it blocks the writer when full.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        const TWEETS: usize = 1_000;
        let pipe = path.clone();
        let reader = std::thread::spawn(move || {
            let mut lines = BufReader::new(std::fs::File::open(pipe).unwrap()).lines();
            let mut number = 0;
            while number < TWEETS {
                lines.next().unwrap().unwrap();
                number += 1;
                if number % 10 == 0 {
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
            number
        });
        let letters = DeadLetters::with_path(move || Ok(path.clone())).unwrap();
        let message = "x".repeat(4_000);
        for _ in 0..TWEETS {
            letters.add(message.as_bytes());
            // The status does not wait for the disk.
            letters.status();
        }
        assert_eq!(letters.finish(), None);
        assert_eq!(reader.join().unwrap(), TWEETS);
    }

    #[test]
    fn a_full_disk_is_reported() {
        let letters = DeadLetters::with_path(|| Ok("/dev/full".into())).unwrap();
        letters.add(b"tweet");
        let error = letters.finish().unwrap();
        assert!(error.contains("failed to save tweets"), "{error}");
    }
}
