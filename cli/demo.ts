/**
 * `deno task demo`: the whole of it on one machine, in about a minute. Real
 * processes train a small model on this repository's own text; one host is
 * killed in the middle, another joins; the run ends as if nothing had happened.
 */

import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import type { Clock } from "../actors/core/clock.ts";
import { RealClock } from "../actors/core/real_clock.ts";
import { type Manifest, partition } from "../run/mod.ts";
import { command, execute, PROCESS_OUTPUT } from "./arguments.ts";
import { HOME_DIRECTORY, REPOSITORY } from "./box.ts";
import { collectText } from "./corpus.ts";
import { DemoLedger } from "./demo_ledger.ts";
import { settleDevices } from "./device.ts";
import * as format from "./format.ts";
import { History } from "./history.ts";
import { type Interruption, listenForInterruption, rejectOnAbort } from "./interruption.ts";
import { type LocalHost, LocalSwarm } from "./local_swarm.ts";
import { readManifest } from "./manifest_file.ts";
import { type DeviceChoice, deviceOption, wholeNumber } from "./options.ts";
import { type Progress, progressBar, progressLines } from "./progress.ts";
import { summarise } from "./summary.ts";

interface DemoOptions {
  readonly steps?: number;
  readonly keep?: boolean;
  readonly device: DeviceChoice;
}

/** Hosts of each stage: the fewest that leave a stage alive when one of them dies. */
const REPLICAS = 2;
/** Text enough for a model this small, and read in no time. */
const CHARACTERS_MAX = 2_000_000;
const SAMPLE_TOKENS = 160;

const demoCommand: Command = command({
  name: "demo",
  summary:
    "See all of it work on this machine: a swarm of processes trains a small language model on this\n" +
    "repository's own text, loses a host in the middle, takes in another, and goes on.",
  examples: [
    { does: "the whole story, in about a minute", line: "deno task demo" },
    {
      does: "a longer run, whose logs and data stay to be looked at",
      line: "deno task demo --steps 1000 --keep",
    },
  ],
})
  .option("--steps <number>", "optimizer steps; without it: as the manifest says", wholeNumber(6))
  .option("--keep", "keep the folder with the processes' logs and data")
  .addOption(deviceOption())
  .action(demo);

async function demo(options: DemoOptions): Promise<void> {
  using interruption = listenForInterruption();
  await using folder = await temporaryFolder(options.keep ?? false);
  const run = join(folder.path, "run.json");
  await Deno.copyFile(fileURLToPath(new URL("../runs/demo.json", import.meta.url)), run);
  const manifest = await readManifest(run);
  const text = await collectText(REPOSITORY, CHARACTERS_MAX);
  const data = join(folder.path, "text");
  await Deno.writeTextFile(data, text);
  introduce(manifest, text.length);
  await Deno.mkdir(HOME_DIRECTORY, { recursive: true });

  const clock = new RealClock();
  const begunMs = clock.nowMs();
  const threads = 1;
  const device = await orInterrupted(
    settleDevices({ device: options.device, threads, manifest, folder: HOME_DIRECTORY, tell: say }),
    interruption,
  );
  await using ledger = await orInterrupted(
    DemoLedger.open({ run, folder: folder.path, clock }),
    interruption,
  );
  say(
    ledger === undefined
      ? "There is no anvil here, so there is no ledger: nobody earns anything"
      : "A chain of its own keeps the ledger: each host has an operator, who stakes for it and takes a place",
  );
  const swarmOptions = { run, folder: folder.path, device, threads, clock, ...ledger?.swarmOptions };
  await using swarm = await orInterrupted(LocalSwarm.start(swarmOptions), interruption);
  say("Starting the hosts, each in a box that reaches the network and its own folder, nothing else …");
  const hosts = await orInterrupted(startHosts(swarm, manifest), interruption);

  const output = join(HOME_DIRECTORY, "runs", manifest.name);
  const steps = options.steps ?? manifest.steps;
  const history = await train(swarm, { hosts, data, output, steps, clock, ledger }, interruption);
  say(`\n${summarise(history)}`);

  say("\nWhat the model makes of “export function ”, drawn through all the stages:\n");
  const prompt = "export function ";
  const flags = ["--tokens", String(SAMPLE_TOKENS), "--temperature", "0.6", "--seed", "1"];
  const sample = await orInterrupted(swarm.generate(prompt, flags), interruption);
  say(sample.split("\n").map((line) => `    ${format.printable(line)}`).join("\n"));
  if (ledger !== undefined) {
    say("\nWhat the operators earned by training, each for what its neighbours acknowledge, and took out:\n");
    say(await orInterrupted(ledger.withdrawAll(join(output, "epochs")), interruption));
  }
  say(
    `\nAll in ${format.duration((clock.nowMs() - begunMs) / 1000)}. The plot is in ${
      join(output, "loss.svg")
    }`,
  );
  if (options.keep) say(`Logs and data are in ${folder.path}`);
}

function introduce(manifest: Manifest, characters: number): void {
  const stages = partition(manifest).length;
  const { layers, width } = manifest.model;
  say(
    `Murmuration, on this machine alone: ${stages * REPLICAS + 2} processes, one model, no master.\n\n` +
      `  1 bootstrap   introduces the peers to each other\n` +
      `  ${
        stages * REPLICAS
      } hosts       hold the model: ${layers} layers of width ${width} in ${stages} stages, ` +
      `${REPLICAS} hosts each; none has it all\n` +
      `  1 trainer     feeds ${
        format.rate(characters / 1000)
      } KB of text, this repository's own, and holds no weights\n`,
  );
}

/** One after the other for each stage, all stages at once: a small machine should not start six at a time. */
async function startHosts(swarm: LocalSwarm, manifest: Manifest): Promise<Map<number, LocalHost[]>> {
  const hosts: LocalHost[] = [];
  await Promise.all(
    partition(manifest).map(async ({ index }) => {
      for (let replica = 0; replica < REPLICAS; replica++) hosts.push(await swarm.startHost(index));
    }),
  );
  // Where there is a ledger it has drawn the stages.
  return Map.groupBy(hosts, ({ stage }) => stage!);
}

interface Training {
  readonly hosts: ReadonlyMap<number, readonly LocalHost[]>;
  readonly data: string;
  readonly output: string;
  readonly steps: number;
  readonly clock: Clock;
  readonly ledger: DemoLedger | undefined;
}

/** Trains; a third of the way kills a host of the middle, two thirds of the way starts a fresh one. */
async function train(swarm: LocalSwarm, training: Training, interruption: Interruption): Promise<History> {
  const { hosts, data, output, steps, clock, ledger } = training;
  const history = new History();
  const progress = progressFor(steps);
  const stage = Math.floor(hosts.size / 2);
  const victim = hosts.get(stage)![0]!;
  const trouble: { step: number; happens: (secondsPerStep: number) => Promise<unknown> }[] = [
    {
      step: Math.floor(steps / 3),
      happens: async (secondsPerStep) => {
        // In the middle of a step, where it hurts.
        await new Promise<void>((resolve) => clock.after(secondsPerStep * 500, resolve));
        const name = format.shortPeer(victim.peer);
        progress.note(
          `\n✗ kill -9 on host …${name} of stage ${stage} (process ${victim.pid}). ` +
            "What it had in hand is sent again, and counted once.\n\n",
        );
        await victim.kill();
        await ledger?.buried(victim);
      },
    },
    {
      step: Math.floor(2 * steps / 3),
      happens: () => {
        progress.note(
          "\n✓ A fresh host comes, asks for the stage that needs it most, and fetches its state from the others.\n\n",
        );
        return swarm.startHost();
      },
    },
  ];
  const happening: Promise<unknown>[] = [];
  const follow = async () => {
    for await (
      const event of swarm.train(data, output, [
        "--steps",
        String(steps),
        ...await ledger?.trainerFlags() ?? [],
      ])
    ) {
      history.add(event);
      progress.show(event);
      while (event.kind === "step" && trouble.length > 0 && event.step >= trouble[0]!.step) {
        const happens = trouble.shift()!.happens(event.seconds);
        // It is waited for below; until then nobody listens.
        happens.catch(() => {});
        happening.push(happens);
      }
    }
    await Promise.all(happening);
  };
  try {
    await orInterrupted(follow(), interruption);
  } finally {
    progress.stop();
  }
  return history;
}

function progressFor(steps: number): Progress {
  return Deno.stderr.isTerminal()
    ? progressBar({ steps, from: 0 }, process.stderr)
    : progressLines({ steps, from: 0 }, PROCESS_OUTPUT);
}

async function temporaryFolder(keep: boolean): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await Deno.realPath(await Deno.makeTempDir({ prefix: "murmuration-demo-" }));
  return {
    path,
    [Symbol.asyncDispose]: async () => {
      if (!keep) await Deno.remove(path, { recursive: true });
    },
  };
}

/** The work's result, or the interruption, whichever is first; work that fails later was told to. */
function orInterrupted<T>(work: Promise<T>, interruption: Interruption): Promise<T> {
  work.catch(() => {});
  return Promise.race([work, rejectOnAbort(interruption.signal)]);
}

function say(words: string): void {
  PROCESS_OUTPUT.out(`${words}\n`);
}

if (import.meta.main) Deno.exit(await execute(demoCommand, Deno.args));
