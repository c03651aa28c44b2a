/** The conversation on the screen. */

import { button, element, find } from "./dom.js";
import { AnswerView, userMessage } from "./messages.js";
import { firstResultField } from "./toolcalls.js";

const NEAR = 80; // pixels from the end that count as being there

export class Transcript {
  /**
   * @param {{onedit: (index: number) => void, onretry: () => void, onresults: (results: object[]) => void}} calls
   */
  constructor(calls) {
    this.calls = calls;
    this.list = find("#transcript");
    this.scroller = find("#scroller");
  }

  /** Show a conversation from its beginning to its end. */
  show(messages, prices) {
    const results = resultsOf(messages);
    const shown = messages.map((message, index) => {
      if (message.role === "user") return userMessage(message, () => this.calls.onedit(index));
      if (message.role !== "assistant") return null; // A tool's result stands with its call.
      const { onretry, onresults } = index === messages.length - 1 ? this.calls : {};
      const view = new AnswerView({ prices, results, onretry, onresults });
      view.finish(message);
      return view.element;
    });
    this.list.replaceChildren(...shown.filter(Boolean), ...this.#unanswered(messages));
    find("#empty").hidden = messages.length > 0;
    this.toEnd();
  }

  /** Begin to show an answer; what is returned shows more of it. */
  begin(prices) {
    this.list.querySelector(":scope > .actions")?.remove();
    const view = new AnswerView({ prices, results: new Map() });
    this.list.append(view.element);
    find("#empty").hidden = true;
    this.toEnd();
    return view;
  }

  /** Do something to what is shown; who reads at the end stays at the end. */
  atEnd(change) {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    const near = scrollHeight - scrollTop - clientHeight < NEAR;
    change();
    if (near) this.toEnd();
  }

  toEnd() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  /** Move to the place where a tool's result is wanted; says whether there is one. */
  focusResult() {
    const place = firstResultField(this.list);
    place?.focus();
    return place !== null;
  }

  // The page was closed before there was a word.
  #unanswered(messages) {
    if (!messages.length || messages.at(-1).role === "assistant") return [];
    return [element("div", { class: "actions" }, button("Ask again", this.calls.onretry, { symbol: "again", class: "quiet" }))];
  }
}

function resultsOf(messages) {
  return new Map(messages.filter((message) => message.role === "tool").map((tool) => [tool.tool_call_id, tool.content]));
}
