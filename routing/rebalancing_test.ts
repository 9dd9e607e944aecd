import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type BalancedHost,
  type BalanceRules,
  type Move,
  pipelineCapacity,
  Placement,
  planMoves,
  rebalanceDelayMs,
} from "./rebalancing.ts";

const RULES: BalanceRules = { work: [1, 1, 1], floor: 1, ceiling: 1000, hysteresis: 0.05, movesMax: 1000 };

const RUNS = { numRuns: 500 };

/** So many hosts at each stage, all of one speed. */
function swarm(counts: readonly number[], speed = 1): BalancedHost[] {
  return counts.flatMap((count, stage) =>
    Array.from({ length: count }, (_, index) => host({ peer: `${stage}-${index}`, stage }, speed))
  );
}

function host(change: Partial<BalancedHost>, speed = 1, work = 1): BalancedHost {
  return {
    peer: "host",
    stage: 0,
    serving: true,
    movable: true,
    secondsPerMicroBatch: work / speed,
    ...change,
  };
}

/** The hosts after some moves, each measuring the work of its new stage. */
function moved(
  hosts: readonly BalancedHost[],
  moves: readonly Move[],
  work: readonly number[],
): BalancedHost[] {
  return hosts.map((host) => {
    const move = moves.find(({ peer }) => peer === host.peer);
    if (move === undefined) return host;
    assert.equal(move.from, host.stage);
    const seconds = host.secondsPerMicroBatch! * work[move.to] / work[move.from];
    return { ...host, stage: move.to, secondsPerMicroBatch: seconds };
  });
}

function counts(hosts: readonly BalancedHost[], stages: number): number[] {
  const result = new Array<number>(stages).fill(0);
  for (const { stage } of hosts) result[stage]++;
  return result;
}

/** Periods go by and nothing else happens. @returns the hosts when nobody moves any more. */
function settle(hosts: readonly BalancedHost[], rules: BalanceRules): BalancedHost[] {
  let now = [...hosts];
  for (let period = 0; period <= 2 * hosts.length; period++) {
    const moves = planMoves(now, rules);
    if (moves.length === 0) return now;
    now = moved(now, moves, rules.work);
  }
  return assert.fail("it never settles");
}

/** The best that hosts of speed 1 can do: give each to the stage that is poorest. */
function bestOfEquals(total: number, work: readonly number[], floor: number): number {
  const counts = work.map(() => floor);
  for (let given = floor * work.length; given < total; given++) {
    const rates = counts.map((count, stage) => count / work[stage]);
    counts[rates.indexOf(Math.min(...rates))]++;
  }
  return Math.min(...counts.map((count, stage) => count / work[stage]));
}

Deno.test("the poorest stage gets hosts of the richest, no more than pays off", () => {
  assert.deepEqual(planMoves(swarm([2, 5, 8]), RULES).map(({ from, to }) => [from, to]), [
    [2, 0],
    [2, 0],
    [2, 0],
  ]);
  assert.deepEqual(planMoves(swarm([5, 5, 6]), RULES), []);
  assert.deepEqual(planMoves(swarm([5, 5, 5]), RULES), []);
  // Two poor stages: neither move alone makes the pipeline faster, both together do.
  const rules = { ...RULES, work: [1, 1, 1, 1] };
  assert.deepEqual(planMoves(swarm([5, 5, 8, 8]), rules).map(({ to }) => to), [0, 1]);
  assert.equal(planMoves(swarm([5, 5, 8, 8]), { ...rules, movesMax: 1 }).length, 1);
});

Deno.test("what gains too little is left alone", () => {
  assert.deepEqual(planMoves(swarm([100, 104, 108]), RULES), []);
  assert.equal(planMoves(swarm([100, 104, 108]), { ...RULES, hysteresis: 0.01 }).length, 4);
});

Deno.test("a stage with more work gets more hosts", () => {
  const rules = { ...RULES, work: [1, 1, 2] };
  const hosts = swarm([4, 4, 4]).map((host) => ({
    ...host,
    secondsPerMicroBatch: rules.work[host.stage],
  }));
  assert.deepEqual(counts(settle(hosts, rules), 3), [3, 3, 6]);
});

Deno.test("a stage below its floor comes before all gain", () => {
  const hosts = [host({ peer: "fast" }, 15), ...swarm([0, 3, 4])];
  const moves = planMoves(hosts, { ...RULES, floor: 2, hysteresis: 10 });
  assert.deepEqual(moves, [{ peer: "2-0", from: 2, to: 0 }]);
});

Deno.test("nobody is sent where no host could hand its state over", () => {
  assert.deepEqual(planMoves(swarm([0, 5, 5]), RULES), []);
  assert.deepEqual(planMoves([...swarm([0, 5, 5]), host({ peer: "coming", serving: false })], RULES), []);
});

Deno.test("hosts on their way count where they go, and are left alone", () => {
  const coming = [1, 2, 3].map((index) => host({ peer: `coming-${index}`, serving: false }));
  assert.deepEqual(planMoves([...swarm([2, 5, 6]), ...coming], RULES), []);
});

Deno.test("a host whose owner asked for its stage stays", () => {
  const hosts = swarm([2, 5, 8]).map((host) => ({ ...host, movable: host.stage !== 2 }));
  assert.deepEqual(planMoves(hosts, RULES).map(({ from }) => from), [1]);
});

Deno.test("a host that boasts empties no other stage", () => {
  const boaster = host({ peer: "boaster", secondsPerMicroBatch: 1e-12 });
  const hosts = [boaster, ...swarm([3, 4, 4])];
  assert.ok(planMoves(hosts, RULES).every(({ peer }) => peer === "boaster" || peer.startsWith("0-")));
  for (const secondsPerMicroBatch of [0, -1, NaN, Infinity]) {
    assert.ok(Number.isFinite(pipelineCapacity([host({ secondsPerMicroBatch })], [1])));
  }
});

Deno.test("a newcomer goes where capacity is least, not where hosts are fewest", () => {
  const fast = host({ peer: "fast" }, 9);
  const slow = [1, 2, 3].map((index) => host({ peer: `slow-${index}`, stage: 1 }));
  assert.equal(new Placement([fast, ...slow], { work: [1, 1], floor: 1, ceiling: 10 }).next(), 1);
  assert.equal(new Placement([fast, ...slow], { work: [1, 1], floor: 2, ceiling: 10 }).next(), 0);
  assert.equal(new Placement([fast, ...slow], { work: [1, 1], floor: 1, ceiling: 3 }).next(), 0);
  assert.equal(new Placement([fast, ...slow], { work: [1, 1], floor: 1, ceiling: 1 }).next(), 1);
  assert.equal(new Placement([], { work: [1, 1], floor: 1, ceiling: 10 }).next(), 0);
});

Deno.test("newcomers that come together fill a swarm evenly, and its gaps first", () => {
  const empty = new Placement([], RULES);
  assert.deepEqual(Array.from({ length: 7 }, () => empty.next()), [0, 1, 2, 0, 1, 2, 0]);
  const uneven = new Placement(swarm([3, 1, 2]), RULES);
  assert.deepEqual(Array.from({ length: 4 }, () => uneven.next()), [1, 1, 2, 0]);
});

Deno.test("a look comes after about a period", () => {
  assert.equal(rebalanceDelayMs(1000, 0), 900);
  assert.equal(rebalanceDelayMs(1000, 0.5), 1000);
});

/** Any swarm, well or ill, with hosts of any speed that is believed. */
const anySwarm = fc.integer({ min: 1, max: 6 }).chain((stages) =>
  fc.record({
    work: fc.array(fc.double({ min: 0.1, max: 10, noNaN: true }), { minLength: stages, maxLength: stages }),
    floor: fc.integer({ min: 1, max: 3 }),
    movesMax: fc.integer({ min: 1, max: 20 }),
    hysteresis: fc.double({ min: 0, max: 0.3, noNaN: true }),
    hosts: fc.array(
      fc.record({
        stage: fc.integer({ min: 0, max: stages - 1 }),
        speed: fc.double({ min: 0.5, max: 5, noNaN: true }),
        serving: fc.boolean(),
        movable: fc.boolean(),
      }),
      { maxLength: 30 },
    ),
  })
);

Deno.test("no plan empties a stage, breaks a floor or makes the pipeline slower, at any of its moves", () => {
  fc.assert(
    fc.property(anySwarm, ({ work, floor, movesMax, hysteresis, hosts: drawn }) => {
      const hosts = drawn.map(({ speed, ...rest }, index) =>
        host({ ...rest, peer: `${index}` }, speed, work[rest.stage])
      );
      const rules = { work, floor, ceiling: 1000, hysteresis, movesMax };
      const moves = planMoves(hosts, rules);
      assert.ok(moves.length <= movesMax);
      assert.equal(new Set(moves.map(({ peer }) => peer)).size, moves.length, "a host moves once");
      const before = pipelineCapacity(hosts, work);
      for (let taken = 1; taken <= moves.length; taken++) {
        const { peer, from } = moves[taken - 1];
        assert.ok(hosts.find((host) => host.peer === peer)!.movable);
        // Those that move serve nobody until they have arrived.
        const gone = new Set(moves.slice(0, taken).map(({ peer }) => peer));
        const left = hosts.filter(({ peer }) => !gone.has(peer));
        const serving = left.filter(({ stage, serving }) => stage === from && serving).length;
        assert.ok(serving >= Math.max(1, floor), "a floor is broken");
        assert.ok(pipelineCapacity(left, work) >= before * (1 - 1e-6), "the pipeline became slower");
      }
    }),
    RUNS,
  );
});

Deno.test("without churn a swarm of any speeds settles, and what it settles at no single move improves", () => {
  fc.assert(
    fc.property(anySwarm, ({ work, floor, movesMax, hosts: drawn }) => {
      const hosts = drawn.map(({ speed, stage }, index) =>
        host({ stage, peer: `${index}` }, speed, work[stage])
      );
      const rules = { work, floor, ceiling: 1000, hysteresis: 0, movesMax };
      const settled = settle(hosts, rules);
      assert.deepEqual(planMoves(settled, rules), [], "it stays");
      const capacity = pipelineCapacity(settled, work);
      if (capacity === 0) return;
      for (const { peer, stage } of settled) {
        if (counts(settled, work.length)[stage] <= floor) continue;
        for (let to = 0; to < work.length; to++) {
          const other = moved(settled, stage === to ? [] : [{ peer, from: stage, to }], work);
          assert.ok(pipelineCapacity(other, work) <= capacity * (1 + 1e-6));
        }
      }
    }),
    RUNS,
  );
});

Deno.test("hosts of one speed settle at the best allocation there is, and stay", () => {
  const counts = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 8 });
  const work = fc.integer({ min: 1, max: 4 });
  fc.assert(
    fc.property(
      counts,
      fc.infiniteStream(work),
      fc.integer({ min: 1, max: 9 }),
      (counts, works, movesMax) => {
        const work = counts.map(() => works.next().value!);
        const hosts = swarm(counts).map((host) => ({ ...host, secondsPerMicroBatch: work[host.stage] }));
        const settled = settle(hosts, { ...RULES, work, hysteresis: 0, movesMax });
        const best = bestOfEquals(hosts.length, work, 1);
        assert.ok(Math.abs(pipelineCapacity(settled, work) - best) < 1e-6 * best);
      },
    ),
  );
});

Deno.test("a newcomer that would rather keep its stage does where no other is needier", () => {
  const kept = (counts: number[], preferred: number) => new Placement(swarm(counts), RULES).next(preferred);
  assert.equal(kept([], 2), 2);
  assert.equal(kept([1, 1, 1], 1), 1);
  assert.equal(kept([2, 1, 1], 0), 1);
  assert.equal(kept([1, 1, 0], 1), 2);
  assert.equal(kept([1, 1, 1], 7), 0);
});
