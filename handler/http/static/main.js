/** The page: its parts, and what happens between them. */

import { Failure, listModels } from "./api.js";
import { growsAsJson, nextAnswer } from "./chat.js";
import { Composer } from "./composer.js";
import { showConversations, titleOf } from "./conversations.js";
import { element, find } from "./dom.js";
import { askForKey, prepareKeyDialog, withKey } from "./key.js";
import { hideNotice, notify } from "./notice.js";
import { rounded } from "./numbers.js";
import { OptionInvalid, fillForm, prepareForm, requestMembers, showProblem } from "./options.js";
import { Panel } from "./panels.js";
import { currentPrices, preparePrices, showTotal } from "./prices.js";
import {
  concernsConversations,
  dropConversation,
  keepChoice,
  keepConversation,
  keepKey,
  newConversation,
  readChoice,
  readConversation,
  readConversations,
} from "./store.js";
import { Transcript } from "./transcript.js";

const TICK_MS = 200; // how often a waiting time is shown anew

class Page {
  constructor() {
    this.models = null;
    this.controller = null; // of the answer in the making
    this.removed = new Set(); // ids of conversations that an answer must not bring back
    this.editing = null; // the index of a message that is written anew
    this.history = new Panel("history", true);
    this.settings = new Panel("settings", false);
    this.composer = new Composer({ onsend: (text) => this.send(text), onstop: () => this.stop() });
    this.transcript = new Transcript({
      onedit: (index) => this.edit(index),
      onretry: () => this.retry(),
      onresults: (results) => this.giveResults(results),
    });
    prepareKeyDialog();
    prepareForm((options) => this.setOptions(options));
    this.#wire();
    preparePrices(() => this.controller || this.#show());
    this.open(readChoice("current", null));
    this.#showModels();
  }

  // ------------------------------------------------------------ conversations

  /** Open a conversation; a new one if there is none with that id. */
  open(id) {
    this.stop();
    this.conversation = (id && readConversation(id)) || newConversation(readChoice("options", {}));
    this.editing = null;
    keepChoice("current", this.conversation.id);
    fillForm(this.conversation.options);
    this.history.stepAside();
    this.#show();
    if (matchMedia("(hover: hover)").matches) this.composer.focus(); // else a keyboard would cover half of the screen
  }

  /** Remove conversations, which can be undone. */
  remove(conversations) {
    for (const { id } of conversations) {
      dropConversation(id);
      this.removed.add(id);
    }
    const undo = () => {
      for (const { id } of conversations) this.removed.delete(id);
      conversations.forEach(keepConversation);
      this.#show();
    };
    const what = conversations.length === 1 ? `"${titleOf(conversations[0])}"` : `${conversations.length} conversations`;
    notify(`Deleted ${what}.`, "Undo", undo);
    if (conversations.some(({ id }) => id === this.conversation.id)) this.open(null);
    else this.#showList();
  }

  /** Take over what the settings' form says. */
  setOptions(options) {
    this.conversation.options = options;
    keepChoice("options", options);
    if (this.conversation.messages.length) keepConversation(this.conversation);
  }

  // ------------------------------------------------------------ messages

  /** Send what a person wrote; says whether it was taken. */
  send(text) {
    if (this.#resultsAreWanted()) {
      notify("The model waits for the tool's result.");
      this.transcript.focusResult();
      return false;
    }
    if (!this.#optionsAreValid()) return false;
    const { messages } = this.conversation;
    if (this.editing !== null) messages.length = this.editing;
    messages.push({ role: "user", content: text });
    this.#answer();
    return true;
  }

  /** Write a message anew: sending it replaces what follows. */
  edit(index) {
    this.editing = index;
    this.composer.text = this.conversation.messages[index].content;
    this.composer.focus();
    notify("Sending replaces this message and all after it.", "Keep it", () => {
      this.editing = null;
      this.composer.text = "";
      this.composer.focus();
    });
  }

  /** Ask for the last answer once more. */
  retry() {
    if (this.controller || !this.#optionsAreValid()) return;
    const { messages } = this.conversation;
    if (messages.at(-1)?.role === "assistant") messages.pop();
    this.#answer();
  }

  /** Send what tools have said. */
  giveResults(results) {
    const { messages } = this.conversation;
    messages.push(...results.map(({ id, content }) => ({ role: "tool", tool_call_id: id, content })));
    this.#answer();
  }

  /** End the answer in the making. */
  stop() {
    this.controller?.abort();
  }

  async #answer() {
    const { conversation } = this;
    this.editing = null;
    const controller = (this.controller = new AbortController());
    hideNotice();
    this.#keep();
    this.#show();
    this.composer.busy = true;
    this.#announce("Waiting for the answer");
    const view = this.transcript.begin(currentPrices());
    const grown = this.#growing(view, conversation);
    this.partial = () => grown.answer?.message;
    const message = await nextAnswer(conversation, () => this.#model(), controller.signal, grown.on);
    grown.stop();
    conversation.messages.push(message);
    conversation.updated = Date.now();
    if (!this.removed.has(conversation.id)) this.#keep(conversation);
    if (this.controller === controller) {
      this.partial = null;
      this.controller = null;
      this.composer.busy = false;
    }
    this.#finished(message, conversation);
  }

  // Pieces come faster than a screen can show them.
  #growing(view, conversation) {
    let frame = null;
    const grown = { answer: null };
    const draw = () => {
      frame = null;
      const asJson = growsAsJson(conversation, grown.answer);
      if (view.element.isConnected) this.transcript.atEnd(() => view.grow(grown.answer, asJson));
    };
    const soon = () => grown.answer && (frame ??= requestAnimationFrame(draw));
    const timer = setInterval(soon, TICK_MS);
    grown.on = (answer) => {
      grown.answer = answer;
      soon();
    };
    grown.stop = () => {
      clearInterval(timer);
      cancelAnimationFrame(frame);
    };
    return grown;
  }

  #finished(message, conversation) {
    if (conversation !== this.conversation) {
      this.#showList();
      return;
    }
    this.transcript.atEnd(() => this.#show());
    const end = message.stopped ? "Stopped. " : "";
    this.#announce(message.error ? "" : `${end}Answer: ${message.content || "a tool's call"}`);
    if (this.#resultsAreWanted()) this.transcript.focusResult();
    else if (document.activeElement === document.body) this.composer.focus();
  }

  #resultsAreWanted() {
    const last = this.conversation.messages.at(-1);
    return Boolean(last?.tool_calls?.length && last.finish_reason && !last.error);
  }

  #optionsAreValid() {
    try {
      requestMembers(this.conversation.options);
      return true;
    } catch (error) {
      if (!(error instanceof OptionInvalid)) throw error;
      this.settings.show();
      fillForm(this.conversation.options);
      showProblem(error).focus();
      return false;
    }
  }

  // ------------------------------------------------------------ the model

  async #model() {
    this.models ??= await withKey(listModels);
    this.#showModelNames();
    return find("#model").value;
  }

  async #showModels() {
    try {
      await this.#model();
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      notify(error.message, "Try again", () => this.#showModels());
    }
  }

  #showModelNames() {
    const select = find("#model");
    if (select.options.length) return;
    select.replaceChildren(...this.models.map(({ id }) => element("option", { value: id }, id)));
    select.disabled = this.models.length < 2;
    select.hidden = false;
    document.title = `${select.value} · Firebrick`;
    this.#showContext();
  }

  // ------------------------------------------------------------ what is shown

  #show() {
    this.transcript.show(this.conversation.messages, currentPrices());
    this.#showList();
    this.#showContext();
  }

  #showList() {
    const calls = { onopen: (id) => this.open(id), ondelete: (conversation) => this.remove([conversation]) };
    showConversations(this.conversation.id, calls);
  }

  #showContext() {
    const last = this.conversation.messages.findLast(({ usage }) => usage);
    const most = this.models?.find(({ id }) => id === find("#model").value)?.context_length;
    const used = last?.usage.total_tokens;
    const shown = used !== undefined && most !== undefined;
    find("#context").textContent = shown ? `${rounded(used)} of ${rounded(most)} tokens of context` : "";
    showTotal(this.conversation.messages);
  }

  #keep(conversation = this.conversation) {
    if (!keepConversation(conversation)) {
      notify("The browser's storage is full: this isn't kept. Delete conversations to make room.");
    }
  }

  #announce(text) {
    find("#status").textContent = text;
  }

  // ------------------------------------------------------------ wiring

  #wire() {
    find("#new-chat").addEventListener("click", () => this.open(null));
    find("#delete-all").addEventListener("click", () => this.remove(readConversations()));
    find("#reset").addEventListener("click", () => {
      this.setOptions({});
      fillForm({});
    });
    find("#change-key").addEventListener("click", () => askForKey("The key is kept until this tab is closed."));
    find("#forget-key").addEventListener("click", () => {
      keepKey(null);
      notify("The key is forgotten.");
    });
    for (const example of document.querySelectorAll("[data-example]")) {
      example.addEventListener("click", () => this.send(example.textContent.trim()));
    }
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.controller || document.querySelector("dialog:modal")) return;
      event.preventDefault();
      this.stop();
    });
    addEventListener("storage", (event) => this.#adopt(event));
    addEventListener("pagehide", () => this.#keepPartial());
  }

  // Another tab has written.
  #adopt(event) {
    if (!concernsConversations(event)) return;
    const kept = readConversation(this.conversation.id);
    if (kept && !this.controller) {
      this.conversation = kept;
      this.#show();
    } else {
      this.#showList();
    }
  }

  #keepPartial() {
    const message = this.partial?.();
    if (!message) return;
    const stopped = { ...message, stopped: true };
    keepConversation({ ...this.conversation, messages: [...this.conversation.messages, stopped] });
  }
}

new Page();
