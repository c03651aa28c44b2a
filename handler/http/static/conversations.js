/** The list of conversations. */

import { button, element, find } from "./dom.js";
import { readConversations } from "./store.js";

/**
 * Show the list anew.
 *
 * @param {string} current The id of the one that is open.
 * @param {{onopen: (id: string) => void, ondelete: (conversation: object) => void}} calls
 */
export function showConversations(current, { onopen, ondelete }) {
  const all = readConversations();
  const items = all.map((conversation) => {
    const title = titleOf(conversation);
    const here = conversation.id === current ? "page" : null;
    const open = button(title, () => onopen(conversation.id), { class: "open", title, "aria-current": here });
    const remove = button(`Delete "${title}"`, () => ondelete(conversation), { symbol: "delete", class: "quiet", hidden: true });
    return element("li", {}, open, remove);
  });
  find("#conversations").replaceChildren(...items);
  find("#no-conversations").hidden = all.length > 0;
  find("#delete-all").hidden = all.length === 0;
}

/** What a conversation is called: its first words. */
export function titleOf({ title, messages }) {
  const first = title || messages.find((message) => message.role === "user")?.content || "New chat";
  const line = first.trim().split("\n")[0];
  return line.length > 60 ? `${line.slice(0, 59)}…` : line;
}
