/**
 * A process that this one started and answers for: its lines of output, its log
 * in a file, its leash. It refuses to leave one behind.
 */

import type { Clock } from "../actors/core/clock.ts";

/** What a child that was asked to end is given before it is ended. */
const GRACE_MS = 5_000;

/** A process on a leash. Its standard output must be piped, and read by {@link Child.lines} alone. */
export class Child implements AsyncDisposable {
  readonly pid: number;
  readonly #process: Deno.ChildProcess;
  readonly #clock: Clock;
  readonly #logged: Promise<void>;

  /**
   * @param process with input, output and errors piped.
   * @param logPath where its standard error goes.
   */
  constructor(process: Deno.ChildProcess, logPath: string, clock: Clock) {
    this.#process = process;
    this.pid = process.pid;
    this.#clock = clock;
    const log = Deno.openSync(logPath, { create: true, append: true });
    // A child that was killed cuts its pipe; that is no trouble of the log's.
    this.#logged = process.stderr.pipeTo(log.writable).catch(() => {});
  }

  /**
   * Runs a program of this repository with all permissions.
   *
   * @param through a command that runs the command behind it, somewhere else: `nsenter --net=…`.
   */
  static start(
    program: URL,
    args: readonly string[],
    logPath: string,
    clock: Clock,
    through: readonly string[] = [],
  ): Child {
    const line = [...through, Deno.execPath(), "run", "-A", "--quiet", program.href, ...args];
    const process = new Deno.Command(line[0]!, {
      args: line.slice(1),
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    return new Child(process, logPath, clock);
  }

  /** What it writes, line by line, until it lets go of its output. To be read once. */
  async *lines(): AsyncGenerator<string, void, void> {
    let rest = "";
    for await (const part of this.#process.stdout.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + part).split("\n");
      rest = lines.pop()!;
      yield* lines;
    }
    if (rest !== "") yield rest;
  }

  /** Writes a line to its standard input. For a program that expects some there, not only its leash. */
  async tell(line: string): Promise<void> {
    const input = this.#process.stdin.getWriter();
    try {
      await input.write(new TextEncoder().encode(`${line}\n`));
    } finally {
      input.releaseLock();
    }
  }

  /** Its exit code, once it has ended. */
  async ended(): Promise<number> {
    const { code } = await this.#process.status;
    await this.#logged;
    return code;
  }

  /** Ends it as a power cut would. */
  kill(): void {
    try {
      this.#process.kill("SIGKILL");
    } catch (error) {
      // It has ended by itself.
      if (!(error instanceof TypeError || error instanceof Deno.errors.NotFound)) throw error;
    }
  }

  /** Asks it to end, insists after a while, and returns when it is gone. */
  async [Symbol.asyncDispose](): Promise<void> {
    const insist = this.#clock.after(GRACE_MS, () => this.kill());
    await this.#process.stdin.close().catch(() => {});
    await this.#process.status;
    insist.cancel();
    // Output that nobody read would keep the log's pipe company for ever.
    if (!this.#process.stdout.locked) await this.#process.stdout.cancel().catch(() => {});
    await this.#logged;
  }
}
