/** Figures under an answer: speed, tokens, and what the answer costs as a Lambda function's. */

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const TENTHS = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

/** 1,438 or 18.4. */
export function rounded(number) {
  return (number >= 100 ? WHOLE : TENTHS).format(number);
}

/** 12 ms, 3.4 s or 2 min. */
export function duration(ms) {
  if (ms < 1000) return `${ms < 10 ? TENTHS.format(ms) : WHOLE.format(ms)} ms`;
  return ms < 120_000 ? `${TENTHS.format(ms / 1000)} s` : `${WHOLE.format(ms / 60_000)} min`;
}

/** $0.0021: two digits that count, never as a power. */
export function dollars(amount) {
  if (amount === 0) return "$0";
  const digits = Math.max(2, 1 - Math.floor(Math.log10(amount)));
  return `$${amount.toFixed(Math.min(digits, 12))}`;
}

/**
 * What Lambda bills for an answer: what the server says; else its time at the function's memory, and the request.
 *
 * @param {object} message An answer.
 * @param {{memory_mb: number, usd_per_gb_second: number, usd_per_request: number}} prices
 * @returns {number|null} US dollars; null if its time isn't known.
 */
export function costOf(message, prices) {
  if (isTold(message)) return message.timings.estimated_cost_usd;
  const ms = billedMs(message);
  if (ms === null) return null;
  return (prices.memory_mb / 1024) * (ms / 1e3) * prices.usd_per_gb_second + prices.usd_per_request;
}

/**
 * The figures of an answer.
 *
 * @returns {{text: string, title: string, name: string}[]}
 */
export function figures(message, prices) {
  const { timings = {}, usage = {} } = message;
  const prompt = timings.prompt_tokens ?? usage.prompt_tokens;
  const cached = timings.cached_tokens ?? usage.prompt_tokens_details?.cached_tokens;
  const written = timings.completion_tokens ?? usage.completion_tokens;
  const cost = costOf(message, prices);
  const shown = [
    speed(message),
    firstToken(message),
    written !== undefined && [`${rounded(written)} tokens`, "The answer's length", "written"],
    prompt !== undefined && [`${rounded(prompt)} in the prompt`, "The prompt's length in tokens", "prompt"],
    cached !== undefined && [`${rounded(cached)} cached`, "Tokens of the prompt that were in the cache already", "cached"],
    cost !== null && [dollars(cost), costTitle(message, prices), "cost"],
  ];
  return shown.filter(Boolean).map(([text, title, name]) => ({ text, title, name }));
}

function speed({ timings }) {
  const rate = timings?.decode_tokens_per_second;
  return rate && [`${rounded(rate)} tokens/s`, "Speed after the first token, at the server", "speed"];
}

function firstToken({ timings, first_seen_ms: seen }) {
  const ms = timings?.first_token_ms ?? seen;
  if (!ms) return null;
  const here = seen ? `; ${duration(seen)} until this page saw it` : "";
  return [`first token ${duration(ms)}`, `From the request's arrival at the server${here}`, "first"];
}

function isTold({ timings }) {
  return typeof timings?.estimated_cost_usd === "number";
}

function billedMs({ timings, elapsed_ms: elapsed, error, content }) {
  if (timings?.first_token_ms) return timings.first_token_ms + (timings.decode_ms ?? 0);
  if (error && !content) return null;
  return elapsed ?? null;
}

function costTitle(message, { memory_mb: memory }) {
  if (isTold(message)) return toldTitle(message.timings);
  const stopped = message.stopped ? ". Under Lambda a stopped answer is made to its end, and billed" : "";
  return `${duration(billedMs(message))} of a Lambda function with ${rounded(memory)} MB, a cold start not counted${stopped}`;
}

function toldTitle({ billed_ms: billed, init_ms: init, restore_ms: restore }) {
  const starts = [
    [init, "for the cold start"],
    [restore, "for the restore from a snapshot"],
  ];
  const parts = starts.filter(([ms]) => ms).map(([ms, what]) => `, ${duration(ms)} of them ${what}`);
  return `${duration(billed)} are billed${parts.join("")}, as the server says`;
}
