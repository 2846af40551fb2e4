//! The live figure: a page on 127.0.0.1 that follows a listener's trajectory.
//!
//! A cell of the Rust kernel can show its output only once, at its end, and has no way to change
//! it later. So the figure is a page of our own, served from inside the notebook's process and
//! shown in an iframe under the cell; it follows a stream of Server-Sent Events.
//!
//! The listener never waits for a page. It changes the trajectory and rings a bell; a task of the
//! figure's own looks at the trajectory 33 times a second at most and tells all pages what is new.

mod plot;
mod server;

use crate::notebook::{escape, show};
use crate::runtime::{locked, runtime};
use crate::trajectory::{Cursor, Trajectory, Update};
use crate::{Error, Result};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, broadcast, watch};

const DEFAULT_PORT: u16 = 8050;
/// How many ports are tried from the wanted one on.
const PORTS: u16 = 20;
/// The shortest time between two updates of a page.
const TICK: Duration = Duration::from_millis(30);
/// How many updates a page may be behind before it is dropped, to come back by itself.
const BEHIND: usize = 32;

/// A figure that is being served. Dropping it ends the server.
pub struct LiveFigure {
    shared: Arc<Shared>,
    address: SocketAddr,
    wanted: u16,
    stop: watch::Sender<bool>,
}

/// What the server's tasks and the figure have in common.
struct Shared {
    trajectory: Mutex<Option<Arc<Mutex<Trajectory>>>>,
    changed: Arc<Notify>,
    /// What the pages that are open have been sent.
    sent: Mutex<Cursor>,
    updates: broadcast::Sender<Arc<str>>,
}

impl Shared {
    fn update(&self, cursor: &mut Cursor) -> Option<Update> {
        let trajectory = locked(&self.trajectory).clone()?;
        let update = locked(&trajectory).update(cursor);
        Some(update)
    }

    fn json(update: &Update) -> Arc<str> {
        // Numbers, strings, lists and maps with string keys: all of it has a form in JSON.
        serde_json::to_string(update)
            .unwrap_or_else(|_| "{}".into())
            .into()
    }

    /// Everything so far, and a receiver for all that comes after it.
    fn join(&self) -> (Option<Arc<str>>, broadcast::Receiver<Arc<str>>) {
        // Held so that no update falls between the two.
        let _sent = locked(&self.sent);
        let updates = self.updates.subscribe();
        let everything = self.update(&mut Cursor::default());
        (everything.as_ref().map(Shared::json), updates)
    }

    /// Tells the pages what is new, whenever something is.
    async fn tell(&self) {
        loop {
            // A silent stream still has a rate, which falls: hence the time-out.
            let _ = tokio::time::timeout(Duration::from_secs(1), self.changed.notified()).await;
            if self.updates.receiver_count() > 0 {
                let mut sent = locked(&self.sent);
                if let Some(update) = self.update(&mut sent) {
                    // An error means that the last page has just gone.
                    let _ = self.updates.send(Shared::json(&update));
                }
            }
            tokio::time::sleep(TICK).await;
        }
    }
}

impl LiveFigure {
    /// Serves the figure on port 8050 of 127.0.0.1, or the next free one; the cell's output names
    /// the address and shows the page.
    ///
    /// # Errors
    /// [`Error::Port`] if twenty ports from 8050 on are taken.
    pub fn serve() -> Result<LiveFigure> {
        LiveFigure::serve_on(DEFAULT_PORT)
    }

    /// Serves the figure on `port` of 127.0.0.1, or the next free one; port 0 takes any.
    ///
    /// # Errors
    /// [`Error::Port`] if twenty ports from `port` on are taken.
    pub fn serve_on(port: u16) -> Result<LiveFigure> {
        let listener = bind(port)?;
        let failed = |source| Error::Port {
            first: port,
            last: port,
            source,
        };
        let address = listener.local_addr().map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let shared = Arc::new(Shared {
            trajectory: Mutex::default(),
            changed: Arc::default(),
            sent: Mutex::default(),
            updates: broadcast::Sender::new(BEHIND),
        });
        let (stop, stopped) = watch::channel(false);
        let _in_runtime = runtime().enter();
        let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
        let mut told_to_stop = stopped.clone();
        let teller = shared.clone();
        runtime().spawn(async move {
            tokio::select! {
                () = teller.tell() => {}
                _ = told_to_stop.wait_for(|stop| *stop) => {}
            }
        });
        runtime().spawn(server::serve(listener, shared.clone(), stopped));
        if address.port() != port && port != 0 {
            tracing::info!("port {port} is taken; the figure is at {address}");
        }
        Ok(LiveFigure {
            shared,
            address,
            wanted: port,
            stop,
        })
    }

    /// The page's address.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Shows this trajectory from now on. The returned bell is rung when it has changed.
    pub(crate) fn attach(&self, trajectory: Arc<Mutex<Trajectory>>) -> Arc<Notify> {
        *locked(&self.shared.trajectory) = Some(trajectory);
        self.shared.changed.clone()
    }

    /// The figure as it is now, as a Plotly figure that stays in the saved notebook.
    pub fn snapshot(&self) -> plotly::Plot {
        match locked(&self.shared.trajectory).clone() {
            Some(trajectory) => plot::plot(&locked(&trajectory)),
            None => plot::plot(&Trajectory::new(0)),
        }
    }

    /// Shows the page under the cell.
    pub fn evcxr_display(&self) {
        let url = self.url();
        let note = if self.wanted != self.address.port() && self.wanted != 0 {
            format!(" (port {} is taken)", self.wanted)
        } else {
            String::new()
        };
        let line = format!("The live figure is at {url}{note}");
        show(
            "text/html",
            &format!(
                "<p>{} — <a href=\"{url}\" target=\"_blank\">open it in a tab of its own</a></p>\
                 <iframe src=\"{url}\" title=\"Live sentiment\" width=\"100%\" height=\"720\" \
                 style=\"border:0\"></iframe>",
                escape(&line)
            ),
        );
        show("text/plain", &line);
    }
}

impl Drop for LiveFigure {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

fn bind(port: u16) -> Result<TcpListener> {
    let last = if port == 0 {
        0
    } else {
        port.saturating_add(PORTS - 1)
    };
    let mut tried = port;
    loop {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, tried)) {
            Ok(listener) => return Ok(listener),
            Err(source) if tried >= last => {
                return Err(Error::Port {
                    first: port,
                    last,
                    source,
                });
            }
            Err(_) => tried += 1,
        }
    }
}
