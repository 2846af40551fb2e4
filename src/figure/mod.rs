//! The live figure: a page on 127.0.0.1 that follows one listener or several.
//!
//! A cell of the Rust kernel can show its output only once, when it ends, and cannot change it later.
//! The figure is therefore a page that the process of the notebook serves. The cell shows it in an
//! iframe, and the page follows a stream of Server-Sent Events.
//!
//! The figure subscribes to listeners, and a listener never waits for a page. A task of the figure
//! reads the progress of each listener at most 33 times per second, and sends the changes to all
//! pages (`update.rs`). The page asks for details when its reader opens them (`answer.rs`).

mod address;
mod answer;
mod connections;
mod plot;
mod server;
mod update;

use crate::error::{Error, ErrorKind, Result};
use crate::listener::{Listening, Subscription};
use crate::notebook::{escape, shorten, show};
use crate::task::background::{Background, CancellationToken};
use crate::task::{locked, runtime};
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};
use update::UpdateCursor;

const DEFAULT_PORT: u16 = 8050;
/// The number of ports that are tried, starting with the requested one.
const PORTS: u16 = 20;
/// The minimum time between two updates of the pages.
const UPDATE_INTERVAL: Duration = Duration::from_millis(30);
/// The maximum time between two updates, because the rate of a silent stream changes too.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);
/// The number of updates that a page may lag behind. Then its stream ends, and the page reconnects.
const MAX_PAGE_LAG: usize = 32;

/// The maximum number of listeners of a figure. It bounds the size of an update.
const MAX_LISTENERS: usize = 4;
/// The longest name of a shown listener, in characters.
const MAX_NAME: usize = 32;

/// A figure that is being served. Dropping it stops the server.
#[must_use = "dropping it stops the server of the page"]
pub struct LiveFigure {
    shared: Arc<FigureState>,
    port: u16,
    /// The requested port, if it was not free.
    taken_port: Option<u16>,
    /// The address for the browser that shows the notebook.
    address: String,
    /// The task that sends updates, and the server. Both end with the figure.
    _tasks: [Background; 2],
}

impl fmt::Debug for LiveFigure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveFigure")
            .field("url", &self.url())
            .finish_non_exhaustive()
    }
}

/// A listener that the figure shows.
#[derive(Clone)]
struct Shown {
    name: String,
    subscription: Subscription,
}

/// The state that the figure and its tasks share.
struct FigureState {
    /// The listeners that the figure shows, in the order of their first appearance.
    shown: watch::Sender<Vec<Shown>>,
    /// What the open pages have received from each shown listener.
    cursors: Mutex<Vec<UpdateCursor>>,
    updates: broadcast::Sender<Arc<str>>,
}

impl FigureState {
    /// Returns what is new since `cursors`, and advances them.
    fn update(&self, cursors: &mut Vec<UpdateCursor>) -> Option<Arc<str>> {
        let shown = self.shown.borrow().clone();
        (!shown.is_empty()).then(|| update::update(&shown, cursors).into())
    }

    /// Returns everything so far, and a receiver for the updates after it.
    fn join(&self) -> (Option<Arc<str>>, broadcast::Receiver<Arc<str>>) {
        // While the lock is held, no update is sent, so the receiver misses none.
        let _cursors = locked(&self.cursors);
        let updates = self.updates.subscribe();
        (self.update(&mut Vec::new()), updates)
    }

    /// Sends updates to the pages whenever a shown listener changes.
    async fn send_updates(self: Arc<FigureState>, shutdown: CancellationToken) {
        let mut replaced = self.shown.subscribe();
        loop {
            let mut shown = replaced.borrow_and_update().clone();
            let changes = shown.iter_mut().map(|shown| shown.subscription.changed());
            let mut changes: FuturesUnordered<_> = changes.collect();
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = replaced.changed() => {}
                Some(()) = changes.next() => {}
                () = tokio::time::sleep(IDLE_INTERVAL) => {}
            }
            if self.updates.receiver_count() > 0 {
                let mut cursors = locked(&self.cursors);
                if let Some(update) = self.update(&mut cursors) {
                    // An error means that the last page has just been closed.
                    let _ = self.updates.send(update);
                }
            }
            tokio::time::sleep(UPDATE_INTERVAL).await;
        }
    }
}

impl LiveFigure {
    /// Serves the figure on port 8050 of 127.0.0.1, or on the next free port. The output of the cell
    /// shows the address and the page. If the notebook's server and the browser are on different
    /// machines, the server's proxy provides the address. The environment variable
    /// `LIVE_SENTIMENT_FIGURE_URL` sets another address, such as `https://server.example/proxy/{port}/`.
    ///
    /// # Errors
    /// [`ErrorKind::NoPort`] if the ports 8050 to 8069 are taken, [`ErrorKind::InvalidArgument`] if
    /// `LIVE_SENTIMENT_FIGURE_URL` is not an address with `{port}`.
    ///
    /// # Panics
    /// If the operating system provides no random numbers.
    ///
    /// # Examples
    /// ```no_run
    /// use live_sentiment::prelude::*;
    ///
    /// # fn main() -> Result<()> {
    /// let figure = LiveFigure::serve()?;
    /// let listening = Listener::new(&Kafka::connect()?, "tweets").start()?;
    /// figure.show("audience", &listening)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn serve() -> Result<LiveFigure> {
        LiveFigure::serve_on(DEFAULT_PORT)
    }

    /// Serves the figure on `port` of 127.0.0.1, or on one of the 19 ports after it. With port 0, the
    /// operating system selects a free port.
    ///
    /// # Errors
    /// [`ErrorKind::NoPort`] if no such port is free, [`ErrorKind::InvalidArgument`] as for
    /// [`serve`](LiveFigure::serve).
    ///
    /// # Panics
    /// If the operating system provides no random numbers.
    pub fn serve_on(port: u16) -> Result<LiveFigure> {
        let last = match port {
            0 => 0,
            port => port.saturating_add(PORTS - 1),
        };
        let failed = |error| no_port(port, last, &error);
        let listener = bind(port..=last).map_err(failed)?;
        let socket = listener.local_addr().map_err(failed)?;
        let taken_port = Some(port).filter(|port| *port != 0 && *port != socket.port());
        if let Some(port) = taken_port {
            tracing::info!(port, address = %socket, "the port is taken; the figure uses another");
        }
        let secret = random_secret();
        let address = address::from_environment(socket.port(), &secret)?;
        let shared = Arc::new(FigureState {
            shown: watch::Sender::default(),
            cursors: Mutex::default(),
            updates: broadcast::Sender::new(MAX_PAGE_LAG),
        });
        let tasks = [
            Background::spawn("figure", |shutdown| shared.clone().send_updates(shutdown)),
            Background::spawn("figure server", |shutdown| {
                server::serve(listener, shared.clone(), secret, shutdown)
            }),
        ];
        Ok(LiveFigure {
            shared,
            port: socket.port(),
            taken_port,
            address,
            _tasks: tasks,
        })
    }

    /// Returns the address of the page on this machine.
    pub fn url(&self) -> String {
        address::direct(self.port)
    }

    /// Shows a listener from now on, under a name of up to 32 characters. If a listener with this name is
    /// already shown, the new one replaces it. Up to four listeners are shown at once, each with its own
    /// lines. After a listener has ended, the figure keeps its last state.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if the name is empty or too long, or if four listeners are already
    /// shown.
    pub fn show(&self, name: &str, listening: &Listening) -> Result<()> {
        let invalid = |reason, hint| {
            Error::invalid_argument(format!("the listener {name:?} of the figure"), reason, hint)
        };
        if name.trim().is_empty() || name.chars().nth(MAX_NAME).is_some() {
            return Err(invalid(
                "a name has 1 to 32 characters",
                "give a short name such as \"audience\"",
            ));
        }
        let listener = Shown {
            name: shorten(name, MAX_NAME),
            subscription: listening.subscribe(),
        };
        let is_shown = self.shared.shown.send_if_modified(|shown| {
            match shown.iter().position(|shown| shown.name == listener.name) {
                Some(index) => shown[index] = listener,
                None if shown.len() < MAX_LISTENERS => shown.push(listener),
                None => return false,
            }
            true
        });
        if !is_shown {
            return Err(invalid(
                "the figure shows four listeners already",
                "show it under the name of one of them, or serve another figure",
            ));
        }
        Ok(())
    }

    /// Returns the current state as a Plotly figure, which stays in the saved notebook.
    pub fn snapshot(&self) -> plotly::Plot {
        plot::plot(&self.shared.shown.borrow())
    }

    /// Displays the page below the cell.
    #[doc(hidden)]
    pub fn evcxr_display(&self) {
        let url = escape(&self.address);
        let mut line = format!("The live figure is at {}", self.address);
        if let Some(port) = self.taken_port {
            line += &format!(" (port {port} is taken)");
        }
        show(
            "text/html",
            &format!(
                "<p>{} — <a href=\"{url}\" target=\"_blank\">open it in its own tab</a></p>\
                 <iframe src=\"{url}\" title=\"Live sentiment\" width=\"100%\" height=\"860\" \
                 allow=\"fullscreen; clipboard-write\" style=\"border:0\"></iframe>",
                escape(&line)
            ),
        );
        show("text/plain", &line);
    }
}

/// Returns a secret of 128 bits as 32 hexadecimal digits.
///
/// # Panics
/// If the random source of the operating system fails.
fn random_secret() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system has random numbers");
    format!("{:032x}", u128::from_ne_bytes(bytes))
}

/// Binds the first free port.
fn bind(ports: RangeInclusive<u16>) -> io::Result<TcpListener> {
    let addresses = ports.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let addresses: Vec<_> = addresses.collect();
    let listener = std::net::TcpListener::bind(&*addresses)?;
    listener.set_nonblocking(true)?;
    let _context = runtime().enter();
    TcpListener::from_std(listener)
}

fn no_port(first: u16, last: u16, error: &io::Error) -> Error {
    let action = format!("serve the live figure on ports {first} to {last} of 127.0.0.1");
    Error::io(ErrorKind::NoPort, action, error)
        .with_hint("choose another port: `LiveFigure::serve_on(port)?`")
}

/// Asks every question without a listener, for a fuzz target.
#[cfg(fuzzing)]
pub(crate) fn fuzz(query: &str) {
    let question = answer::Question::new(query);
    for ask in [
        answer::stretch,
        answer::point,
        answer::explain,
        answer::skipped,
    ] {
        let _ = ask(&question, &[]);
    }
}
