// An agent on the official OpenAI client for Node: its helper runs the functions
// that the model calls, and gives the results back until it answers in words. The
// server at INFERFLUX_BASE_URL calls both functions once. Prints "ok" and exits 0,
// or throws.
import assert from "node:assert/strict";
import OpenAI from "openai";

const client = new OpenAI({
  baseURL: process.env.INFERFLUX_BASE_URL,
  apiKey: process.env.INFERFLUX_API_KEY ?? "none",
  maxRetries: 0,
});

const city = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };

for (const stream of [false, true]) {
  const called = [];
  const runner = client.chat.completions.runTools({
    model: "fake",
    stream,
    temperature: 0,
    messages: [{ role: "user", content: "Weather?" }],
    tools: [
      {
        type: "function",
        function: {
          name: "get_weather",
          description: "The weather of a city",
          parameters: city,
          parse: JSON.parse,
          function: (args) => {
            called.push(["get_weather", args]);
            return "sunny";
          },
        },
      },
      {
        type: "function",
        function: {
          name: "get_time",
          description: "The time",
          parameters: { type: "object", properties: {} },
          parse: JSON.parse,
          function: (args) => {
            called.push(["get_time", args]);
            return "12:00";
          },
        },
      },
    ],
  });
  assert.equal(await runner.finalContent(), "It's sunny.");
  assert.deepEqual(called, [
    ["get_weather", { city: "Rome" }],
    ["get_time", {}],
  ]);
  const turns = runner.messages.map((m) => m.role);
  assert.deepEqual(turns, ["user", "assistant", "tool", "tool", "assistant"]);
}
console.log("ok");
