/**
 * `deno task train`: feeds data to a run, takes its steps, shows its loss. It
 * holds no part of the model; hosts do (`deno task host`).
 */

import { join } from "node:path";
import process from "node:process";
import { type Command, Option } from "commander";
import { assembleTrainer } from "../actors/assemble.ts";
import { createIdentity } from "../actors/wire/identity.ts";
import { Dataset, type Manifest } from "../run/mod.ts";
import { openWallet, trainerAccounts } from "./accounts.ts";
import { command, execute, Failure, PROCESS_OUTPUT, UsageError } from "./arguments.ts";
import { HOME_DIRECTORY } from "./box.ts";
import { listenForInterruption, rejectOnAbort } from "./interruption.ts";
import { type WalletOptions, walletOptions } from "./ledger.ts";
import { startLogging } from "./logging.ts";
import { readManifest, readTexts, readTokenizer } from "./manifest_file.ts";
import { type JoinOptions, joinOptions } from "./network.ts";
import { paths, required, text, wholeNumber } from "./options.ts";
import { joinRun } from "./member.ts";
import { eventLines, type Progress, progressBar, progressLines, type ProgressOptions } from "./progress.ts";
import { RunRecord } from "./run_record.ts";
import { summarise } from "./summary.ts";

interface TrainOptions extends JoinOptions, WalletOptions {
  readonly data: readonly string[];
  readonly steps?: number;
  readonly resume?: boolean;
  readonly withoutQuorum?: boolean;
  readonly output?: string;
  readonly json?: boolean;
}

const trainCommand: Command = required(
  joinOptions(
    command({
      name: "train",
      summary: "Train a run's model on text of yours: feed the swarm, and watch the loss fall.\n" +
        "Hosts that die in the middle cost time, never a step.",
      examples: [
        {
          does: "train, once hosts of every stage are up",
          line: "deno task train --run runs/demo.json --data book.txt --bootstrap /ip4/…",
        },
        {
          does: "go on where the hosts' states stand",
          line: "deno task train --run runs/demo.json --data book.txt --bootstrap /ip4/… --resume",
        },
        {
          does: "share a run that another trainer leads, and take over when it goes: the same line again",
          line: "deno task train --run runs/demo.json --data book.txt --bootstrap /ip4/…",
        },
        {
          does: "share it with data of your own, which the others need not have: each feeds an equal part",
          line: "deno task train --run runs/demo.json --data another-book.txt --bootstrap /ip4/…",
        },
        {
          does: "in a run that has a ledger: propose what hosts have earned, under a bond of this wallet's",
          line:
            "deno task train --run runs/my-run.json --data book.txt --bootstrap /ip4/… --wallet wallet.json",
        },
        {
          does: "events as JSON lines, for a program",
          line: "deno task train --run runs/demo.json --data book.txt --bootstrap /ip4/… --json | jq .loss",
        },
      ],
    }),
    { listen: "/ip4/0.0.0.0/tcp/0" },
  ),
  new Option("--data <file...>", "text to train on, UTF-8; its end is kept for validation").argParser(paths),
)
  .option("--steps <number>", "stop after this step; without it: as the manifest says", wholeNumber(1))
  .option("--resume", "go on with a run that has taken steps already")
  .option(
    "--without-quorum",
    "with --resume: go on although most hosts that took the last step are gone for good; " +
      "never while another trainer may be going on with them",
  )
  .option(
    "--output <folder>",
    "where metrics.jsonl and loss.svg go (default: .murmuration/runs/<name>)",
    text,
  )
  .option("--json", "events as JSON lines on standard output, instead of a progress bar")
  .action(train);

walletOptions(trainCommand);

async function train(options: TrainOptions): Promise<void> {
  using interruption = listenForInterruption(options);
  const manifest = await readManifest(options.run);
  const dataset = await readDataset(options, manifest);
  const folder = options.output ?? join(HOME_DIRECTORY, "runs", manifest.name);
  using record = await RunRecord.open(folder, manifest.name, options.resume ?? false);
  const steps = options.steps ?? manifest.steps;
  const from = record.history.losses.at(-1)?.step ?? 0;
  const progress = options.json ? eventLines(PROCESS_OUTPUT) : progressFor({ steps, from });
  const log = await startLogging("train", options, { ...PROCESS_OUTPUT, err: progress.note });
  try {
    const identity = await createIdentity();
    const wallet = await openWallet(options);
    await using member = await joinRun({ ...options, manifest, identity, log });
    using accounts = member.ledger === undefined
      ? undefined
      : await trainerAccounts({ at: member.ledger, manifest, identity, wallet, folder, log });
    log.info(`Training ${manifest.name} to step ${steps}; metrics go to ${record.metricsPath}`);
    const end = Promise.withResolvers<void>();
    const trainer = assembleTrainer(member.parts, {
      dataset,
      steps,
      resume: options.resume ?? false,
      knownStep: from,
      withoutQuorum: options.withoutQuorum ?? false,
      ...accounts,
      onEvent: (event) => {
        record.add(event);
        progress.show(event);
        if (event.kind === "done") end.resolve();
        if (event.kind === "failed") end.reject(new Failure(event.reason));
      },
    });
    try {
      const interrupted = rejectOnAbort(interruption.signal);
      await Promise.race([end.promise, member.broken, interrupted]);
      if (wallet !== undefined) log.info("Putting what hosts have earned on the ledger");
      await Promise.race([trainer.settle(), member.broken, interrupted]);
    } finally {
      trainer.stop();
    }
  } finally {
    progress.stop();
    if (record.history.steps > 0) await record.draw();
  }
  if (options.json) return;
  PROCESS_OUTPUT.out(`\n${summarise(record.history)}\n\nThe plot is in ${record.plotPath}\n`);
}

/** @throws {UsageError} if a file is no text, or they are too short together. */
async function readDataset(options: TrainOptions, manifest: Manifest): Promise<Dataset> {
  const tokenizer = await readTokenizer(options.run, manifest);
  try {
    return Dataset.fromTexts(manifest, tokenizer, await readTexts(options.data));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new UsageError(`Cannot train on ${options.data.join(", ")}: ${error.message}`);
  }
}

function progressFor(options: ProgressOptions): Progress {
  return Deno.stderr.isTerminal()
    ? progressBar(options, process.stderr)
    : progressLines(options, PROCESS_OUTPUT);
}

if (import.meta.main) Deno.exit(await execute(trainCommand, Deno.args));
