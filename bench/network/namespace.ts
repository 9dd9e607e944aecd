/**
 * A network namespace: a machine's network of its own, for processes of this
 * one. It has no name that could be left behind: it is there for as long as a
 * process is in it, and its keeper ends when whoever opened it does, in whatever
 * way.
 */

/** Disposing of it ends its keeper; the namespace goes with the last process in it. */
export class Namespace implements AsyncDisposable {
  readonly #keeper: Deno.ChildProcess;
  /** A process in the namespace, for `ip link set … netns`. */
  readonly pid: number;

  private constructor(keeper: Deno.ChildProcess) {
    this.#keeper = keeper;
    this.pid = keeper.pid;
  }

  /** @throws {Error} where we may not have one, or lack the programs for it. */
  static async open(): Promise<Namespace> {
    const keeper = new Deno.Command("unshare", {
      args: ["--net", "sh", "-c", "echo; exec cat"],
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    const namespace = new Namespace(keeper);
    // Its first line comes from within; the pipe is then left alone.
    const reader = keeper.stdout.getReader();
    const { done } = await reader.read();
    reader.releaseLock();
    if (!done) return namespace;
    await namespace[Symbol.asyncDispose]();
    throw new Error("Cannot open a network namespace: unshare --net fails");
  }

  /** A command that runs the command behind it in here. */
  get through(): readonly string[] {
    return ["nsenter", `--net=/proc/${this.pid}/ns/net`, "--"];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#keeper.stdin.close().catch(() => {});
    await this.#keeper.status;
    await this.#keeper.stdout.cancel().catch(() => {});
  }
}

/** Runs a program to its end. @returns what it has written. @throws {Error} with its complaint. */
export async function runProgram(line: readonly string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(line[0]!, { args: line.slice(1) }).output();
  if (success) return new TextDecoder().decode(stdout);
  throw new Error(`Cannot run ${line.join(" ")}: ${new TextDecoder().decode(stderr).trim()}`);
}
