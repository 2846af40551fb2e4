//! Interrupts: the Stop button of a notebook ends a wait, and nothing else.
//!
//! `kernel/start.py` starts the Rust kernel with SIGINT ignored, so that an interrupt does not end
//! the kernel. It also reaches the process that runs the cells, where [`handle_interrupts`] installs
//! a handler. Every call of this crate that waits then returns, and whatever runs in the background
//! continues. In a program nothing is installed, and Ctrl-C ends the program as usual.
//!
//! A call waits in one of two ways. `wait` blocks in short slices and looks for an interrupt in
//! between. `call` is for work that cannot be divided, such as a request to a broker: it moves the
//! work to another thread, and no longer waits for that thread after an interrupt.

use crate::runtime::{block_on, runtime};
use crate::{Error, Result};
use std::panic::resume_unwind;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// evcxr sets this variable in the process that runs the cells.
const KERNEL_PROCESS: &str = "EVCXR_IS_RUNTIME";
/// After how long a wait notices an interrupt at the latest.
const NOTICE: Duration = Duration::from_millis(100);
/// Two interrupts within this time end a cell in which no call of this crate waits.
const SECOND_INTERRUPT: Duration = Duration::from_secs(3);
/// The exit status of a process that SIGINT ended, as shells report it.
const EXIT_STATUS: i32 = 130;

static IS_HANDLED: AtomicBool = AtomicBool::new(false);
/// The number of interrupts so far.
static INTERRUPTS: AtomicU64 = AtomicU64::new(0);
/// The number of waits in progress.
static WAITS: AtomicUsize = AtomicUsize::new(0);

/// Handles interrupts in the process that runs a notebook's cells. In a program, and after the first
/// call, it does nothing.
///
/// From then on SIGINT does not end the process. It ends the wait that is in progress. A second
/// interrupt within 3 seconds ends the process if a cell runs in which no call of this crate waits.
///
/// The prelude of our kernel calls it. evcxr does not run the prelude again in the process that
/// follows one that has ended, so [`show_log`](crate::show_log) and every wait call it too.
pub fn handle_interrupts() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if std::env::var_os(KERNEL_PROCESS).is_none() {
            return;
        }
        let _context = runtime().enter();
        match signal(SignalKind::interrupt()) {
            Ok(signals) => {
                IS_HANDLED.store(true, SeqCst);
                runtime().spawn(count(signals));
            }
            Err(error) => tracing::warn!(%error, "interrupts are not handled"),
        }
    });
}

async fn count(mut signals: Signal) {
    let mut first: Option<Instant> = None;
    while signals.recv().await.is_some() {
        INTERRUPTS.fetch_add(1, SeqCst);
        if WAITS.load(SeqCst) > 0 || is_idle() {
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

/// Returns whether no cell runs: the main thread, which runs the cells, waits for the next command
/// on its standard input. Where the operating system does not tell, a cell counts as running.
fn is_idle() -> bool {
    let process = std::process::id();
    let call = std::fs::read_to_string(format!("/proc/self/task/{process}/syscall"));
    // The number of the system call `read` depends on the processor; its first argument is 0.
    call.is_ok_and(|call| call.split(' ').nth(1) == Some("0x0"))
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// What was waited for has happened.
    Done,
    /// The time limit was reached first.
    TimedOut,
    /// An interrupt came first.
    Interrupted,
}

/// A wait in progress. It counts interrupts from its creation on.
pub(crate) struct Wait(u64);

impl Wait {
    pub(crate) fn begin() -> Wait {
        handle_interrupts();
        WAITS.fetch_add(1, SeqCst);
        Wait(INTERRUPTS.load(SeqCst))
    }

    /// Returns whether an interrupt has come since the wait began.
    pub(crate) fn is_interrupted(&self) -> bool {
        INTERRUPTS.load(SeqCst) > self.0
    }

    /// Returns for how long to block before [`is_interrupted`](Wait::is_interrupted) must be asked
    /// again, if the wait has this much time left.
    pub(crate) fn slice(left: Duration) -> Duration {
        left.min(NOTICE)
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        WAITS.fetch_sub(1, SeqCst);
    }
}

/// Blocks until `is_done` returns true, for `limit` at most. `is_done` blocks for the duration that
/// it is given, or less.
pub(crate) fn wait(limit: Duration, mut is_done: impl FnMut(Duration) -> bool) -> Waited {
    let wait = Wait::begin();
    let start = Instant::now();
    loop {
        let left = limit.saturating_sub(start.elapsed());
        if is_done(Wait::slice(left)) {
            return Waited::Done;
        }
        if wait.is_interrupted() {
            return Waited::Interrupted;
        }
        if left.is_zero() {
            return Waited::TimedOut;
        }
    }
}

/// Runs a call that blocks, on a thread for such calls.
///
/// # Errors
/// Those of the call, and [`Error::Interrupted`] if an interrupt comes first. The call then ends by
/// itself, and its result is dropped.
///
/// # Panics
/// If the call panics.
pub(crate) fn call<T: Send + 'static>(
    action: &str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    handle_interrupts();
    if !IS_HANDLED.load(SeqCst) {
        return work();
    }
    let (sender, result) = channel();
    let running = runtime().spawn_blocking(move || {
        // An error means that the call was interrupted.
        let _ = sender.send(work());
    });
    let mut returned = None;
    let waited = wait(Duration::MAX, |slice| match result.recv_timeout(slice) {
        Ok(result) => {
            returned = Some(result);
            true
        }
        Err(error) => error == RecvTimeoutError::Disconnected,
    });
    if waited == Waited::Interrupted {
        return Err(Error::Interrupted {
            action: action.into(),
        });
    }
    returned.unwrap_or_else(|| match block_on(running) {
        Err(error) => resume_unwind(error.into_panic()),
        Ok(()) => unreachable!("a call that returns has sent its result"),
    })
}
