/** The API key: asked for when the server wants one. */

import { find } from "./dom.js";
import { keepKey, readKey } from "./store.js";

/**
 * Ask for the key.
 *
 * @param {string} why What the dialog says above its field.
 * @returns {Promise<boolean>} Whether one was given; it is kept for the session.
 */
export function askForKey(why) {
  const dialog = find("#key-dialog");
  const field = find("#key");
  find("#key-why").textContent = why;
  field.value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    const closed = () => {
      const given = dialog.returnValue === "given" && field.value.trim();
      if (given) keepKey(field.value.trim());
      field.value = "";
      resolve(Boolean(given));
    };
    dialog.addEventListener("close", closed, { once: true });
  });
}

/**
 * Do something with the key, and ask for another one as long as the server refuses it.
 *
 * @param {(key: string|null) => Promise<T>} action
 * @returns {Promise<T>}
 * @throws {Failure} The action's own, or the refusal if no key was given.
 * @template T
 */
export async function withKey(action) {
  for (;;) {
    const key = readKey();
    try {
      return await action(key);
    } catch (error) {
      if (error.status !== 401) throw error;
      const why = key ? "The server refused this key. Try another one." : "This server wants an API key.";
      if (!(await askForKey(why))) throw error;
    }
  }
}

/** Wire the dialog: Enter gives the key, Escape doesn't. */
export function prepareKeyDialog() {
  const dialog = find("#key-dialog");
  find("#key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    dialog.close("given");
  });
  find("#key-cancel").addEventListener("click", () => dialog.close("cancelled"));
}
