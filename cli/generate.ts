/** `deno task generate`: goes on with a text, as a run's model would. It holds no weights: hosts do. */

import { type Command, Option } from "commander";
import { assembleReader } from "../actors/assemble.ts";
import { SeededEntropy } from "../actors/core/seeded_entropy.ts";
import { SystemEntropy } from "../actors/core/system_entropy.ts";
import { createIdentity } from "../actors/wire/identity.ts";
import { command, execute, Failure, PROCESS_OUTPUT } from "./arguments.ts";
import { continueText } from "./continuation.ts";
import { listenForInterruption, rejectOnAbort } from "./interruption.ts";
import { startLogging } from "./logging.ts";
import { readManifest, readTokenizer } from "./manifest_file.ts";
import { type JoinOptions, joinOptions } from "./network.ts";
import { decimalNumber, required, text, wholeNumber } from "./options.ts";
import { joinRun } from "./member.ts";

interface GenerateOptions extends JoinOptions {
  readonly prompt: string;
  readonly tokens: number;
  readonly temperature: number;
  readonly topK: number;
  readonly seed?: number;
}

/** A book; what is longer is a slip of the finger. */
const TOKENS_MAX = 1_000_000;
const SEED_MAX = 2 ** 32 - 1;

const generateCommand: Command = required(
  joinOptions(
    command({
      name: "generate",
      summary: "Go on with a text, token by token, as a run's model would. The text goes to standard output.",
      examples: [
        {
          does: "two hundred tokens, drawn from the ten likeliest each",
          line:
            'deno task generate --run runs/demo.json --bootstrap /ip4/… --prompt "Once" --tokens 200 --top-k 10',
        },
        {
          does: "always the likeliest token: the same text each time",
          line: 'deno task generate --run runs/demo.json --bootstrap /ip4/… --prompt "Once" --temperature 0',
        },
      ],
    }),
    { listen: "/ip4/0.0.0.0/tcp/0" },
  ),
  new Option("--prompt <text>", "text to go on with").argParser(text),
)
  .option("--tokens <number>", "tokens to add", wholeNumber(1, TOKENS_MAX), 100)
  .option(
    "--temperature <number>",
    "above 1 bolder, below 1 safer, 0: always the likeliest",
    decimalNumber(0),
    0.8,
  )
  .option("--top-k <number>", "draw from so many of the likeliest tokens; 0: from all", wholeNumber(0), 0)
  .option("--seed <number>", "draw the same tokens each time", wholeNumber(0, SEED_MAX))
  .action(generate);

async function generate(options: GenerateOptions): Promise<void> {
  using interruption = listenForInterruption(options);
  const manifest = await readManifest(options.run);
  const tokenizer = await readTokenizer(options.run, manifest);
  const log = await startLogging("generate", options);
  await using member = await joinRun({ ...options, manifest, identity: await createIdentity(), log });
  const reader = assembleReader(member.parts);
  const entropy = options.seed === undefined ? new SystemEntropy() : new SeededEntropy(options.seed);
  const stopped = Promise.race([member.broken, rejectOnAbort(interruption.signal)]);
  stopped.catch(() => {});
  const pieces = continueText({
    ...options,
    tokenizer,
    contextTokens: manifest.sequenceLength,
    sampling: options,
    uniform: () => entropy.uniform(),
    read: async (tokens) => {
      const logits = await Promise.race([reader.read(tokens).catch(unreadable), stopped]);
      return logits.data as Float32Array;
    },
  });
  try {
    PROCESS_OUTPUT.out(options.prompt);
    for await (const piece of pieces) PROCESS_OUTPUT.out(piece);
  } finally {
    PROCESS_OUTPUT.out("\n");
    reader.stop();
  }
}

function unreadable(error: unknown): never {
  throw error instanceof Error ? new Failure(`${error.message}; are hosts of every stage up?`) : error;
}

if (import.meta.main) Deno.exit(await execute(generateCommand, Deno.args));
