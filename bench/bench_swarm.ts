/**
 * A run to measure, and a swarm of real processes for it: a manifest and a text
 * in a folder that is removed afterwards. It measures nothing itself.
 */

import { join } from "node:path";
import { REPOSITORY } from "../cli/box.ts";
import { collectText } from "../cli/corpus.ts";
import { LocalSwarm } from "../cli/local_swarm.ts";
import { byteTokenizer, Dataset, type Manifest, parseManifest, partition } from "../run/mod.ts";
import type { BenchContext } from "./row.ts";

/** More than any of these runs reads, and read in no time. */
const CHARACTERS_MAX = 1_000_000;

/** Files of a run, for as long as it is measured. */
export interface BenchRun extends AsyncDisposable {
  readonly manifest: Manifest;
  readonly manifestPath: string;
  readonly textPath: string;
  /** For data and logs; removed with all that is in it. */
  readonly folder: string;
}

/**
 * Writes the files.
 *
 * @param source manifest as in `runs/`, as a value.
 */
export async function openRun(source: Readonly<Record<string, unknown>>): Promise<BenchRun> {
  const text = JSON.stringify(source);
  const manifest = parseManifest(text);
  const folder = await Deno.realPath(await Deno.makeTempDir({ prefix: "murmuration-bench-" }));
  const manifestPath = join(folder, "manifest.json");
  const textPath = join(folder, "text");
  await Deno.writeTextFile(manifestPath, text);
  await Deno.writeTextFile(textPath, await collectText(REPOSITORY, CHARACTERS_MAX));
  return {
    manifest,
    manifestPath,
    textPath,
    folder,
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
}

/** The run's text as every process of it sees it. */
export async function readRun(
  { manifestPath, textPath }: Pick<BenchRun, "manifestPath" | "textPath">,
): Promise<{ readonly manifest: Manifest; readonly dataset: Dataset }> {
  const manifest = parseManifest(await Deno.readTextFile(manifestPath));
  const dataset = Dataset.fromTexts(manifest, byteTokenizer, [await Deno.readTextFile(textPath)]);
  return { manifest, dataset };
}

/** A swarm with hosts of every stage, each on one thread; it ends when the benchmark is to end. */
export interface BenchSwarm extends AsyncDisposable {
  readonly swarm: LocalSwarm;
  /** Hosts by stage. */
  readonly hosts: Awaited<ReturnType<LocalSwarm["startHost"]>>[][];
}

/** Starts the processes and returns when they are up, which is before the hosts serve. */
export async function startSwarm(
  { clock, signal }: BenchContext,
  run: BenchRun,
  replicas: number,
): Promise<BenchSwarm> {
  signal.throwIfAborted();
  const folder = await Deno.makeTempDir({ dir: run.folder, prefix: "swarm-" });
  const swarm = await LocalSwarm.start({
    run: run.manifestPath,
    folder,
    device: "onnx",
    threads: 1,
    clock,
  });
  // Whoever waits for one of its processes then hears that it has ended.
  const end = () => void swarm[Symbol.asyncDispose]();
  signal.addEventListener("abort", end, { once: true });
  const dispose = async () => {
    signal.removeEventListener("abort", end);
    await swarm[Symbol.asyncDispose]();
  };
  try {
    const hosts = await Promise.all(
      partition(run.manifest).map(({ index }) =>
        Promise.all(Array.from({ length: replicas }, () => swarm.startHost(index)))
      ),
    );
    return { swarm, hosts, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}
