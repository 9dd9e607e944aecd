import assert from "node:assert/strict";
import type { DrawnToken } from "../run/mod.ts";
import { TokenStream } from "./token_stream.ts";

function drawn(token: number): DrawnToken {
  return { token, logProbability: -1, top: [] };
}

/** A stream, what its source was told, and when it begins. */
function streamOf(signal?: AbortSignal) {
  const told: string[] = [];
  const begun = Promise.withResolvers<void>();
  const stream = new TokenStream({
    begin: () => {
      told.push("begin");
      begun.resolve();
    },
    leave: () => told.push("leave"),
  }, signal);
  return { stream, told, begun: begun.promise, iterate: () => stream.tokens[Symbol.asyncIterator]() };
}

Deno.test("the work begins with the first token that is asked for, once", async () => {
  const { stream, told, begun, iterate } = streamOf();
  const iterator = iterate();
  stream.push(drawn(7));
  assert.deepEqual(told, []);
  const first = iterator.next();
  await begun;
  stream.push(drawn(1));
  stream.push(drawn(2));
  stream.end();
  stream.push(drawn(3));
  assert.deepEqual(await first, { done: false, value: drawn(1) });
  assert.deepEqual(await Array.fromAsync({ [Symbol.asyncIterator]: () => iterator }), [drawn(2)]);
  assert.deepEqual(told, ["begin"]);
});

Deno.test("leaving a loop tells the source, once", async () => {
  const { stream, told, begun } = streamOf();
  const loop = (async () => {
    for await (const { token } of stream.tokens) if (token === 2) break;
  })();
  await begun;
  stream.push(drawn(1));
  stream.push(drawn(2));
  await loop;
  assert.deepEqual(told, ["begin", "leave"]);
  assert.equal(stream.open, false);
  stream.push(drawn(3));
  stream.end();
  stream.fail(new Error("late"));
});

Deno.test("aborting tells the source at once, and whoever waits why", async () => {
  const abort = new AbortController();
  const { stream, told, begun, iterate } = streamOf(abort.signal);
  const waits = iterate().next();
  await begun;
  abort.abort(new Error("hung up"));
  assert.deepEqual(told, ["begin", "leave"]);
  await assert.rejects(waits, /hung up/);
  assert.equal(stream.open, false);
});

Deno.test("a signal that was aborted before begins nothing", async () => {
  const { told, iterate } = streamOf(AbortSignal.abort(new Error("hung up")));
  await assert.rejects(iterate().next(), /hung up/);
  assert.deepEqual(told, []);
});

Deno.test("a signal that is aborted after the end changes nothing", async () => {
  const abort = new AbortController();
  const { stream, told, begun, iterate } = streamOf(abort.signal);
  const iterator = iterate();
  const first = iterator.next();
  await begun;
  stream.push(drawn(1));
  stream.end();
  abort.abort();
  assert.deepEqual(await first, { done: false, value: drawn(1) });
  assert.deepEqual(await iterator.next(), { done: true, value: undefined });
  assert.deepEqual(told, ["begin"]);
});

Deno.test("a failure reaches whoever waits", async () => {
  const { stream, told, begun, iterate } = streamOf();
  const waits = iterate().next();
  await begun;
  stream.fail(new RangeError("no room"));
  await assert.rejects(waits, RangeError);
  assert.deepEqual(told, ["begin"]);
});
