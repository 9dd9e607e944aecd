/**
 * A process that stands still, as on a machine that was put to sleep. It refuses
 * to leave one standing: it goes on when this is disposed of, and also when the
 * process that stopped it dies, in whatever way.
 */

/**
 * Stops the other, says so, and waits for the end of its input. The signals of a Ctrl-C
 * reach it too, and must not end it before it has let the other go on.
 */
const KEEPER = 'trap "" INT TERM HUP; kill -STOP "$1" || exit 1; echo; read -r _; kill -CONT "$1"';

/** Disposing of it lets the process go on. */
export class StoppedProcess implements AsyncDisposable {
  readonly #keeper: Deno.ChildProcess;

  private constructor(keeper: Deno.ChildProcess) {
    this.#keeper = keeper;
  }

  /**
   * Stops a process; returns when the kernel has been told, which then stops it as soon as it sees it.
   *
   * @throws {Error} if there is none, or it is not ours to stop.
   */
  static async stop(pid: number): Promise<StoppedProcess> {
    const keeper = new Deno.Command("sh", {
      args: ["-c", KEEPER, "keeper", String(pid)],
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    const reader = keeper.stdout.getReader();
    const { done } = await reader.read();
    reader.releaseLock();
    const stopped = new StoppedProcess(keeper);
    if (!done) return stopped;
    await stopped[Symbol.asyncDispose]();
    throw new Error(`Cannot stop process ${pid}: there is none, or it is not ours`);
  }

  /** Lets it go on; harmless where it has been ended meanwhile. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#keeper.stdin.close().catch(() => {});
    await this.#keeper.status;
    await this.#keeper.stdout.cancel();
  }
}
