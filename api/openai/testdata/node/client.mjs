// Drives a running server with the official OpenAI client for Node, as an
// application would. The server is at INFERFLUX_BASE_URL and its greedy answer to
// anything is INFERFLUX_RECITED. Prints "ok" and exits 0, or throws.
import assert from "node:assert/strict";
import OpenAI from "openai";

const recited = process.env.INFERFLUX_RECITED;
const client = new OpenAI({
  baseURL: process.env.INFERFLUX_BASE_URL,
  apiKey: process.env.INFERFLUX_API_KEY ?? "none",
  maxRetries: 0,
});
const ask = {
  model: "fake",
  messages: [{ role: "user", content: "Count." }],
  temperature: 0,
};

const tests = {
  async models() {
    const ids = [];
    for await (const m of client.models.list()) ids.push(m.id);
    assert.deepEqual(ids, ["fake"]);
    assert.equal((await client.models.retrieve("fake")).object, "model");
  },

  async chat() {
    const answer = await client.chat.completions.create(ask);
    assert.equal(answer.object, "chat.completion");
    assert.match(answer.id, /^chatcmpl-/);
    assert.equal(answer.model, "fake");
    assert.equal(answer.choices.length, 1);
    assert.equal(answer.choices[0].message.role, "assistant");
    assert.equal(answer.choices[0].message.content, recited);
    assert.equal(answer.choices[0].finish_reason, "stop");
    const { prompt_tokens, completion_tokens, total_tokens } = answer.usage;
    assert.ok(prompt_tokens > 0 && completion_tokens > 0);
    assert.equal(total_tokens, prompt_tokens + completion_tokens);
  },

  async streaming() {
    const stream = await client.chat.completions.create({
      ...ask,
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = "";
    let finish = null;
    let usage = null;
    let chunks = 0;
    for await (const chunk of stream) {
      assert.equal(chunk.object, "chat.completion.chunk");
      if (chunk.usage) {
        assert.equal(chunk.choices.length, 0);
        usage = chunk.usage;
        continue;
      }
      if (chunks++ === 0) assert.equal(chunk.choices[0].delta.role, "assistant");
      text += chunk.choices[0].delta.content ?? "";
      finish = chunk.choices[0].finish_reason ?? finish;
    }
    assert.equal(text, recited);
    assert.equal(finish, "stop");
    assert.ok(usage.total_tokens > 0);
    assert.ok(chunks > 5, `only ${chunks} chunks`);
  },

  async streamHelper() {
    const final = await client.chat.completions.stream(ask).finalChatCompletion();
    assert.equal(final.choices[0].message.content, recited);
  },

  async stop() {
    const answer = await client.chat.completions.create({ ...ask, stop: ["e four", "never"] });
    assert.equal(answer.choices[0].message.content, recited.slice(0, recited.indexOf("e four")));
    assert.equal(answer.choices[0].finish_reason, "stop");
  },

  async n() {
    const params = { ...ask, temperature: 1, seed: 7, max_tokens: 20, n: 3 };
    const answer = await client.chat.completions.create(params);
    assert.deepEqual(answer.choices.map((c) => c.index), [0, 1, 2]);
    const texts = new Array(3).fill("");
    for await (const chunk of await client.chat.completions.create({ ...params, stream: true })) {
      for (const c of chunk.choices) texts[c.index] += c.delta.content ?? "";
    }
    assert.deepEqual(texts, answer.choices.map((c) => c.message.content));
    const second = await client.chat.completions.create({ ...params, n: 1, seed: 8 });
    assert.equal(second.choices[0].message.content, texts[1]);
  },

  async logprobs() {
    const answer = await client.chat.completions.create({ ...ask, max_tokens: 3, logprobs: true, top_logprobs: 2 });
    const content = answer.choices[0].logprobs.content;
    assert.equal(content.map((t) => t.token).join(""), answer.choices[0].message.content);
    for (const t of content) {
      assert.ok(t.logprob <= 0);
      assert.equal(t.top_logprobs.length, 2);
      assert.equal(t.top_logprobs[0].token, t.token);
      assert.equal(Buffer.from(t.bytes).toString(), t.token);
    }
  },

  async completions() {
    const answer = await client.completions.create({ model: "fake", prompt: ["a\n", "b\n"], temperature: 0, max_tokens: 2, logprobs: 1 });
    assert.deepEqual(answer.choices.map((c) => c.text), ["one two", "one two"]);
    assert.deepEqual(answer.choices[0].logprobs.tokens, ["one", " two"]);
    assert.deepEqual(answer.choices[0].logprobs.text_offset, [0, 3]);
  },

  async errors() {
    await assert.rejects(client.chat.completions.create({ ...ask, model: "nobody" }), (e) => {
      assert.ok(e instanceof OpenAI.NotFoundError);
      assert.equal(e.code, "model_not_found");
      return true;
    });
    await assert.rejects(client.chat.completions.create({ ...ask, temperature: 3 }), (e) => {
      assert.ok(e instanceof OpenAI.BadRequestError);
      assert.equal(e.param, "temperature");
      return true;
    });
    const long = [{ role: "user", content: "x".repeat(2000) }];
    await assert.rejects(client.chat.completions.create({ ...ask, messages: long }), (e) => {
      assert.equal(e.status, 400);
      assert.equal(e.code, "context_length_exceeded");
      return true;
    });
  },

  async abort() {
    const controller = new AbortController();
    const stream = await client.chat.completions.create(
      { ...ask, logit_bias: { 268: -100 }, max_tokens: 400, stream: true },
      { signal: controller.signal },
    );
    for await (const _ of stream) {
      controller.abort();
    }
  },
};

for (const [name, test] of Object.entries(tests)) {
  try {
    await test();
  } catch (e) {
    console.error(`${name}: ${e.stack}`);
    process.exitCode = 1;
  }
}
if (!process.exitCode) console.log("ok");
