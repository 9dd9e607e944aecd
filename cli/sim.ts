/**
 * `deno task sim`: a swarm of the product's own peers on virtual time and a
 * simulated network, from one seed. It measures what churn costs, and looks for
 * a seed that breaks a promise.
 */

import { join } from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";
import { type ChurnEvent, parseChurn } from "../sim/churn.ts";
import { longScenario, MICRO_BATCHES_MAX, MICRO_BATCHES_PER_HOST } from "../sim/long_run.ts";
import { drawScenario, FAULT_KINDS, type FaultKind, type Scenario, USUAL_FAULTS } from "../sim/scenario.ts";
import { formatSeedFile, parseSeedFile } from "../sim/seed_file.ts";
import { alike, shrink } from "../sim/shrink.ts";
import { type Outcome, play } from "../sim/world.ts";
import { command, execute, Exit, EXIT_FAILURE, PROCESS_OUTPUT, UsageError } from "./arguments.ts";
import { openBar } from "./bar.ts";
import * as format from "./format.ts";
import { listenForInterruption } from "./interruption.ts";
import { decimalNumber, text, wholeNumber } from "./options.ts";
import { figures, picture, report } from "./sim_report.ts";

interface SimOptions {
  readonly peers: number;
  readonly hours: number;
  readonly stages: number;
  readonly trainers: number;
  readonly microBatches?: number;
  readonly seconds: number;
  readonly slowness: number;
  readonly rebalance: number;
  readonly churn: string;
  readonly up: number;
  readonly faults?: readonly FaultKind[];
  readonly faultsPerHour: number;
  readonly seed: number;
  readonly seeds?: number;
  readonly replay?: string;
  readonly keep?: string;
  readonly svg?: string;
  readonly json?: boolean;
}

/** Worlds that are played to cut one down. */
const SHRINK_TRIES_MAX = 200;

const simCommand: Command = command({
  name: "sim",
  summary:
    "Simulate a swarm: the product's own peers, thousands of them, on virtual time and a simulated network.\n" +
    "All of it comes from one seed, so that whatever happens happens again. Checkers watch; if one fires,\n" +
    "the command ends with code 1 and says how to play it again.",
  examples: [
    { does: "what churn costs: 64 hosts for an hour", line: "deno task sim --churn poisson --up 0.5" },
    {
      does: "32 hours of machines that are taken away in waves, as a picture",
      line: "deno task sim --peers 100 --hours 32 --churn spot --svg spot.svg",
    },
    { does: "look for a seed that breaks a promise", line: "deno task sim --seeds 500" },
    {
      does: "the same with faults of your choice",
      line: "deno task sim --seeds 100 --faults crash,partition",
    },
    {
      does: "play a kept failure again",
      line: "deno task sim --replay tests/seeds/numbers-that-are-none.json",
    },
  ],
})
  .option("--seed <number>", "of all chance; with --seeds the first one", wholeNumber(0), 1)
  .option("--peers <number>", "hosts", wholeNumber(1, 16_384), 64)
  .option("--hours <number>", "of virtual time", decimalNumber(0.01), 1)
  .option("--stages <number>", "that the model is cut into", wholeNumber(1, 1024), 4)
  .option("--trainers <number>", "peers that feed data; one of them coordinates", wholeNumber(1, 64), 1)
  .option(
    "--churn <how>",
    "who comes and goes: none, poisson, spot (in waves), or a file of JSON lines\n" +
      '({"atMs":0,"kind":"start","peer":"host-1"}; kinds start, stop, kill)',
    text,
    "none",
  )
  .option("--up <hours>", "with poisson: mean time for which a host stays", decimalNumber(0.001), 4)
  .option("--faults <list>", `what else goes wrong: ${FAULT_KINDS.join(",")}; usual or none`, faultKinds)
  .option("--faults-per-hour <number>", "so many of them", decimalNumber(0), 12)
  .option(
    "--micro-batches <number>",
    `of a step (default: ${MICRO_BATCHES_PER_HOST} for each host of a stage)`,
    wholeNumber(1, MICRO_BATCHES_MAX),
  )
  .option(
    "--seconds <number>",
    "that a host takes for a micro-batch, there and back",
    decimalNumber(0.001),
    1,
  )
  .option("--slowness <factor>", "hosts take up to so many times as long", decimalNumber(1), 1)
  .option(
    "--rebalance <seconds>",
    "between two looks at the balance of the stages; 0: never",
    decimalNumber(0),
    300,
  )
  .option("--seeds <number>", "play so many small worlds, each with faults of its own", wholeNumber(1))
  .addOption(
    new Option("--replay <file>", "play what --keep has kept, or a seed of tests/seeds").argParser(text)
      .conflicts(["seeds"]),
  )
  .option("--keep <folder>", "where a world that breaks a promise is kept, cut down to what it takes", text)
  .option("--svg <file>", "draw throughput over time", text)
  .option("--json", "figures as JSON lines on standard output")
  .action(sim);

async function sim(options: SimOptions): Promise<void> {
  using interruption = listenForInterruption();
  const { signal } = interruption;
  // First of all, so that whatever happens can be made to happen again.
  PROCESS_OUTPUT.err(`seed ${options.seed}\n`);
  const fine = options.seeds === undefined
    ? await playOne(await scenarioOf(options), options, signal)
    : await playMany(options.seeds, options, signal);
  if (!fine) throw new Exit(EXIT_FAILURE);
}

/** @throws {UsageError} if a file can't be read or is not what it should be. */
async function scenarioOf(options: SimOptions): Promise<Scenario> {
  const { replay, seed, peers, hours, stages, trainers, churn } = options;
  if (replay !== undefined) return (await read(replay, parseSeedFile)).scenario;
  const trace: "none" | "poisson" | "spot" | readonly ChurnEvent[] =
    churn === "none" || churn === "poisson" || churn === "spot" ? churn : await read(churn, parseChurn);
  return longScenario({
    seed,
    peers,
    hours,
    stages,
    trainers,
    microBatchesPerStep: options.microBatches,
    secondsPerMicroBatch: options.seconds,
    slownessMax: options.slowness,
    rebalanceEverySeconds: options.rebalance,
    churn: trace,
    meanUpHours: options.up,
    faults: options.faults ?? [],
    faultsPerHour: options.faultsPerHour,
  });
}

/** Plays one world. @returns whether every promise was kept. */
async function playOne(scenario: Scenario, options: SimOptions, signal: AbortSignal): Promise<boolean> {
  const endMs = scenario.breakMs;
  const bar = openBar(endMs);
  let steps = 0;
  let hosts: readonly number[] = [];
  let outcome: Outcome;
  try {
    outcome = await play(scenario, {
      signal,
      onEvent: (event) => {
        if (event.kind !== "step") return;
        steps = event.step;
        hosts = event.hosts;
      },
      onTime: (nowMs) =>
        bar.update(
          nowMs,
          `${format.duration(nowMs / 1000)} · step ${format.rate(steps)} · hosts ${hosts.join("·")}`,
        ),
    });
  } finally {
    bar.stop();
  }
  signal.throwIfAborted();
  if (options.json) PROCESS_OUTPUT.out(`${JSON.stringify(figures(scenario, outcome))}\n`);
  else PROCESS_OUTPUT.out(`${report(scenario, outcome)}\n`);
  if (options.svg !== undefined) await Deno.writeTextFile(options.svg, picture(scenario, outcome));
  if (outcome.violations.length > 0 && options.replay === undefined) {
    await keep(scenario, outcome, options, PROCESS_OUTPUT.err);
  }
  return outcome.violations.length === 0;
}

/** Plays many small worlds. @returns whether every promise was kept in all of them. */
async function playMany(count: number, options: SimOptions, signal: AbortSignal): Promise<boolean> {
  const bar = openBar(count);
  let failed = 0;
  let [steps, lost, replays, persons] = [0, 0, 0, 0];
  try {
    for (let played = 0; played < count; played++) {
      const scenario = drawScenario(options.seed + played, options.faults ?? USUAL_FAULTS);
      const outcome = await play(scenario, { signal });
      signal.throwIfAborted();
      steps += outcome.steps;
      lost += outcome.lost;
      replays += outcome.replays;
      if (outcome.neededPerson) persons++;
      if (options.json) PROCESS_OUTPUT.out(`${JSON.stringify(figures(scenario, outcome))}\n`);
      if (outcome.violations.length > 0) {
        failed++;
        await keep(scenario, outcome, options, bar.note);
      }
      bar.update(played + 1, `seed ${scenario.seed} · ${failed} failed · ${format.rate(steps)} steps`);
    }
  } finally {
    bar.stop();
  }
  if (!options.json) {
    PROCESS_OUTPUT.out(
      `${format.rate(count)} seeds, from ${options.seed}: ${failed} broke a promise\n` +
        `${format.rate(steps)} steps, ${format.rate(lost)} hosts lost, ${
          format.rate(replays)
        } micro-batches sent again\n` +
        `${
          format.rate(persons)
        } waited for a person, as most of those who vouch for the steps were thrown out\n`,
    );
  }
  return failed === 0;
}

/** Says what was seen, and keeps the least world in which it is seen. */
async function keep(
  scenario: Scenario,
  { violations }: Outcome,
  options: SimOptions,
  note: (text: string) => void,
): Promise<void> {
  const [violation] = violations;
  note(`seed ${scenario.seed}: ${violation.checker}: ${violation.words}\n`);
  if (options.keep === undefined) return;
  const smaller = await shrink(
    scenario,
    async (it) => alike((await play(it)).violations[0], violation),
    SHRINK_TRIES_MAX,
  );
  const file = join(options.keep, `sim-${scenario.seed}.json`);
  const cause = `${violation.checker}: ${violation.words}`;
  await Deno.mkdir(options.keep, { recursive: true });
  await Deno.writeTextFile(file, formatSeedFile({ cause, open: true, scenario: smaller }));
  note(
    `  ${smaller.faults.length} faults of ${scenario.faults.length} are needed; play it again: ` +
      `deno task sim --replay ${file}\n`,
  );
}

/** Kinds of faults from a list, `usual` or `none`. */
function faultKinds(value: string): readonly FaultKind[] {
  if (value === "none") return [];
  if (value === "usual") return USUAL_FAULTS;
  return value.split(",").map((kind) => {
    const known = FAULT_KINDS.find((it) => it === kind);
    if (known === undefined) throw new InvalidArgumentError(`They are ${FAULT_KINDS.join(", ")}.`);
    return known;
  });
}

/** @throws {UsageError} if the file can't be read, or is not what `parse` takes. */
async function read<Value>(path: string, parse: (text: string) => Value): Promise<Value> {
  try {
    return parse(await Deno.readTextFile(path));
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof Deno.errors.NotFound)) throw error;
    throw new UsageError(`Cannot play ${path}: ${error.message}`);
  }
}

if (import.meta.main) Deno.exit(await execute(simCommand, Deno.args));
