//! How work runs, waits and is stopped: the tokio runtime of the crate, and helpers for its threads.
//!
//! A notebook cell is not async, and evcxr's own support for async cells needs tokio as a
//! dependency of the notebook. The crate therefore owns one runtime, which starts on first use and
//! lives as long as the process, and its public functions block.

pub(crate) mod background;
pub mod interrupt;
mod panics;
pub(crate) mod process;
pub(crate) mod queue;

use std::panic::resume_unwind;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use tokio::runtime::{Builder, Handle, Runtime};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("live-sentiment")
        .enable_all()
        .build()
        // This fails only if the process may not start threads. The crate cannot work without them.
        .expect("the operating system refused to start a thread")
});

/// Returns the runtime of the crate.
pub(crate) fn runtime() -> &'static Runtime {
    &RUNTIME
}

/// Runs a future on the runtime of the crate and blocks until it is done.
///
/// This also works on a thread that already runs async code. tokio does not allow a second
/// `block_on` there, so a helper thread runs the future, and the calling thread waits for it.
pub(crate) fn block_on<F>(future: F) -> F::Output
where
    F: Future + Send,
    F::Output: Send,
{
    // In the destructor of a thread-local value, tokio's thread-local value may already be destroyed.
    if Handle::try_current().is_err_and(|error| error.is_missing_context()) {
        return runtime().block_on(future);
    }
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| runtime().block_on(future));
        waiting.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// Locks a mutex, even if a thread has panicked while it held the lock. The values behind the locks
/// of this crate are counts and queues, which are valid after every statement.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_on_works_inside_and_outside_of_a_runtime() {
        assert_eq!(block_on(async { 1 }), 1);
        let other = Builder::new_current_thread().build().unwrap();
        assert_eq!(other.block_on(async { block_on(async { 2 }) }), 2);
    }

    #[test]
    fn block_on_works_in_a_destructor_of_a_thread() {
        struct Blocks(std::sync::mpsc::Sender<i32>);
        impl Drop for Blocks {
            fn drop(&mut self) {
                self.0.send(block_on(async { 3 })).unwrap();
            }
        }
        thread_local!(static BLOCKS: std::cell::OnceCell<Blocks> = const { std::cell::OnceCell::new() });
        let (sender, receiver) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(|| {
            BLOCKS.with(|blocks| blocks.set(Blocks(sender)).is_ok());
            // tokio creates its thread-local value after `BLOCKS`, so it is destroyed before `BLOCKS`.
            block_on(async {});
        });
        thread.join().unwrap();
        assert_eq!(receiver.recv(), Ok(3));
    }
}
