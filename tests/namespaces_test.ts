/**
 * A swarm whose hosts are far apart: each in a network namespace of its own,
 * behind a line of 100 Mb/s, 50 or 100 ms away from everybody else, and one
 * packet in a hundred lost. And one whose network falls in two for 20 s. Either
 * must take the steps that one process takes.
 *
 * How fast it is meanwhile is a measurement: `deno task bench --only namespaces`.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import type { Clock } from "../actors/core/clock.ts";
import { RealClock } from "../actors/core/real_clock.ts";
import type { RunEvent } from "../actors/report.ts";
import { BadNetwork } from "../bench/network/bad_network.ts";
import type { Impairment } from "../bench/network/between.ts";
import { LocalSwarm } from "../cli/local_swarm.ts";
import type { Manifest } from "../run/mod.ts";
import { countingDataset, countingText, tinyManifest } from "./data.ts";
import { assertClose, soloRun } from "./solo.ts";

const STAGES = 3;
const REPLICAS = 2;
const HOSTS = STAGES * REPLICAS;
const MBIT = 1e6;
const CUT_MS = 20_000;
/** More than every time-out on the way. */
const PATIENCE_MS = 240_000;
const LOSS_DIFFERENCE_MAX = 1e-4;

/** Hosts on the trainer's side of a cut: every stage is there, and more than half of all. */
const NEAR = STAGES + 1;

const obstacle = await BadNetwork.obstacle();
const ignored = {
  ignore: obstacle !== undefined,
  why: obstacle === undefined ? "" : ` (left out: ${obstacle})`,
};

/** A swarm with every host on a machine of its own; the trainer and the bootstrap node are on machine 0. */
async function trainFarApart(
  { manifest, impairment, clock, onEvent }: {
    readonly manifest: Manifest;
    readonly impairment: Impairment;
    readonly clock: Clock;
    /** @returns whether it has seen enough. */
    readonly onEvent: (event: RunEvent, network: BadNetwork) => Promise<boolean>;
  },
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "murmuration-namespaces-" });
  try {
    const run = join(folder, "run.json");
    const data = join(folder, "data.txt");
    await Deno.writeTextFile(run, JSON.stringify(manifest));
    await Deno.writeTextFile(data, countingText(20_000));
    await using network = await BadNetwork.open({ machines: HOSTS + 1, impairment, folder, clock });
    await using swarm = await LocalSwarm.start({
      run,
      folder,
      device: "reference",
      threads: 1,
      clock,
      place: (name) => network.place(Number(/^host (\d+)$/.exec(name)?.[1] ?? 0)),
    });
    // Hosts 1 to 3 hold one stage each, and 4 to 6 again.
    for (let replica = 0; replica < REPLICAS; replica++) {
      await Promise.all(Array.from({ length: STAGES }, (_, stage) => swarm.startHost(stage)));
    }
    // A swarm that never gets there is ended, which its trainer complains of.
    const patience = clock.after(PATIENCE_MS, () => void swarm[Symbol.asyncDispose]());
    try {
      for await (const event of swarm.train(data, join(folder, "output"))) {
        if (await onEvent(event, network)) break;
      }
    } finally {
      patience.cancel();
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function assertSameLosses(manifest: Manifest, losses: readonly number[]): Promise<void> {
  const expected = await soloRun({ ...manifest, steps: losses.length }, undefined, countingDataset(manifest));
  assertClose(losses, expected.losses, LOSS_DIFFERENCE_MAX);
}

for (const delayMs of [50, 100]) {
  Deno.test({
    name: `hosts ${delayMs} ms apart on lossy lines take the steps of one process${ignored.why}`,
    ignore: ignored.ignore,
    async fn() {
      const manifest = tinyManifest({ steps: 4 });
      const losses: number[] = [];
      await trainFarApart({
        manifest,
        impairment: { delayMs, bitsPerSecond: 100 * MBIT, lossShare: 0.01 },
        clock: new RealClock(),
        onEvent(event) {
          if (event.kind === "step") losses.push(event.loss);
          return Promise.resolve(false);
        },
      });
      assert.equal(losses.length, manifest.steps);
      await assertSameLosses(manifest, losses);
    },
  });
}

Deno.test({
  name: `a network that falls in two for ${CUT_MS / 1000} s and heals costs no step${ignored.why}`,
  ignore: ignored.ignore,
  async fn() {
    const manifest = tinyManifest({ steps: 1_000_000, validation: { fraction: 0 } });
    const clock = new RealClock();
    const losses: number[] = [];
    let state: "whole" | "cut" | "long enough" | "healed" = "whole";
    await trainFarApart({
      manifest,
      impairment: { delayMs: 5, bitsPerSecond: 100 * MBIT, lossShare: 0 },
      clock,
      async onEvent(event, network) {
        if (event.kind !== "step") return false;
        losses.push(event.loss);
        const everybody = event.hosts.every((count) => count === REPLICAS);
        const without = event.hosts.reduce((sum, count) => sum + count) === NEAR;
        if (state === "whole" && everybody) {
          // Most of those who vouch for the steps are on the trainer's side: it may go on.
          await network.cut(Array.from({ length: HOSTS + 1 }, (_, machine) => machine > NEAR ? 1 : 0));
          state = "cut";
          clock.after(CUT_MS, () => state = "long enough");
        } else if (state === "long enough" && without) {
          // The run has gone on without the others.
          await network.heal();
          state = "healed";
        }
        return state === "healed" && everybody;
      },
    });
    assert.equal(state, "healed");
    await assertSameLosses(manifest, losses);
  },
});
