import assert from "node:assert/strict";
import type { Hello } from "./coordination_events.ts";
import { applicable, latestApplied, mostCommon, newestCommon, type Offerer, offersOf } from "./offers.ts";

const hash = (letter: string) => letter.repeat(64);

/** A host that stands at a step. */
function host(stage: number, step: number, stateHash: string | null, more: Partial<Hello> = {}): Offerer {
  return {
    stage,
    hello: {
      stage,
      step,
      stateHash,
      snapshots: [],
      incarnation: 1,
      secondsPerMicroBatch: null,
      movable: true,
      leaving: false,
      missed: 0,
      term: 0,
      leader: null,
      latest: null,
      electorates: [],
      report: null,
      ...more,
    },
  };
}

const update = (term: number, round: number) => ({
  total: { term, round },
  scale: 1,
  learningRate: 1,
  squareSum: 1,
  lossSum: 1,
  tokens: 1,
});

/** What a host reports that has applied an update, or holds the total of one. */
const report = (
  applied: ReturnType<typeof update> | null,
  total: { term: number; round: number } | null = null,
) => ({
  report: { held: [], losses: [], total, applied, proof: null },
});

Deno.test("the newest step of which every stage is on offer is where all can go on, disks included", () => {
  const kept = { snapshots: [{ step: 2, stateHash: hash("b") }] };
  const offers = offersOf(2, [host(0, 3, hash("a"), kept), host(0, 2, hash("b")), host(1, 2, hash("c"))]);
  assert.equal(newestCommon(offers), 2);
  assert.equal(mostCommon(offers[0].get(2)!), hash("b"));
  assert.equal(newestCommon(offersOf(2, [host(0, 3, hash("a")), host(1, 2, hash("c"))])), undefined);
  assert.equal(
    newestCommon(offersOf(2, [host(0, 1, null), host(1, 1, hash("c"))])),
    undefined,
    "it holds nothing",
  );
});

Deno.test("of states of one step the one counts that was applied last; of as many the first", () => {
  const applied = (letter: string, term: number, round: number) =>
    host(0, 4, hash(letter), report(update(term, round)));
  const latest = (...hosts: Offerer[]) => latestApplied(hosts, 0, 4)?.stateHash[0];
  assert.equal(latest(applied("a", 2, 9), applied("b", 3, 0)), "b");
  assert.equal(latest(applied("a", 3, 1), applied("b", 3, 0)), "a");
  assert.equal(latest(host(0, 4, hash("a"))), undefined);
  assert.equal(latest(host(1, 4, hash("a"), report(update(1, 1)))), undefined, "another stage's");
  assert.equal(mostCommon(new Map([["x", 1], ["y", 2], ["z", 2]])), "y");
});

Deno.test("who holds the total that another has applied may apply it", () => {
  const total = { term: 2, round: 1 };
  const taken = host(0, 5, hash("a"), report(update(2, 1)));
  const holds = host(1, 4, hash("b"), report(null, total));
  const others = [
    host(1, 4, hash("b"), report(null, { term: 2, round: 0 })),
    host(1, 3, hash("b"), report(null, total)),
    host(1, 4, hash("b"), report(null)),
    host(1, 4, hash("b")),
  ];
  assert.deepEqual(applicable([holds, ...others, taken]), [{ host: holds, update: update(2, 1) }]);
  assert.deepEqual(applicable([holds]), []);
});
