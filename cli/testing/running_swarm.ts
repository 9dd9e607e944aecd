/** Swarms of real processes on this machine, for tests. All that is theirs is gone afterwards. */

import { RealClock } from "../../actors/core/real_clock.ts";
import { LocalSwarm } from "../local_swarm.ts";

/**
 * Starts a swarm that has no hosts yet.
 *
 * @param run file of the run's manifest.
 * @param test is given a folder for itself, too.
 */
export async function withRunningSwarm(
  run: string,
  test: (swarm: LocalSwarm, folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.realPath(await Deno.makeTempDir({ prefix: "murmuration-swarm-" }));
  try {
    await using swarm = await LocalSwarm.start({
      run,
      folder,
      device: "onnx",
      threads: 1,
      clock: new RealClock(),
    });
    await test(swarm, folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
