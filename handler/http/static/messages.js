/** Messages as they look in the transcript. */

import { button, copyButton, element, icon } from "./dom.js";
import { jsonBlock, jsonIn } from "./json.js";
import { showMarkdown } from "./markdown.js";
import { duration, figures, rounded } from "./numbers.js";
import { callCards } from "./toolcalls.js";

const ENDINGS = {
  length: "Cut off: the limit of tokens was reached.",
  content_filter: "Cut off by a filter.",
};

/**
 * What a person said.
 *
 * @param {object} message
 * @param {() => void} onedit
 */
export function userMessage(message, onedit) {
  const actions = element("div", { class: "actions" }, button("Edit", onedit, { symbol: "edit", class: "quiet" }));
  const text = element("div", { class: "bubble" }, message.content);
  return element("article", { class: "message user", "aria-label": "You" }, text, actions);
}

/** What the model says, while it does and afterwards. */
export class AnswerView {
  /**
   * @param {{prices: object, results: Map<string, string>, onretry?: () => void, onresults?: (results: object[]) => void}} given
   *   Without `onretry` and `onresults` the message isn't the last one.
   */
  constructor(given) {
    this.given = given;
    this.thought = element("div", { class: "prose" });
    this.thinking = element("details", { class: "thinking" }, element("summary", {}, "Thinking"), this.thought);
    this.text = element("div", { class: "prose" });
    this.calls = element("div");
    this.below = element("div", { class: "below" });
    const parts = [this.thinking, this.text, this.calls, this.below];
    this.element = element("article", { class: "message assistant", "aria-label": "Answer" }, ...parts);
    this.thinking.hidden = true;
  }

  /** Show what has come so far. */
  grow(answer, asJson) {
    this.element.setAttribute("aria-busy", "true");
    this.#showBody(answer.message, asJson ? "raw" : "text");
    const state = answer.firstAt === null ? "Reading the prompt" : "Writing";
    const rate = answer.rate === null ? "" : `, about ${rounded(answer.rate)} tokens/s`;
    const passed = duration(performance.now() - answer.askedAt);
    this.below.replaceChildren(element("p", { class: "figures busy" }, `${state}, ${passed}${rate}`));
  }

  /** Show all of it. */
  finish(message) {
    this.element.removeAttribute("aria-busy");
    this.#showBody(message, jsonIn(message.content) === undefined ? "text" : "json");
    const parts = [note(message), failure(message, this.given.onretry), this.#figures(message), this.#actions(message)];
    this.below.replaceChildren(...parts.filter(Boolean));
  }

  #showBody(message, kind) {
    this.thinking.hidden = !message.reasoning;
    if (message.reasoning) showMarkdown(this.thought, message.reasoning);
    this.text.hidden = message.content === "";
    if (kind === "text") showMarkdown(this.text, message.content);
    else if (kind === "json") this.text.replaceChildren(jsonBlock(message.content));
    else this.text.replaceChildren(element("pre", { class: "growing" }, message.content));
    const calls = message.tool_calls.filter(Boolean);
    const onresults = message.finish_reason && !message.error ? (this.given.onresults ?? null) : null;
    this.calls.replaceChildren(...(calls.length ? [callCards(calls, this.given.results, onresults)] : []));
  }

  #figures(message) {
    const shown = figures(message, this.given.prices).map(({ text, title, name }) =>
      element("li", { title, "data-figure": name }, text),
    );
    return shown.length ? element("ul", { class: "figures", "aria-label": "Figures of this answer" }, ...shown) : null;
  }

  #actions(message) {
    const parts = [
      message.content && copyButton(() => message.content),
      this.given.onretry && !message.error && button("Again", this.given.onretry, { symbol: "again", class: "quiet" }),
    ];
    return element("div", { class: "actions" }, ...parts.filter(Boolean));
  }
}

function note(message) {
  if (message.timings?.stopped_by === "deadline") return noteOf("Cut off: the function's time was up.");
  if (message.stopped) return noteOf("Stopped.");
  if (message.finish_reason in ENDINGS) return noteOf(ENDINGS[message.finish_reason]);
  const empty = !message.content && !message.tool_calls.length && !message.error;
  return empty ? noteOf("The model ended its answer without a word.") : null;
}

function noteOf(text) {
  return element("p", { class: "note" }, text);
}

function failure({ error }, onretry) {
  if (!error) return null;
  const title = [error.status || null, error.code].filter(Boolean).join(" ");
  const head = element("strong", {}, icon("alert"), "No answer", title && element("span", { class: "hint" }, ` ${title}`));
  const again = onretry && retryButton(error, onretry);
  return element("div", { class: "failure", role: "alert" }, head, element("p", {}, error.message), again || null);
}

// Not to be pressed before the server wants to hear of us again.
function retryButton({ retry_at: at }, onretry) {
  const made = button("Try again", onretry, { class: "secondary", symbol: "again" });
  const count = () => {
    const left = Math.ceil(((at ?? 0) - Date.now()) / 1000);
    made.disabled = left > 0;
    made.lastChild.textContent = left > 0 ? `Try again in ${left} s` : "Try again";
    if (left > 0) setTimeout(count, 250);
  };
  count();
  return made;
}
