/** The panels at the sides: beside the chat where there is room, over it where there isn't. */

import { find } from "./dom.js";
import { keepChoice, readChoice } from "./store.js";

const WIDE = matchMedia("(min-width: 64rem)");

/** A side panel and the button that shows it. */
export class Panel {
  /**
   * @param {string} name Its dialog is `#name-panel`, its button `#name-toggle`.
   * @param {boolean} open Whether it is there at first, where there is room.
   */
  constructor(name, open) {
    this.name = name;
    this.dialog = find(`#${name}-panel`);
    this.toggle = find(`#${name}-toggle`);
    this.wanted = readChoice(`${name}-open`, open);
    this.toggle.addEventListener("click", () => (this.dialog.open ? this.hide() : this.show()));
    this.dialog.querySelector(".close").addEventListener("click", () => this.hide());
    this.dialog.addEventListener("close", () => this.#tell());
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.#overlays && this.hide());
    WIDE.addEventListener("change", () => this.#adapt());
    this.#adapt();
  }

  show() {
    if (this.dialog.open) return;
    if (WIDE.matches) {
      this.dialog.open = true; // show() would take the focus away
      this.#want(true);
    } else {
      this.dialog.showModal();
    }
    this.#tell();
  }

  hide() {
    if (this.#overlays) this.dialog.close();
    else this.dialog.open = false;
    if (WIDE.matches) this.#want(false);
    this.#tell();
  }

  /** Hide it if it covers the chat. */
  stepAside() {
    if (this.#overlays) this.dialog.close();
  }

  get #overlays() {
    return this.dialog.matches(":modal");
  }

  #adapt() {
    if (this.#overlays) this.dialog.close();
    this.dialog.open = WIDE.matches && this.wanted;
    this.#tell();
  }

  #want(open) {
    this.wanted = open;
    keepChoice(`${this.name}-open`, open);
  }

  #tell() {
    this.toggle.setAttribute("aria-expanded", String(this.dialog.open));
  }
}
