import assert from "node:assert/strict";
import type { Context } from "./core/actor.ts";
import { SeededEntropy } from "./core/seeded_entropy.ts";
import { VirtualClock } from "./core/virtual_clock.ts";
import { PROBE_PERIOD_MS } from "./limits.ts";
import type { Message, MessageOf } from "./messages.ts";
import { Probing } from "./probing.ts";

/** A home that asks, and what it has asked and learned. */
function probing() {
  const clock = new VirtualClock();
  const asked: { readonly peer: string; readonly nonce: number }[] = [];
  const roundTripsMs: number[] = [];
  const context = {
    clock,
    entropy: new SeededEntropy(1),
    tell: ({ peer }: { peer: string }, { nonce }: MessageOf<"probe">) => asked.push({ peer, nonce }) > 0,
  } as unknown as Context<Message>;
  const questions = new Probing(context, (_, { roundTripMs }) => roundTripsMs.push(roundTripMs));
  const answer = (nonce: number, from = "host") =>
    questions.answered(from, {
      kind: "probed",
      nonce,
      stage: 0,
      step: 0,
      secondsPerToken: null,
      roomTokens: 1,
    });
  return { clock, asked, roundTripsMs, questions, answer };
}

Deno.test("a host that is asked again before its answer is here is heard all the same", () => {
  const { clock, asked, roundTripsMs, questions, answer } = probing();
  // Its answers take 700 ms, and every half second somebody wants to know.
  for (let nowMs = 500; nowMs < 5000; nowMs += 500) {
    clock.advanceTo(nowMs);
    questions.ask("host");
    for (const { nonce } of asked.splice(0)) clock.after(700, () => answer(nonce));
  }
  assert.ok(roundTripsMs.length > 5);
  assert.equal(roundTripsMs[0], 700);
  assert.ok(questions.answeredAtMs("host") > 4000);
});

Deno.test("an answer counts once, from whom it was asked, and to a question of late", () => {
  const { clock, asked, roundTripsMs, questions, answer } = probing();
  clock.advanceTo(1);
  questions.ask("host");
  questions.ask("host");
  assert.equal(asked.length, 1, "once in one moment");
  const [{ nonce }] = asked;
  answer(nonce, "another");
  answer(nonce + 1);
  assert.deepEqual(roundTripsMs, []);
  for (let turn = 1; turn <= 100; turn++) {
    clock.advanceTo(1 + turn);
    questions.ask("host");
  }
  answer(nonce);
  assert.deepEqual(roundTripsMs, [], "too many were asked since");
  answer(asked.at(-1)!.nonce);
  answer(asked.at(-1)!.nonce);
  assert.equal(roundTripsMs.length, 1);
});

Deno.test("hosts are asked every so often, and those who are no hosts any more are forgotten", () => {
  const { clock, asked, questions, answer } = probing();
  clock.advanceTo(1);
  questions.watch(["host", "other"]);
  questions.watch(["host", "other"]);
  assert.deepEqual(asked.map(({ peer }) => peer), ["host", "other"]);
  clock.advanceTo(1 + PROBE_PERIOD_MS);
  questions.watch(["host"]);
  assert.deepEqual(asked.map(({ peer }) => peer), ["host", "other", "host"]);
  answer(asked[1].nonce, "other");
  assert.equal(questions.answeredAtMs("other"), -Infinity);
});
