import assert from "node:assert/strict";
import fc from "fast-check";
import { SeededEntropy } from "./core/seeded_entropy.ts";
import { Simulation } from "./core/simulation.ts";
import type { ActorSystem } from "./core/system.ts";
import { Dispatch } from "./dispatch.ts";
import { EXCUSE_MS_MAX, HOP_TIMEOUT_FACTOR, HOP_TIMEOUT_MS_MIN } from "./limits.ts";
import { type Message, type MessageOf, type Walk, walkKey } from "./messages.ts";
import { behaviour } from "./role.ts";
import { announcementOf } from "./testing/announcement.ts";

const TOKENS = 4;

function walk(microBatch: number): Walk {
  return { purpose: "train", term: 1, step: 1, round: 0, microBatch, attempt: 1 };
}

function forward(microBatch: number): MessageOf<"forward"> {
  return {
    kind: "forward",
    walk: walk(microBatch),
    stage: 0,
    mask: [0],
    corpus: null,
    trainer: "sender",
    coordinator: "sender",
    input: { dataType: "i32", shape: [1, TOKENS], data: new Int32Array(TOKENS) },
  };
}

/** A role with a dispatch, and hosts that do nothing: each test says what they answer. */
class Sender {
  readonly simulation: Simulation;
  readonly sent: { readonly to: string; readonly microBatch: number; readonly atMs: number }[] = [];
  readonly unreachable = new Set<string>();
  /** To whom `givenUp` was said, of what. */
  readonly givenUp: { readonly to: string; readonly microBatch: number }[] = [];
  readonly broken: { readonly microBatch: number; readonly reason: string }[] = [];
  readonly dispatch: Dispatch;

  constructor(seed = 1, offerMsMax?: number, ownSeconds = 0) {
    this.simulation = new Simulation({ seed, costs: { durationMs: () => 0, lane: () => undefined } });
    const system: ActorSystem<Message> = this.simulation.system<Message>({
      peer: "sender",
      transport: (to, _actor, message) => {
        if (this.unreachable.has(to)) return false;
        const { kind, walk: { microBatch } } = message as MessageOf<"forward" | "givenUp">;
        if (kind === "givenUp") {
          this.givenUp.push({ to, microBatch });
          return true;
        }
        this.sent.push({ to, microBatch, atMs: this.simulation.clock.nowMs() });
        return true;
      },
    });
    let dispatch!: Dispatch;
    system.spawn(behaviour("trainer", (context) => {
      dispatch = new Dispatch(context, {
        broken: ({ microBatch }, reason) => this.broken.push({ microBatch, reason }),
        offerMsMax,
        ownSeconds: () => ownSeconds,
      });
      return {
        receive: ({ message }) => {
          if (message.kind === "timer") dispatch.timer(message.key);
        },
      };
    }));
    this.dispatch = dispatch;
  }

  find(...peers: string[]): void {
    this.dispatch.found(peers.map(announcementOf));
  }

  /** Who was sent it last. */
  holder(microBatch: number): string | undefined {
    return this.sent.findLast((one) => one.microBatch === microBatch)?.to;
  }

  times(microBatch: number): number[] {
    return this.sent.filter((one) => one.microBatch === microBatch).map(({ atMs }) => atMs);
  }

  processed(from: string, microBatch: number): boolean {
    return this.dispatch.processed(from, { kind: "processed", walk: walk(microBatch), stage: 0 });
  }

  refused(from: string, microBatch: number, retryAfterMs: number): void {
    this.dispatch.refused(from, {
      kind: "refused",
      walk: walk(microBatch),
      stage: 0,
      retryAfterMs,
      reason: "full",
    });
  }

  async until(untilMs: number): Promise<void> {
    await this.simulation.run({ untilMs });
  }
}

function other(peer: string): string {
  return peer === "a" ? "b" : "a";
}

Deno.test("whoever said that it does not train is asked all the same: it may do so by now", () => {
  const sender = new Sender();
  sender.dispatch.found([{ ...announcementOf("a"), trains: false }]);
  sender.dispatch.offer(forward(0), TOKENS);
  assert.equal(sender.holder(0), "a");
});

Deno.test("a walk waits while nobody is there, and goes out when somebody is found", async () => {
  const sender = new Sender();
  sender.dispatch.offer(forward(0), TOKENS);
  await sender.until(60_000);
  assert.deepEqual(sender.sent, []);
  sender.find("a");
  assert.equal(sender.holder(0), "a");
  assert.equal(sender.dispatch.hosts, 1);
});

Deno.test("once it has returned, a walk is over, and nothing is left to happen", async () => {
  const sender = new Sender();
  sender.find("a");
  sender.dispatch.offer(forward(0), TOKENS);
  assert.equal(sender.processed("a", 0), true);
  assert.equal(sender.dispatch.returned("a", walk(0)), true);
  assert.equal(sender.dispatch.size, 0);
  assert.equal(sender.processed("a", 0), false);
  assert.equal((await sender.simulation.run()).nowMs, 0);
});

Deno.test("a walk that one host refuses goes to another at once", () => {
  const sender = new Sender();
  sender.find("a", "b");
  sender.dispatch.offer(forward(0), TOKENS);
  const first = sender.holder(0)!;
  sender.refused(first, 0, 100);
  assert.equal(sender.holder(0), other(first));
  assert.deepEqual(sender.times(0), [0, 0]);
});

Deno.test("a walk that the only host refuses comes back when that host said", async () => {
  const sender = new Sender();
  sender.find("a");
  sender.dispatch.offer(forward(0), TOKENS);
  sender.refused("a", 0, 100);
  await sender.until(1000);
  assert.deepEqual(sender.times(0), [0, 100]);
});

Deno.test("a host that says nothing costs its time-out; one that admits, as much again", async () => {
  const sender = new Sender();
  sender.find("a", "b");
  sender.dispatch.offer(forward(0), TOKENS);
  const first = sender.holder(0)!;
  await sender.until(HOP_TIMEOUT_MS_MIN - 1);
  sender.dispatch.admitted(first, { kind: "admitted", walk: walk(0), stage: 0 });
  await sender.until(2 * HOP_TIMEOUT_MS_MIN);
  assert.deepEqual(sender.times(0), [0, 2 * HOP_TIMEOUT_MS_MIN - 1]);
  assert.equal(sender.holder(0), other(first));
});

Deno.test("what a lost host had goes to another at once; what others have stays with them", () => {
  const sender = new Sender();
  sender.find("a", "b");
  for (let i = 0; i < 6; i++) sender.dispatch.offer(forward(i), TOKENS);
  const before = Array.from({ length: 6 }, (_, i) => sender.holder(i)!);
  assert.deepEqual(new Set(before), new Set(["a", "b"]));
  sender.dispatch.lost("a");
  before.forEach((holder, i) => {
    assert.equal(sender.holder(i), "b");
    assert.equal(sender.times(i).length, holder === "a" ? 2 : 1);
  });
});

Deno.test("a walk that is withdrawn is sent no more", async () => {
  const sender = new Sender();
  sender.dispatch.offer(forward(0), TOKENS);
  sender.dispatch.withdraw(walk(0));
  sender.find("a");
  sender.dispatch.offer(forward(1), TOKENS);
  sender.dispatch.withdraw(walk(1));
  sender.refused("a", 1, 0);
  sender.dispatch.lost("a");
  await sender.until(10 * HOP_TIMEOUT_MS_MIN);
  assert.equal(sender.times(0).length, 0);
  assert.equal(sender.times(1).length, 1);
  assert.equal(sender.processed("a", 1), false);
  assert.equal(sender.dispatch.returned("a", walk(1)), false);
});

Deno.test("only the host that has a walk can say anything about it", async () => {
  const sender = new Sender();
  sender.find("a", "b");
  sender.dispatch.offer(forward(0), TOKENS);
  const first = sender.holder(0)!;
  for (const stranger of [other(first), "c"]) {
    assert.equal(sender.processed(stranger, 0), false);
    sender.refused(stranger, 0, 0);
    assert.equal(sender.dispatch.abandoned(stranger, walk(0)), false);
    assert.equal(sender.dispatch.returned(stranger, walk(0)), false);
  }
  assert.equal(sender.sent.length, 1);
  // It is too late for the first one, too, but its gradient may still come.
  await sender.until(HOP_TIMEOUT_MS_MIN);
  assert.equal(sender.processed(first, 0), false);
  assert.equal(sender.processed(other(first), 0), true);
  assert.equal(sender.dispatch.returned(first, walk(0)), true);
});

Deno.test("who can't be reached is passed over; when nobody can be, it is tried again soon", async () => {
  const sender = new Sender();
  sender.unreachable.add("a");
  sender.find("a", "b");
  for (let i = 0; i < 4; i++) sender.dispatch.offer(forward(i), TOKENS);
  assert.ok(sender.sent.every(({ to }) => to === "b"));
  assert.equal(sender.sent.length, 4);
  for (let i = 0; i < 4; i++) assert.ok(sender.processed("b", i));

  sender.unreachable.add("b");
  sender.dispatch.offer(forward(4), TOKENS);
  assert.equal(sender.times(4).length, 0);
  await sender.until(1000);
  sender.unreachable.clear();
  await sender.until(5000);
  assert.equal(sender.times(4).length, 1);
});

Deno.test("whatever hosts do for a while, every walk is processed once they behave", async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(1e6), fc.integer({ min: 1, max: 4 }), async (seed, hosts) => {
      const chance = new SeededEntropy(seed);
      const peers = ["a", "b", "c", "d"].slice(0, hosts);
      const sender = new Sender(seed);
      const { clock } = sender.simulation;
      const left = new Set(Array.from({ length: 10 }, (_, i) => i));
      let answered = 0;
      const answerSoon = () => {
        for (const { to, microBatch } of sender.sent.slice(answered)) {
          const draw = clock.nowMs() < 30_000 ? chance.uniform() : 1;
          if (draw < 0.3) continue;
          if (draw < 0.5) sender.refused(to, microBatch, chance.integer(1000));
          else if (draw < 0.6) sender.dispatch.lost(to);
          else if (sender.processed(to, microBatch)) {
            assert.ok(sender.dispatch.returned(to, walk(microBatch)));
            assert.ok(left.delete(microBatch));
          }
        }
        answered = sender.sent.length;
        if (clock.nowMs() % 10_000 === 0) sender.find(...peers);
        if (left.size > 0) clock.after(100, answerSoon);
      };
      for (const microBatch of left) sender.dispatch.offer(forward(microBatch), TOKENS);
      answerSoon();
      await sender.until(300_000);
      assert.deepEqual([...left], [], `still on offer: ${[...left].map((i) => walkKey(walk(i)))}`);
      assert.equal(sender.dispatch.size, 0);
    }),
    { numRuns: 30 },
  );
});

Deno.test("the first time-out of a silent host moves everything that waits for it, and tells it so", async () => {
  const sender = new Sender();
  sender.find("a", "b");
  for (let i = 0; i < 6; i++) sender.dispatch.offer(forward(i), TOKENS);
  const silent = [0, 1, 2, 3, 4, 5].filter((i) => sender.holder(i) === "a");
  for (let i = 0; i < 6; i++) if (!silent.includes(i)) sender.processed("b", i);
  await sender.until(HOP_TIMEOUT_MS_MIN);
  for (const i of silent) assert.deepEqual([sender.holder(i), sender.times(i).length], ["b", 2]);
  assert.deepEqual(sender.givenUp, silent.map((microBatch) => ({ to: "a", microBatch })));
  for (let i = 6; i < 20; i++) sender.dispatch.offer(forward(i), TOKENS);
  for (let i = 6; i < 20; i++) assert.equal(sender.holder(i), "b");
});

Deno.test("a host that works through what it has is slow, not silent", async () => {
  const sender = new Sender();
  sender.find("a");
  for (let i = 0; i < 3; i++) {
    sender.dispatch.offer(forward(i), TOKENS);
    sender.dispatch.admitted("a", { kind: "admitted", walk: walk(i), stage: 0 });
  }
  for (let i = 0; i < 3; i++) {
    await sender.until((i + 1) * (HOP_TIMEOUT_MS_MIN - 1));
    assert.ok(sender.processed("a", i), `${i}`);
  }
});

Deno.test("a walk that is given up after it was computed: who says that it waits itself is not to blame", async () => {
  const sender = new Sender();
  sender.find("a", "b");
  for (let i = 0; i < 4; i++) sender.dispatch.offer(forward(i), TOKENS);
  const mine = [0, 1, 2, 3].filter((i) => sender.holder(i) === "a");
  for (const i of mine) sender.processed("a", i);
  sender.dispatch.giveUp(walk(mine[0]));
  assert.deepEqual(sender.givenUp, [{ to: "a", microBatch: mine[0] }]);
  // While it is suspected nothing goes there.
  sender.dispatch.offer(forward(4), TOKENS);
  assert.equal(sender.holder(4), "b");
  assert.equal(sender.dispatch.abandoned("a", walk(mine[0])), false);
  await sender.until(EXCUSE_MS_MAX + 1);
  assert.deepEqual(sender.broken, []);
  assert.equal(sender.dispatch.returned("a", walk(mine[1])), true);
});

Deno.test("who says nothing when a walk is given up is to blame, and all that waits for it is broken at once", async () => {
  const sender = new Sender();
  sender.find("a", "b");
  for (let i = 0; i < 8; i++) sender.dispatch.offer(forward(i), TOKENS);
  const mine = [0, 1, 2, 3, 4, 5, 6, 7].filter((i) => sender.holder(i) === "a");
  const [first, second, third, queued] = mine;
  for (const i of [first, second, third]) sender.processed("a", i);
  sender.dispatch.giveUp(walk(first));
  await sender.until(EXCUSE_MS_MAX);
  assert.deepEqual(sender.broken.map(({ microBatch }) => microBatch), [second, third]);
  assert.equal(sender.holder(queued), "b");
  // Its answers come too late, and change nothing.
  assert.equal(sender.processed("a", queued), false);
  assert.equal(sender.dispatch.returned("a", walk(second)), false);
  assert.equal(sender.dispatch.abandoned("a", walk(first)), false);
});

Deno.test("a walk that nobody takes for too long is broken, whatever it waits for", async () => {
  const sender = new Sender(1, 60_000);
  sender.dispatch.offer(forward(0), TOKENS);
  await sender.until(30_000);
  sender.find("a");
  await sender.until(59_999);
  assert.deepEqual(sender.broken, []);
  await sender.until(60_000);
  assert.deepEqual(sender.broken.map(({ microBatch }) => microBatch), [0]);
  assert.equal(sender.dispatch.size, 0);
});

Deno.test("a walk that waits its turn at a host that works is not too old, however long the queue", async () => {
  const sender = new Sender(1, 60_000);
  sender.find("a");
  for (let i = 0; i < 40; i++) {
    sender.dispatch.offer(forward(i), TOKENS);
    sender.dispatch.admitted("a", { kind: "admitted", walk: walk(i), stage: 0 });
  }
  for (let i = 0; i < 40; i++) {
    await sender.until((i + 1) * 3000);
    sender.processed("a", i);
  }
  assert.deepEqual(sender.broken, []);
  assert.deepEqual(sender.times(39), [0], "it was sent once");
});

Deno.test("while nothing is known of anybody, hosts may need as long as the sender does itself", async () => {
  const sender = new Sender(1, undefined, 2);
  sender.find("a");
  sender.dispatch.offer(forward(0), TOKENS);
  await sender.until(HOP_TIMEOUT_FACTOR * 2000 - 1);
  assert.equal(sender.processed("a", 0), true);
  assert.deepEqual(sender.times(0), [0]);
});
