/**
 * `deno task gateway`: lets programs and people ask a run's model by OpenAI's API.
 * It holds no weights: hosts do. What the API is, is the gateway room's.
 */

import { type Command, Option } from "commander";
import { assembleReader } from "../actors/assemble.ts";
import { RealClock } from "../actors/core/real_clock.ts";
import { SystemEntropy } from "../actors/core/system_entropy.ts";
import type { GenerationFact } from "../actors/generation.ts";
import { createIdentity } from "../actors/wire/identity.ts";
import {
  ANSWERS_AT_ONCE,
  Gateway,
  isLoopback,
  type KeyDescription,
  listen,
  type Model,
  parseKeys,
} from "../gateway/mod.ts";
import type { Manifest } from "../run/mod.ts";
import { openWallet } from "./accounts.ts";
import {
  command,
  execute,
  Exit,
  EXIT_INTERRUPTED,
  Failure,
  PROCESS_OUTPUT,
  UsageError,
} from "./arguments.ts";
import { type HttpAddress, httpAddress, httpUrl, pageOrigins } from "./http_options.ts";
import { aborted, listenForInterruption } from "./interruption.ts";
import { type PayingFlags, payingOptions } from "./ledger.ts";
import { startLogging } from "./logging.ts";
import { readChatTemplate, readManifest, readTokenizer } from "./manifest_file.ts";
import { joinRun } from "./member.ts";
import { type JoinOptions, joinOptions } from "./network.ts";
import { text, wholeNumber } from "./options.ts";
import { paymentsOf } from "./payments.ts";
import { swarmEngine } from "./swarm_engine.ts";

interface GatewayOptions extends Omit<JoinOptions, "listen">, PayingFlags {
  readonly listen: HttpAddress;
  readonly peerListen: string;
  readonly keys?: string;
  readonly open?: boolean;
  readonly allowOrigin?: readonly string[];
  readonly atOnce: number;
  readonly json?: boolean;
}

const AT_ONCE_MAX = 4096;

const gatewayCommand: Command = joinOptions(
  command({
    name: "gateway",
    summary: "Let programs and people ask a run's model, by the API of OpenAI and by a page at /.\n" +
      "Whoever may reach it may ask: give it keys before others than this machine can.",
    examples: [
      {
        does: "on this machine; then open http://127.0.0.1:8080",
        line: "deno task gateway --run runs/demo.json --bootstrap /ip4/…",
      },
      {
        does: "ask it",
        line: "curl http://127.0.0.1:8080/v1/chat/completions -H 'content-type: application/json' \\\n" +
          `      -d '{"model": "demo", "messages": [{"role": "user", "content": "Hello"}]}'`,
      },
      {
        does:
          'for others, who have keys: {"keys": [{"name": "alice", "key": "sk-…", "tokensPerMinute": 6000}]}',
        line:
          "deno task gateway --run runs/demo.json --bootstrap /ip4/… --listen 0.0.0.0:8080 --keys keys.json",
      },
      {
        does: "for a page that lies elsewhere",
        line:
          "deno task gateway --run runs/demo.json --bootstrap /ip4/… --allow-origin https://chat.example.org",
      },
    ],
  }),
  { listen: "/ip4/0.0.0.0/tcp/0", listenFlag: "--peer-listen" },
)
  .addOption(
    new Option("--listen <host:port>", "where to speak HTTP; port 0 takes any free one")
      .argParser(httpAddress).default({ hostname: "127.0.0.1", port: 8080 }, "127.0.0.1:8080"),
  )
  .option(
    "--keys <file>",
    "who may ask, and how much: JSON with a list of keys, each with a name, a key or its sha256, and if wanted " +
      "requestsPerMinute, tokensPerMinute and concurrent (answers at once, else 16)",
    text,
  )
  .option("--open", "let anybody ask who can reach it, without a key and by any name")
  .option(
    "--allow-origin <origin...>",
    "pages elsewhere that may ask, as https://chat.example.org; * for all",
    pageOrigins,
  )
  .option(
    "--at-once <number>",
    "answers that are generated at once",
    wholeNumber(1, AT_ONCE_MAX),
    ANSWERS_AT_ONCE,
  )
  .option("--json", "tell where it listens as JSON on standard output")
  .action(gateway);

payingOptions(gatewayCommand);

async function gateway(options: GatewayOptions): Promise<void> {
  using interruption = listenForInterruption(options);
  const manifest = await readManifest(options.run);
  const model = await readModel(options.run, manifest);
  const keys = options.keys === undefined ? [] : await readKeys(options.keys);
  const isOpen = options.open ?? false;
  if (keys.length === 0 && !isOpen && !isLoopback(options.listen.hostname)) {
    throw new UsageError(
      `Cannot listen on ${options.listen.hostname} without keys: whoever reaches it could ask; ` +
        "give --keys, or --open if that is meant",
    );
  }
  const log = await startLogging("gateway", options);
  const wallet = await openWallet(options);
  const identity = await createIdentity();
  await using member = await joinRun({ ...options, listen: options.peerListen, manifest, identity, log });
  const onFact = (fact: GenerationFact) => {
    if (fact.kind !== "repaired") return;
    const { reason, pauseMs, attempts } = fact;
    log.info("A text went on along another path", { reason, pauseMs: Math.round(pauseMs), attempts });
  };
  using paying = await paymentsOf(options, wallet, member.ledger);
  using cleanup = new DisposableStack();
  const reader = cleanup.adopt(
    assembleReader(member.parts, { onFact, ...paying }),
    (reader) => reader.stop(),
  );
  const handler = new Gateway({
    engine: swarmEngine(reader, model, ({ message }) => log.warn("A text failed", { reason: message })),
    clock: new RealClock(),
    entropy: new SystemEntropy(),
    keys,
    origins: { allowed: options.allowOrigin ?? [], loopbackOnly: keys.length === 0 && !isOpen },
    atOnce: options.atOnce,
    onBug: (error) => log.error("Cannot answer a request", { error: describe(error) }),
  });
  await using server = await listen((request) => handler.handle(request), options.listen).catch(
    (error) => cannotListen(error, options.listen),
  );
  tell(options, server, model.id);
  await Promise.race([aborted(interruption.signal), member.broken]);
  await reader.settle();
  throw new Exit(EXIT_INTERRUPTED);
}

function tell({ json }: GatewayOptions, address: HttpAddress, model: string): void {
  const url = httpUrl(address);
  PROCESS_OUTPUT.out(json ? `${JSON.stringify({ kind: "listening", url, model })}\n` : `${url}\n`);
}

async function readModel(run: string, manifest: Manifest): Promise<Model> {
  const { mtime } = await Deno.stat(run);
  return {
    id: manifest.name,
    createdSeconds: Math.floor((mtime?.getTime() ?? 0) / 1000),
    contextTokens: manifest.sequenceLength,
    tokenizer: await readTokenizer(run, manifest),
    chatTemplate: await readChatTemplate(run, manifest),
  };
}

async function readKeys(path: string): Promise<readonly KeyDescription[]> {
  try {
    return parseKeys(await Deno.readTextFile(path));
  } catch (error) {
    if (error instanceof TypeError) throw new UsageError(`${error.message} (${path})`);
    if (error instanceof Deno.errors.NotFound) {
      throw new UsageError(`Cannot read keys ${path}: there is no such file`);
    }
    throw error;
  }
}

function cannotListen(error: unknown, address: HttpAddress): never {
  if (!(error instanceof Error)) throw error;
  throw new Failure(`Cannot listen on ${httpUrl(address)}: ${error.message}`);
}

function describe(error: unknown): string {
  return error instanceof Error ? error.stack ?? error.message : String(error);
}

if (import.meta.main) Deno.exit(await execute(gatewayCommand, Deno.args));
