/** Elements, made without any HTML: what a model says can't become markup. */

/**
 * Make an element.
 *
 * @param {string} tag
 * @param {Object<string, unknown>} [attributes] Functions listen (`onclick`), booleans are set or left out.
 * @param {...(Node|string|null|undefined)} children Strings become text.
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name.slice(2), value);
    else if (typeof value === "boolean") made.toggleAttribute(name, value);
    else if (value !== null && value !== undefined) made.setAttribute(name, String(value));
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** One of the symbols in the document. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

/** A button with a text; `symbol` names an icon before it. */
export function button(text, onclick, { symbol = null, hidden = false, ...attributes } = {}) {
  const label = hidden ? element("span", { class: "hidden" }, text) : text;
  const title = hidden ? { title: text } : {};
  return element("button", { type: "button", onclick, ...title, ...attributes }, symbol && icon(symbol), label);
}

/** The one element that a selector finds. */
export function find(selector) {
  return document.querySelector(selector);
}

/** A button that copies what `text()` returns; null where the browser doesn't let a page do so. */
export function copyButton(text) {
  if (!navigator.clipboard) return null;
  const made = button(
    "Copy",
    async () => {
      await navigator.clipboard.writeText(text());
      made.lastChild.textContent = "Copied";
      setTimeout(() => (made.lastChild.textContent = "Copy"), 2000);
    },
    { symbol: "copy", class: "quiet" },
  );
  return made;
}
