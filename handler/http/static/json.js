/** JSON, laid out and coloured. */

import { copyButton, element } from "./dom.js";

const TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(?:true|false|null)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const MOST_COLOURED = 50_000;

/** The object or array that a whole text is, or undefined. */
export function jsonIn(text) {
  const trimmed = text.trim();
  if (!/^[[{]/.test(trimmed)) return undefined;
  try {
    return JSON.parse(trimmed);
  } catch {
    return undefined;
  }
}

/** A block with a value in it, or, as long as it is none, with its text. */
export function jsonBlock(text, label = "JSON") {
  const value = jsonIn(text);
  const pretty = value === undefined ? text : JSON.stringify(value, null, 2);
  return codeBlock(pretty, label, value === undefined ? null : colouredJson);
}

/** A block of code with its language and a button that copies it. */
export function codeBlock(code, label, colour = null) {
  const shown = element("code", {}, ...(colour ? colour(code) : [code]));
  const head = element("div", { class: "code-head" }, element("span", {}, label), copyButton(() => code));
  return element("div", { class: "code" }, head, element("pre", {}, shown));
}

/** The parts of a JSON text, each in the class of its kind. */
export function colouredJson(text) {
  if (text.length > MOST_COLOURED) return [text];
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(TOKEN)) {
    const [whole, string, colon] = match;
    parts.push(text.slice(end, match.index));
    const kind = colon ? "json-key" : string ? "json-string" : "json-value";
    parts.push(element("span", { class: kind }, string ?? whole), colon ?? "");
    end = match.index + whole.length;
  }
  return [...parts, text.slice(end)];
}
