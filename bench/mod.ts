/**
 * `deno task bench`: measures, and prints every figure beside what it is to be
 * compared with. It says what it found, and does not fail for it.
 */

import type { Command } from "commander";
import { Option } from "commander";
import { RealClock } from "../actors/core/real_clock.ts";
import { command, execute, Exit, EXIT_INTERRUPTED, PROCESS_OUTPUT, UsageError } from "../cli/arguments.ts";
import { listenForInterruption } from "../cli/interruption.ts";
import { decimalNumber, text, wholeNumber } from "../cli/options.ts";
import { benchKernels } from "./kernels.ts";
import { benchLedger } from "./ledger.ts";
import { benchMemory } from "./memory.ts";
import { benchNamespaces } from "./namespaces.ts";
import { benchPipeline } from "./pipeline.ts";
import { benchRebalancing } from "./rebalancing.ts";
import { benchRecovery } from "./recovery.ts";
import { type Bench, type BenchContext, type BenchRow, isMet } from "./row.ts";
import { benchScale } from "./scale.ts";
import { benchServing } from "./serving.ts";
import { benchServingMemory } from "./serving_memory.ts";
import { line, table } from "./table.ts";
import { benchWebGpu } from "./webgpu.ts";
import { benchWire } from "./wire.ts";

const BENCHES: Readonly<Record<string, Bench>> = {
  kernels: benchKernels,
  webgpu: benchWebGpu,
  pipeline: benchPipeline,
  serving: benchServing,
  wire: benchWire,
  recovery: benchRecovery,
  namespaces: benchNamespaces,
  rebalancing: benchRebalancing,
  scale: benchScale,
  ledger: benchLedger,
};

interface BenchOptions {
  readonly only?: readonly string[];
  readonly quick?: boolean;
  readonly json?: boolean;
  readonly memory?: boolean;
  readonly steps: number;
  readonly sessions: number;
  readonly minutes?: number;
  readonly run?: string;
}

const benchCommand: Command = command({
  name: "bench",
  summary:
    "Measure, and print every figure beside what it is to be compared with. Leave the machine alone\n" +
    "meanwhile: it takes some minutes, and whatever else runs is measured as well.",
  examples: [
    { does: "all but the long one", line: "deno task bench" },
    { does: "what a death costs", line: "deno task bench --only recovery" },
    { does: "whether memory grows over a long run", line: "deno task bench --memory --steps 5000" },
    { does: "whether it grows as texts come and go", line: "deno task bench --memory --only serving" },
  ],
})
  .addOption(new Option("--only <name...>", "just these").choices(Object.keys(BENCHES)))
  .option("--quick", "few rounds: shows that everything works, and its figures say little")
  .option("--json", "rows as JSON lines on standard output, instead of a table")
  .option(
    "--memory",
    "memory of every process over a long run, instead of the others; of one that serves: --only serving",
  )
  .option("--steps <number>", "with --memory: steps of the run", wholeNumber(20), 5000)
  .option(
    "--sessions <number>",
    "with --memory --only serving: texts that come and go",
    wholeNumber(20),
    2000,
  )
  .option("--minutes <number>", "with --memory: end after so long, whatever the steps", decimalNumber(0))
  .option("--run <file>", "with --memory: manifest of the run (default: runs/tiny.json)", text)
  .action(bench);

async function bench(options: BenchOptions): Promise<void> {
  using interruption = listenForInterruption();
  const { signal } = interruption;
  const note = (words: string) => PROCESS_OUTPUT.err(`${words}\n`);
  const context: BenchContext = { clock: new RealClock(), quick: options.quick ?? false, note, signal };
  if (context.quick) note("Few rounds: the figures say little.");
  const names = options.only ?? Object.keys(BENCHES);
  const benches = options.memory
    ? [memoryBench(options)]
    : Object.entries(BENCHES).filter(([name]) => names.includes(name)).map(([, one]) => one);
  const rows: BenchRow[] = [];
  try {
    for (const one of benches) {
      for await (const row of one(context)) {
        rows.push(row);
        if (options.json) PROCESS_OUTPUT.out(`${JSON.stringify({ ...row, met: isMet(row) })}\n`);
        else note(line(row));
      }
    }
  } catch (error) {
    // What was being measured was ended from outside, and complains of that.
    if (signal.aborted) throw new Exit(EXIT_INTERRUPTED);
    throw error;
  } finally {
    if (!options.json && rows.length > 0) PROCESS_OUTPUT.out(`\n${table(rows)}\n`);
  }
}

/** @throws {UsageError} if memory is not what that benchmark can be asked for. */
function memoryBench(options: BenchOptions): Bench {
  const { only = ["training"] } = options;
  if (only.join() === "training") return (context) => benchMemory(context, options);
  if (only.join() === "serving") return (context) => benchServingMemory(context, options);
  throw new UsageError(
    `Cannot measure memory of ${only.join(", ")}: with --memory, --only takes serving alone`,
  );
}

if (import.meta.main) Deno.exit(await execute(benchCommand, Deno.args));
