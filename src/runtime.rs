//! What the crate's threads have in common: the one tokio runtime, started on first use and kept
//! for the life of the process, and how a lock is taken.
//!
//! A notebook cell is not async, and evcxr's own way to run async cells needs tokio as a
//! dependency of the notebook. So the crate owns a runtime and its public functions block.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("live-sentiment")
        .enable_all()
        .build()
        // Only a process that may start no thread at all gets here, and it can do nothing else.
        .expect("the operating system refused to start a thread")
});

pub(crate) fn runtime() -> &'static Runtime {
    &RUNTIME
}

/// Locks. What a panicked thread has left is still counts and queues that a reader can use.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
