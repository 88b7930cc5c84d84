// An agent of Vercel's AI SDK: it runs the functions that the model calls, and gives the
// results back until it answers in words, streamed and not. The server at INFERFLUX_BASE_URL
// calls both functions once. Prints "ok" and exits 0, or throws.
import assert from "node:assert/strict";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const server = createOpenAICompatible({
  name: "inferflux",
  baseURL: process.env.INFERFLUX_BASE_URL,
  apiKey: process.env.INFERFLUX_API_KEY ?? "none",
});

for (const run of [generateText, streamText]) {
  const called = [];
  const answer = await run({
    model: server("fake"),
    temperature: 0,
    maxRetries: 0,
    stopWhen: stepCountIs(4),
    prompt: "Weather?",
    tools: {
      get_weather: tool({
        description: "The weather of a city",
        inputSchema: z.object({ city: z.string() }),
        execute: async (args) => {
          called.push(["get_weather", args]);
          return "sunny";
        },
      }),
      get_time: tool({
        description: "The time",
        inputSchema: z.object({}),
        execute: async (args) => {
          called.push(["get_time", args]);
          return "12:00";
        },
      }),
    },
  });
  assert.equal((await answer.text).trim(), "It's sunny.");
  assert.deepEqual(called, [
    ["get_weather", { city: "Rome" }],
    ["get_time", {}],
  ]);
  assert.equal((await answer.steps).length, 2);
}
console.log("ok");
