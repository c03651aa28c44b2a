// openai-node: stream, several choices, an object by zod, tools, Responses, embeddings.
import assert from "node:assert/strict";
import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

const { BASE_URL, API_KEY, MODEL: model } = process.env;
const client = new OpenAI({ baseURL: `${BASE_URL}/v1`, apiKey: API_KEY, maxRetries: 0 });
const Person = z.object({ name: z.string(), age: z.int() });
const messages = [{ role: "user", content: "Extract the name and the age.\nAnna is 31 years old." }];

let text = "";
for await (const chunk of await client.chat.completions.create({ model, messages, stream: true, max_tokens: 16 })) {
  text += chunk.choices[0]?.delta.content ?? "";
}
assert(text);

const many = await client.chat.completions.create({ model, messages, n: 2, max_tokens: 8 });
assert.equal(many.choices.length, 2);

const response_format = zodResponseFormat(Person, "person");
const parsed = await client.chat.completions.parse({ model, messages, response_format });
assert.deepEqual(Object.keys(parsed.choices[0].message.parsed), ["name", "age"]);

const parameters = { type: "object", properties: { a: { type: "integer" }, b: { type: "integer" } }, required: ["a", "b"] };
const tools = [{ type: "function", function: { name: "add", description: "Add two numbers.", parameters } }];
const asked = await client.chat.completions.create({ model, messages, tools, tool_choice: "required" });
const [call] = asked.choices[0].message.tool_calls;
assert.equal(call.function.name, "add");
assert.equal(typeof JSON.parse(call.function.arguments).a, "number");
const results = asked.choices[0].message.tool_calls.map(({ id }) => ({ role: "tool", tool_call_id: id, content: "42" }));
const told = await client.chat.completions.create({
  model, tools, messages: [...messages, asked.choices[0].message, ...results],
});
assert(told.choices[0].finish_reason);

const said = await client.responses.create({ model, input: "Hello!" });
assert(said.output_text);
const object = await client.responses.parse({ model, input: messages, text: { format: zodTextFormat(Person, "person") } });
assert.deepEqual(Object.keys(object.output_parsed), ["name", "age"]);
const events = [];
for await (const event of await client.responses.create({ model, input: "Hello!", stream: true })) events.push(event.type);
assert.equal(events[0], "response.created");
assert.equal(events.at(-1), "response.completed");

const vectors = await client.embeddings.create({ model, input: ["one text", "another"] });
assert.equal(vectors.data.length, 2);
const norm = vectors.data[0].embedding.reduce((sum, x) => sum + x * x, 0);
assert(Math.abs(norm - 1) < 1e-3);
