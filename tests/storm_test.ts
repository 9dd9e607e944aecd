/**
 * A storm on real processes: hosts are killed, stopped and started the whole
 * time while a run goes on, one host of each stage excepted. Then it is calm, all
 * that are left must serve again, and every step must be the one that a single
 * process takes. Nothing may be left behind: no process, no file, no memory.
 *
 * A minute long; ten with `MURMURATION_STORM_SECONDS=600`. What happens when is
 * drawn from a seed that is printed first (`MURMURATION_STORM_SEED` repeats it),
 * but what a machine makes of it is its own: the same seed is the same weather,
 * not the same run.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import type { Clock } from "../actors/core/clock.ts";
import { RealClock } from "../actors/core/real_clock.ts";
import { SeededEntropy } from "../actors/core/seeded_entropy.ts";
import { SystemEntropy } from "../actors/core/system_entropy.ts";
import type { RunEvent } from "../actors/report.ts";
import { LocalSwarm } from "../cli/local_swarm.ts";
import { countingDataset, countingText, tinyManifest } from "./data.ts";
import {
  childrenOf,
  HAS_PROCESS_FACTS,
  isThere,
  openFiles,
  type ProcessName,
  processNamed,
  residentMegabytes,
} from "./process_facts.ts";
import { assertClose, soloRun } from "./solo.ts";
import { Storm, type StormCounts } from "./storm.ts";

const SECONDS = Number(Deno.env.get("MURMURATION_STORM_SECONDS") ?? 60);
const SEED = Deno.env.get("MURMURATION_STORM_SEED") ?? String(new SystemEntropy().integer(2 ** 31));

const STAGES = 3;
const HOSTS_MAX = 12;
/** Steps with everybody in place that end the run. */
const CALM_STEPS = 10;
/** What the run is given beyond the storm to begin and to heal: more than every time-out on the way, together. */
const PATIENCE_MS = 240_000;
const LOSS_DIFFERENCE_MAX = 1e-4;

/** What a process may gain from the storm's beginning to the end: V8 enlarges its heaps, by tens of MB each. */
const MEGABYTES_GAINED_MAX = 200;
/** Files that a process may gain: a connection either way with everybody else that may be up. */
const FILES_GAINED_MAX = 2 * (HOSTS_MAX + 2);
/** Files that this process may hold afterwards and did not before: what Deno opens once, and nothing for each blow. */
const FILES_LEFT_MAX = 8;

/** It ends when it is calm, not when its steps are done. */
const manifest = tinyManifest({ steps: 1_000_000, validation: { fraction: 0 } });

type Step = Extract<RunEvent, { kind: "step" }>;

/** What a process holds. */
interface Holdings {
  readonly megabytes: number;
  readonly files: number;
}

/** How the run went. */
interface Ride {
  readonly steps: readonly Step[];
  /** Steps that were taken while the storm raged. */
  readonly stormSteps: number;
  readonly counts: StormCounts;
  /** From the storm's end until all that were left served again, and had for {@link CALM_STEPS} steps. */
  readonly healingSeconds: number;
  /** By name of those that nothing has happened to. */
  readonly before: ReadonlyMap<string, Holdings>;
  readonly after: ReadonlyMap<string, Holdings>;
}

/** Trains through a storm, until all that it has left are calm. */
async function ride(
  { folder, clock, onProcesses }: {
    readonly folder: string;
    readonly clock: Clock;
    /** Told of those that are up, again and again. */
    readonly onProcesses: (processes: LocalSwarm["processes"]) => Promise<void>;
  },
): Promise<Ride> {
  const run = join(folder, "run.json");
  const data = join(folder, "data.txt");
  await Deno.writeTextFile(run, JSON.stringify(manifest));
  await Deno.writeTextFile(data, countingText(20_000));

  await using swarm = await LocalSwarm.start({ run, folder, device: "reference", threads: 1, clock });
  const hosts = await Promise.all([0, 1, 2, 0, 1, 2].map((stage) => swarm.startHost(stage)));
  const spared = hosts.slice(0, STAGES);
  await using storm = new Storm({
    swarm,
    stages: STAGES,
    spared,
    others: hosts.slice(STAGES),
    hostsMax: HOSTS_MAX,
    clock,
    entropy: new SeededEntropy(SEED),
  });
  const untouched = () => {
    const names = new Set(["bootstrap", "trainer", ...spared.map(({ number }) => `host ${number}`)]);
    return swarm.processes.filter(({ name }) => names.has(name));
  };

  const broken = Promise.withResolvers<never>();
  const steps: Step[] = [];
  let lastStepMs = clock.nowMs();
  const follow = async (): Promise<Ride> => {
    let before: ReadonlyMap<string, Holdings> | undefined;
    let stormSteps: number | undefined;
    let calmFromMs = Infinity;
    let calmSteps = 0;
    for await (const event of swarm.train(data, join(folder, "output"))) {
      if (event.kind !== "step") continue;
      steps.push(event);
      lastStepMs = clock.nowMs();
      await onProcesses(swarm.processes);
      const serving = event.hosts.reduce((sum, count) => sum + count, 0);
      if (before === undefined) {
        if (serving < hosts.length) continue;
        before = await holdingsOf(untouched());
        storm.rage(SECONDS * 1000).then(() => {
          stormSteps = steps.length;
          calmFromMs = clock.nowMs();
        }, broken.reject);
      } else if (stormSteps !== undefined) {
        calmSteps = serving === storm.hosts.length ? calmSteps + 1 : 0;
        if (calmSteps < CALM_STEPS) continue;
        const healingSeconds = (clock.nowMs() - calmFromMs) / 1000;
        const after = await holdingsOf(untouched());
        return { steps, stormSteps, counts: storm.counts, healingSeconds, before, after };
      }
    }
    throw new Error("the trainer ended by itself");
  };
  const timer = clock.after(SECONDS * 1000 + PATIENCE_MS, () => {
    const agoSeconds = Math.round((clock.nowMs() - lastStepMs) / 1000);
    const serving = steps.at(-1)?.hosts.join("·") ?? "none";
    const patience = `${PATIENCE_MS / 1000} s`;
    const last = `step ${steps.length} was the last, ${agoSeconds} s ago`;
    const up = `with ${serving} hosts of ${storm.hosts.length} that are up`;
    broken.reject(new Error(`Cannot heal within ${patience}: ${last}, ${up}`));
  });
  const following = follow();
  // Where something else has broken first, nobody listens to it any more.
  following.catch(() => {});
  try {
    return await Promise.race([following, broken.promise]);
  } finally {
    timer.cancel();
  }
}

async function holdingsOf(processes: LocalSwarm["processes"]): Promise<Map<string, Holdings>> {
  const holdings = new Map<string, Holdings>();
  for (const { name, pid } of processes) {
    const [megabytes, files] = await Promise.all([residentMegabytes(pid), openFiles(pid)]);
    assert.ok(megabytes !== undefined && files !== undefined, `${name} is gone, though nobody harmed it`);
    holdings.set(name, { megabytes, files });
  }
  return holdings;
}

/** For a person who wants to know what it was like. */
function tell({ steps, stormSteps, counts, healingSeconds, before, after }: Ride): void {
  const replays = steps.reduce((sum, step) => sum + step.replays, 0);
  const longest = Math.max(...steps.map(({ seconds }) => seconds));
  console.log(
    `storm: ${SECONDS} s, ${counts.kills} kills, ${counts.stops} stops, ${counts.starts} starts ` +
      `(${counts.returns} of them returns); ${stormSteps} steps in it and ${
        steps.length - stormSteps
      } after it, ` +
      `${replays} micro-batches sent again, longest step ${longest.toFixed(1)} s, healed in ${
        healingSeconds.toFixed(1)
      } s`,
  );
  for (const [name, then] of before) {
    const now = after.get(name)!;
    const [from, to] = [then.megabytes, now.megabytes].map((megabytes) => megabytes.toFixed(0));
    console.log(`storm: ${name}, ${from} → ${to} MB resident, ${then.files} → ${now.files} files open`);
  }
}

Deno.test({
  name: `a storm of ${SECONDS} s over the processes of a swarm changes no step and leaves nothing behind`,
  ignore: !HAS_PROCESS_FACTS,
  async fn() {
    console.log(`storm: MURMURATION_STORM_SEED=${SEED}`);
    const folder = await Deno.makeTempDir({ prefix: "murmuration-storm-" });
    const childrenBefore = await childrenOf(Deno.pid);
    const filesBefore = (await openFiles(Deno.pid))!;
    const everUp = new Map<string, ProcessName>();
    let found: Ride;
    try {
      found = await ride({
        folder,
        clock: new RealClock(),
        onProcesses: async (processes) => {
          for (const { pid } of processes) {
            const process = await processNamed(pid);
            if (process !== undefined) everUp.set(`${pid} ${process.startedTicks}`, process);
          }
        },
      });
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
    tell(found);
    const { steps, counts, before, after } = found;

    assert.ok(counts.kills > 0 && counts.stops > 0 && counts.starts > 0, "not everything happened");
    const expected = await soloRun(
      { ...manifest, steps: steps.length },
      undefined,
      countingDataset(manifest),
    );
    assertClose(steps.map(({ loss }) => loss), expected.losses, LOSS_DIFFERENCE_MAX);
    for (const { step, served } of steps) {
      const cells = Object.values(served).reduce((sum, count) => sum + count, 0);
      assert.equal(cells, manifest.microBatchesPerStep * STAGES, `cells of step ${step}`);
    }

    assert.deepEqual(await childrenOf(Deno.pid), childrenBefore, "children of the test are left");
    const filesLeft = (await openFiles(Deno.pid))! - filesBefore;
    assert.ok(filesLeft <= FILES_LEFT_MAX, `the test holds ${filesLeft} more files than before`);
    for (const process of everUp.values()) {
      assert.equal(await isThere(process), false, `process ${process.pid} is left`);
    }
    for (const [name, then] of before) {
      const now = after.get(name)!;
      assert.ok(now.megabytes - then.megabytes <= MEGABYTES_GAINED_MAX, `${name} holds ever more memory`);
      assert.ok(now.files - then.files <= FILES_GAINED_MAX, `${name} holds ever more files`);
    }
  },
});
