/** A conversation with the model: what is sent, what comes back, what is kept. */

import { Answer } from "./answer.js";
import { Failure, streamAnswer } from "./api.js";
import { withKey } from "./key.js";
import { requestMembers, wantsJson } from "./options.js";

/** The messages as the API takes them; an answer that failed before its first word is left out. */
export function requestMessages({ options, messages }) {
  const system = options.system?.trim() ? [{ role: "system", content: options.system }] : [];
  return [...system, ...messages.map(requestMessage).filter(Boolean)];
}

function requestMessage({ role, content, tool_calls: calls, tool_call_id: id, finish_reason: finish }) {
  if (role === "user") return { role, content };
  if (role === "tool") return { role, content, tool_call_id: id };
  if (calls.length && finish) return { role, content: content || null, tool_calls: calls };
  return content ? { role, content } : null;
}

/**
 * Get the next answer of a conversation.
 *
 * @param {object} conversation
 * @param {() => Promise<string>} model Finds out which one answers.
 * @param {AbortSignal} signal
 * @param {(answer: Answer) => void} ongrow Called for each piece.
 * @returns {Promise<object>} The message, whatever came of it.
 * @throws {OptionInvalid} Before anything is sent.
 */
export async function nextAnswer(conversation, model, signal, ongrow) {
  const body = {
    messages: requestMessages(conversation),
    stream: true,
    stream_options: { include_usage: true },
    ...requestMembers(conversation.options),
  };
  let answer = new Answer();
  try {
    const name = await model();
    await withKey(async (key) => {
      answer = new Answer();
      for await (const chunk of streamAnswer({ model: name, ...body }, key, signal)) {
        answer.add(chunk);
        ongrow(answer);
      }
    });
  } catch (error) {
    if (signal.aborted) answer.message.stopped = true;
    else answer.message.error = told(error);
  }
  answer.end();
  return answer.message;
}

/** Whether pieces of an answer are to be shown as JSON that isn't complete. */
export function growsAsJson(conversation, answer) {
  return wantsJson(conversation.options) && /^\s*[[{]/.test(answer.message.content);
}

function told(error) {
  if (!(error instanceof Failure)) return { message: `The page failed: ${error.message}` };
  const { message, status, code, retryAfter } = error;
  return { message, status, code, ...(retryAfter && { retry_at: Date.now() + retryAfter * 1e3 }) };
}
