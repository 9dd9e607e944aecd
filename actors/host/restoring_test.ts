import assert from "node:assert/strict";
import { Simulation } from "../core/simulation.ts";
import type { Message } from "../messages.ts";
import { behaviour } from "../role.ts";
import { announcementOf } from "../testing/announcement.ts";
import { countingManifest } from "../../sim/counting_run.ts";
import { CountingStage } from "../../sim/counting_stage.ts";
import { Holding } from "./holding.ts";
import { Restoring } from "./restoring.ts";
import { Snapshots } from "./snapshots.ts";
import { WorkQueue } from "./work_queue.ts";

const FIRST = "f".repeat(64);

/** A host of the first stage that nobody has told anything, and whom it asks for a state. */
class Restorer {
  readonly asked: string[] = [];
  readonly watched = new Set<string>();
  readonly holding = new Holding();
  restoring!: Restoring;
  trouble: string | undefined;

  constructor() {
    const simulation = new Simulation({ seed: 1, costs: { durationMs: () => 1, lane: () => undefined } });
    const manifest = countingManifest({ stages: 2, microBatchesPerStep: 1, steps: 1 });
    this.holding.hold(new CountingStage({ manifest, index: 0, watcher: { applied: () => {} } }));
    const system = simulation.system<Message>({
      peer: "own",
      transport: (to, _actor, { kind }) => {
        if (kind === "stateRequest") this.asked.push(to);
        return true;
      },
    });
    system.spawn(behaviour("host", (context) => {
      const { holding } = this;
      const never = () => assert.fail("nothing is proved here");
      const trouble = (reason: string | undefined) => this.trouble = reason;
      const queue = new WorkQueue(context, {
        inFlightMax: () => 1,
        readersWait: () => false,
        runReaders: never,
        failed: never,
      });
      const snapshots = new Snapshots({
        holding,
        queue,
        store: undefined,
        everySteps: 1,
        prove: never,
        trouble,
      });
      this.restoring = new Restoring(
        context,
        { holding, queue, snapshots, prove: never, layout: never, openStage: never, firstStates: [FIRST] },
        {
          pause: trouble,
          trouble,
          restored: never,
          watch: (service, wanted) =>
            void (wanted ? this.watched.add(service) : this.watched.delete(service)),
        },
      );
      return { receive: () => {} };
    }));
  }

  /** The stage is open; what it holds is not what the run begins with. */
  async open(): Promise<void> {
    const stage = this.holding.stage!;
    this.restoring.opened(stage, await stage.describeState(), undefined);
  }
}

function holderOf(peer: string, stateHash: string) {
  return { ...announcementOf(peer), stateHash };
}

Deno.test("the weights that a run begins with are asked of those that announce them, and of nobody else", async () => {
  const restorer = new Restorer();
  const { restoring, asked, watched } = restorer;
  await restorer.open();
  assert.deepEqual([...watched], ["stage:0"]);
  restoring.foundHosts("stage:1", [holderOf("next", FIRST)]);
  restoring.foundHosts("stage:0", [holderOf("other", "0".repeat(64))]);
  assert.equal(restoring.isUnderWay, false);
  restoring.foundHosts("stage:0", [holderOf("other", "0".repeat(64)), holderOf("holder", FIRST)]);
  restoring.foundHosts("stage:0", [holderOf("holder", FIRST), holderOf("late", FIRST)]);
  assert.deepEqual(asked, ["holder", "late"]);
});

Deno.test("a host that leaves its stage looks no more for the weights that it begins with", async () => {
  const restorer = new Restorer();
  const { restoring, holding, asked, watched } = restorer;
  await restorer.open();
  assert.match(restorer.trouble!, /looking for a host/);
  restoring.leave();
  holding.leave();
  assert.deepEqual([...watched], []);
  assert.equal(restorer.trouble, undefined);
  restoring.foundHosts("stage:0", [holderOf("holder", FIRST)]);
  assert.deepEqual(asked, []);
});
