import assert from "node:assert/strict";
import fc from "fast-check";
import { Latency, LINKS_MAX } from "./latency.ts";

/** A network whose times don't change: what a token takes is the sum of links and steps. */
interface Network {
  readonly linkMs: (from: string | undefined, to: string | undefined) => number;
  readonly stepMs: (peer: string) => number;
}

function pass(latency: Latency, path: readonly string[], { linkMs, stepMs }: Network, tokens = 1): void {
  const spentMs = path.map((peer) => stepMs(peer));
  const ends = [undefined, ...path, undefined];
  const onLinksMs = path.reduce(
    (sum, peer, stage) => sum + linkMs(ends[stage], peer),
    linkMs(path.at(-1), undefined),
  );
  const totalMs = onLinksMs + spentMs.reduce((sum, ms) => sum + ms, 0);
  latency.passed({ path, tokens, totalMs, spentMs, sharing: path.map(() => 1) });
}

function trueMs(path: readonly string[], { linkMs, stepMs }: Network): number {
  const ends = [undefined, ...path];
  return path.reduce(
    (sum, peer, stage) => sum + linkMs(ends[stage], peer) + stepMs(peer),
    linkMs(path.at(-1), undefined),
  );
}

Deno.test("what is expected of a path that is used comes to what it takes, whatever was thought before", () => {
  const ms = fc.integer({ min: 0, max: 200 });
  fc.assert(fc.property(
    fc.integer({ min: 1, max: 4 }),
    fc.array(ms, { minLength: 40, maxLength: 40 }),
    fc.array(ms, { minLength: 8, maxLength: 8 }),
    (stages, links, roundTrips) => {
      const host = (stage: number, replica: number) => `host ${stage}.${replica}`;
      const number = (peer: string | undefined) =>
        peer === undefined ? 0 : 1 + 2 * Number(peer[5]) + Number(peer[7]);
      const network: Network = {
        // Either way alike, as a round trip can't tell the ways apart.
        linkMs: (from, to) => {
          const [one, other] = [number(from), number(to)].sort((a, b) => a - b);
          return links[(one * 9 + other) % links.length];
        },
        stepMs: (peer) => links[number(peer)],
      };
      const latency = new Latency();
      for (let stage = 0; stage < stages; stage++) {
        for (const replica of [0, 1]) {
          latency.answered(host(stage, replica), roundTrips[2 * stage + replica]);
        }
      }
      const paths = [0, 1].map((replica) =>
        Array.from({ length: stages }, (_, stage) => host(stage, replica))
      );
      for (let turn = 0; turn < 100; turn++) for (const path of paths) pass(latency, path, network);
      for (const path of paths) {
        const expected = latency.expectedMs(path, 1);
        assert.ok(
          Math.abs(expected - trueMs(path, network)) < 1e-3,
          `${expected} for ${trueMs(path, network)}`,
        );
      }
    },
  ));
});

Deno.test("before any token two hosts are thought as far apart as the farther of them is from home", () => {
  const latency = new Latency();
  latency.answered("near", 4);
  latency.answered("far", 100);
  assert.equal(latency.linkMs(undefined, "near"), 2);
  assert.equal(latency.linkMs("far", undefined), 50);
  assert.equal(latency.linkMs("near", "far"), 50);
  assert.equal(latency.linkMs("far", "near"), 50);
});

Deno.test("a late answer makes a host a little farther, an early one at once nearer", () => {
  const latency = new Latency();
  assert.equal(latency.knows("host"), false);
  latency.answered("host", 20);
  latency.answered("host", 220);
  assert.equal(latency.linkMs(undefined, "host"), 30);
  latency.answered("host", 4);
  assert.equal(latency.linkMs(undefined, "host"), 2);
  assert.equal(latency.knows("host"), true);
});

Deno.test("of a host that has said nothing nothing good is expected, nor anything bad of its speed", () => {
  const latency = new Latency();
  latency.answered("a", 10);
  latency.answered("b", 30);
  latency.told("a", 0.005);
  latency.told("b", 0.004);
  assert.equal(latency.linkMs(undefined, "stranger"), 15);
  assert.equal(latency.stepMs("stranger"), 4);
});

Deno.test("a host's own word counts until a token has been there", () => {
  const latency = new Latency();
  latency.told("host", 0.1);
  assert.equal(latency.stepMs("host"), 100);
  for (let turn = 0; turn < 100; turn++) {
    latency.passed({ path: ["host"], tokens: 1, totalMs: 30, spentMs: [20], sharing: [1] });
  }
  latency.told("host", 0.001);
  assert.ok(Math.abs(latency.stepMs("host") - 20) < 1e-3);
});

Deno.test("whatever a host says of itself, what it takes is a number, and is found out", () => {
  const latency = new Latency();
  latency.told("host", Number.MAX_VALUE);
  for (let turn = 0; turn < 100; turn++) {
    assert.ok(Number.isFinite(latency.expectedMs(["host"], 1000)));
    latency.passed({ path: ["host"], tokens: 1, totalMs: 30, spentMs: [20], sharing: [1] });
  }
  assert.ok(Math.abs(latency.stepMs("host") - 20) < 1e-3);
});

Deno.test("what several texts shared is what one of them takes", () => {
  const latency = new Latency();
  latency.passed({ path: ["host"], tokens: 1, totalMs: 41, spentMs: [40], sharing: [4] });
  assert.equal(latency.stepMs("host"), 10);
});

Deno.test("a prompt teaches what prompts take, and nothing of links", () => {
  const latency = new Latency();
  latency.answered("host", 10);
  latency.told("host", 0.004);
  latency.passed({ path: ["host"], tokens: 100, totalMs: 1000, spentMs: [200], sharing: [1] });
  assert.equal(latency.linkMs(undefined, "host"), 5);
  assert.equal(latency.expectedMs(["host"], 1), 5 + 4 + 5);
  assert.equal(latency.expectedMs(["host"], 50), 5 + 50 * 2 + 5);
  assert.equal(latency.expectedMs(["host"], 2), 5 + 4 + 5);
});

Deno.test("times that can't be true teach nothing", () => {
  const latency = new Latency();
  latency.answered("host", 10);
  latency.passed({ path: ["host"], tokens: 1, totalMs: 5, spentMs: [6], sharing: [1] });
  latency.passed({ path: ["host"], tokens: 1, totalMs: 5, spentMs: [], sharing: [1] });
  latency.passed({ path: ["host"], tokens: 1, totalMs: 5, spentMs: [1, 1], sharing: [1] });
  assert.equal(latency.linkMs(undefined, "host"), 5);
});

Deno.test("of links no more are remembered than there is room for; those in use stay", () => {
  const latency = new Latency();
  latency.answered("used", 2);
  const used = { path: ["used", "other"], tokens: 1, totalMs: 300, spentMs: [0, 0], sharing: [1, 1] };
  for (let number = 0; number < LINKS_MAX + 10; number++) {
    latency.passed({ ...used, path: [`a${number}`, `b${number}`] });
    latency.passed(used);
  }
  // What is forgotten is thought of as at first.
  const first = Math.max(latency.linkMs("a0", undefined), latency.linkMs("b0", undefined));
  assert.equal(latency.linkMs("a0", "b0"), first);
  assert.ok(latency.linkMs("used", "other") > 50);
  latency.forget("used");
  assert.equal(latency.knows("used"), false);
});
