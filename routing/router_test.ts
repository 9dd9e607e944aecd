import assert from "node:assert/strict";
import fc from "fast-check";
import type { Announcement } from "./announcement.ts";
import { COOLOFF_MS_MIN, COOLOFF_PER_WASTE_MIN } from "./cooloff.ts";
import { ABSENCES_MAX, EXCUSES_MAX, Router, ROUTER_PEERS_MAX } from "./router.ts";

const TOKENS = 1000;

function announcement(peer: string, sequence = 1): Announcement {
  return {
    run: "0".repeat(64),
    service: "stage:1",
    peer,
    step: 0,
    stateHash: null,
    addresses: [],
    device: "reference",
    load: 0,
    trains: true,
    sessionRoom: 0,
    sequence,
    issuedAtMs: 0,
    expiresAtMs: 1,
  };
}

/** Chance that repeats; these tests need it to be fair, not deep. */
function chance(seed: number): () => number {
  let state = seed >>> 0;
  return () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
}

function routerOf(peers: readonly string[], seed = 1): Router {
  const router = new Router({ uniform: chance(seed) });
  router.learn(peers.map((peer) => announcement(peer)));
  return router;
}

/** Chooses and counts, while each peer takes the time that it takes; `under way` tasks are open at once. */
function counts(
  router: Router,
  tasks: number,
  options: { underWay: number; settle: (peer: string, nowMs: number) => void },
): Map<string, number> {
  const counts = new Map<string, number>();
  const open: string[] = [];
  for (let task = 0; task < tasks; task++) {
    const nowMs = task * 10;
    const { peer } = router.choose({ tokens: TOKENS, nowMs });
    assert.ok(peer !== undefined);
    counts.set(peer, (counts.get(peer) ?? 0) + 1);
    open.push(peer);
    if (open.length >= options.underWay) options.settle(open.shift()!, nowMs);
  }
  return counts;
}

Deno.test("over a long run peers are chosen in proportion to their speed", () => {
  const speeds = fc.array(fc.double({ min: 0.1, max: 10, noNaN: true }), { minLength: 2, maxLength: 8 });
  fc.assert(
    fc.property(speeds, fc.integer({ min: 1, max: 20 }), fc.nat(), (speeds, underWay, seed) => {
      const names = speeds.map((_, index) => `peer ${index}`);
      const router = routerOf(names, seed);
      const tasks = 5000;
      const chosen = counts(router, tasks, {
        underWay,
        settle: (peer) => router.settle(peer, { tokens: TOKENS, seconds: 1 / speeds[names.indexOf(peer)]! }),
      });
      const sum = speeds.reduce((sum, speed) => sum + speed, 0);
      names.forEach((name, index) => {
        const expected = tasks * speeds[index]! / sum;
        assert.ok(
          Math.abs((chosen.get(name) ?? 0) - expected) <= 0.02 * tasks + underWay,
          `${name}: ${chosen.get(name)} of ${expected}`,
        );
      });
    }),
    { numRuns: 30 },
  );
});

Deno.test("a peer that becomes slow is given less", () => {
  const router = routerOf(["steady", "fickle"]);
  let seconds = 1;
  const settle = (peer: string) =>
    router.settle(peer, { tokens: TOKENS, seconds: peer === "steady" ? 1 : seconds });
  assert.ok(Math.abs(counts(router, 1000, { underWay: 4, settle }).get("fickle")! - 500) < 20);
  seconds = 9;
  const after = counts(router, 1000, { underWay: 4, settle }).get("fickle")!;
  assert.ok(after > 80 && after < 140, `${after}`);
});

Deno.test("one long wait in a queue doesn't keep a peer away for as long", () => {
  const router = routerOf(["unlucky", "a", "b"]);
  const settle = (peer: string) => router.settle(peer, { tokens: TOKENS, seconds: 1 });
  counts(router, 300, { underWay: 1, settle });
  router.settle("unlucky", { tokens: TOKENS, seconds: 20 });
  const chosen = counts(router, 30, { underWay: 1, settle });
  assert.ok(chosen.get("unlucky")! >= 5, `${chosen.get("unlucky")}`);
});

Deno.test("who still has what it was given is given less until it is done", () => {
  const router = routerOf(["stuck", "free"]);
  const settle = (peer: string) => router.settle(peer, { tokens: TOKENS, seconds: 1 });
  counts(router, 100, { underWay: 1, settle });
  const first: string[] = [];
  for (let task = 0; task < 8; task++) {
    const peer = router.choose({ tokens: TOKENS, nowMs: 0 }).peer!;
    first.push(peer);
    if (peer === "free") settle(peer);
  }
  assert.ok(first.filter((peer) => peer === "stuck").length <= 3, first.join());
});

Deno.test("a newcomer is tried at once, and not flooded", () => {
  const router = routerOf(["a", "b"]);
  const settle = (peer: string) => router.settle(peer, { tokens: TOKENS, seconds: 1 });
  counts(router, 1000, { underWay: 1, settle });
  router.learn(["a", "b", "new"].map((peer) => announcement(peer)));
  const chosen = counts(router, 300, { underWay: 1, settle });
  assert.ok(chosen.get("new")! >= 95 && chosen.get("new")! <= 105, `${chosen.get("new")}`);
  router.learn(["a", "b", "new", "newest"].map((peer) => announcement(peer)));
  assert.ok(counts(router, 4, { underWay: 1, settle }).has("newest"));
});

Deno.test("a peer that was away does not make up for it", () => {
  const router = routerOf(["steady", "back"]);
  const settle = (peer: string) => router.settle(peer, { tokens: TOKENS, seconds: 1 });
  router.refused("back", 10_000);
  counts(router, 1000, { underWay: 1, settle });
  const chosen = new Map<string, number>();
  for (let task = 0; task < 100; task++) {
    const peer = router.choose({ tokens: TOKENS, nowMs: 20_000 }).peer!;
    chosen.set(peer, (chosen.get(peer) ?? 0) + 1);
    settle(peer);
  }
  assert.ok(Math.abs(chosen.get("back")! - 50) <= 2, `${chosen.get("back")}`);
});

Deno.test("a dead peer gets a bounded share, whether it is silent or unreachable", () => {
  for (const way of ["silent", "unreachable"]) {
    const router = routerOf(["dead", "a", "b"]);
    const chosen = counts(router, 10_000, {
      underWay: 5,
      settle: (peer, nowMs) => {
        if (peer !== "dead") return router.settle(peer, { tokens: TOKENS, seconds: 1 });
        if (way === "silent") router.timedOut(peer, { tokens: TOKENS, waitedSeconds: 5, nowMs });
        else router.failed(peer, nowMs);
      },
    });
    // 100 s of tasks: pauses of 0.5, 1, 2, … s leave room for eight attempts and what was under way.
    assert.ok(chosen.get("dead")! < 40, `${way}: ${chosen.get("dead")}`);
  }
});

Deno.test("a peer that says it needs no time gets no more than what its pace's bound allows", () => {
  const router = routerOf(["liar", "honest"]);
  const settle = (peer: string) =>
    router.settle(peer, { tokens: TOKENS, seconds: peer === "liar" ? -0 : 1e-3 });
  const chosen = counts(router, 5000, { underWay: 1, settle });
  assert.ok(chosen.get("honest")! > 300, `${chosen.get("honest")}`);
});

Deno.test("refused is not a failure: it says when to come back, and is asked again then", () => {
  const router = routerOf(["one"]);
  assert.equal(router.choose({ tokens: TOKENS, nowMs: 0 }).peer, "one");
  router.refused("one", 40);
  assert.deepEqual(router.choose({ tokens: TOKENS, nowMs: 10 }), { peer: undefined, retryAtMs: 40 });
  assert.equal(router.choose({ tokens: TOKENS, nowMs: 40 }).peer, "one");
});

Deno.test("while one is busy and the other failed, whoever is free first is waited for", () => {
  const router = routerOf(["busy", "failed"]);
  router.failed("failed", 0);
  router.refused("busy", 10_000);
  assert.deepEqual(router.choose({ tokens: TOKENS, nowMs: 1 }), {
    peer: undefined,
    retryAtMs: COOLOFF_MS_MIN,
  });
  assert.equal(router.choose({ tokens: TOKENS, nowMs: COOLOFF_MS_MIN }).peer, "failed");
});

Deno.test("a peer that failed before and is busy now is not asked in a tight loop", () => {
  const router = routerOf(["one"]);
  router.failed("one", 0);
  assert.equal(router.choose({ tokens: TOKENS, nowMs: 600 }).peer, "one");
  router.refused("one", 700);
  assert.deepEqual(router.choose({ tokens: TOKENS, nowMs: 601 }), { peer: undefined, retryAtMs: 700 });
});

Deno.test("a stage that is left without peers tries them after the shortest pause", () => {
  const router = routerOf(["one", "two"]);
  for (let nowMs = 0; nowMs <= 4000; nowMs += 4000) {
    for (const peer of ["one", "two"]) router.failed(peer, nowMs);
  }
  router.failed("two", 4100);
  assert.deepEqual(router.choose({ tokens: TOKENS, nowMs: 4200 }), {
    peer: undefined,
    retryAtMs: 4000 + COOLOFF_MS_MIN,
  });
  assert.equal(router.choose({ tokens: TOKENS, nowMs: 4000 + COOLOFF_MS_MIN }).peer, "one");
});

Deno.test("a fresh announcement lifts a cool-off, an old one doesn't", () => {
  const router = routerOf(["one", "two"]);
  router.failed("one", 0);
  router.learn([announcement("one", 1), announcement("two", 1)]);
  for (let task = 0; task < 5; task++) assert.equal(router.choose({ tokens: TOKENS, nowMs: 1 }).peer, "two");
  router.learn([announcement("one", 2), announcement("two", 2)]);
  const next = [1, 2].map(() => router.choose({ tokens: TOKENS, nowMs: 1 }).peer);
  assert.ok(next.includes("one"), "level with the other");
});

Deno.test("who is announced no more is forgotten in the end, unless it still works", () => {
  const router = routerOf(["gone", "works", "found"]);
  for (let finding = 0; finding <= ABSENCES_MAX; finding++) {
    router.settle("works", { tokens: TOKENS, seconds: 1 });
    router.learn([]);
    assert.ok(router.has("gone"), "nobody found means that finding failed");
    router.learn([announcement("found")]);
  }
  assert.deepEqual(router.peers(), ["works", "found"]);
  router.forget("works");
  assert.equal(router.has("works"), false);
});

Deno.test("a full router takes a newcomer in place of one that fails, never of one that works", () => {
  const names = Array.from({ length: ROUTER_PEERS_MAX }, (_, index) => `peer ${index}`);
  const router = routerOf(names);
  router.learn([announcement("new")]);
  assert.equal(router.has("new"), false);
  router.failed("peer 7", 0);
  router.learn([announcement("new")]);
  assert.deepEqual([router.has("new"), router.has("peer 7"), router.peers().length], [
    true,
    false,
    ROUTER_PEERS_MAX,
  ]);
});

Deno.test("nobody known, nobody chosen", () => {
  const router = new Router({ uniform: () => 0 });
  assert.deepEqual(router.choose({ tokens: TOKENS, nowMs: 0 }), { peer: undefined, retryAtMs: undefined });
  assert.equal(router.usualSeconds("stranger", TOKENS), 0);
});

Deno.test("a peer is waited for as it usually takes, an untried one as the slowest, and longer after a failure", () => {
  const router = routerOf(["one", "two", "untried"]);
  router.settle("one", { tokens: TOKENS, seconds: 4 });
  router.settle("two", { tokens: TOKENS, seconds: 2 });
  assert.equal(router.usualSeconds("two", 2 * TOKENS), 4);
  assert.equal(router.usualSeconds("untried", 2 * TOKENS), 8);
  assert.equal(routerOf(["one"]).usualSeconds("one", TOKENS, 7), 7, "nothing is known of anybody");
  router.timedOut("two", { tokens: TOKENS, waitedSeconds: 100, nowMs: 0 });
  assert.equal(router.usualSeconds("two", 2 * TOKENS), 8);
});

Deno.test("who wasted time is paused for several times as long, though it says that it is there", () => {
  const router = routerOf(["one", "two"]);
  router.timedOut("one", { tokens: TOKENS, waitedSeconds: 5, nowMs: 0 });
  const endMs = COOLOFF_PER_WASTE_MIN * 5000;
  for (let nowMs = 0; nowMs < endMs; nowMs += 100) {
    router.learn([announcement("one", nowMs + 2), announcement("two", nowMs + 2)]);
    assert.equal(router.choose({ tokens: TOKENS, nowMs }).peer, "two");
    router.settle("two", { tokens: TOKENS, seconds: 1 });
  }
  const next = [1, 2].map(() => router.choose({ tokens: TOKENS, nowMs: endMs }).peer);
  assert.ok(next.includes("one"));
});

Deno.test("who comes back after it wasted time is tried with one task, until that one is done", () => {
  const router = routerOf(["one", "two"]);
  router.unreturned("one", { waitedMs: 5000, nowMs: 0 });
  const nowMs = COOLOFF_PER_WASTE_MIN * 5000;
  const choose = () => router.choose({ tokens: TOKENS, nowMs }).peer;
  assert.deepEqual([choose(), choose(), choose(), choose()].filter((peer) => peer === "one"), ["one"]);
  // That it computes is no news: it did so before.
  router.settle("one", { tokens: TOKENS, seconds: 1 });
  router.succeeded("one", "computed");
  assert.deepEqual([choose(), choose()], ["two", "two"]);
  router.succeeded("one", "returned");
  assert.ok([choose(), choose(), choose()].includes("one"));
});

Deno.test("who is suspected gets nothing until it is cleared; who is excused too often is to blame", () => {
  const router = routerOf(["one", "two"]);
  const choose = (nowMs: number) => [1, 2, 3].map(() => router.choose({ tokens: TOKENS, nowMs }).peer);
  for (let time = 1; time < EXCUSES_MAX; time++) {
    router.suspect("one", time * 10_000 + 2000);
    assert.ok(!choose(time * 10_000).includes("one"));
    // Walks that were waited for together are one excuse.
    for (let walk = 0; walk < 5; walk++) {
      router.excused("one", { waitedMs: 5000, nowMs: time * 10_000 + walk });
    }
    assert.ok(choose(time * 10_000 + 10).includes("one"));
  }
  router.excused("one", { waitedMs: 5000, nowMs: EXCUSES_MAX * 10_000 });
  assert.ok(!choose(EXCUSES_MAX * 10_000 + 10).includes("one"));
});

Deno.test("any interleaving of calls: nothing throws, and who failed rests while another is well", () => {
  const names = ["a", "b", "c", "d"];
  const peer = fc.constantFrom(...names, "stranger");
  const call = fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        kind: fc.constant("choose" as const),
        tokens: fc.integer({ min: 1, max: 4096 }),
      }),
    },
    fc.record({ kind: fc.constant("settle" as const), peer, seconds: fc.double() }),
    fc.record({ kind: fc.constant("timedOut" as const), peer, waitedSeconds: fc.double() }),
    fc.record({ kind: fc.constant("failed" as const), peer }),
    fc.record({
      kind: fc.constant("refused" as const),
      peer,
      retryAfterMs: fc.oneof(fc.nat({ max: 2000 }), fc.double()),
    }),
    fc.record({
      kind: fc.constant("learn" as const),
      peers: fc.subarray(names),
      sequence: fc.nat({ max: 5 }),
    }),
    fc.record({ kind: fc.constant("forget" as const), peer }),
    fc.record({ kind: fc.constant("wait" as const), ms: fc.nat({ max: 2000 }) }),
  );
  fc.assert(
    fc.property(fc.array(call, { maxLength: 100 }), fc.nat(), (calls, seed) => {
      const router = routerOf(names, seed);
      /** Peers that failed, and nothing since could have ended their shortest pause before its time. */
      const restingUntilMs = new Map<string, number>();
      /** Peers of whom nothing bad was ever heard. */
      const well = new Set(names);
      let nowMs = 0;
      const trouble = (peer: string) => {
        well.delete(peer);
        if (router.has(peer)) restingUntilMs.set(peer, nowMs + COOLOFF_MS_MIN);
      };
      for (const call of calls) {
        switch (call.kind) {
          case "choose": {
            const choice = router.choose({ tokens: call.tokens, nowMs });
            const anyWell = [...well].some((peer) => router.has(peer));
            if (anyWell) assert.notEqual(choice.peer, undefined, "somebody well is there");
            if (choice.peer === undefined) {
              if (choice.retryAtMs === undefined) assert.equal(router.peers().length, 0);
              else assert.ok(choice.retryAtMs > nowMs);
            } else {
              assert.ok(router.has(choice.peer));
              if (anyWell) assert.ok((restingUntilMs.get(choice.peer) ?? 0) <= nowMs, `${choice.peer} rests`);
            }
            break;
          }
          case "settle":
            router.settle(call.peer, { tokens: 100, seconds: call.seconds });
            restingUntilMs.delete(call.peer);
            break;
          case "timedOut":
            router.timedOut(call.peer, { tokens: 100, waitedSeconds: call.waitedSeconds, nowMs });
            // Within a pause it doesn't begin another.
            if (!restingUntilMs.has(call.peer)) trouble(call.peer);
            well.delete(call.peer);
            break;
          case "failed":
            router.failed(call.peer, nowMs);
            if (!restingUntilMs.has(call.peer)) trouble(call.peer);
            well.delete(call.peer);
            break;
          case "refused":
            router.refused(call.peer, nowMs + call.retryAfterMs);
            well.delete(call.peer);
            break;
          case "learn":
            router.learn(call.peers.map((peer) => announcement(peer, call.sequence)));
            for (const peer of call.peers) restingUntilMs.delete(peer);
            break;
          case "forget":
            router.forget(call.peer);
            restingUntilMs.delete(call.peer);
            well.delete(call.peer);
            break;
          case "wait":
            nowMs += call.ms;
            for (const [peer, untilMs] of restingUntilMs) if (untilMs <= nowMs) restingUntilMs.delete(peer);
        }
        for (const name of router.peers()) assert.ok(Number.isFinite(router.usualSeconds(name, 1)));
      }
    }),
    { numRuns: 500 },
  );
});
