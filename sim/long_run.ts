/**
 * A scenario as a person asks for it: so many peers, for so many hours, that
 * come and go in this way. It draws what is not said from the seed.
 */

import { SeededEntropy } from "../actors/core/seeded_entropy.ts";
import { type ChurnEvent, poissonChurn } from "./churn.ts";
import { drawFaults, type FaultKind, type Scenario } from "./scenario.ts";
import { spotTrace } from "./spot_trace.ts";

/** What can be asked for. */
export interface LongRun {
  readonly seed: number;
  /** Hosts that there are at most at a time. */
  readonly peers: number;
  readonly hours: number;
  readonly stages: number;
  readonly trainers: number;
  /** Default: some for each host of a stage. */
  readonly microBatchesPerStep?: number;
  /** Time of a micro-batch at a host of usual speed, there and back. */
  readonly secondsPerMicroBatch: number;
  /** Hosts take up to so many times as long. */
  readonly slownessMax: number;
  readonly rebalanceEverySeconds: number;
  /** A trace, or how to draw one. */
  readonly churn: "none" | "poisson" | "spot" | readonly ChurnEvent[];
  /** Mean time for which a host stays, with `poisson`; it is away for a quarter of that. */
  readonly meanUpHours: number;
  /** What goes wrong beside the churn, and how often. */
  readonly faults: readonly FaultKind[];
  readonly faultsPerHour: number;
}

const HOUR_MS = 3_600_000;
/** Way there by share of a micro-batch's time; the way back costs twice as much. */
const FORWARD_SHARE = 1 / 3;
const DOWN_SHARE = 0.25;
const GRACEFUL_SHARE = 0.3;
/** The world: four corners of it, and homes with anything from a phone line to a fibre. */
const NETWORK = { regions: 12, latencyMsMax: 150, bytesPerSecondMin: 1e6, bytesPerSecondMax: 1.25e8 };
/** Micro-batches of a step for each host of a stage: enough that the ends of a step weigh little. */
export const MICRO_BATCHES_PER_HOST = 96;
/** The most that a step may have. */
export const MICRO_BATCHES_MAX = 4096;
/** A step of a swarm at its best takes some time, and the way back to it some times as long. */
const BOUND_MS_MIN = 600_000;
const BOUND_STEPS = 12;

/** The scenario. The same options give the same one. */
export function longScenario(options: LongRun): Scenario {
  const { seed, stages, secondsPerMicroBatch, hours, trainers } = options;
  const chance = new SeededEntropy(`long run ${seed}`);
  const churn = churnOf(options, chance.fork("churn"));
  const hosts = options.churn === "none"
    ? Array.from({ length: options.peers }, (_, index) => ({ peer: `host-${index}`, stage: null }))
    : churn.filter(({ atMs, kind }) => atMs === 0 && kind === "start").map(({ peer }) => ({
      peer,
      stage: null,
    }));
  const perStage = Math.max(1, Math.floor(hosts.length / stages));
  const microBatchesPerStep = options.microBatchesPerStep ??
    Math.min(MICRO_BATCHES_MAX, MICRO_BATCHES_PER_HOST * perStage);
  const secondsPerStep = secondsPerMicroBatch * options.slownessMax *
    (microBatchesPerStep / perStage + stages);
  const scenario: Scenario = {
    seed,
    stages,
    microBatchesPerStep,
    trainers,
    hosts,
    forwardMs: 1000 * secondsPerMicroBatch * FORWARD_SHARE,
    backwardMs: 1000 * secondsPerMicroBatch * (1 - FORWARD_SHARE),
    slownessMax: options.slownessMax,
    network: NETWORK,
    snapshotEverySteps: 10,
    rebalanceEverySeconds: options.rebalanceEverySeconds,
    breakMs: hours * HOUR_MS,
    boundMs: Math.max(BOUND_MS_MIN, 1000 * BOUND_STEPS * secondsPerStep),
    churn,
    faults: [],
  };
  const count = Math.round(options.faultsPerHour * hours);
  return { ...scenario, faults: drawFaults(options.faults, count, scenario, chance.fork("faults")) };
}

function churnOf(
  { churn, seed, peers, hours, meanUpHours }: LongRun,
  chance: SeededEntropy,
): readonly ChurnEvent[] {
  switch (churn) {
    case "none":
      return [];
    case "spot":
      return spotTrace({ seed, hours, hosts: peers });
    case "poisson":
      return poissonChurn({
        hosts: peers,
        durationMs: hours * HOUR_MS,
        meanUpMs: meanUpHours * HOUR_MS,
        meanDownMs: DOWN_SHARE * meanUpHours * HOUR_MS,
        graceful: GRACEFUL_SHARE,
      }, chance);
    default:
      return churn;
  }
}
