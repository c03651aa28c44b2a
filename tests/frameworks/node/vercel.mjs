// Vercel's ai: text, a stream, an object, tools.
import assert from "node:assert/strict";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany, generateObject, generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const { BASE_URL, API_KEY, MODEL } = process.env;
const firebrick = createOpenAICompatible({
  name: "firebrick", baseURL: `${BASE_URL}/v1`, apiKey: API_KEY, supportsStructuredOutputs: true,
});
const model = firebrick(MODEL);
const prompt = "Extract the name and the age.\nAnna is 31 years old.";

assert((await generateText({ model, prompt: "Hello!", maxRetries: 0 })).text);

let text = "";
for await (const piece of streamText({ model, prompt: "Hello!", maxRetries: 0 }).textStream) text += piece;
assert(text);

const { object } = await generateObject({
  model, prompt, schema: z.object({ name: z.string(), age: z.number().int() }), maxRetries: 0,
});
assert.deepEqual(Object.keys(object), ["name", "age"]);

const sums = [];
const add = tool({
  description: "Add two numbers.",
  inputSchema: z.object({ a: z.number().int(), b: z.number().int() }),
  execute: async ({ a, b }) => { sums.push(a + b); return a + b; },
});
const looped = await generateText({
  model, prompt: "What is 31 + 11? Use the tool.", tools: { add }, toolChoice: "required", stopWhen: stepCountIs(2), maxRetries: 0,
});
assert(sums.length >= 1 && looped.steps.length >= 1);

const { embeddings } = await embedMany({
  model: firebrick.embeddingModel(MODEL), values: ["one text", "another"], maxRetries: 0,
});
assert.equal(embeddings.length, 2);
