/**
 * Runs a boxed process in the foreground: signals go in, the exit code comes
 * out. It computes nothing and holds no state of a run, so that killing it
 * harms nothing but the process that it leads.
 */

import { type Box, startInBox } from "./box.ts";
import { listenForInterruption } from "./interruption.ts";

/**
 * Starts the box and waits for its end.
 *
 * @param options whether standard input is a leash of this process, too.
 * @returns the child's exit code; 128 and the signal's number where it was killed.
 * @throws {UsageError} as `startInBox` does.
 */
export async function launch(box: Box, options: { readonly leash?: boolean } = {}): Promise<number> {
  const child = await startInBox(box, { stdout: "inherit", stderr: "inherit" });
  // A terminal's Ctrl-C reaches the child as well. Asking twice must not kill it, so it is asked by its leash.
  const letGo = () => void child.stdin.close().catch(() => {});
  using interruption = listenForInterruption({ ...options, insist: () => child.kill("SIGKILL") });
  interruption.signal.addEventListener("abort", letGo, { once: true });
  const status = await child.status;
  interruption.signal.removeEventListener("abort", letGo);
  return status.code;
}
