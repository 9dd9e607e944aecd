/**
 * A trace of churn played against the decision who moves where, and nothing else:
 * no messages, no steps, no actors. A host is at a stage or on its way there; a
 * stage is as fast as the hosts that are there. It says what balance alone can
 * give, beside which the whole swarm is measured.
 */

import type { Entropy } from "../actors/core/entropy.ts";
import {
  type BalancedHost,
  type BalanceRules,
  Placement,
  planMoves,
  rebalanceDelayMs,
} from "../routing/mod.ts";
import type { ChurnEvent } from "./churn.ts";

/** What is played. */
export interface CapacityRunOptions {
  readonly trace: readonly ChurnEvent[];
  readonly hours: number;
  readonly stages: number;
  /** Between two looks; `undefined`: nobody moves. */
  readonly periodMs: number | undefined;
  readonly hysteresis: number;
  /** Where newcomers go: where they are needed most, or anywhere. */
  readonly placement: "neediest" | "anywhere";
  /** From being sent to a stage to serving there: its state has to be fetched. */
  readonly fetchMs: number;
  readonly entropy: Entropy;
}

/** What came of it. Throughput is in hosts of the slowest stage. */
export interface CapacityRun {
  /** Throughput by the best that the hosts alive could do at each moment, over the whole time. */
  readonly share: number;
  readonly shareOfLastHour: number;
  readonly moves: number;
  /** Each minute: hosts alive, what they did, and the best that they could have done. */
  readonly points: readonly CapacityPoint[];
}

/** One minute. */
export interface CapacityPoint {
  readonly hour: number;
  readonly alive: number;
  readonly throughput: number;
  readonly best: number;
}

const HOUR_MS = 3_600_000;
const POINT_MS = 60_000;

interface Host {
  stage: number;
  servesAtMs: number;
}

/** The best throughput of equal hosts over stages of equal work: whole hosts only. */
export function bestThroughput(hosts: number, stages: number): number {
  return Math.floor(hosts / stages);
}

/** Plays a trace to its end. */
export function runCapacity(options: CapacityRunOptions): CapacityRun {
  const { trace, hours, stages, periodMs, fetchMs, entropy, hysteresis, placement } = options;
  const endMs = hours * HOUR_MS;
  const hosts = new Map<string, Host>();
  const rules: BalanceRules = {
    work: new Array<number>(stages).fill(1),
    floor: 1,
    ceiling: Infinity,
    hysteresis,
    movesMax: Infinity,
  };
  const balanced = (nowMs: number): BalancedHost[] =>
    [...hosts].map(([peer, { stage, servesAtMs }]) => ({
      peer,
      stage,
      serving: servesAtMs <= nowMs,
      movable: true,
      secondsPerMicroBatch: 1,
    }));

  const done = { all: 0, lastHour: 0 };
  const possible = { all: 0, lastHour: 0 };
  const points: CapacityPoint[] = [];
  let moves = 0;
  let pointAtMs = 0;
  let lookAtMs = periodMs === undefined ? Infinity : rebalanceDelayMs(periodMs, entropy.uniform());
  let next = 0;
  for (let nowMs = 0; nowMs < endMs;) {
    while (next < trace.length && trace[next].atMs <= nowMs) {
      const { kind, peer } = trace[next++];
      if (kind !== "start") hosts.delete(peer);
      else {
        // Who is there at the beginning brings what everybody begins with.
        const servesAtMs = nowMs === 0 ? 0 : nowMs + fetchMs;
        const needed = nowMs === 0 || placement === "neediest";
        const stage = needed ? new Placement(balanced(nowMs), rules).next() : entropy.integer(stages);
        hosts.set(peer, { stage, servesAtMs });
      }
    }
    if (periodMs !== undefined && lookAtMs <= nowMs) {
      for (const { peer, to } of planMoves(balanced(nowMs), rules)) {
        hosts.set(peer, { stage: to, servesAtMs: nowMs + fetchMs });
        moves++;
      }
      lookAtMs = nowMs + rebalanceDelayMs(periodMs, entropy.uniform());
    }
    const serving = new Array<number>(stages).fill(0);
    let arrivesAtMs = Infinity;
    for (const { stage, servesAtMs } of hosts.values()) {
      if (servesAtMs <= nowMs) serving[stage]++;
      else arrivesAtMs = Math.min(arrivesAtMs, servesAtMs);
    }
    const throughput = Math.min(...serving);
    const best = bestThroughput(hosts.size, stages);
    for (; pointAtMs <= nowMs; pointAtMs += POINT_MS) {
      points.push({ hour: pointAtMs / HOUR_MS, alive: hosts.size, throughput, best });
    }
    const untilMs = Math.min(endMs, trace[next]?.atMs ?? Infinity, lookAtMs, arrivesAtMs, pointAtMs);
    const lastMs = Math.max(0, untilMs - Math.max(nowMs, endMs - HOUR_MS));
    done.all += throughput * (untilMs - nowMs);
    possible.all += best * (untilMs - nowMs);
    done.lastHour += throughput * lastMs;
    possible.lastHour += best * lastMs;
    nowMs = untilMs;
  }
  return {
    share: done.all / possible.all,
    shareOfLastHour: done.lastHour / possible.lastHour,
    moves,
    points,
  };
}
