/** The server's API, as far as the page uses it, and what goes wrong with it in words for a person. */

import { readEvents } from "./sse.js";

const UNREACHABLE = "The server can't be reached. Check the connection, then try again.";
const BROKEN = "The connection broke before the answer was complete.";

/** Why a request has no answer. */
export class Failure extends Error {
  /**
   * @param {string} message
   * @param {{status?: number, code?: string, param?: string, retryAfter?: number}} details `retryAfter` in seconds.
   */
  constructor(message, details = {}) {
    super(message);
    Object.assign(this, { status: 0, code: null, param: null, retryAfter: null, ...details });
  }
}

/** The cards of the models that are served. */
export async function listModels(key) {
  const response = await request("v1/models", { headers: headersWith(key) });
  return (await response.json()).data;
}

/**
 * Ask for an answer.
 *
 * @param {object} body Of a chat completion.
 * @param {string|null} key
 * @param {AbortSignal} signal Ends it: the server hears of it by the closed connection.
 * @yields {object} Chunks of OpenAI's form.
 * @throws {Failure} An AbortError comes as it is.
 */
export async function* streamAnswer(body, key, signal) {
  const headers = headersWith(key, { "content-type": "application/json" });
  const response = await request("v1/chat/completions", {
    method: "POST",
    headers,
    body: JSON.stringify(body),
    signal,
  });
  try {
    for await (const data of readEvents(response.body)) {
      if (data === "[DONE]") return;
      const chunk = JSON.parse(data);
      if (chunk.error) throw failureFrom(chunk, response.status);
      yield chunk;
    }
  } catch (error) {
    throw error instanceof TypeError ? new Failure(BROKEN) : error;
  }
  throw new Failure(BROKEN);
}

function headersWith(key, headers = {}) {
  return key ? { ...headers, authorization: `Bearer ${key}` } : headers;
}

// Relative, so that the page also works behind a path.
async function request(path, options) {
  let response;
  try {
    response = await fetch(new URL(path, document.baseURI), { cache: "no-store", credentials: "omit", ...options });
  } catch (error) {
    throw error instanceof TypeError ? new Failure(UNREACHABLE) : error;
  }
  if (response.ok) return response;
  const text = await response.text();
  const retryAfter = Number(response.headers.get("retry-after")) || null;
  let told = null;
  try {
    told = JSON.parse(text);
  } catch {
    // A proxy's page, or nothing at all.
  }
  throw failureFrom(told, response.status, retryAfter);
}

function failureFrom(told, status, retryAfter = null) {
  const error = told?.error ?? {};
  // AWS, in front of a function, says `Message` or `message`.
  const message = error.message ?? told?.message ?? told?.Message;
  const otherwise = `Something in front of the server answered with status ${status}.`;
  return new Failure(message ?? otherwise, { status, code: error.code, param: error.param, retryAfter });
}
