/**
 * Everything that a simulation depends on, as plain data: who is there, what
 * lies between them, and the plan of what goes wrong. A scenario is drawn from a
 * seed, and may be cut down afterwards; it replays exactly either way.
 */

import { z } from "zod";
import { SeededEntropy } from "../actors/core/seeded_entropy.ts";
import { exponential } from "./churn.ts";
import { type Fault, faultSchema, LIES, POISONS } from "./faults.ts";

const name = z.string().min(1).max(128);
const milliseconds = z.number().min(0).max(1e10);

const scenarioSchema = z.strictObject({
  /** Of all chance that the plan doesn't fix. */
  seed: z.int().min(0),
  stages: z.int().min(1).max(1024),
  microBatchesPerStep: z.int().min(1).max(4096),
  /** Peers that feed data; they are named `trainer-0`, `trainer-1`, … */
  trainers: z.int().min(1).max(64),
  /** Whether each of them has data of its own. */
  privateData: z.boolean().optional(),
  /** Hosts that are there from the start, and who take the run up again once it heals. */
  hosts: z.array(z.strictObject({ peer: name, stage: z.int().min(0).nullable() })).max(16_384).readonly(),
  /** Time of a micro-batch at a host of usual speed. */
  forwardMs: milliseconds,
  backwardMs: milliseconds,
  /** Hosts take up to so many times as long, drawn evenly by magnitude. */
  slownessMax: z.number().min(1).max(1000),
  network: z.strictObject({
    regions: z.int().min(1).max(1024),
    latencyMsMax: milliseconds.min(1),
    bytesPerSecondMin: z.number().min(1),
    bytesPerSecondMax: z.number().min(1),
  }),
  /** Steps between two snapshots on a host's disk. */
  snapshotEverySteps: z.int().min(1),
  /** Between two looks at the balance of the stages; 0: nobody is sent elsewhere. */
  rebalanceEverySeconds: z.number().min(0).max(1e6),
  /** For so long anything may go wrong; nothing does afterwards. */
  breakMs: milliseconds,
  /** Time in which the run has to be under way again after that. */
  boundMs: milliseconds,
  churn: z.array(z.strictObject({ atMs: milliseconds, kind: z.enum(["start", "stop", "kill"]), peer: name }))
    .max(1_000_000).readonly(),
  faults: z.array(faultSchema).max(65_536).readonly(),
});

/** See the schema. */
export type Scenario = z.infer<typeof scenarioSchema>;

/**
 * A scenario from JSON.
 *
 * @throws {TypeError} if it is none.
 */
export function parseScenario(text: string): Scenario {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new TypeError(`Cannot read scenario: ${error.message}`);
  }
  const parsed = scenarioSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new TypeError(`Cannot read scenario: ${issue.path.join(".") || "it"}: ${issue.message}`);
}

/** Name of a trainer. */
export function trainerName(index: number): string {
  return `trainer-${index}`;
}

/** Kinds of faults that can be asked for. `poison`: lies about sums; `trainer`: trainers crash as well. */
export const FAULT_KINDS = [
  "crash",
  "leave",
  "join",
  "partition",
  "clog",
  "loss",
  "duplication",
  "jitter",
  "slow",
  "skew",
  "lie",
  "poison",
  "trainer",
] as const;
/** See {@link FAULT_KINDS}. */
export type FaultKind = (typeof FAULT_KINDS)[number];

/** What is drawn if nothing else is asked for: everything that a run is known to survive. */
export const USUAL_FAULTS: readonly FaultKind[] = FAULT_KINDS.filter((kind) =>
  kind !== "poison" && kind !== "trainer"
);

const BREAK_MS = 40_000;
const BOUND_MS = 300_000;
/** The run is given so long to begin before anything goes wrong. */
const QUIET_MS = 3000;
const FAULTS_MIN = 3;
const FAULTS_SPREAD = 10;
const LASTING_MS_MEAN = 6000;
const BACK_MS_MEAN = 5000;
/** Clocks of any two peers stay within what announcements tolerate. */
const SKEW_MS_MAX = 25_000;
const DRIFT_PPM_MAX = 500;

/**
 * A small world with a plan of faults, from one seed. One host of each stage, the
 * first, neither goes nor lies: it is the core that has to take up the run.
 */
export function drawScenario(seed: number, kinds: readonly FaultKind[] = USUAL_FAULTS): Scenario {
  const chance = new SeededEntropy(`scenario ${seed}`);
  const stages = 2 + chance.integer(3);
  const hosts: Scenario["hosts"][number][] = [];
  for (let stage = 0; stage < stages; stage++) {
    for (let replica = 0; replica < 2 + chance.integer(2); replica++) {
      hosts.push({ peer: `host-${stage}-${replica}`, stage });
    }
  }
  for (let left = chance.integer(3); left > 0; left--) hosts.push({ peer: `host-any-${left}`, stage: null });
  const forwardMs = 20 + chance.integer(120);
  const scenario = {
    seed,
    stages,
    microBatchesPerStep: 4 + chance.integer(7),
    trainers: 1 + (kinds.includes("trainer") ? 1 + chance.integer(2) : 0),
    hosts,
    forwardMs,
    backwardMs: 2 * forwardMs,
    slownessMax: 1 + 3 * chance.uniform(),
    network: {
      regions: 1 + chance.integer(4),
      latencyMsMax: 2 + chance.integer(150),
      bytesPerSecondMin: 1e5,
      bytesPerSecondMax: 1e8,
    },
    snapshotEverySteps: 1 + chance.integer(8),
    rebalanceEverySeconds: [0, 5, 20][chance.integer(3)],
    breakMs: BREAK_MS,
    boundMs: BOUND_MS,
    churn: [],
  };
  const count = FAULTS_MIN + chance.integer(FAULTS_SPREAD);
  const faults = drawFaults(kinds, count, scenario, chance);
  // Drawn last: what else a seed says stays as it was.
  return { ...scenario, privateData: scenario.trainers > 1 && chance.uniform() < 0.5, faults };
}

type World = Omit<Scenario, "faults">;

/** So many faults of these kinds, at any time of the break phase, in order of time. */
export function drawFaults(
  kinds: readonly FaultKind[],
  count: number,
  world: World,
  chance: SeededEntropy,
): Fault[] {
  const faults: Fault[] = [];
  for (let left = kinds.length > 0 ? count : 0; left > 0; left--) {
    faults.push(drawFault(kinds[chance.integer(kinds.length)], world, chance, left));
  }
  return faults.sort((one, other) => beginOf(one) - beginOf(other));
}

function drawFault(kind: FaultKind, world: World, chance: SeededEntropy, number: number): Fault {
  const { hosts, stages, breakMs } = world;
  const atMs = Math.round(QUIET_MS + chance.uniform() * (breakMs - QUIET_MS));
  const forMs = Math.round(Math.min(breakMs - atMs, exponential(chance, LASTING_MS_MEAN)));
  const backMs = Math.round(exponential(chance, BACK_MS_MEAN));
  const all = hosts.map(({ peer }) => peer);
  const trainers = Array.from({ length: world.trainers }, (_, index) => trainerName(index));
  const one = (of: readonly string[]) => of[chance.integer(of.length)];
  const others = all.filter((peer) => !isCore(peer));
  switch (kind) {
    case "crash":
      return { kind, atMs, peer: one(others), disk: chance.uniform() < 0.5, backMs };
    case "trainer":
      return { kind: "crash", atMs, peer: one(trainers), disk: false, backMs };
    case "leave":
      return { kind, atMs, peer: one(others), backMs };
    case "join":
      return {
        kind,
        atMs,
        peer: `newcomer-${number}`,
        stage: chance.uniform() < 0.5 ? null : chance.integer(stages),
      };
    case "partition": {
      const peers = [...all, ...trainers].filter(() => chance.uniform() < 0.3);
      return {
        kind,
        atMs,
        forMs,
        peers: peers.length > 0 ? peers : [one(all)],
        oneWay: chance.uniform() < 0.4,
      };
    }
    case "clog": {
      const from = one([...all, ...trainers]);
      return { kind, atMs, forMs, from, to: one([...all, ...trainers].filter((peer) => peer !== from)) };
    }
    case "loss":
      return { kind, atMs, forMs, share: 0.3 * chance.uniform(), breakShare: 0.02 * chance.uniform() };
    case "duplication":
      return { kind, atMs, forMs, share: 0.3 * chance.uniform() };
    case "jitter":
      return { kind, atMs, forMs, jitterMs: Math.round(1500 * chance.uniform()) };
    case "slow":
      return { kind, atMs, forMs, peer: one(all), factor: Math.round(2 + 50 * chance.uniform() ** 3) };
    case "skew":
      return {
        kind,
        peer: one([...all, ...trainers]),
        offsetMs: Math.round(SKEW_MS_MAX * (2 * chance.uniform() - 1)),
        driftPpm: Math.round(DRIFT_PPM_MAX * (2 * chance.uniform() - 1)),
      };
    case "lie":
      return { kind, atMs, forMs, peer: one(others), how: LIES[chance.integer(LIES.length)] };
    case "poison":
      return {
        kind: "lie",
        atMs,
        forMs,
        peer: one(others),
        how: POISONS[chance.integer(POISONS.length)],
      };
    default:
      return kind satisfies never;
  }
}

/** The first host of a stage. */
function isCore(peer: string): boolean {
  return /^host-\d+-0$/.test(peer);
}

function beginOf(fault: Fault): number {
  return fault.kind === "skew" ? 0 : fault.atMs;
}
