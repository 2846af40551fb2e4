// Questions to the server, which are asked when a reader opens something.

const LIMIT_MS = 10_000;

// Returns the answer, or an object with an `error` that can be shown.
export async function ask(question, parameters) {
  const query = new URLSearchParams(parameters);
  try {
    const response = await fetch(`${question}?${query}`, { signal: AbortSignal.timeout(LIMIT_MS) });
    return await response.json();
  } catch {
    return { error: "the notebook does not answer; try again when the page is connected" };
  }
}
