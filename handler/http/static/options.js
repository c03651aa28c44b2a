/** A conversation's options: the settings' form ↔ what is kept ↔ members of a request. */

import { element, find } from "./dom.js";

const NUMBERS = [
  ...["temperature", "top_p", "top_k", "min_p", "max_tokens", "seed"],
  ...["repetition_penalty", "presence_penalty", "frequency_penalty"],
];
const FIELDS = [...NUMBERS, "system", "stop", "tools", "tool_choice", "format", "schema", "extra"];
// What the page itself says in a request.
const OWN = ["messages", "stream", "stream_options"];

/** An option that can't be sent. */
export class OptionInvalid extends Error {
  constructor(name, message) {
    super(message);
    this.option = name;
  }
}

/**
 * The members of a request that the options stand for.
 *
 * @param {Object<string, string>} options Texts as they were typed; what is empty is left to the server.
 * @throws {OptionInvalid}
 */
export function requestMembers(options) {
  const numbers = NUMBERS.filter((name) => filled(options[name])).map((name) => [name, numberIn(name, options[name])]);
  const members = Object.fromEntries(numbers);
  if (filled(options.stop)) members.stop = options.stop.split("\n").filter((line) => line !== "");
  const tools = readTools(options);
  if (tools.length) {
    members.tools = tools;
    members.tool_choice = toolChoice(options.tool_choice);
  }
  const format = responseFormat(options);
  if (format) members.response_format = format;
  return { ...members, ...extraMembers(options) };
}

/** The tools' definitions: an array of them or a single one, each with or without its `function` envelope. */
export function readTools(options) {
  if (!filled(options.tools)) return [];
  const given = jsonOf("tools", options.tools);
  return [given].flat().map((tool) => {
    const wrapped = tool?.type ? tool : { type: "function", function: tool };
    if (typeof wrapped.function?.name !== "string") {
      throw new OptionInvalid("tools", 'Each tool needs a "name", and its parameters as a JSON schema.');
    }
    return wrapped;
  });
}

/** Whether answers are meant to be JSON. */
export function wantsJson(options) {
  return (options.format ?? "text") !== "text";
}

/** Show a conversation's options in the form. */
export function fillForm(options) {
  fillToolChoices(options);
  for (const name of FIELDS) field(name).value = options[name] ?? field(name).dataset.default ?? "";
  showSchema();
  clearProblems();
}

/**
 * Call back with all options whenever one was changed.
 *
 * @param {(options: Object<string, string>) => void} changed
 */
export function prepareForm(changed) {
  const form = find("#options");
  form.addEventListener("submit", (event) => event.preventDefault());
  const given = () => Object.fromEntries(FIELDS.map((name) => [name, field(name).value]));
  form.addEventListener("input", () => {
    showSchema();
    fillToolChoices(given());
    changed(given());
  });
  form.addEventListener("change", () => {
    clearProblems();
    try {
      requestMembers(given());
    } catch (error) {
      showProblem(error);
    }
  });
}

/** Say beside an option what is wrong with it. */
export function showProblem(problem) {
  const wrong = field(problem.option);
  const told = element("p", { class: "problem", id: `problem-${problem.option}`, role: "alert" }, problem.message);
  wrong.setAttribute("aria-invalid", "true");
  wrong.setAttribute("aria-describedby", told.id);
  wrong.closest("details")?.setAttribute("open", "");
  wrong.after(told);
  return wrong;
}

function clearProblems() {
  for (const told of document.querySelectorAll("#options .problem")) told.remove();
  for (const name of FIELDS) {
    field(name).removeAttribute("aria-invalid");
    field(name).removeAttribute("aria-describedby");
  }
}

function field(name) {
  return find(`#option-${name}`);
}

function filled(text) {
  return text !== undefined && text.trim() !== "";
}

function showSchema() {
  find("#schema-field").hidden = field("format").value !== "json_schema";
}

function fillToolChoices(options) {
  const select = field("tool_choice");
  const chosen = options.tool_choice ?? "auto";
  let names = [];
  try {
    names = readTools(options).map((tool) => tool.function.name);
  } catch {
    // Said beside the field.
  }
  const fixed = [...select.options].filter((option) => !option.value.startsWith("function:"));
  const named = names.map((name) => element("option", { value: `function:${name}` }, `Call ${name}`));
  select.replaceChildren(...fixed, ...named);
  select.value = chosen;
  if (select.value !== chosen) select.value = "auto";
}

function numberIn(name, text) {
  const number = Number(text);
  if (Number.isNaN(number)) throw new OptionInvalid(name, "This is no number.");
  return number;
}

function toolChoice(chosen = "auto") {
  if (!chosen.startsWith("function:")) return chosen;
  return { type: "function", function: { name: chosen.slice("function:".length) } };
}

// Takes a bare schema as well as the whole `response_format` that a program would send.
function responseFormat({ format, schema }) {
  if (format === "json_object") return { type: "json_object" };
  if (format !== "json_schema") return null;
  if (!filled(schema)) throw new OptionInvalid("schema", "Paste a JSON schema, or choose another format.");
  const given = jsonOf("schema", schema);
  if (given.type === "json_schema") return given;
  const named = given.schema ? given : { name: "answer", schema: given };
  return { type: "json_schema", json_schema: { strict: true, ...named } };
}

function extraMembers({ extra }) {
  if (!filled(extra)) return {};
  const members = jsonOf("extra", extra);
  if (Array.isArray(members)) throw new OptionInvalid("extra", 'This must be an object, such as {"ignore_eos": true}.');
  const own = OWN.find((name) => name in members);
  if (own) throw new OptionInvalid("extra", `"${own}" is up to this page.`);
  return members;
}

function jsonOf(name, text) {
  let value;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new OptionInvalid(name, `This is no JSON: ${error.message}`);
  }
  if (typeof value !== "object" || value === null) throw new OptionInvalid(name, "This must be an object.");
  return value;
}
