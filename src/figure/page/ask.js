// Questions to the server. The page asks them when a reader opens something.

const LIMIT_MS = 10_000;

// Returns the answer, or an object with an `error` for the reader.
export async function ask(question, parameters) {
  const query = new URLSearchParams(parameters);
  try {
    const response = await fetch(`${question}?${query}`, { signal: AbortSignal.timeout(LIMIT_MS) });
    return await response.json();
  } catch {
    return { error: "the notebook does not answer; try again when the page is connected" };
  }
}
