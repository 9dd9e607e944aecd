/**
 * A swarm of real processes on this machine: one that introduces, hosts in
 * their boxes, a trainer, a reader. Used to show and to test what strangers'
 * machines do; it computes nothing and knows no story.
 */

import { join } from "node:path";
import type { Clock } from "../actors/core/clock.ts";
import type { RunEvent } from "../actors/report.ts";
import { partition } from "../run/mod.ts";
import type { DeviceName } from "../stages/mod.ts";
import { Failure } from "./arguments.ts";
import { startInBox } from "./box.ts";
import { Child } from "./child.ts";
import type { StageDevices } from "./device_plan.ts";
import { hostBox } from "./host_box.ts";
import type { GenerateEvent } from "./generate_event.ts";
import { fromLine } from "./metrics.ts";
import { readManifest } from "./manifest_file.ts";
import { weightFilesHere } from "./weight_files.ts";

/** Where a process of the swarm runs. */
export interface Place {
  /** Its address there, to listen at and to be reached at. */
  readonly ip: string;
  /** A command that runs the command behind it there: `nsenter --net=…`. */
  readonly through: readonly string[];
}

/** Reached by this machine alone. */
const HERE: Place = { ip: "127.0.0.1", through: [] };

/** Lines of a log that are shown when its process has failed. */
const LOG_LINES_SHOWN = 12;

/** A host of the swarm. */
export interface LocalHost {
  /** Name of its process in this swarm, from 1. */
  readonly number: number;
  readonly peer: string;
  readonly pid: number;
  /** The one that it was given, if it was given one. */
  readonly stage: number | undefined;
  /** Ends it as a power cut would; returns when it is gone. */
  kill(): Promise<void>;
}

/** What the swarm is about. */
export interface LocalSwarmOptions {
  /** Manifest of the run. */
  readonly run: string;
  /** Empty folder for data and logs; its owner removes it. */
  readonly folder: string;
  /** What all hosts compute on, or those of each stage. */
  readonly device: DeviceName | StageDevices;
  /** Threads that each host computes on. */
  readonly threads: number;
  readonly clock: Clock;
  /** Takes a place on the run's ledger for a host, before it starts, and says which stage that is. */
  readonly enrol?: (number: number, dataDir: string) => Promise<number>;
  /** What hosts want for a token of text, in units of the ledger. Default: nothing. */
  readonly priceUnits?: bigint;
  /** Where a process runs, by its name (see {@link LocalSwarm.processes}). Without it: on the loopback. */
  readonly place?: (name: string) => Place;
}

/** The swarm; disposing of it ends all its processes. */
export class LocalSwarm implements AsyncDisposable {
  readonly #options: LocalSwarmOptions;
  /** Where a peer meets the others: for `--bootstrap`. */
  readonly address: string;
  readonly #children = new Map<Child, string>();
  #hosts = 0;
  #trainers = 0;
  #ended = false;

  private constructor(options: LocalSwarmOptions, bootstrap: Child, address: string) {
    this.#options = options;
    this.#children.set(bootstrap, "bootstrap");
    this.address = address;
  }

  /** Starts the process that introduces the others. @throws {Failure} if it does not come up. */
  static async start(options: LocalSwarmOptions): Promise<LocalSwarm> {
    const log = join(options.folder, "bootstrap.log");
    const { listen, through } = placed(options, "bootstrap");
    const args = ["--leash", "--listen", listen, "--data-dir", join(options.folder, "bootstrap")];
    const program = new URL("./bootstrap.ts", import.meta.url);
    const bootstrap = Child.start(program, args, log, options.clock, through);
    const { value: address } = await bootstrap.lines().next();
    if (address === undefined) {
      await bootstrap[Symbol.asyncDispose]();
      throw new Failure(`The process that introduces peers did not come up\n${await tail(log)}`);
    }
    return new LocalSwarm(options, bootstrap, address);
  }

  /**
   * Starts a host in its box; returns when it is up, which is before it serves.
   *
   * @param stage to serve; without it the one that needs it most.
   * @param returning number of a host that has ended: the new process is that host come back, with the
   *   name and the disk that it had. Without it the host is a new one.
   * @param device what it computes on, if not on what the others do.
   * @throws {Failure} if it does not come up.
   */
  async startHost(
    stage?: number,
    returning?: number,
    device: DeviceName | StageDevices = this.#options.device,
  ): Promise<LocalHost> {
    const { run, folder, threads, clock } = this.#options;
    const manifest = await readManifest(run);
    const devices = typeof device === "string"
      ? partition(manifest).map(() => [{ name: device, threads }])
      : device;
    const number = returning ?? ++this.#hosts;
    const dataDir = join(folder, `host-${number}`);
    if (returning === undefined) await Deno.mkdir(dataDir);
    const drawn = await this.#options.enrol?.(number, dataDir) ?? stage;
    const { listen, through } = placed(this.#options, `host ${number}`);
    const box = hostBox({
      run,
      bootstrap: [this.address],
      listen,
      logLevel: "info",
      dataDir,
      devices,
      threads,
      json: true,
      ...this.#options.priceUnits === undefined ? {} : { priceUnits: `${this.#options.priceUnits}` },
      ...drawn === undefined ? {} : { stage: drawn },
    }, await weightFilesHere(run, manifest));
    const log = join(folder, `host-${number}.log`);
    const child = new Child(await startInBox(box, { stdout: "piped", stderr: "piped" }, through), log, clock);
    this.#children.set(child, `host ${number}`);
    if (this.#ended) {
      await this.#end(child);
      throw new Failure(`Host ${number} came too late: the swarm has ended`);
    }
    const lines = child.lines();
    const first = await lines.next();
    if (first.done) throw new Failure(`Host ${number} did not come up\n${await tail(log)}`);
    drain(lines);
    return {
      number,
      peer: JSON.parse(first.value).peer,
      pid: child.pid,
      stage: drawn,
      kill: async () => {
        child.kill();
        await this.#end(child);
      },
    };
  }

  /**
   * Trains, and tells what happens. Returning early ends the trainer.
   *
   * @throws {Failure} if the trainer fails.
   */
  async *train(
    data: string,
    output: string,
    flags: readonly string[] = [],
  ): AsyncGenerator<RunEvent, void, void> {
    const log = join(this.#options.folder, `train-${++this.#trainers}.log`);
    const args = ["--data", data, "--output", output, "--json", ...flags];
    const child = this.#start("trainer", new URL("./train.ts", import.meta.url), args, log);
    try {
      for await (const line of child.lines()) {
        const event = fromLine(line);
        if (event !== undefined) yield event;
      }
      const code = await child.ended();
      if (code !== 0) throw new Failure(`The trainer failed with code ${code}\n${await tail(log)}`);
    } finally {
      await this.#end(child);
    }
  }

  /** All processes that are up, by name: `bootstrap`, `host 1`, …, `trainer`. */
  get processes(): { readonly name: string; readonly pid: number }[] {
    return [...this.#children].map(([{ pid }, name]) => ({ name, pid }));
  }

  /**
   * Goes on with a text.
   *
   * @returns the text, the prompt included.
   * @throws {Failure} if the reader fails.
   */
  async generate(prompt: string, flags: readonly string[] = []): Promise<string> {
    return (await Array.fromAsync(this.#generated(prompt, flags))).join("\n");
  }

  /**
   * Goes on with a text, and tells of each token as it comes. Returning early ends the reader.
   *
   * @throws {Failure} if the reader fails.
   */
  async *generateTokens(
    prompt: string,
    flags: readonly string[] = [],
  ): AsyncGenerator<GenerateEvent, void, void> {
    for await (const line of this.#generated(prompt, ["--json", ...flags])) yield JSON.parse(line);
  }

  async *#generated(prompt: string, flags: readonly string[]): AsyncGenerator<string, void, void> {
    const log = join(this.#options.folder, "generate.log");
    const args = ["--prompt", prompt, ...flags];
    const child = this.#start("reader", new URL("./generate.ts", import.meta.url), args, log);
    try {
      yield* child.lines();
      const code = await child.ended();
      if (code !== 0) throw new Failure(`The reader failed with code ${code}\n${await tail(log)}`);
    } finally {
      await this.#end(child);
    }
  }

  /**
   * Lets programs ask the model; returns when it listens, which is before it has found hosts.
   *
   * @returns where HTTP is spoken: `http://127.0.0.1:PORT`.
   * @throws {Failure} if it does not come up.
   */
  async gateway(flags: readonly string[] = []): Promise<string> {
    const log = join(this.#options.folder, "gateway.log");
    const args = ["--listen", "127.0.0.1:0", ...flags];
    const child = this.#start(
      "gateway",
      new URL("./gateway.ts", import.meta.url),
      args,
      log,
      "--peer-listen",
    );
    const lines = child.lines();
    const { value: url } = await lines.next();
    if (url === undefined) throw new Failure(`The gateway did not come up\n${await tail(log)}`);
    drain(lines);
    return url;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended = true;
    await Promise.all([...this.#children.keys()].map((child) => this.#end(child)));
  }

  /** A program of one command that joins the run. */
  #start(name: string, program: URL, flags: readonly string[], log: string, listenFlag = "--listen"): Child {
    const { listen, through } = placed(this.#options, name);
    const join = ["--leash", "--run", this.#options.run, "--bootstrap", this.address, listenFlag, listen];
    const child = Child.start(program, [...join, ...flags], log, this.#options.clock, through);
    this.#children.set(child, name);
    return child;
  }

  async #end(child: Child): Promise<void> {
    await child[Symbol.asyncDispose]();
    this.#children.delete(child);
  }
}

function placed({ place }: LocalSwarmOptions, name: string): { listen: string; through: readonly string[] } {
  const { ip, through } = place?.(name) ?? HERE;
  return { listen: `/ip4/${ip}/tcp/0`, through };
}

/** Reads on without looking, so that the writer never waits for us. */
function drain(lines: AsyncIterable<string>): void {
  Array.fromAsync(lines, () => undefined).catch(() => {});
}

async function tail(path: string): Promise<string> {
  const text = await Deno.readTextFile(path).catch(() => "");
  return text.trimEnd().split("\n").slice(-LOG_LINES_SHOWN).map((line) => `  ${line}`).join("\n");
}
