// Requests to this server, and the key that they show. Addresses are relative, so that a proxy's prefix is kept.

const SLOT = "schwift-key";
const SECONDS = 10;

/** An answer that is none of 200: `status` is 0 where there was no answer at all. */
export class Refusal extends Error {
  constructor(status, body, headers) {
    super(body.detail);
    this.status = status;
    this.code = body.code ?? "";
    this.requestId = body.request_id ?? "";
    this.retryAfter = headers?.get("retry-after") ?? "";
  }
}

export const key = {
  get: () => sessionStorage.getItem(SLOT) ?? "",
  set: (value) => sessionStorage.setItem(SLOT, value),
  forget: () => sessionStorage.removeItem(SLOT),
};

async function send(path, options, seconds) {
  const headers = { ...options.headers };
  if (key.get()) headers["X-API-Key"] = key.get();
  let answer, text;
  try {
    const signal = AbortSignal.timeout(seconds * 1000);
    answer = await fetch(path, { ...options, headers, signal, credentials: "omit", cache: "no-store" });
    text = await answer.text();
  } catch (error) {
    const late = error.name === "TimeoutError";
    throw new Refusal(0, { detail: late ? "The server did not answer in time." : "The server cannot be reached." });
  }
  if (answer.ok) return { text, answer };
  let body = { detail: `The server answered ${answer.status}.` };
  try {
    const read = JSON.parse(text);
    if (typeof read.detail === "string") body = read;
  } catch { /* A proxy's own page. */ }
  throw new Refusal(answer.status, body, answer.headers);
}

/** Get JSON. Throws Refusal. */
export async function getJson(path) {
  const { text } = await send(path, { headers: { Accept: "application/json" } }, SECONDS);
  return JSON.parse(text);
}

/** Keep an integer that a number of JavaScript cannot hold as the text that it came as. */
function exact(name, value, context) {
  return Number.isInteger(value) && !Number.isSafeInteger(value) ? context?.source ?? value : value;
}

/** Post a body of JSON, and say how long that took. Throws Refusal. */
export async function postJson(path, body) {
  const began = performance.now();
  const headers = { "Content-Type": "application/json", Accept: "application/json" };
  const { text, answer } = await send(path, { method: "POST", headers, body }, 120);
  const requestId = answer.headers.get("x-request-id") ?? "";
  return { status: answer.status, text, body: JSON.parse(text, exact), milliseconds: performance.now() - began, requestId };
}
