//! Interrupts: the Stop button of a notebook ends a wait, and nothing else.
//!
//! `kernel/start.py` starts the Rust kernel with SIGINT ignored. An interrupt therefore does not end
//! the kernel. The signal also reaches the process that runs the cells, where [`handle_interrupts`]
//! installs a handler. Every waiting call of this crate then returns, and all background tasks
//! continue. In a program, no handler is installed, and Ctrl-C ends the program as usual.
//!
//! `block_on` waits for a future. `call` runs code that blocks, such as a request to a broker, on
//! another thread, and stops waiting for it after an interrupt.

use super::runtime;
use crate::error::{Error, ErrorKind, Result};
use std::panic::resume_unwind;
use std::sync::{LazyLock, Once};
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// evcxr sets this variable in the process that runs the cells.
const KERNEL_PROCESS: &str = "EVCXR_IS_RUNTIME";
/// Two interrupts within this time end a cell in which no call of this crate waits.
const SECOND_INTERRUPT: Duration = Duration::from_secs(3);
/// The exit status of a process that SIGINT ended, as shells report it.
const EXIT_STATUS: i32 = 130;

/// Notifies the waits of an interrupt. Each wait has a receiver.
static INTERRUPTS: LazyLock<watch::Sender<()>> = LazyLock::new(watch::Sender::default);

/// Handles interrupts and reports panics in the process that runs a notebook's cells. In a program, and after the first
/// call, it does nothing.
///
/// From then on, SIGINT does not end the process. It ends the wait that is in progress. If a cell runs
/// in which no call of this crate waits, a second interrupt within 3 seconds ends the process.
///
/// The prelude of our kernel calls this function. When the process of the cells has ended, evcxr starts
/// another one without the prelude. In that process, `kernel/front.py` calls it.
pub fn handle_interrupts() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if std::env::var_os(KERNEL_PROCESS).is_none() {
            return;
        }
        super::panics::report_panics();
        let _context = runtime().enter();
        match signal(SignalKind::interrupt()) {
            Ok(signals) => {
                runtime().spawn(handle(signals));
            }
            Err(error) => tracing::warn!(%error, "interrupts are not handled"),
        }
    });
}

async fn handle(mut signals: Signal) {
    let mut first: Option<Instant> = None;
    while signals.recv().await.is_some() {
        // A wait may end before the next line runs, so the waits are counted before.
        let is_awaited = INTERRUPTS.receiver_count() > 0;
        INTERRUPTS.send_replace(());
        if is_awaited || is_idle() {
            first = None;
            continue;
        }
        if first.is_some_and(|first| first.elapsed() < SECOND_INTERRUPT) {
            eprintln!(
                "interrupted twice: the process of the cells ends. All variables are lost, and \
                 with them the streams, the listeners, the figure and a broker that was started \
                 here. Run the cells again from the first one."
            );
            std::process::exit(EXIT_STATUS);
        }
        first = Some(Instant::now());
        eprintln!(
            "interrupted: this cell does not wait in a call of live_sentiment, so it continues. \
             A second interrupt within {} s ends it, and all variables are lost.",
            SECOND_INTERRUPT.as_secs()
        );
    }
}

/// Returns true if no cell is running: the main thread, which runs the cells, waits for the next
/// command on its standard input. Without `/proc`, a cell counts as running.
fn is_idle() -> bool {
    let process = std::process::id();
    let call = std::fs::read_to_string(format!("/proc/self/task/{process}/syscall"));
    // The number of the system call `read` depends on the processor; its first argument is 0.
    call.is_ok_and(|call| call.split(' ').nth(1) == Some("0x0"))
}

/// Why a wait ended before its future was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfinished {
    /// The time limit was reached.
    TimedOut,
    /// An interrupt came.
    Interrupted,
}

/// A call that waits once or several times. An interrupt between two waits ends the next one.
pub(crate) struct Wait(watch::Receiver<()>);

impl Wait {
    pub(crate) fn begin() -> Wait {
        handle_interrupts();
        Wait(INTERRUPTS.subscribe())
    }

    /// Blocks until the future is done, the limit is reached or an interrupt comes.
    pub(crate) fn block_on<F>(
        &mut self,
        limit: Duration,
        future: F,
    ) -> Result<F::Output, Unfinished>
    where
        F: Future + Send,
        F::Output: Send,
    {
        super::block_on(async {
            tokio::select! {
                biased;
                _ = self.0.changed() => Err(Unfinished::Interrupted),
                output = future => Ok(output),
                () = tokio::time::sleep(limit) => Err(Unfinished::TimedOut),
            }
        })
    }
}

/// Blocks until the future is done, the limit is reached or an interrupt comes.
pub(crate) fn block_on<F>(limit: Duration, future: F) -> Result<F::Output, Unfinished>
where
    F: Future + Send,
    F::Output: Send,
{
    Wait::begin().block_on(limit, future)
}

/// Runs a blocking call on another thread, and waits for its result.
///
/// # Errors
/// Those of the call, and [`ErrorKind::Interrupted`] if an interrupt comes first. The call then continues
/// to its end, and its result is dropped.
///
/// # Panics
/// If the call panics.
pub(crate) fn call<T: Send + 'static>(
    action: &str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match block_on(Duration::MAX, runtime().spawn_blocking(work)) {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => resume_unwind(error.into_panic()),
        Err(_) => {
            let message = format!("interrupted: failed to {action}");
            Err(Error::new(ErrorKind::Interrupted, message).with_hint("run the cell again"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupt_ends_a_wait_at_once_and_not_the_next_one() {
        let interrupts = watch::Sender::new(());
        let mut wait = Wait(interrupts.subscribe());
        let second = Duration::from_secs(1);
        assert_eq!(wait.block_on(second, async { 1 }), Ok(1));
        let limit = Duration::from_millis(1);
        assert_eq!(
            wait.block_on(limit, std::future::pending::<()>()),
            Err(Unfinished::TimedOut)
        );
        interrupts.send_replace(());
        assert_eq!(
            wait.block_on(second, async { 1 }),
            Err(Unfinished::Interrupted)
        );
        assert_eq!(wait.block_on(second, async { 2 }), Ok(2));
    }

    #[test]
    fn a_call_returns_its_result_and_its_panic() {
        assert_eq!(call("add", || Ok(1 + 1)).unwrap(), 2);
        let panic = std::panic::catch_unwind(|| call::<()>("panic", || panic!("in a call")));
        assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"in a call"));
    }
}
