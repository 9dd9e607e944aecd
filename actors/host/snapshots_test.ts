import assert from "node:assert/strict";
import { Simulation } from "../core/simulation.ts";
import type { Message } from "../messages.ts";
import { behaviour } from "../role.ts";
import type { Stage, StateManifest } from "../../stages/mod.ts";
import { type StateProof, UnprovedState } from "../../routing/mod.ts";
import { Holding } from "./holding.ts";
import { type KeptState, Snapshots } from "./snapshots.ts";
import { WorkQueue } from "./work_queue.ts";

const PROVED: StateProof = { replicas: ["own"], votes: [{ peer: "own", signature: "00" }] };
const UNPROVED: StateProof = { ...PROVED, replicas: ["other", "own", "third"] };

/** A host that takes steps, and its disk. */
class Keeper {
  readonly simulation = new Simulation({ seed: 1, costs: { durationMs: () => 1, lane: () => undefined } });
  readonly holding = new Holding();
  readonly saved: string[] = [];
  listed: KeptState[] = [];
  full = false;
  trouble: string | undefined;
  snapshots!: Snapshots;
  readonly #stage = {
    index: 0,
    parameters: 1,
    step: 0,
    exportState: () => Promise.resolve({ manifest: this.#manifest(), bytes: new Uint8Array(4) }),
  };

  constructor() {
    this.holding.hold(this.#stage as Partial<Stage> as Stage);
    const system = this.simulation.system<Message>({ peer: "own", transport: () => true });
    system.spawn(behaviour("host", (context) => {
      const queue = new WorkQueue(context, {
        inFlightMax: () => 1,
        readersWait: () => false,
        runReaders: () => {},
        failed: () => {},
      });
      this.snapshots = new Snapshots({
        holding: this.holding,
        queue,
        everySteps: 2,
        store: {
          list: () => Promise.resolve(this.listed),
          load: () => assert.fail("nothing is read"),
          save: (_stage, { stateHash }) => {
            if (this.full) return Promise.reject(new Error("the disk is full"));
            this.saved.push(stateHash);
            return Promise.resolve();
          },
        },
        prove: (_claim, [proof]) =>
          proof === PROVED
            ? Promise.resolve(proof)
            : Promise.reject(new UnprovedState("nobody has signed it")),
        trouble: (reason) => this.trouble = reason,
      });
      return {
        receive: ({ message }) => message.kind === "performed" ? queue.onPerformed(message) : undefined,
      };
    }));
  }

  /** Takes a step, and keeps its state if it is due. */
  async step(proof: StateProof): Promise<void> {
    this.#stage.step++;
    this.holding.stand(this.#manifest(), proof);
    if (this.snapshots.isDue({ atOnce: false })) this.snapshots.copy();
    await this.pass();
  }

  async pass(): Promise<void> {
    await this.simulation.run({ untilMs: this.simulation.clock.nowMs() + 10 });
  }

  #manifest(): StateManifest {
    const { step } = this.#stage;
    return { step, stateHash: `state ${step}`, pieces: [], pieceBytes: 4, bytes: 4 };
  }
}

Deno.test("every so many steps a state is kept, as soon as it is proved", async () => {
  const keeper = new Keeper();
  await keeper.step(PROVED);
  assert.deepEqual(keeper.saved, []);
  await keeper.step(UNPROVED);
  assert.deepEqual(keeper.saved, []);
  keeper.holding.prove(PROVED);
  keeper.snapshots.saveProved();
  keeper.snapshots.saveProved();
  await keeper.pass();
  assert.deepEqual(keeper.saved, ["state 2"]);
  assert.ok(keeper.snapshots.holdPresent);
});

Deno.test("a state that was not proved in time is never written; the next one is, in its place", async () => {
  const keeper = new Keeper();
  await keeper.step(PROVED);
  await keeper.step(UNPROVED);
  await keeper.step(PROVED);
  assert.deepEqual(keeper.saved, ["state 3"]);
  await keeper.step(PROVED);
  await keeper.step(PROVED);
  assert.deepEqual(keeper.saved, ["state 3", "state 4"]);
});

Deno.test("a state that can't be written is told of, and not among those that are kept", async () => {
  const keeper = new Keeper();
  keeper.full = true;
  await keeper.step(PROVED);
  await keeper.step(PROVED);
  assert.match(keeper.trouble!, /the disk is full/);
  assert.deepEqual(keeper.snapshots.kept, []);
});

Deno.test("a host that goes takes a copy unless its state is kept, or follows from the seed", async () => {
  const keeper = new Keeper();
  keeper.snapshots.copyUnlessKept();
  await keeper.pass();
  await keeper.step(PROVED);
  assert.deepEqual(keeper.saved, []);
  keeper.snapshots.copyUnlessKept();
  await keeper.pass();
  keeper.snapshots.copyUnlessKept();
  await keeper.pass();
  assert.deepEqual(keeper.saved, ["state 1"]);
});

Deno.test("of what is on the disk only what a quorum has signed is listed", async () => {
  const keeper = new Keeper();
  const proved = { step: 7, stateHash: "7", proof: PROVED };
  keeper.listed = [{ step: 9, stateHash: "9", proof: undefined }, { ...proved, proof: UNPROVED }, proved];
  assert.deepEqual(await keeper.snapshots.list(0), [proved]);
});
