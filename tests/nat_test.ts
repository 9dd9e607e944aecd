/**
 * Hosts in homes whose routers let nobody in, a bootstrap node and a trainer on
 * the internet: they must take the steps that one process takes. The hosts reach
 * each other through the bootstrap node, and the trainer without it: it can be
 * dialled, so they dial it back.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { RealClock } from "../actors/core/real_clock.ts";
import { LocalSwarm } from "../cli/local_swarm.ts";
import { countingDataset, countingText, tinyManifest } from "./data.ts";
import { Homes } from "./routers.ts";
import { assertClose, soloRun } from "./solo.ts";

const STEPS = 4;
const STAGES = 3;
const LOSS_DIFFERENCE_MAX = 1e-4;
/** More than every time-out on the way. */
const PATIENCE_MS = 120_000;

const obstacle = await Homes.obstacle();

Deno.test({
  name: `hosts behind routers train through a relay${
    obstacle === undefined ? "" : ` (left out: ${obstacle})`
  }`,
  ignore: obstacle !== undefined,
  async fn() {
    const manifest = tinyManifest({ steps: STEPS });
    const folder = await Deno.makeTempDir({ prefix: "murmuration-nat-" });
    const clock = new RealClock();
    try {
      const run = join(folder, "run.json");
      const data = join(folder, "data.txt");
      await Deno.writeTextFile(run, JSON.stringify(manifest));
      await Deno.writeTextFile(data, countingText(20_000));
      const losses: number[] = [];
      {
        await using homes = await Homes.open(STAGES);
        await using swarm = await LocalSwarm.start({
          run,
          folder,
          device: "reference",
          threads: 1,
          clock,
          place: (name) => {
            const host = /^host (\d+)$/.exec(name)?.[1];
            return host === undefined ? homes.internet : homes.home(Number(host) - 1);
          },
        });
        await Promise.all(Array.from({ length: STAGES }, (_, stage) => swarm.startHost(stage)));
        // A swarm that never gets there is ended, which its trainer complains of.
        const patience = clock.after(PATIENCE_MS, () => void swarm[Symbol.asyncDispose]());
        try {
          for await (const event of swarm.train(data, join(folder, "output"))) {
            if (event.kind === "step") losses.push(event.loss);
          }
        } finally {
          patience.cancel();
        }
      }
      const expected = await soloRun(manifest, undefined, countingDataset(manifest));
      assert.equal(losses.length, STEPS);
      assertClose(losses, expected.losses, LOSS_DIFFERENCE_MAX);

      for (let host = 1; host <= STAGES; host++) {
        const log = await Deno.readTextFile(join(folder, `host-${host}.log`));
        // Its own router's public address, as others have seen it, and a port to open there.
        assert.match(
          log,
          new RegExp(`Others reach this peer through a relay.*--announce /ip4/11\\.0\\.${host}\\.2/tcp/\\d+`),
        );
        assert.match(log, /Met a peer through a relay/);
      }
    } finally {
      if (Deno.env.get("KEEP")) console.log(folder);
      else {
        await Deno.remove(folder, { recursive: true });
      }
    }
  },
});
