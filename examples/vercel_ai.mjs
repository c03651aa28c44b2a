// Vercel's ai: a stream, then an object by a schema: npm install ai @ai-sdk/openai-compatible zod
//
// OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none node examples/vercel_ai.mjs
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateObject, streamText } from "ai";
import { z } from "zod";

const { OPENAI_BASE_URL, OPENAI_API_KEY, MODEL = "firebrick-demo" } = process.env;
const firebrick = createOpenAICompatible({
  name: "firebrick",
  baseURL: OPENAI_BASE_URL,
  apiKey: OPENAI_API_KEY,
  supportsStructuredOutputs: true,
});
const model = firebrick(MODEL);

for await (const piece of streamText({ model, prompt: "What is a cold start?", maxOutputTokens: 200 }).textStream) {
  process.stdout.write(piece);
}

const { object } = await generateObject({
  model,
  prompt: "Extract name and city as JSON.\nHello, my name is Mara Weston and I live in Tessin.",
  schema: z.object({ name: z.string(), city: z.string() }),
  maxOutputTokens: 200,
});
console.log(`\n${object.name} of ${object.city}`);
