/** `deno task generate`: goes on with a text, or chats, as a run's model would. It holds no weights: hosts do. */

import { createInterface } from "node:readline";
import process from "node:process";
import { type Command, Option } from "commander";
import { assembleReader, type ReaderPeer } from "../actors/assemble.ts";
import { SystemEntropy } from "../actors/core/system_entropy.ts";
import { type GenerationFact, GenerationFailed } from "../actors/generation.ts";
import { createIdentity } from "../actors/wire/identity.ts";
import {
  type DrawnToken,
  GREEDY,
  type Manifest,
  type Sampling,
  TextStream,
  type Tokenizer,
} from "../run/mod.ts";
import { openWallet } from "./accounts.ts";
import { command, execute, Failure, PROCESS_OUTPUT, UsageError } from "./arguments.ts";
import { Chat, withBeginning } from "./chat.ts";
import { chatByLines } from "./chat_lines.ts";
import { continueTokens } from "./continuation.ts";
import { printableLines } from "./format.ts";
import type { GenerateEvent } from "./generate_event.ts";
import { type PayingFlags, payingOptions } from "./ledger.ts";
import { listenForInterruption } from "./interruption.ts";
import { startLogging } from "./logging.ts";
import { readChatTemplate, readManifest, readTokenizer } from "./manifest_file.ts";
import { joinRun } from "./member.ts";
import { type JoinOptions, joinOptions } from "./network.ts";
import { decimalNumber, text, wholeNumber } from "./options.ts";
import { paymentsOf } from "./payments.ts";

interface GenerateOptions extends JoinOptions, PayingFlags {
  readonly prompt?: string;
  readonly chat?: boolean;
  readonly system?: string;
  readonly tokens: number;
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly repetitionPenalty: number;
  readonly seed?: number;
  readonly json?: boolean;
}

/** A book; what is longer is a slip of the finger. */
const TOKENS_MAX = 1_000_000;
const SEEDS = 2 ** 32;

const generateCommand: Command = joinOptions(
  command({
    name: "generate",
    summary:
      "Go on with a text, token by token, as a run's model would, or chat with it. What the model says goes\n" +
      "to standard output. It sees as much as it was trained to see: of a longer text the end.",
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
      {
        does: "in a run that has a ledger: pay those hosts that want money",
        line:
          'deno task generate --run runs/my-run.json --bootstrap /ip4/… --prompt "Once" --wallet wallet.json',
      },
      {
        does: "a chat; each line is a turn, Ctrl-D ends it, Ctrl-C also in mid-answer",
        line: "deno task generate --run models/llama.json --bootstrap /ip4/… --chat --top-p 0.9",
      },
    ],
  }),
  { listen: "/ip4/0.0.0.0/tcp/0" },
)
  .option("--prompt <text>", "text to go on with", text)
  .addOption(
    new Option("--chat", "read turns from standard input, and answer each").conflicts(["prompt", "leash"]),
  )
  .addOption(new Option("--system <text>", "with --chat: what the model is told first").argParser(text))
  .option("--tokens <number>", "tokens to add, or of one answer", wholeNumber(1, TOKENS_MAX), 100)
  .option(
    "--temperature <number>",
    "above 1 bolder, below 1 safer, 0: always the likeliest",
    decimalNumber(0),
    0.8,
  )
  .option("--top-k <number>", "draw from so many of the likeliest tokens; 0: from all", wholeNumber(0), 0)
  .option(
    "--top-p <number>",
    "draw from the likeliest that have this probability together",
    decimalNumber(0),
    1,
  )
  .option(
    "--repetition-penalty <number>",
    "above 1: what the text holds already becomes less likely",
    decimalNumber(0),
    1,
  )
  .option("--seed <number>", "draw the same tokens each time", wholeNumber(0, SEEDS - 1))
  .addOption(
    new Option("--json", "tell of each token in a line of JSON, and of what was repaired").conflicts("chat"),
  )
  .action(generate);

payingOptions(generateCommand);

async function generate(options: GenerateOptions): Promise<void> {
  if (options.prompt === undefined && !options.chat) {
    throw new UsageError("Nothing to go on with: give a text with --prompt, or --chat");
  }
  if (options.system !== undefined && !options.chat) {
    throw new UsageError("--system is for --chat: a text to go on with has nobody to tell");
  }
  using interruption = listenForInterruption(options);
  const manifest = await readManifest(options.run);
  const tokenizer = await readTokenizer(options.run, manifest);
  const template = await readChatTemplate(options.run, manifest);
  const sampling = samplingOf(options, tokenizer);
  const log = await startLogging("generate", options);
  const wallet = await openWallet(options);
  await using member = await joinRun({ ...options, manifest, identity: await createIdentity(), log });
  using paying = await paymentsOf(options, wallet, member.ledger);
  const reader = assembleReader(member.parts, { onFact: options.json ? tellFact : undefined, ...paying });
  const broken = new AbortController();
  member.broken.catch((error) => broken.abort(error));
  const signal = AbortSignal.any([interruption.signal, broken.signal]);
  const tokensAfter = (prompt: readonly number[]) =>
    tokensFrom(reader, { prompt, manifest, tokenizer, sampling, tokens: options.tokens, signal });
  try {
    if (options.chat) {
      await chat(new Chat({ tokenizer, template, answer: tokensAfter }, options.system), manifest, signal);
    } else await goOn(options, options.prompt!, tokenizer, tokensAfter);
    await reader.settle();
  } finally {
    reader.stop();
  }
}

function samplingOf(options: GenerateOptions, tokenizer: Tokenizer): Sampling {
  const { temperature, topK, topP, repetitionPenalty } = options;
  if (!(topP > 0 && topP <= 1)) throw new UsageError(`--top-p must be above 0 and at most 1, not ${topP}`);
  if (!(repetitionPenalty >= 0.01 && repetitionPenalty <= 100)) {
    throw new UsageError(`--repetition-penalty must be from 0.01 to 100, not ${repetitionPenalty}`);
  }
  if (temperature > 100) throw new UsageError(`--temperature must be at most 100, not ${temperature}`);
  return {
    ...GREEDY,
    // A model may be padded beyond its tokenizer; those tokens mean nothing.
    vocabulary: tokenizer.vocabulary,
    temperature,
    topK: Math.min(topK, tokenizer.vocabulary),
    topP,
    repetitionPenalty,
    seed: options.seed ?? new SystemEntropy().integer(SEEDS),
  };
}

async function* tokensFrom(
  source: ReaderPeer,
  { prompt, manifest, tokenizer, sampling, tokens, signal }: {
    readonly prompt: readonly number[];
    readonly manifest: Manifest;
    readonly tokenizer: Tokenizer;
    readonly sampling: Sampling;
    readonly tokens: number;
    readonly signal: AbortSignal;
  },
): AsyncGenerator<DrawnToken, void, void> {
  if (prompt.length === 0) throw new UsageError("Nothing to go on with: the prompt is empty");
  try {
    yield* continueTokens({
      source,
      prompt,
      tokensMax: tokens,
      contextTokens: manifest.sequenceLength,
      beginOfText: tokenizer.beginOfText,
      sampling,
      stopTokens: tokenizer.endOfText ?? [],
      signal,
    });
  } catch (error) {
    if (!(error instanceof GenerationFailed)) throw error;
    const hint = error.failure.kind === "noHosts" ? "; are hosts of every stage up?" : "";
    throw new Failure(`${error.message}${hint}`);
  }
}

/** Writes the text, or a line for each token. */
async function goOn(
  { json }: GenerateOptions,
  prompt: string,
  tokenizer: Tokenizer,
  tokensAfter: (prompt: readonly number[]) => AsyncIterable<DrawnToken>,
): Promise<void> {
  const ids = withBeginning(tokenizer, [...tokenizer.encode(prompt)]);
  const stream = new TextStream(tokenizer, ids);
  if (!json) say(prompt);
  try {
    for await (const { token, logProbability } of tokensAfter(ids)) {
      const piece = tokenizer.endOfText?.includes(token) ? "" : stream.push(token);
      if (json) tell({ kind: "token", token, text: piece, logProbability });
      else say(piece);
    }
    if (!json) say(stream.end());
  } finally {
    if (!json) say("\n");
  }
}

function tell(event: GenerateEvent): void {
  PROCESS_OUTPUT.out(`${JSON.stringify(event)}\n`);
}

function tellFact(fact: GenerationFact): void {
  if (fact.kind !== "token") tell(fact);
}

/** Reads turns from standard input until there are no more. */
async function chat(chat: Chat, { name }: Manifest, signal: AbortSignal): Promise<void> {
  const lines = createInterface({ input: process.stdin });
  signal.addEventListener("abort", () => lines.close(), { once: true });
  const person = process.stdin.isTTY ? { talksTo: name } : undefined;
  try {
    await chatByLines({ chat, lines, output: { ...PROCESS_OUTPUT, out: say }, person });
  } finally {
    lines.close();
  }
  signal.throwIfAborted();
}

/** Writes what a model says, which hosts may have made up; a file gets it as it is. */
function say(text: string): void {
  PROCESS_OUTPUT.out(Deno.stdout.isTerminal() ? printableLines(text) : text);
}

if (import.meta.main) Deno.exit(await execute(generateCommand, Deno.args));
