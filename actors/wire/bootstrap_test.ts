import assert from "node:assert/strict";
import type { Connection } from "@libp2p/interface";
import { multiaddr } from "@multiformats/multiaddr";
import { VirtualClock } from "../core/virtual_clock.ts";
import { type Dialler, keepBootstrapped } from "./bootstrap.ts";

const ADDRESS = multiaddr("/ip4/127.0.0.1/tcp/1");

/** A dialler that fails until told otherwise, and notes when it was asked. */
function fakeDialler(clock: VirtualClock) {
  const dialledMs: number[] = [];
  const connection = Object.assign(new EventTarget(), { status: "open" });
  const state = { answers: false };
  const dial = (): Promise<Connection> => {
    dialledMs.push(clock.nowMs());
    return state.answers
      ? Promise.resolve(connection as unknown as Connection)
      : Promise.reject(new Error("refused"));
  };
  return { dialler: { dial } as Dialler, dialledMs, state, connection };
}

/** Lets promises settle between timers. */
async function advance(clock: VirtualClock, untilMs: number): Promise<void> {
  for (let turn = 0; turn < 4; turn++) await Promise.resolve();
  while ((clock.nextAtMs() ?? Infinity) <= untilMs) {
    clock.fireNext();
    for (let turn = 0; turn < 4; turn++) await Promise.resolve();
  }
  clock.advanceTo(untilMs);
}

Deno.test("a bootstrap peer that is down is dialled again, ever more rarely, and each failure is told", async () => {
  const clock = new VirtualClock();
  const { dialler, dialledMs } = fakeDialler(clock);
  const failures: number[] = [];
  const stop = keepBootstrapped(dialler, [ADDRESS], clock, (address, reason, count) => {
    assert.equal(address.toString(), ADDRESS.toString());
    assert.equal(reason, "refused");
    failures.push(count);
  });
  await advance(clock, 120_000);
  assert.deepEqual(dialledMs, [0, 500, 1500, 3500, 7500, 15500, 31500, 61500, 91500]);
  assert.deepEqual(failures, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
  stop();
  assert.equal(clock.pending, 0);
});

Deno.test("a connection that closes is made again", async () => {
  const clock = new VirtualClock();
  const { dialler, dialledMs, state, connection } = fakeDialler(clock);
  state.answers = true;
  const stop = keepBootstrapped(dialler, [ADDRESS], clock);
  await advance(clock, 10_000);
  assert.deepEqual(dialledMs, [0]);
  connection.dispatchEvent(new Event("close"));
  await advance(clock, 20_000);
  assert.deepEqual(dialledMs, [0, 10_500]);
  stop();
  connection.dispatchEvent(new Event("close"));
  await advance(clock, 30_000);
  assert.deepEqual(dialledMs, [0, 10_500]);
});
