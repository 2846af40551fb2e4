//! Background tasks and their owners.
//!
//! The streamer, the listener, the scorer, the figure and the writers of files continue
//! after the notebook cell that started them has returned. Each is a [`Background`]: a task with one
//! owner. The owner stops the task and waits for its end. A panic of the task reaches the owner as an
//! error.

use super::{interrupt, runtime};
use crate::error::{Error, ErrorKind};
use futures_util::FutureExt;
use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
pub(crate) use tokio_util::sync::CancellationToken;

/// A running task. Dropping it asks the task to stop, and does not wait for its end.
pub(crate) struct Background {
    name: &'static str,
    shutdown: CancellationToken,
    /// The result of the task, or the message of its panic, once the task has ended.
    outcome: watch::Receiver<Option<Result<(), String>>>,
}

impl Background {
    /// Starts a task on the runtime of the crate. `work` must end soon after its token is cancelled.
    pub(crate) fn spawn<F>(
        name: &'static str,
        work: impl FnOnce(CancellationToken) -> F,
    ) -> Background
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let shutdown = CancellationToken::new();
        let task = runtime().spawn(work(shutdown.clone()));
        Background::new(name, shutdown, task)
    }

    /// Starts a task that blocks, on its own thread. `work` must end soon after its token is cancelled.
    pub(crate) fn spawn_blocking(
        name: &'static str,
        work: impl FnOnce(CancellationToken) + Send + 'static,
    ) -> Background {
        let shutdown = CancellationToken::new();
        let token = shutdown.clone();
        let task = runtime().spawn_blocking(move || work(token));
        Background::new(name, shutdown, task)
    }

    fn new(name: &'static str, shutdown: CancellationToken, task: JoinHandle<()>) -> Background {
        let (sender, outcome) = watch::channel(None);
        runtime().spawn(async move {
            let ended = task.await.map_err(|error| match error.try_into_panic() {
                Ok(payload) => panic_message(payload),
                Err(cancelled) => cancelled.to_string(),
            });
            sender.send_replace(Some(ended));
        });
        Background {
            name,
            shutdown,
            outcome,
        }
    }

    /// Asks the task to stop, and blocks until it has ended or an interrupt comes. Returns whether the task
    /// has ended. After an interrupt it still ends, but this call no longer waits for it.
    pub(crate) fn stop(&self) -> bool {
        self.shutdown.cancel();
        interrupt::block_on(Duration::MAX, self.ended()).is_ok()
    }

    /// Waits until the task has ended.
    ///
    /// # Cancel safety
    /// The future may be dropped at any time.
    pub(crate) async fn ended(&self) {
        // An error means that the runtime of the task has shut down, and the task with it.
        let _ = self.outcome.clone().wait_for(Option::is_some).await;
    }

    /// Returns whether the task has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.outcome.borrow().is_some()
    }

    /// Returns the panic that ended the task; `None` if the task has not panicked.
    pub(crate) fn panic(&self) -> Option<Error> {
        let message = self.outcome.borrow().clone()?.err()?;
        Some(panicked(self.name, &message))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// Runs a future. A panic in it becomes an error with the name of the task.
pub(crate) async fn catch_panic<T>(
    name: &'static str,
    work: impl Future<Output = T>,
) -> Result<T, Error> {
    // The future is not used again after a panic.
    let outcome = AssertUnwindSafe(work).catch_unwind().await;
    outcome.map_err(|payload| panicked(name, &panic_message(payload)))
}

fn panicked(task: &str, message: &str) -> Error {
    Error::new(
        ErrorKind::Panicked,
        format!("the {task} panicked: {message}"),
    )
    .with_hint("start it again; if the panic is not in your code, report it as a bug")
}

/// Returns the message of a panic.
fn panic_message(payload: Box<dyn Any + Send>) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let message = text.unwrap_or("no message").to_owned();
    // Dropping the payload runs code of the task, which may panic again.
    std::mem::forget(payload);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    #[test]
    fn stop_ends_a_task_and_a_thread() {
        let task = Background::spawn("task", |shutdown| async move {
            shutdown.cancelled().await;
        });
        assert!(!task.has_ended());
        assert!(task.stop());
        assert!(task.has_ended() && task.panic().is_none());
        let thread = Background::spawn_blocking("thread", |shutdown| {
            while !shutdown.is_cancelled() {
                std::thread::yield_now();
            }
        });
        assert!(thread.stop());
        assert!(thread.has_ended() && thread.panic().is_none());
    }

    #[test]
    fn a_panic_reaches_the_owner_as_an_error() {
        let task = Background::spawn("task", |_| async { panic!("in a task") });
        assert_eq!(interrupt::block_on(LIMIT, task.ended()), Ok(()));
        let error = task.panic().unwrap().to_string();
        assert!(error.starts_with("the task panicked: in a task"), "{error}");
        let thread = Background::spawn_blocking("thread", |_| panic!("number {}", 5));
        thread.stop();
        let error = thread.panic().unwrap().to_string();
        assert!(error.contains("the thread panicked: number 5"), "{error}");
    }

    #[test]
    fn a_dropped_owner_stops_the_task() {
        let (ended, end) = std::sync::mpsc::channel();
        drop(Background::spawn("task", |shutdown| async move {
            shutdown.cancelled().await;
            ended.send(()).unwrap();
        }));
        end.recv_timeout(LIMIT).unwrap();
    }
}
