/**
 * A child's side of its leash: standard input, on which nothing is ever said
 * and which closes when the parent ends, in whatever way. It refuses to outlive
 * its parent, even one that was killed without warning.
 */

/**
 * Aborted when standard input ends. Call it once, and only in a process whose
 * standard input is a pipe that its parent holds.
 */
export function holdLeash(input: ReadableStream<Uint8Array> = Deno.stdin.readable): AbortSignal {
  const controller = new AbortController();
  const letGo = () => controller.abort(new Error("The parent process is gone"));
  input.pipeTo(new WritableStream()).then(letGo, letGo);
  return controller.signal;
}
