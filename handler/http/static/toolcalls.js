/** A tool's call: its name, its arguments, and the place for what the tool has to say. */

import { element, icon } from "./dom.js";
import { jsonBlock } from "./json.js";

/**
 * The calls of one message.
 *
 * @param {object[]} calls
 * @param {Map<string, string>} results By the calls' ids, as far as they are known.
 * @param {((results: {id: string, content: string}[]) => void)|null} onresults Takes the results that a person types;
 *   null where none are wanted.
 */
export function callCards(calls, results, onresults) {
  const open = onresults ? calls.filter((call) => !results.has(call.id)) : [];
  const cards = calls.map((call, index) => callCard(call, results.get(call.id), open.includes(call) ? index : null));
  if (!open.length) return element("div", { class: "calls" }, ...cards);
  const send = (event) => {
    event.preventDefault();
    onresults(open.map((call) => ({ id: call.id, content: resultField(event.currentTarget, calls.indexOf(call)).value })));
  };
  const submit = element("button", { type: "submit", class: "primary" }, open.length > 1 ? "Send results" : "Send result");
  const hint = element("span", { class: "hint" }, "What the tool answers: text or JSON");
  return element("form", { class: "calls", onsubmit: send }, ...cards, element("div", { class: "row" }, submit, hint));
}

function callCard(call, result, asked) {
  const name = element("span", { class: "call-name" }, call.function.name || "…");
  const head = element("div", { class: "call-head" }, icon("tool"), element("span", { class: "hint" }, "Tool call"), name);
  const parts = [head, jsonBlock(call.function.arguments || "{}", "Arguments")];
  if (result !== undefined) parts.push(jsonBlock(result, "Result"));
  if (asked !== null) parts.push(resultInput(call, asked));
  return element("section", { class: "call", "aria-label": `Call of ${call.function.name}` }, ...parts);
}

function resultInput(call, index) {
  const keys = (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    event.currentTarget.form.requestSubmit();
  };
  const input = { name: `result-${index}`, rows: 2, required: true, spellcheck: "false", onkeydown: keys };
  return element("label", { class: "field" }, `Result of ${call.function.name}`, element("textarea", { ...input, class: "mono" }));
}

function resultField(form, index) {
  return form.elements.namedItem(`result-${index}`);
}

/** The place where a result is wanted first, in a part of the page; null if none is. */
export function firstResultField(parent) {
  return parent.querySelector("form.calls textarea");
}

