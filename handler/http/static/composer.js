/** Where a person writes: Enter sends, Shift+Enter makes a new line. */

import { find } from "./dom.js";

const TALLEST = 0.4; // of the window

export class Composer {
  /**
   * @param {{onsend: (text: string) => boolean, onstop: () => void}} calls `onsend` says whether it took the text.
   */
  constructor({ onsend, onstop }) {
    this.field = find("#message");
    this.send = find("#send");
    this.stop = find("#stop");
    this.onsend = onsend;
    find("#composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    });
    this.field.addEventListener("input", () => this.#fit());
    this.stop.addEventListener("click", onstop);
    this.busy = false;
  }

  /** Whether an answer is being made: then there is a stop button in place of the one that sends. */
  set busy(busy) {
    this.stop.hidden = !busy;
    this.send.hidden = busy;
    this.send.disabled = busy || this.field.value.trim() === "";
  }

  /** Put a text into the field. */
  set text(text) {
    this.field.value = text;
    this.#fit();
  }

  focus() {
    this.field.focus();
  }

  #submit() {
    const text = this.field.value.trim();
    if (text && this.stop.hidden && this.onsend(text)) this.text = "";
  }

  #fit() {
    this.send.disabled = !this.stop.hidden || this.field.value.trim() === "";
    this.field.style.height = "auto";
    this.field.style.height = `${Math.min(this.field.scrollHeight, innerHeight * TALLEST)}px`;
  }
}
