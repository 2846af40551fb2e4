//! The lifecycle of everything that runs in the background.
//!
//! The streamer, the listener, the scorer, a live source and the figure all work while the notebook
//! cell that started them has long returned. Each is a [`Background`]: a task or a thread with one
//! owner. The owner asks it to end, waits for the end, and learns the end reason. A panic in the
//! work is caught and reaches the owner as a [`Panic`], so that no wait lasts forever.

use crate::interrupt::{self, Waited};
use crate::runtime::{locked, runtime};
use crate::{Error, Result};
use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// A running task or thread that ends with a reason of type `T`. Dropping the value asks the work
/// to end, and does not wait for it.
pub(crate) struct Background<T> {
    shutdown: watch::Sender<bool>,
    outcome: Arc<Outcome<T>>,
}

struct Outcome<T> {
    value: Mutex<Option<Result<T, Panic>>>,
    changed: Condvar,
}

/// The panic of a background task.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Panic {
    task: &'static str,
    message: String,
}

impl Panic {
    fn new(task: &'static str, payload: Box<dyn Any + Send>) -> Panic {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let panic = Panic {
            task,
            message: text.unwrap_or("no message").to_owned(),
        };
        // Dropping the payload runs foreign code, which may panic once more.
        std::mem::forget(payload);
        panic
    }
}

impl From<Panic> for Error {
    fn from(Panic { task, message }: Panic) -> Error {
        Error::Panicked { task, message }
    }
}

/// The signal by which the owner asks its task to end.
#[derive(Clone)]
pub(crate) struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// Returns whether the owner has asked for the end, or is gone.
    pub(crate) fn is_requested(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Waits for the request.
    ///
    /// # Cancel safety
    /// The future may be dropped at any time.
    pub(crate) async fn requested(&mut self) {
        // An error means that the owner is gone, which is a request too.
        let _ = self.0.wait_for(|requested| *requested).await;
    }
}

impl<T: Clone + Send + 'static> Background<T> {
    fn new(name: &'static str) -> (Background<T>, Shutdown, Reporter<T>) {
        let (shutdown, signal) = watch::channel(false);
        let outcome = Arc::new(Outcome {
            value: Mutex::new(None),
            changed: Condvar::new(),
        });
        let background = Background {
            shutdown,
            outcome: outcome.clone(),
        };
        (background, Shutdown(signal), Reporter { name, outcome })
    }

    /// Starts a task on the runtime of the crate.
    pub(crate) fn spawn<F>(name: &'static str, work: impl FnOnce(Shutdown) -> F) -> Background<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        Background::spawn_on(runtime().handle(), name, work)
    }

    /// Starts a task on another runtime.
    pub(crate) fn spawn_on<F>(
        handle: &Handle,
        name: &'static str,
        work: impl FnOnce(Shutdown) -> F,
    ) -> Background<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let (background, shutdown, reporter) = Background::new(name);
        let work = catch_panic(name, work(shutdown));
        handle.spawn(async move { reporter.report(work.await) });
        background
    }

    /// Starts a thread.
    ///
    /// # Errors
    /// [`Error::Thread`] if the operating system refuses it.
    pub(crate) fn spawn_thread(
        name: &'static str,
        work: impl FnOnce(Shutdown) -> T + Send + 'static,
    ) -> Result<Background<T>> {
        let (background, shutdown, reporter) = Background::new(name);
        std::thread::Builder::new()
            .name(name.into())
            .spawn(move || {
                let ended = catch_unwind(AssertUnwindSafe(|| work(shutdown)));
                reporter.report(ended.map_err(|payload| Panic::new(name, payload)));
            })
            .map_err(|source| Error::Thread { name, source })?;
        Ok(background)
    }

    /// Asks the work to end, and returns at once.
    pub(crate) fn request_shutdown(&self) {
        self.shutdown.send_replace(true);
    }

    /// Returns the end reason once the work has ended.
    pub(crate) fn outcome(&self) -> Option<Result<T, Panic>> {
        locked(&self.outcome.value).clone()
    }

    /// Returns the panic if the work has ended by one.
    pub(crate) fn panic(&self) -> Option<Error> {
        let panic = self.outcome()?.err()?;
        Some(panic.into())
    }

    /// Blocks until the work has ended, for `limit` at most. Returns whether it has.
    pub(crate) fn wait_timeout(&self, limit: Duration) -> bool {
        let value = locked(&self.outcome.value);
        let waited = self
            .outcome
            .changed
            .wait_timeout_while(value, limit, |value| value.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.is_some()
    }

    /// Blocks until the work has ended, for `limit` at most, or until an interrupt.
    pub(crate) fn wait(&self, limit: Duration) -> Waited {
        interrupt::wait(limit, |slice| self.wait_timeout(slice))
    }

    /// Asks the work to end, and blocks until it has, or until an interrupt. The work then ends by
    /// itself.
    pub(crate) fn stop(&self) -> Waited {
        self.request_shutdown();
        self.wait(Duration::MAX)
    }
}

/// Reports the outcome to the owner, also if the work is dropped before its end.
struct Reporter<T> {
    name: &'static str,
    outcome: Arc<Outcome<T>>,
}

impl<T> Reporter<T> {
    fn report(self, value: Result<T, Panic>) {
        *locked(&self.outcome.value) = Some(value);
    }
}

impl<T> Drop for Reporter<T> {
    fn drop(&mut self) {
        let dropped = || {
            Err(Panic {
                task: self.name,
                message: "its runtime has shut down".into(),
            })
        };
        locked(&self.outcome.value).get_or_insert_with(dropped);
        self.outcome.changed.notify_all();
    }
}

/// Runs a future, and returns its panic as an error.
pub(crate) async fn catch_panic<F: Future>(
    name: &'static str,
    future: F,
) -> Result<F::Output, Panic> {
    let mut future = pin!(future);
    poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        match polled {
            Ok(poll) => poll.map(Ok),
            Err(payload) => Poll::Ready(Err(Panic::new(name, payload))),
        }
    })
    .await
}

impl<T> Drop for Background<T> {
    fn drop(&mut self) {
        self.shutdown.send_replace(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    #[test]
    fn shutdown_ends_a_task_and_a_thread_with_their_reason() {
        let task = Background::spawn("task", |mut shutdown| async move {
            shutdown.requested().await;
            "asked"
        });
        assert_eq!(task.outcome(), None);
        task.stop();
        assert_eq!(task.outcome(), Some(Ok("asked")));
        let thread = Background::spawn_thread("thread", |shutdown| {
            while !shutdown.is_requested() {
                std::thread::yield_now();
            }
            7
        });
        let thread = thread.unwrap();
        thread.stop();
        assert_eq!(thread.outcome(), Some(Ok(7)));
    }

    #[test]
    fn a_panic_reaches_the_owner_as_an_error() {
        let task = Background::<()>::spawn("task", |_| async { panic!("in a task") });
        assert!(task.wait_timeout(LIMIT));
        let error = task.panic().unwrap().to_string();
        assert!(error.starts_with("the task panicked: in a task"), "{error}");
        let thread = Background::<()>::spawn_thread("thread", |_| panic!("number {}", 5)).unwrap();
        thread.stop();
        let error = thread.panic().unwrap().to_string();
        assert!(error.contains("the thread panicked: number 5"), "{error}");
    }

    #[test]
    fn a_dropped_owner_is_a_shutdown_request() {
        let (ended, end) = std::sync::mpsc::channel();
        drop(Background::spawn("task", |mut shutdown| async move {
            shutdown.requested().await;
            ended.send(()).unwrap();
        }));
        end.recv_timeout(LIMIT).unwrap();
    }
}
