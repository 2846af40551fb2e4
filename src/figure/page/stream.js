// The connection to the notebook: a stream of events, each with the changes.

const RETRY_MS = 1000;

// Calls `receive` with each update, and `connected` with whether the page is connected. EventSource
// reconnects after a broken connection. It closes only if the response is not a stream; then this function
// starts again.
export function follow(receive, connected) {
  const events = new EventSource("events");
  events.onopen = () => connected(true);
  events.onmessage = (event) => receive(JSON.parse(event.data));
  events.onerror = () => {
    connected(false);
    if (events.readyState === EventSource.CLOSED) {
      events.close();
      setTimeout(() => follow(receive, connected), RETRY_MS);
    }
  };
}
