/**
 * A chain of one's own: anvil as a child process, its state on disk. It starts
 * within a bound, and ends with whoever started it, even one that was killed. It
 * has no value and no neighbours: it is for trying out and for runs among
 * friends.
 */

import { createRequire } from "node:module";
import { join } from "node:path";
import type { LedgerClock } from "./clock.ts";

/** What a local chain is made of. */
export interface LocalChainOptions {
  readonly clock: LedgerClock;
  /** The program, see {@link findAnvil}. */
  readonly program: string;
  /** Where it keeps its state; without it all is forgotten. Must exist. */
  readonly folder?: string;
  /** 0 takes any that is free. Default: 0. */
  readonly port?: number;
  /** Seconds between blocks. Default: a block with each transaction, at once. */
  readonly blockSeconds?: number;
}

/** A chain that runs. */
export interface LocalChain extends AsyncDisposable {
  /** Where it answers JSON-RPC. */
  readonly url: string;
  /** The process of the chain itself. */
  readonly pid: number;
  /** Resolves when the chain has ended, for whatever reason. */
  readonly ended: Promise<void>;
}

/** The id of every local chain. */
export const LOCAL_CHAIN_ID = 31_337;

/** It takes 25 to 60 ms where nothing else happens, and seconds on a machine that is full. */
const START_LIMIT_MS = 60_000;
/** What writing its state down may take once it is asked to end. */
const END_LIMIT_MS = 10_000;
/** A chain that is killed forgets at most so much. */
const STATE_INTERVAL_SECONDS = 30;
/** States of so many blocks stay in memory; without the bound it writes gigabytes into the home folder. */
const HISTORY_BLOCKS = 128;
const OUTPUT_TAIL_LENGTH = 2_000;

/**
 * Says the chain's process, then waits for its own input to end and ends the chain: so a chain outlives no
 * parent. It lets go of its output, so that this closes when the chain ends.
 */
const LEASH = '"$@" & chain=$!; echo "pid $chain"; exec > /dev/null 2>&1; cat; kill "$chain"; wait "$chain"';

/**
 * Where anvil is: what `ANVIL_BIN` names, the package of this platform, or the PATH.
 *
 * @returns `undefined` if it is nowhere.
 */
export function findAnvil(
  environment: (name: string) => string | undefined = (name) => Deno.env.get(name),
): string | undefined {
  const named = environment("ANVIL_BIN");
  if (named !== undefined && named !== "") return isFile(named) ? named : undefined;
  const suffix = Deno.build.os === "windows" ? ".exe" : "";
  return packaged(suffix) ??
    (environment("PATH") ?? "").split(Deno.build.os === "windows" ? ";" : ":")
      .filter((folder) => folder !== "")
      .map((folder) => join(folder, `anvil${suffix}`))
      .find(isFile);
}

function packaged(suffix: string): string | undefined {
  const platform = Deno.build.os === "windows" ? "win32" : Deno.build.os;
  const processor = Deno.build.arch === "aarch64" ? "arm64" : "amd64";
  const name = `@foundry-rs/anvil-${platform}-${processor}/bin/anvil${suffix}`;
  try {
    return createRequire(import.meta.url).resolve(name);
  } catch (error) {
    // No package for this platform is installed.
    if (error instanceof Error && "code" in error) return undefined;
    throw error;
  }
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return false;
    throw error;
  }
}

/**
 * Starts a chain and returns once it answers.
 *
 * @throws {Error} if it ends at once, or does not answer in time; nothing is left behind then.
 */
export async function startLocalChain(options: LocalChainOptions): Promise<LocalChain> {
  const { clock, program, folder, port = 0, blockSeconds } = options;
  const line = [
    program,
    ...["--host", "127.0.0.1", "--port", `${port}`],
    ...["--chain-id", `${LOCAL_CHAIN_ID}`, "--hardfork", "prague"],
    ...["--prune-history", `${HISTORY_BLOCKS}`, "--no-cors"],
    ...(blockSeconds === undefined ? [] : ["--block-time", `${blockSeconds}`]),
    ...(folder === undefined
      ? []
      : ["--state", join(folder, "chain.json"), "--state-interval", `${STATE_INTERVAL_SECONDS}`]),
  ];
  const process = new Deno.Command("sh", {
    args: ["-c", LEASH, "sh", ...line],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const output = new Output(process.stdout);
  // Nobody reads it, but a pipe that fills up would stop the chain.
  const errors = new Output(process.stderr);
  let pid: number | undefined;
  const end = async () => {
    const insist = clock.after(END_LIMIT_MS, () => pid !== undefined && kill(pid));
    await process.stdin.close().catch(() => {});
    await Promise.all([process.status, output.ended, errors.ended]);
    insist.cancel();
  };
  let isLate = false;
  const late = clock.after(START_LIMIT_MS, () => {
    isLate = true;
    void end();
  });
  try {
    pid = Number(await output.find(/^pid (\d+)$/m));
    const address = await output.find(/Listening on (\S+)/);
    return { url: `http://${address}`, pid, ended: output.ended, [Symbol.asyncDispose]: end };
  } catch (error) {
    await end();
    const words = error instanceof Error ? error.message : String(error);
    const why = isLate ? `it did not answer within ${START_LIMIT_MS} ms` : words;
    throw new Error(`Cannot start a local chain: ${why}: ${errors.tail.trim() || "it gave no reason"}`);
  } finally {
    late.cancel();
  }
}

function kill(pid: number): void {
  try {
    Deno.kill(pid, "SIGKILL");
  } catch (error) {
    // It has ended by itself.
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** What a process writes: read to its end, and all but the tail forgotten. */
class Output {
  tail = "";
  readonly ended: Promise<void>;
  #changed = Promise.withResolvers<void>();
  #over = false;

  constructor(stream: ReadableStream<Uint8Array>) {
    this.ended = this.#drain(stream);
  }

  async #drain(stream: ReadableStream<Uint8Array>): Promise<void> {
    for await (const part of stream.pipeThrough(new TextDecoderStream())) {
      this.tail = (this.tail + part).slice(-OUTPUT_TAIL_LENGTH);
      this.#change();
    }
    this.#over = true;
    this.#change();
  }

  #change(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  /** What the pattern's first group matches, as soon as it does. */
  async find(pattern: RegExp): Promise<string> {
    for (;;) {
      const found = pattern.exec(this.tail)?.[1];
      if (found !== undefined) return found;
      if (this.#over) throw new Error("it has ended before it was ready");
      await this.#changed.promise;
    }
  }
}
