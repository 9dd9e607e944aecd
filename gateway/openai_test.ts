import assert from "node:assert/strict";
import OpenAI from "openai";
import { openChatTemplate } from "../run/chat_template.ts";
import { EngineBusy, EngineUnavailable } from "./engine.ts";
import { END_TOKEN, FAKE_MODEL, FakeEngine, untilAborted } from "./testing/fake_engine.ts";
import { serve } from "./testing/served.ts";

const model = FAKE_MODEL.id;

Deno.test("models are listed, and described one by one", async () => {
  await using served = await serve();
  const list = await served.openai.models.list();
  assert.deepEqual(list.data.map(({ id, object, created }) => [id, object, created]), [
    [model, "model", 1_700_000_000],
  ]);
  assert.equal((await served.openai.models.retrieve(model)).id, model);
  await assert.rejects(served.openai.models.retrieve("other"), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.equal(error.code, "model_not_found");
    return true;
  });
});

Deno.test("a completion comes whole, with its usage", async () => {
  await using served = await serve();
  served.engine.reply = () => [..." upon a time"].map((letter) => letter.charCodeAt(0)).concat(END_TOKEN);
  const { id, object, choices, usage } = await served.openai.completions.create({
    model,
    prompt: "Once",
    max_tokens: 50,
  });
  assert.match(id, /^cmpl-[0-9a-f]{24}$/);
  assert.equal(object, "text_completion");
  assert.deepEqual(choices, [{ index: 0, text: " upon a time", logprobs: null, finish_reason: "stop" }]);
  assert.deepEqual(usage, { prompt_tokens: 4, completion_tokens: 13, total_tokens: 17 });
});

Deno.test("a completion begins with the blank that parts it from its prompt, a chat's answer with none", async () => {
  // As decoders do that know a blank before each word.
  const decode = (ids: ArrayLike<number>) => FAKE_MODEL.tokenizer.decode(ids).replace(/^ /, "");
  const engine = new FakeEngine([{ ...FAKE_MODEL, tokenizer: { ...FAKE_MODEL.tokenizer, decode } }]);
  await using served = await serve({ engine });
  engine.reply = () => [..." there"].map((letter) => letter.charCodeAt(0)).concat(END_TOKEN);
  const { completions, chat } = served.openai;
  const { choices } = await completions.create({ model, prompt: "Hello", echo: true, max_tokens: 50 });
  assert.equal(choices[0].text, "Hello there");
  const messages = [{ role: "user" as const, content: "Hello" }];
  const answer = await chat.completions.create({ model, messages, max_tokens: 50 });
  assert.equal(answer.choices[0].message.content, "there");
});

Deno.test("a completion streams, piece by piece, and its usage comes last if it is asked for", async () => {
  await using served = await serve();
  served.engine.reply = () => "abc";
  const stream = await served.openai.completions.create({
    model,
    prompt: "x",
    max_tokens: 3,
    stream: true,
    stream_options: { include_usage: true },
  });
  const chunks = await Array.fromAsync(stream);
  assert.deepEqual(chunks.flatMap(({ choices }) => choices.map(({ text }) => text)), ["a", "b", "c", ""]);
  assert.deepEqual(chunks.map(({ choices }) => choices[0]?.finish_reason ?? null), [
    null,
    null,
    null,
    "length",
    null,
  ]);
  assert.deepEqual(chunks.at(-1)!.usage, { prompt_tokens: 1, completion_tokens: 3, total_tokens: 4 });
  assert.equal(new Set(chunks.map(({ id }) => id)).size, 1);
});

Deno.test("a chat goes through the template, whole and as a stream", async () => {
  await using served = await serve();
  const prompts: string[] = [];
  served.engine.reply = (prompt) => {
    prompts.push(prompt);
    return " Hi there.\nUser: and so on";
  };
  const messages = [
    { role: "developer" as const, content: "Be kind." },
    {
      role: "user" as const,
      content: [{ type: "text" as const, text: "Hel" }, { type: "text" as const, text: "lo" }],
    },
  ];
  const whole = await served.openai.chat.completions.create({ model, messages });
  assert.match(whole.id, /^chatcmpl-/);
  assert.deepEqual(whole.choices, [{
    index: 0,
    message: { role: "assistant", content: " Hi there.", refusal: null },
    logprobs: null,
    finish_reason: "stop",
  }]);
  const stream = await served.openai.chat.completions.create({ model, messages, stream: true });
  const chunks = await Array.fromAsync(stream);
  assert.deepEqual(chunks[0].choices[0].delta, { role: "assistant", content: "", refusal: null });
  assert.equal(chunks.map(({ choices }) => choices[0].delta.content ?? "").join(""), " Hi there.");
  assert.equal(chunks.at(-1)!.choices[0].finish_reason, "stop");
  assert.ok(chunks.every(({ object }) => object === "chat.completion.chunk"));
  assert.deepEqual(prompts, Array(2).fill("System: Be kind.\nUser: Hello\nAssistant:"));
});

Deno.test("the client's own helpers for streams understand what is sent", async () => {
  await using served = await serve();
  served.engine.reply = () => "Hi";
  const stream = served.openai.chat.completions.stream({
    model,
    messages: [{ role: "user", content: "Hello" }],
    max_completion_tokens: 2,
    n: 2,
    stream_options: { include_usage: true },
  });
  const { choices, usage } = await stream.finalChatCompletion();
  assert.deepEqual(
    choices.map(({ index, message, finish_reason }) => [index, message.content, finish_reason]),
    [
      [0, "Hi", "length"],
      [1, "Hi", "length"],
    ],
  );
  assert.equal(usage?.completion_tokens, 4);
});

Deno.test("characters of several tokens come whole, and stop strings lie across tokens", async () => {
  await using served = await serve();
  served.engine.reply = () => "Füße, 🦜! ENDE und mehr";
  const stream = await served.openai.completions.create({
    model,
    prompt: "x",
    max_tokens: 100,
    stop: ["nichts", "ENDE"],
    stream: true,
  });
  const pieces = (await Array.fromAsync(stream)).map(({ choices }) => choices[0].text);
  assert.equal(pieces.join(""), "Füße, 🦜! ");
  assert.ok(pieces.every((piece) => !/\ufffd|E/.test(piece)), pieces.join("|"));
  // Not drawn any further than to where the stop string was whole.
  assert.equal(served.engine.drawn, new TextEncoder().encode("Füße, 🦜! ENDE").length);
});

Deno.test("each of several answers ends at its own stop string, streamed or whole, and no more is drawn", async () => {
  await using served = await serve();
  const answers = ["eins ⏹️x", "zwei, drei und ⏹️⏹️", "vier ohne Ende ⏹", "⏹️"];
  served.engine.reply = (_, { sampling }) => answers[sampling.seed - 5];
  const request = { model, prompt: "x", max_tokens: 100, stop: ["⏹️"], n: 4, seed: 5 };
  const expected = ["eins ", "zwei, drei und ", "vier ohne Ende ⏹", ""];
  const drawn = ["eins ⏹️", "zwei, drei und ⏹️", "vier ohne Ende ⏹", "⏹️"]
    .reduce((sum, text) => sum + new TextEncoder().encode(text).length, 0);
  const { choices } = await served.openai.completions.create(request);
  assert.deepEqual(choices.map(({ text }) => text), expected);
  assert.deepEqual(choices.map(({ finish_reason }) => finish_reason), ["stop", "stop", "length", "stop"]);
  assert.equal(served.engine.drawn, drawn);

  const told = expected.map(() => "");
  for await (const chunk of await served.openai.completions.create({ ...request, stream: true })) {
    for (const { index, text } of chunk.choices) {
      told[index] += text;
      assert.ok(expected[index].startsWith(told[index]), told[index]);
    }
  }
  assert.deepEqual(told, expected);
  assert.equal(served.engine.drawn, 2 * drawn);
  assert.equal(served.engine.active, 0);
});

Deno.test("what might have become a stop string is told when it does not", async () => {
  await using served = await serve();
  served.engine.reply = () => "END, E";
  const { choices } = await served.openai.completions.create({ model, prompt: "x", stop: "ENDE" });
  assert.deepEqual([choices[0].text, choices[0].finish_reason], ["END, E", "length"]);
});

Deno.test("log-probabilities come in the shape of each endpoint", async () => {
  await using served = await serve();
  served.engine.reply = () => "aé";
  const { choices: [completion] } = await served.openai.completions.create({
    model,
    prompt: "x",
    logprobs: 3,
    max_tokens: 3,
  });
  assert.deepEqual(completion.logprobs, {
    tokens: ["a", "\ufffd", "\ufffd"],
    token_logprobs: [-0.5, -0.5, -0.5],
    top_logprobs: [
      { a: -0.5, 1: -2, 2: -9999 },
      { "\ufffd": -0.5, 1: -2, 2: -9999 },
      { "\ufffd": -0.5, 1: -2, 2: -9999 },
    ],
    text_offset: [0, 1, 1],
  });
  const { choices: [chat] } = await served.openai.chat.completions.create({
    model,
    messages: [{ role: "user", content: "x" }],
    logprobs: true,
    top_logprobs: 2,
    max_tokens: 2,
  });
  assert.deepEqual(chat.logprobs!.content, [
    {
      token: "a",
      logprob: -0.5,
      bytes: [97],
      top_logprobs: [{ token: "a", logprob: -0.5, bytes: [97] }, { token: "1", logprob: -2, bytes: [49] }],
    },
    {
      token: "\ufffd",
      logprob: -0.5,
      bytes: null,
      top_logprobs: [{ token: "\ufffd", logprob: -0.5, bytes: null }, {
        token: "1",
        logprob: -2,
        bytes: [49],
      }],
    },
  ]);
});

Deno.test("tokens of a stop string are told neither as text nor by their log-probabilities", async () => {
  await using served = await serve();
  served.engine.reply = () => "ab. STOP";
  for (const stream of [false, true]) {
    const request = { model, prompt: "x", stop: " STOP", logprobs: 0 };
    const tokens = stream
      ? (await Array.fromAsync(await served.openai.completions.create({ ...request, stream: true })))
        .flatMap(({ choices }) => choices[0].logprobs!.tokens!)
      : (await served.openai.completions.create(request)).choices[0].logprobs!.tokens!;
    assert.deepEqual(tokens, ["a", "b", "."]);
  }
});

Deno.test("several prompts, several choices: each has its index, and its own seed", async () => {
  await using served = await serve();
  const request = { model, prompt: ["one", "two"], n: 2, seed: 5, max_tokens: 12 };
  const { choices, usage } = await served.openai.completions.create(request);
  assert.deepEqual(choices.map(({ index }) => index), [0, 1, 2, 3]);
  assert.notEqual(choices[0].text, choices[1].text);
  assert.deepEqual(usage, { prompt_tokens: 6, completion_tokens: 48, total_tokens: 54 });
  assert.deepEqual(served.engine.asked.map(({ sampling }) => sampling.seed), [5, 6, 5, 6]);
  assert.deepEqual((await served.openai.completions.create(request)).choices, choices);
  const streamed = await Array.fromAsync(
    await served.openai.completions.create({ ...request, stream: true }),
  );
  const texts = choices.map(({ index }) =>
    streamed.map(({ choices: [choice] }) => choice.index === index ? choice.text : "").join("")
  );
  assert.deepEqual(texts, choices.map(({ text }) => text));
});

Deno.test("without a seed each answer is another", async () => {
  await using served = await serve();
  const request = { model, prompt: "x", max_tokens: 12 };
  const [one, other] = [
    await served.openai.completions.create(request),
    await served.openai.completions.create(request),
  ];
  assert.notEqual(one.choices[0].text, other.choices[0].text);
  const { choices } = await served.openai.completions.create({ ...request, prompt: ["x", "x"], n: 2 });
  assert.equal(new Set(choices.map(({ text }) => text)).size, 4);
});

Deno.test("a seed may have 64 bits, and each choice has one of its own all the same", async () => {
  await using served = await serve();
  for (const seed of [2 ** 62, 2 ** 62 + 2 ** 40, -(2 ** 63)]) {
    await served.openai.completions.create({ model, prompt: "x", n: 2, max_tokens: 1, seed });
  }
  const seeds = served.engine.asked.map(({ sampling }) => sampling.seed);
  assert.equal(new Set(seeds).size, 6);
  assert.equal((await served.post("/v1/completions", { model, prompt: "x", seed: 0.5 })).status, 400);
});

Deno.test("what is wrong with a field that may be of several kinds is said", async () => {
  await using served = await serve();
  const messages = (content: unknown) => ({ model, messages: [{ role: "user", content }] });
  for (
    const [path, body, param, reason] of [
      ["completions", { model, prompt: "x", stop: ["a", "b", "c", "d", "e"] }, "stop", /4/],
      ["completions", { model, prompt: "x", stop: 7 }, "stop", /must be a text, or a list of 4 at most/],
      ["completions", { model, prompt: { x: 1 } }, "prompt", /must be a text, ids of tokens, or a list/],
      ["completions", { model, prompt: [[1], ["x"]] }, "prompt.1.0", /number/],
      ["chat/completions", messages(7), "messages.0.content", /must be a text, or a list/],
      [
        "chat/completions",
        messages([{ type: "image_url" }]),
        "messages.0.content.0.type",
        /neither see nor hear/,
      ],
    ] as const
  ) {
    const response = await served.post(`/v1/${path}`, body);
    const { error } = await response.json();
    assert.deepEqual([response.status, error.param], [400, param], error.message);
    assert.match(error.message, reason);
  }
});

Deno.test("prompts may be ids, and echo gives them back as text", async () => {
  await using served = await serve();
  served.engine.reply = () => "!";
  const ids = await served.openai.completions.create({ model, prompt: [[72, 105], [79, 104]], echo: true });
  assert.deepEqual(ids.choices.map(({ text }) => text), ["Hi!", "Oh!"]);
  const single = await served.openai.completions.create({
    model,
    prompt: [72, 105],
    stream: true,
    echo: true,
  });
  const pieces = (await Array.fromAsync(single)).map(({ choices }) => choices[0].text);
  assert.deepEqual(pieces, ["Hi", "!", ""]);
});

Deno.test("how to draw reaches the engine as it was asked for", async () => {
  await using served = await serve();
  await served.openai.completions.create({
    model,
    prompt: "x",
    temperature: 0.5,
    top_p: 0.9,
    presence_penalty: 1,
    frequency_penalty: -1,
    logit_bias: { 65: 3 },
    seed: -1,
    ...{ top_k: 40, repetition_penalty: 1.5 },
  });
  assert.deepEqual(served.engine.asked[0].sampling, {
    vocabulary: 256,
    temperature: 0.5,
    topK: 40,
    topP: 0.9,
    repetitionPenalty: 1.5,
    presencePenalty: 1,
    frequencyPenalty: -1,
    logitBias: [{ token: 65, bias: 3 }],
    seed: 0xffffffff,
    topLogProbabilities: 0,
  });
});

Deno.test("a prompt that does not fit is refused, with the word that clients know", async () => {
  await using served = await serve();
  const refused = async (work: Promise<unknown>) => {
    const error = await work.then(() => assert.fail("answered"), (error) => error);
    assert.ok(error instanceof OpenAI.BadRequestError, String(error));
    assert.equal(error.code, "context_length_exceeded");
    assert.match(error.message, /512/);
  };
  const { openai } = served;
  await refused(openai.completions.create({ model, prompt: "x".repeat(512) }));
  await refused(openai.completions.create({ model, prompt: "x".repeat(100_000) }));
  await refused(openai.completions.create({ model, prompt: "x", max_tokens: 512 }));
  await refused(
    openai.chat.completions.create({ model, messages: [{ role: "user", content: "x".repeat(500) }] }),
  );
  assert.equal(served.engine.asked.length, 0);
  // As much as fits is answered to the last token.
  const { usage } = await openai.completions.create({ model, prompt: "x", max_tokens: 511 });
  assert.equal(usage!.total_tokens, 512);
});

Deno.test("what would change the answer and can't be heeded is refused by name", async () => {
  await using served = await serve();
  const messages = [{ role: "user", content: "x" }];
  for (
    const [path, body, param] of [
      ["completions", { prompt: "x", best_of: 3 }, "best_of"],
      ["completions", { prompt: "x", suffix: "y" }, "suffix"],
      ["completions", { prompt: "x", echo: true, logprobs: 1 }, "logprobs"],
      ["completions", { prompt: "x", n: 17 }, "n"],
      ["completions", { prompt: ["x", "y", "z"], n: 8 }, "n"],
      ["completions", { prompt: "x", stop: ["a", "b", "c", "d", "e"] }, "stop"],
      ["completions", { prompt: "x", logit_bias: { 999: 1 } }, "logit_bias"],
      ["completions", { prompt: [300] }, "prompt"],
      ["completions", { prompt: "" }, "prompt"],
      ["completions", { prompt: "x", temperature: 3 }, "temperature"],
      ["completions", { prompt: "x", min_p: 0.1 }, "min_p"],
      ["chat/completions", { messages, tools: [{ type: "function" }] }, "tools"],
      ["chat/completions", { messages, response_format: { type: "json_object" } }, "response_format"],
      ["chat/completions", { messages, modalities: ["audio"] }, "modalities"],
      ["chat/completions", { messages, top_logprobs: 1 }, "top_logprobs"],
      ["chat/completions", { messages: [] }, "messages"],
      ["chat/completions", { messages: [{ role: "tool", content: "x" }] }, "messages.0.role"],
    ] as const
  ) {
    const response = await served.post(`/v1/${path}`, { model, ...body });
    assert.equal(response.status, 400, param);
    const { error } = await response.json();
    assert.equal(error.param, param);
    assert.equal(error.type, "invalid_request_error");
    assert.match(error.message, /^Cannot /);
  }
  assert.equal(served.engine.asked.length, 0);
});

Deno.test("fields that change nothing here are ignored", async () => {
  await using served = await serve();
  const response = await served.post("/v1/chat/completions", {
    model,
    messages: [{ role: "user", content: "x" }],
    max_tokens: 1,
    user: "me",
    store: false,
    tools: [],
    tool_choice: "none",
    functions: null,
    response_format: { type: "text" },
    service_tier: "auto",
    temperature: null,
    something_new: { a: 1 },
  });
  assert.equal(response.status, 200, await response.text());
});

Deno.test("a chat that the template refuses is the client's fault", async () => {
  const chatTemplate = openChatTemplate(JSON.stringify({
    chat_template: "{{ raise_exception('Turns must alternate') }}",
  }));
  await using served = await serve({ engine: new FakeEngine([{ ...FAKE_MODEL, chatTemplate }]) });
  await assert.rejects(
    served.openai.chat.completions.create({ model, messages: [{ role: "user", content: "x" }] }),
    (error) => error instanceof OpenAI.BadRequestError && /Turns must alternate/.test(error.message),
  );
});

Deno.test("a token that opens a text is put before prompts, once", async () => {
  const tokenizer = { ...FAKE_MODEL.tokenizer, beginOfText: 1 };
  await using served = await serve({ engine: new FakeEngine([{ ...FAKE_MODEL, tokenizer }]) });
  for (const prompt of ["x", "\u0001x"]) await served.openai.completions.create({ model, prompt });
  await served.openai.completions.create({ model, prompt: "" });
  assert.deepEqual(served.engine.asked.map(({ prompt }) => [...prompt]), [[1, 120], [1, 120], [1]]);
});

Deno.test("a token that opens a text is put before chats, unless their template does it", async () => {
  const tokenizer = { ...FAKE_MODEL.tokenizer, beginOfText: 1 };
  const published = openChatTemplate(JSON.stringify({ chat_template: "{{ messages[0].content }}" }));
  const models = [{ ...FAKE_MODEL, tokenizer }, {
    ...FAKE_MODEL,
    id: "b",
    tokenizer,
    chatTemplate: published,
  }];
  await using served = await serve({ engine: new FakeEngine(models) });
  for (const { id } of models) {
    await served.openai.chat.completions.create({ model: id, messages: [{ role: "user", content: "x" }] });
  }
  const prompts = served.engine.asked.map(({ prompt }) => prompt);
  assert.deepEqual(prompts.map((prompt) => FAKE_MODEL.tokenizer.decode(prompt)), [
    "\u0001User: x\nAssistant:",
    "x",
  ]);
});

Deno.test("an engine that is busy, has nobody, or breaks is told with the right status", async () => {
  await using served = await serve();
  const ask = (stream: boolean) => served.post("/v1/completions", { model, prompt: "x", stream });
  for (const stream of [false, true]) {
    served.engine.reply = () => new EngineBusy("Cannot take a session: caches are full", 2500);
    const busy = await ask(stream);
    assert.deepEqual([busy.status, busy.headers.get("retry-after")], [429, "3"]);
    assert.match((await busy.json()).error.message, /caches are full/);

    served.engine.reply = () => new EngineUnavailable("Cannot generate: nobody serves stage 1");
    const unavailable = await ask(stream);
    assert.deepEqual([unavailable.status, unavailable.headers.get("retry-after")], [503, "5"]);
    assert.match((await unavailable.json()).error.message, /stage 1/);

    served.engine.reply = () => new Error("secret path /home");
    const broken = await ask(stream);
    assert.equal(broken.status, 500);
    assert.doesNotMatch(await broken.text(), /secret/);
  }
  assert.equal(served.bugs.length, 2);
  assert.equal(served.engine.active, 0);
});

Deno.test("what goes wrong in the middle of a stream is told in it, and the client throws it", async () => {
  await using served = await serve();
  served.engine.pause = (place) =>
    place < 3
      ? Promise.resolve()
      : Promise.reject(new EngineUnavailable("Cannot go on: stage 2 has nobody left"));
  const stream = await served.openai.chat.completions.create({
    model,
    messages: [{ role: "user", content: "x" }],
    stream: true,
  });
  let text = "";
  await assert.rejects(async () => {
    for await (const chunk of stream) text += chunk.choices[0].delta.content ?? "";
  }, /stage 2 has nobody left/);
  assert.equal(text.length, 3);
});

Deno.test("whoever hangs up is not drawn for any longer: before the first token, in a stream, and in several choices", async () => {
  await using served = await serve();
  const { engine, openai } = served;
  for (
    const [stream, place, n] of [[false, 0, 1], [true, 0, 1], [true, 2, 1], [false, 5, 3], [
      true,
      2,
      3,
    ]] as const
  ) {
    const controller = new AbortController();
    const reached = Promise.withResolvers<void>();
    let waiting = 0;
    engine.pause = async (at, signal) => {
      if (at < place) return;
      if (++waiting === n) reached.resolve();
      await untilAborted(signal);
    };
    const request = openai.completions.create({ model, prompt: "x", max_tokens: 50, stream, n }, {
      signal: controller.signal,
    });
    const outcome = request.then(async (answer) => {
      if (Symbol.asyncIterator in answer) { for await (const _ of answer); }
      // The client's streams end in silence when they are aborted.
    }).catch(() => {});
    await reached.promise;
    assert.equal(engine.active, n);
    controller.abort();
    await engine.whenActive(0);
    await outcome;
  }
  assert.deepEqual(served.bugs, []);
});
