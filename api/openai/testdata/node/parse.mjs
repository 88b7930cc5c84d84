// Answers in a form through the official OpenAI client's parse helpers: the schema is
// made from a zod type and sent as response_format, and what comes back is parsed into that
// type, streamed and not, with seeds and several answers. The server at INFERFLUX_BASE_URL
// runs a random model, which would rather say nonsense. Prints "ok" and exits 0, or throws.
import assert from "node:assert/strict";
import OpenAI from "openai";
import { zodFunction, zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const client = new OpenAI({
  baseURL: process.env.INFERFLUX_BASE_URL,
  apiKey: process.env.INFERFLUX_API_KEY ?? "none",
  maxRetries: 0,
});

const Step = z.object({ kind: z.enum(["add", "stop"]), sure: z.boolean() });
const Plan = z.object({ size: z.enum(["s", "m", "l"]), step: Step, also: z.union([Step, z.null()]) });
const ask = {
  model: "fake",
  messages: [{ role: "user", content: "Go" }],
  temperature: 1.5,
  max_tokens: 150,
};

for (let seed = 0; seed < 5; seed++) {
  const whole = await client.chat.completions.parse({ ...ask, seed, n: 2, response_format: zodResponseFormat(Plan, "plan") });
  for (const choice of whole.choices) {
    Plan.parse(choice.message.parsed);
  }
  const stream = client.chat.completions.stream({ ...ask, seed, response_format: zodResponseFormat(Plan, "plan") });
  const streamed = await stream.finalChatCompletion();
  assert.deepEqual(streamed.choices[0].message.parsed, whole.choices[0].message.parsed);

  const called = await client.chat.completions.parse({
    ...ask,
    seed,
    tool_choice: "required",
    parallel_tool_calls: false,
    tools: [zodFunction({ name: "plan", parameters: Step })],
  });
  Step.parse(called.choices[0].message.tool_calls[0].function.parsed_arguments);
}

await assert.rejects(
  client.chat.completions.parse({ ...ask, max_tokens: 3, response_format: zodResponseFormat(Plan, "plan") }),
  OpenAI.LengthFinishReasonError,
);
console.log("ok");
