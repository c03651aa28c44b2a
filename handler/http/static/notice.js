/** A line above the composer that says what has happened, perhaps with something to do about it. */

import { button, element, find } from "./dom.js";

/**
 * Say something.
 *
 * @param {string} text
 * @param {string|null} label Of a button.
 * @param {(() => void)|null} action What it does.
 */
export function notify(text, label = null, action = null) {
  const act = () => {
    hideNotice();
    action();
  };
  const close = button("Dismiss", hideNotice, { symbol: "close", class: "quiet", hidden: true });
  const offered = label ? [button(label, act, { class: "secondary" })] : [];
  find("#notice").replaceChildren(element("span", {}, text), ...offered, close);
  find("#notice").hidden = false;
}

/** Say it no longer. */
export function hideNotice() {
  find("#notice").hidden = true;
  find("#notice").replaceChildren();
}
