/** The Markdown that models write → elements; whatever isn't known stays the text that it is. */

import { element } from "./dom.js";
import { codeBlock, colouredJson, jsonIn } from "./json.js";

const DEEPEST = 6; // of lists and quotes within each other
const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]*)[^`]*$/;
const HEADING = /^(#{1,6})\s+(.*?)\s*#*$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const QUOTE = /^ {0,3}>\s?(.*)$/;
const DIVIDER = /^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$/;
const INLINE =
  /(`+)([^`]+)\1(?!`)|\*\*([^*]+)\*\*|\*([^*\s][^*]*)\*|(?<!\w)_([^_\s][^_]*)_(?!\w)|\[([^\][]+)\]\(([^()\s]+)\)|(https?:\/\/[^\s<>"')\]]+)/g;

/**
 * Show a text that may still grow: blocks that haven't changed stay the elements that they are.
 *
 * @param {Element} parent Holds nothing but the blocks.
 * @param {string} text
 */
export function showMarkdown(parent, text) {
  const blocks = splitBlocks(text);
  const shown = [...parent.children];
  let same = 0;
  while (same < blocks.length && shown[same]?.source === blocks[same].source) same += 1;
  for (const old of shown.slice(same)) old.remove();
  for (const block of blocks.slice(same)) {
    const made = blockElement(block, 0);
    made.source = block.source;
    parent.append(made);
  }
}

function splitBlocks(text) {
  const lines = text.replaceAll("\r\n", "\n").split("\n");
  const blocks = [];
  let at = 0;
  while (at < lines.length) {
    if (lines[at].trim() === "") {
      at += 1;
      continue;
    }
    const [kind, end] = extent(lines, at);
    const own = lines.slice(at, end);
    blocks.push({ kind, lines: own, source: `${kind}\n${own.join("\n")}` });
    at = end;
  }
  return blocks;
}

/** The kind of the block that begins at a line, and the line after its end. */
function extent(lines, at) {
  const line = lines[at];
  const fence = FENCE.exec(line);
  if (fence) {
    const closing = lines.findIndex((other, index) => index > at && other.trim().startsWith(fence[1]));
    return ["fence", closing < 0 ? lines.length : closing + 1];
  }
  if (HEADING.test(line)) return ["heading", at + 1];
  if (RULE.test(line)) return ["rule", at + 1];
  if (QUOTE.test(line)) return ["quote", endOf(lines, at, (other) => QUOTE.test(other))];
  if (ITEM.test(line)) return ["list", endOfList(lines, at)];
  if (line.includes("|") && DIVIDER.test(lines[at + 1] ?? "")) {
    return ["table", endOf(lines, at, (other) => other.includes("|"))];
  }
  const goesOn = (other) => other.trim() !== "" && ![FENCE, HEADING, QUOTE, ITEM].some((start) => start.test(other));
  return ["paragraph", endOf(lines, at, goesOn)];
}

function endOf(lines, at, belongs) {
  let end = at + 1;
  while (end < lines.length && belongs(lines[end])) end += 1;
  return end;
}

function endOfList(lines, at) {
  const numbered = (line) => /^\s*\d/.test(line);
  const belongs = (line) => /^\s{2,}\S/.test(line) || (ITEM.test(line) && numbered(line) === numbered(lines[at]));
  const ends = (line) => [FENCE, HEADING, QUOTE, ITEM, RULE].some((start) => start.test(line));
  let end = at + 1;
  while (end < lines.length) {
    const blank = lines[end].trim() === "";
    if (blank ? !belongs(lines[end + 1] ?? "") : !belongs(lines[end]) && ends(lines[end])) break;
    end += 1;
  }
  return end;
}

function blockElement({ kind, lines }, depth) {
  switch (kind) {
    case "fence":
      return fenceElement(lines);
    case "heading": {
      const [, marks, title] = HEADING.exec(lines[0]);
      return element(`h${Math.min(marks.length + 2, 6)}`, {}, ...inline(title));
    }
    case "rule":
      return element("hr");
    case "quote":
      return element("blockquote", {}, ...inner(lines.map((line) => QUOTE.exec(line)[1]), depth));
    case "list":
      return listElement(lines, depth);
    case "table":
      return tableElement(lines);
    default:
      return element("p", {}, ...inline(lines.join("\n")));
  }
}

function inner(lines, depth) {
  if (depth >= DEEPEST) return [element("p", {}, lines.join("\n"))];
  return splitBlocks(lines.join("\n")).map((block) => blockElement(block, depth + 1));
}

function fenceElement(lines) {
  const [, mark, language] = FENCE.exec(lines[0]);
  const closed = lines.length > 1 && lines.at(-1).trim().startsWith(mark);
  const code = lines.slice(1, closed ? -1 : undefined).join("\n");
  return codeBlock(code, language || "text", language === "json" && jsonIn(code) !== undefined ? colouredJson : null);
}

function listElement(lines, depth) {
  const [, indent, mark] = ITEM.exec(lines[0]);
  const items = [];
  for (const line of lines) {
    const item = ITEM.exec(line);
    if (item && item[1].length <= indent.length + 1) items.push([item[3]]);
    else items.at(-1).push(line.replace(/^ {1,4}/, ""));
  }
  const children = items.map((own) => element("li", {}, ...inner(own, depth)));
  const start = Number.parseInt(mark, 10);
  return Number.isNaN(start) ? element("ul", {}, ...children) : element("ol", { start }, ...children);
}

function tableElement(lines) {
  const cells = (line) => line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());
  const row = (line, tag) => element("tr", {}, ...cells(line).map((cell) => element(tag, {}, ...inline(cell))));
  const head = element("thead", {}, row(lines[0], "th"));
  const body = element("tbody", {}, ...lines.slice(2).map((line) => row(line, "td")));
  return element("div", { class: "table" }, element("table", {}, head, body));
}

function inline(text, deep = false) {
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(INLINE)) {
    parts.push(text.slice(end, match.index), inlineElement(match, deep));
    end = match.index + match[0].length;
  }
  return [...parts, text.slice(end)];
}

function inlineElement([whole, ticks, code, bold, italic, underlined, label, address, bare], deep) {
  if (ticks) return element("code", {}, code);
  const within = (text) => (deep ? [text] : inline(text, true));
  if (bold) return element("strong", {}, ...within(bold));
  if (italic ?? underlined) return element("em", {}, ...within(italic ?? underlined));
  const target = webAddress(address ?? bare);
  if (deep || target === null) return whole;
  return element("a", { href: target, target: "_blank", rel: "noopener noreferrer" }, label ?? bare);
}

/** The address if it leads to the web; scripts and data don't. */
function webAddress(text) {
  const url = URL.canParse(text) ? new URL(text) : null;
  return url && ["http:", "https:"].includes(url.protocol) ? url.href : null;
}
