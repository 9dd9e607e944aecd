/**
 * A coordinator dies, leaves, or is cut off at moments drawn from a seed; another
 * trainer takes over, and the run must end as it does on one machine. Of two
 * coordinators at once only the one with the later term may commit.
 */

import assert from "node:assert/strict";
import type { PeerId } from "../actors/core/actor.ts";
import { SeededEntropy } from "../actors/core/seeded_entropy.ts";
import { SimulatedSwarm } from "../sim/swarm.ts";
import { countingDataset, tinyManifest } from "./data.ts";
import { assertClose, assertSameWeights, soloRun, weightsOf } from "./solo.ts";

const SEEDS = Number(Deno.env.get("MURMURATION_SEEDS") ?? 12);

const manifest = tinyManifest({
  steps: 10,
  microBatchesPerStep: 6,
  model: { ...tinyManifest().model, width: 8, hidden: 8, heads: 1 },
});
const solo = await soloRun(manifest);

const HOSTS = [0, 1, 2].flatMap((stage) =>
  ["a", "b"].map((letter) => ({ peer: `host-${stage}${letter}`, stage }))
);

/** A swarm with two hosts a stage, whose network can be cut in two. */
class Cuttable {
  readonly swarm: SimulatedSwarm;
  /** Told of each frame that is sent. */
  onSend = (_from: PeerId, _to: PeerId, _kind: string): void => {};
  /** Walks that each trainer has sent out. */
  readonly fed = new Map<PeerId, number>();
  /** Peers on the far side of the cut. */
  #far: ReadonlySet<PeerId> = new Set();

  constructor(seed: number) {
    const chance = new SeededEntropy(`take-over ${seed}`);
    this.swarm = new SimulatedSwarm({
      manifest,
      dataset: countingDataset(manifest),
      seed,
      latencyMs: 1 + chance.integer(20),
      fault: (from, to, { header }) => {
        const { kind } = header as { kind: string };
        this.onSend(from, to, kind);
        if (kind === "forward" && from.startsWith("trainer")) {
          this.fed.set(from, (this.fed.get(from) ?? 0) + 1);
        }
        return this.#far.has(from) === this.#far.has(to) ? undefined : { kind: "break" };
      },
    });
    for (const { peer, stage } of HOSTS) this.swarm.startHost(peer, stage);
  }

  cut(...far: PeerId[]): void {
    this.#far = new Set(far);
  }

  /** Steps that were reported by whoever coordinated them, with its term. */
  committed(): { readonly step: number; readonly loss: number; readonly term: number }[] {
    let term = 0;
    return this.swarm.events.flatMap((event) => {
      if (event.kind === "leading") term = Math.max(term, event.term);
      return event.kind === "step" && event.stateHashes.length > 0
        ? [{ step: event.step, loss: event.loss, term }]
        : [];
    });
  }

  /** From its first step on this trainer was told of all, also of those that their coordinator did not live to tell of. */
  checkTold(trainer: PeerId, context: string): void {
    const told = this.swarm.eventsOf(trainer).flatMap((event) => event.kind === "step" ? [event] : []);
    const numbers = told.map(({ step }) => step);
    const all = Array.from({ length: manifest.steps }, (_, index) => index + 1);
    assert.deepEqual(numbers, all.slice(numbers[0] - 1), `${context}: what ${trainer} was told of`);
    assertClose(told.map(({ loss }) => loss), numbers.map((step) => solo.losses[step - 1]), 1e-5, context);
  }

  /** Every step that was reported is the single process's, and so are the weights in the end. */
  async check(context: string): Promise<void> {
    const { swarm } = this;
    assert.equal(swarm.end?.kind, "done", `${context}: ${JSON.stringify(swarm.events.at(-1))}`);
    const steps = this.committed();
    assertClose(steps.map(({ loss }) => loss), steps.map(({ step }) => solo.losses[step - 1]), 1e-5, context);
    for (let stage = 0; stage < 3; stage++) {
      const states = await Promise.all(
        HOSTS.filter((host) => host.stage === stage).map(async ({ peer }) => {
          const opened = swarm.stages.get(peer);
          return opened?.step === manifest.steps ? (await opened.exportState()).bytes : undefined;
        }),
      );
      const whole = states.find((state) => state !== undefined);
      assert.ok(whole !== undefined, `${context}: nobody of stage ${stage} has taken all steps`);
      assertSameWeights(weightsOf(manifest, stage, whole), solo.weights[stage], 1e-5);
    }
  }
}

Deno.test(`the coordinator dies at any moment (${SEEDS} seeds): another takes over, and nothing counts twice`, async () => {
  let midStep = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const chance = new SeededEntropy(`death ${seed}`);
    const world = new Cuttable(seed);
    const { swarm } = world;
    swarm.startTrainer("trainer-1");
    await swarm.until(() => swarm.steps().length === 1);
    swarm.startTrainer("trainer-2");
    swarm.startTrainer("trainer-3");
    await swarm.until(() => swarm.eventsOf("trainer-3").some(({ kind }) => kind === "following"));
    const alive = ["trainer-1", "trainer-2", "trainer-3"];
    for (let death = 0; death < 2; death++) {
      await swarm.simulation.run({ untilMs: swarm.simulation.clock.nowMs() + chance.integer(1500) });
      const led = swarm.events.findLast((event) => event.kind === "leading");
      const leader = alive.find((trainer) => swarm.eventsOf(trainer).includes(led!));
      if (leader === undefined || swarm.end !== undefined) break;
      swarm.kill(alive.splice(alive.indexOf(leader), 1)[0]);
      await swarm.until(() =>
        swarm.end !== undefined || swarm.events.filter(({ kind }) => kind === "leading").length >= death + 2
      );
    }
    await swarm.finish();
    await world.check(`seed ${seed}`);
    const steps = world.committed().map(({ step }) => step);
    assert.deepEqual(
      [...steps].sort((a, b) => a - b),
      steps,
      `seed ${seed}: steps were committed in their order`,
    );
    assert.equal(new Set(steps).size, steps.length, `seed ${seed}: no step was committed twice`);
    for (const trainer of alive) world.checkTold(trainer, `seed ${seed}`);
    midStep += swarm.events.filter(({ kind }) => kind === "leading").length - 1;
    await swarm.close();
  }
  assert.ok(midStep >= SEEDS, `only ${midStep} take-overs: the test proves little`);
});

Deno.test(`the network is cut at any moment, and heals (${SEEDS} seeds): only the side with most hosts commits`, async () => {
  let apart = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const chance = new SeededEntropy(`cut ${seed}`);
    const world = new Cuttable(seed);
    const { swarm } = world;
    swarm.startTrainer("trainer-1");
    await swarm.until(() => swarm.steps().length === 1);
    swarm.startTrainer("trainer-2");
    await swarm.until(() => swarm.eventsOf("trainer-2").some(({ kind }) => kind === "following"));
    await swarm.simulation.run({ untilMs: swarm.simulation.clock.nowMs() + chance.integer(1000) });
    // One host of each stage on either side: both could compute, one more decides who may commit.
    const letters = [0, 1, 2].map(() => chance.uniform() < 0.5 ? "a" : "b");
    const far = letters.map((letter, stage) => `host-${stage}${letter}`);
    if (chance.uniform() < 0.5) {
      far.push(HOSTS.map(({ peer }) => peer).filter((peer) => !far.includes(peer))[0]);
    }
    world.cut("trainer-2", ...far);
    await swarm.simulation.run({ untilMs: swarm.simulation.clock.nowMs() + 5000 + chance.integer(30_000) });
    world.cut();
    await swarm.finish();
    await world.check(`seed ${seed}`);
    // Once a later term has begun no earlier one commits: terms, and steps within them, only rise.
    const committed = world.committed();
    const byTrainer = ["trainer-1", "trainer-2"].map((trainer) =>
      swarm.eventsOf(trainer).some((event) => event.kind === "step" && event.stateHashes.length > 0)
    );
    if (byTrainer.every(Boolean)) apart++;
    const steps = committed.map(({ step }) => step);
    assert.deepEqual([...new Set(steps)].sort((a, b) => a - b), steps, `seed ${seed}`);
    await swarm.close();
  }
  assert.ok(apart > 0, "nobody ever took over: the test proves nothing");
});

Deno.test("a step that its coordinator does not live to tell of is told by the next one", async () => {
  const world = new Cuttable(4);
  const { swarm } = world;
  for (const trainer of ["trainer-1", "trainer-2", "trainer-3"]) swarm.startTrainer(trainer);
  await swarm.until(() => swarm.steps().length === 3);
  let victim: PeerId | undefined;
  // The first host has taken the step, and its coordinator never hears of it.
  world.onSend = (_from, to, kind) => {
    if (kind === "applied") victim ??= to;
  };
  await swarm.until(() => victim !== undefined);
  swarm.kill(victim!);
  assert.equal(swarm.steps().length, 3);
  await swarm.finish();
  await world.check("untold");
  assert.equal(swarm.steps().length, manifest.steps - 1, "the fourth was found to be taken");
  for (const trainer of ["trainer-1", "trainer-2", "trainer-3"]) {
    if (trainer !== victim) world.checkTold(trainer, "untold");
  }
  await swarm.close();
});

Deno.test("trainers that share a run feed their shares; one that goes in the middle of a step costs replays alone", async () => {
  const world = new Cuttable(5);
  const { swarm } = world;
  for (const trainer of ["trainer-1", "trainer-2", "trainer-3"]) swarm.startTrainer(trainer);
  await swarm.until(() => swarm.steps().length === 3);
  assert.equal(swarm.events.filter(({ kind }) => kind === "leading").length, 1, "one of them leads");
  const followers = ["trainer-1", "trainer-2", "trainer-3"].filter((trainer) =>
    !swarm.eventsOf(trainer).some(({ kind }) => kind === "leading")
  );
  assert.equal(followers.length, 2);
  for (const follower of followers) assert.ok(world.fed.get(follower)! > 0, `${follower} feeds nothing`);
  swarm.kill(followers[0]);
  await swarm.until(() => swarm.steps().length === 5);
  swarm.stop(followers[1]);
  await swarm.finish();
  await world.check("shares");
  await swarm.close();
});

Deno.test("a coordinator that leaves in good order is followed at once by another trainer", async () => {
  const world = new Cuttable(6);
  const { swarm } = world;
  swarm.startTrainer("trainer-1");
  await swarm.until(() => swarm.steps().length === 2);
  swarm.startTrainer("trainer-2");
  await swarm.until(() => swarm.eventsOf("trainer-2").some(({ kind }) => kind === "step"));
  swarm.stop("trainer-1");
  const stoppedAtMs = swarm.simulation.clock.nowMs();
  await swarm.until(() => swarm.eventsOf("trainer-2").some(({ kind }) => kind === "leading"));
  // Far less than the lease, on a clock of its own.
  assert.ok(swarm.simulation.clock.nowMs() - stoppedAtMs < 3000);
  await swarm.finish();
  await world.check("leave");
  await swarm.close();
});
