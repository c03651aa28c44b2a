/** Chunks → one message, as they come. */

/** An assistant's message in the making; what `message` holds can be kept. */
export class Answer {
  constructor() {
    this.message = { role: "assistant", content: "", reasoning: "", tool_calls: [], finish_reason: null };
    this.pieces = 0;
    this.askedAt = performance.now();
    this.firstAt = null;
  }

  /** Take one chunk in. */
  add(chunk) {
    if (chunk.usage) this.message.usage = chunk.usage;
    if (chunk.timings) this.message.timings = chunk.timings;
    const choice = chunk.choices?.[0];
    if (!choice) return;
    if (choice.finish_reason) this.message.finish_reason = choice.finish_reason;
    this.#addDelta(choice.delta ?? {});
  }

  /** Note what the page itself has measured, in milliseconds. */
  end() {
    this.message.elapsed_ms = performance.now() - this.askedAt;
    this.message.first_seen_ms = this.firstAt && this.firstAt - this.askedAt;
    this.message.pieces = this.pieces;
  }

  /** What comes in, in tokens a second, a piece taken for a token; null before there are two. */
  get rate() {
    if (this.pieces < 2) return null;
    return ((this.pieces - 1) / (performance.now() - this.firstAt)) * 1e3;
  }

  #addDelta(delta) {
    const text = delta.content ?? delta.refusal ?? "";
    const reasoning = delta.reasoning_content ?? delta.reasoning ?? "";
    const calls = delta.tool_calls ?? [];
    this.message.content += text;
    this.message.reasoning += reasoning;
    for (const part of calls) this.#addCall(part);
    if (text || reasoning || calls.length) {
      this.pieces += 1;
      this.firstAt ??= performance.now();
    }
  }

  #addCall({ index = 0, id, function: called = {} }) {
    const call = (this.message.tool_calls[index] ??= { id: "", type: "function", function: { name: "", arguments: "" } });
    if (id) call.id = id;
    call.function.name += called.name ?? "";
    call.function.arguments += called.arguments ?? "";
  }
}
