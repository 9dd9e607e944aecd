import assert from "node:assert/strict";
import fc from "fast-check";
import type { Announcement } from "./announcement.ts";
import { COOLOFF_MS_MIN } from "./cooloff.ts";
import { FIRST_ANSWER_MS_MAX, type PathChoice, Paths } from "./paths.ts";
import { ABSENCES_MAX, ROUTER_PEERS_MAX } from "./router.ts";

const ROOM = 1000;

function announcement(peer: string, more: Partial<Announcement> = {}): Announcement {
  return {
    run: "0".repeat(64),
    service: "stage:0",
    peer,
    step: 0,
    stateHash: null,
    addresses: [],
    device: "reference",
    load: 0,
    trains: false,
    sessionRoom: ROOM,
    sequence: 1,
    issuedAtMs: 0,
    expiresAtMs: 1,
    ...more,
  };
}

interface HostOf {
  readonly roundTripMs?: number;
  readonly stepMs?: number;
  readonly more?: Partial<Announcement>;
}

/** Paths that know these hosts of each stage, and have an answer of each. */
function pathsOf(stages: readonly Readonly<Record<string, HostOf>>[]): Paths {
  const paths = new Paths({ stages: stages.length, uniform: () => 0 });
  stages.forEach((hosts, stage) => {
    paths.learn(stage, Object.entries(hosts).map(([peer, { more }]) => announcement(peer, more)), 0);
    for (const [peer, { roundTripMs = 2, stepMs = 1, more }] of Object.entries(hosts)) {
      paths.answered(peer, {
        roundTripMs,
        stage,
        step: more?.step ?? 0,
        secondsPerToken: stepMs / 1000,
        roomTokens: more?.sessionRoom ?? ROOM,
      });
    }
  });
  return paths;
}

function chosen(choice: PathChoice): readonly string[] {
  assert.equal(choice.kind, "path");
  return (choice as Extract<PathChoice, { kind: "path" }>).path;
}

const NOW = { tokens: 1, nowMs: 0 };

Deno.test("the path with the least sum of links and steps is chosen", () => {
  const paths = pathsOf([
    { near: { roundTripMs: 2, stepMs: 30 }, far: { roundTripMs: 80, stepMs: 1 } },
    { slow: { stepMs: 50 }, quick: { stepMs: 5 } },
  ]);
  assert.deepEqual(chosen(paths.choose(NOW)), ["near", "quick"]);
});

Deno.test("texts of one home are spread over hosts that are alike", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 5 }), (stages, replicas) => {
      const paths = pathsOf(
        Array.from(
          { length: stages },
          (_, stage) =>
            Object.fromEntries(Array.from({ length: replicas }, (_, number) => [`${stage}.${number}`, {}])),
        ),
      );
      const counts = new Map<string, number>();
      const taken: (readonly string[])[] = [];
      for (let text = 0; text < 3 * replicas; text++) {
        const path = chosen(paths.choose(NOW));
        paths.begun(path, 1, 0);
        taken.push(path);
        for (const peer of path) {
          counts.set(peer, (counts.get(peer) ?? 0) + 1);
        }
      }
      assert.deepEqual([...counts.values()], Array(stages * replicas).fill(3));
      // And evenly again once some have gone.
      for (const path of taken.slice(1)) {
        paths.ended(path, 1);
      }
      const next = chosen(paths.choose(NOW));
      if (replicas > 1) assert.ok(next.every((peer) => !taken[0].includes(peer)));
    }),
  );
});

Deno.test("without anybody at a stage it says at which", () => {
  const paths = pathsOf([{ a: {} }, {}]);
  assert.deepEqual(paths.choose(NOW), { kind: "noHosts", stage: 1 });
  assert.deepEqual(paths.hosts, [1, 0]);
});

Deno.test("hosts without room are left out; with none left it waits", () => {
  const paths = pathsOf([{ near: { roundTripMs: 0 }, far: { roundTripMs: 50 } }]);
  assert.deepEqual(chosen(paths.choose({ tokens: ROOM, nowMs: 0 })), ["near"]);
  paths.begun(["near"], 10, 0);
  assert.deepEqual(chosen(paths.choose({ tokens: ROOM, nowMs: 0 })), ["far"]);
  paths.refused("far", 700);
  const wait = paths.choose({ tokens: ROOM, nowMs: 0 });
  assert.deepEqual(wait, { kind: "wait", stage: 0, for: "room", retryAtMs: 700 });
  assert.equal(paths.choose({ tokens: ROOM + 1, nowMs: 0 }).kind, "wait");
  paths.ended(["near"], 10);
  assert.deepEqual(chosen(paths.choose({ tokens: ROOM, nowMs: 0 })), ["near"]);
});

Deno.test("who has failed is left alone, and tried after the shortest pause if there is nobody else", () => {
  const paths = pathsOf([{ a: { roundTripMs: 0 }, b: { roundTripMs: 50 } }]);
  paths.failed("a", 0);
  assert.deepEqual(chosen(paths.choose(NOW)), ["b"]);
  paths.failed("b", 0);
  const early = paths.choose(NOW);
  assert.deepEqual(early, { kind: "wait", stage: 0, for: "recovery", retryAtMs: COOLOFF_MS_MIN });
  // The second time both would be left alone for longer.
  for (const peer of ["a", "b"]) paths.failed(peer, COOLOFF_MS_MIN);
  const wait = paths.choose({ tokens: 1, nowMs: COOLOFF_MS_MIN });
  assert.deepEqual(wait, { kind: "wait", stage: 0, for: "recovery", retryAtMs: 2 * COOLOFF_MS_MIN });
  assert.deepEqual(chosen(paths.choose({ tokens: 1, nowMs: 2 * COOLOFF_MS_MIN })), ["a"]);
  // A token that came through forgives it.
  paths.passed(["a"], { tokens: 1, totalMs: 1, spentMs: [1] });
  paths.failed("a", 2 * COOLOFF_MS_MIN);
  paths.failed("b", 2 * COOLOFF_MS_MIN);
  assert.deepEqual(chosen(paths.choose({ tokens: 1, nowMs: 3 * COOLOFF_MS_MIN })), ["a"]);
});

Deno.test("a host that was just found is asked first; one that does not answer is taken after all", () => {
  const paths = new Paths({ stages: 1, uniform: () => 0 });
  paths.learn(0, [announcement("a"), announcement("b")], 100);
  const retryAtMs = 100 + FIRST_ANSWER_MS_MAX;
  assert.deepEqual(paths.choose({ tokens: 1, nowMs: 100 }), {
    kind: "wait",
    stage: 0,
    for: "answer",
    retryAtMs,
  });
  paths.answered("b", { roundTripMs: 900, stage: 0, step: 0, secondsPerToken: null, roomTokens: ROOM });
  assert.deepEqual(chosen(paths.choose({ tokens: 1, nowMs: 100 })), ["b"]);
  paths.begun(["b"], 1, 100);
  assert.deepEqual(chosen(paths.choose({ tokens: 1, nowMs: retryAtMs })), ["a"]);
});

Deno.test("all stages are of the newest step that each of them has", () => {
  const at = (step: number) => ({ more: { step } });
  const paths = pathsOf([{ a3: at(3), a5: at(5), a7: at(7) }, { b3: at(3), b5: at(5) }, {
    c5: at(5),
    c8: at(8),
    c3: at(3),
  }]);
  assert.deepEqual(chosen(paths.choose(NOW)), ["a5", "b5", "c5"]);
  const apart = pathsOf([{ a1: at(1), a2: at(2) }, { b3: at(3), b4: at(4) }]);
  assert.deepEqual(chosen(apart.choose(NOW)), ["a2", "b4"]);
});

Deno.test("those who train count as being at one step, the newest that one of them told", () => {
  const trains = (step: number) => ({ more: { step, trains: true } });
  const paths = pathsOf([{ a: trains(10), old: { roundTripMs: 0 } }, {
    b: trains(12),
    old2: { roundTripMs: 0 },
  }]);
  assert.deepEqual(chosen(paths.choose(NOW)), ["a", "b"]);
});

Deno.test("a host that says that it serves another stage is forgotten until it is found there", () => {
  const paths = pathsOf([{ a: {}, b: {} }, { c: {} }]);
  paths.answered("a", { roundTripMs: 1, stage: 1, step: 0, secondsPerToken: null, roomTokens: ROOM });
  assert.deepEqual(paths.hosts, [1, 1]);
  paths.learn(1, [announcement("a", { sequence: 2 }), announcement("c")], 0);
  assert.deepEqual(paths.hosts, [1, 2]);
  paths.learn(0, [announcement("a", { sequence: 3 }), announcement("b")], 0);
  assert.deepEqual(paths.hosts, [2, 1]);
  // An older word of it is late.
  paths.learn(1, [announcement("a", { sequence: 2 }), announcement("c")], 0);
  assert.deepEqual(paths.hosts, [2, 1]);
  paths.answered("nobody", { roundTripMs: 1, stage: 1, step: 0, secondsPerToken: null, roomTokens: ROOM });
});

Deno.test("whoever is missing often is forgotten, unless nobody is found at all", () => {
  const paths = pathsOf([{ a: {}, b: {} }]);
  for (let look = 0; look <= ABSENCES_MAX; look++) paths.learn(0, [], 0);
  assert.deepEqual(paths.hosts, [2]);
  for (let look = 0; look <= ABSENCES_MAX; look++) paths.learn(0, [announcement("a")], 0);
  assert.deepEqual(paths.peers(), ["a"]);
});

Deno.test("a fresh announcement lifts the pause of a host that could not be reached, and tells its room", () => {
  const paths = pathsOf([{ a: {}, b: { roundTripMs: 60 } }]);
  paths.failed("a", 0);
  paths.learn(0, [announcement("a", { sequence: 2, sessionRoom: 5 }), announcement("b")], 0);
  assert.deepEqual(chosen(paths.choose({ tokens: 5, nowMs: 0 })), ["a"]);
  assert.deepEqual(chosen(paths.choose({ tokens: 6, nowMs: 0 })), ["b"]);
});

Deno.test("strangers without number take the place of nobody who works", () => {
  const paths = new Paths({ stages: 1, uniform: () => 0 });
  const crowd = Array.from({ length: ROUTER_PEERS_MAX }, (_, number) => announcement(`host ${number}`));
  paths.learn(0, crowd, 0);
  paths.learn(0, [...crowd, announcement("stranger")], 0);
  assert.deepEqual(paths.hosts, [ROUTER_PEERS_MAX]);
  assert.ok(!paths.peers().includes("stranger"));
  paths.failed("host 3", 0);
  paths.learn(0, [...crowd, announcement("stranger")], 0);
  assert.ok(paths.peers().includes("stranger"));
  assert.equal(chosen(paths.choose({ tokens: 1, nowMs: 1000 })).length, 1);
});

Deno.test("a host that was lost is taken again when it is heard of, or if there is nobody else", () => {
  const paths = pathsOf([{ near: { roundTripMs: 0 }, far: { roundTripMs: 50 } }]);
  const later = { tokens: 1, nowMs: 10_000 };
  paths.lost("near", 0);
  paths.lost("nobody", 0);
  assert.deepEqual(paths.hosts, [1]);
  assert.deepEqual(chosen(paths.choose(later)), ["far"]);
  paths.lost("far", 0);
  assert.deepEqual(paths.hosts, [0]);
  assert.deepEqual(chosen(paths.choose(later)), ["near"]);
  paths.answered("far", { roundTripMs: 50, stage: 0, step: 0, secondsPerToken: null, roomTokens: ROOM });
  assert.deepEqual(chosen(paths.choose(later)), ["far"]);
  paths.learn(0, [announcement("near", { sequence: 2 }), announcement("far")], 0);
  assert.deepEqual(chosen(paths.choose(later)), ["near"]);
});
