// The connection to the notebook: a stream of events, each with the changes, and questions, which the page
// asks when a reader opens something.

const RETRY_MS = 1000;
const ANSWER_MS = 10_000;

// Calls `receive` with each update, and `connected` with whether the page is connected. EventSource
// reconnects after a broken connection. It closes only if the response is not a stream; then this function
// starts again.
export function follow(receive, connected) {
  const events = new EventSource("events");
  events.onopen = () => connected(true);
  events.onmessage = (event) => receive(JSON.parse(event.data));
  events.onerror = () => {
    connected(false);
    if (events.readyState === EventSource.CLOSED) setTimeout(() => follow(receive, connected), RETRY_MS);
  };
}

// Returns the answer to a question, or an object with an `error` for the reader.
export async function ask(question, parameters) {
  const query = new URLSearchParams(parameters);
  try {
    const response = await fetch(`${question}?${query}`, { signal: AbortSignal.timeout(ANSWER_MS) });
    return await response.json();
  } catch {
    return { error: "the notebook does not answer; try again when the page is connected" };
  }
}
