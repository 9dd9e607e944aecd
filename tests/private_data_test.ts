/**
 * Trainers that share a run, each with data that nobody else has, come and go in
 * the middle of steps. Whatever was fed of whose data, each step must be the one
 * that a single process takes with exactly those micro-batches: none of them
 * mixed of two, none counted twice, none missing at any stage.
 */

import assert from "node:assert/strict";
import type { PeerId } from "../actors/core/actor.ts";
import { SeededEntropy } from "../actors/core/seeded_entropy.ts";
import { byteTokenizer, Dataset, type TokenBatch } from "../run/mod.ts";
import { SimulatedSwarm } from "../sim/swarm.ts";
import { countingText, tinyManifest } from "./data.ts";
import { assertClose, assertSameWeights, soloRun, weightsOf } from "./solo.ts";

const SEEDS = Number(Deno.env.get("MURMURATION_SEEDS") ?? 8);

const manifest = tinyManifest({
  steps: 10,
  microBatchesPerStep: 6,
  model: { ...tinyManifest().model, width: 8, hidden: 8, heads: 1 },
  validation: { fraction: 0 },
});

const STAGES = 3;

/** A shard for each trainer: another part of the text. */
const text = countingText(20_000);
const shards = [0, 1, 2, 3].map((part) =>
  Dataset.fromTexts(manifest, byteTokenizer, [text.slice(part * 5000, (part + 1) * 5000)])
);

/** A swarm that remembers which data each micro-batch was drawn from when it was sent for the last time. */
class Fed {
  readonly swarm: SimulatedSwarm;
  readonly #corpora = new Map<string, string>();
  /** Micro-batches that were begun with one trainer's data and done with another's. */
  replaced = 0;

  constructor(seed: number, replicas: number) {
    this.swarm = new SimulatedSwarm({
      manifest,
      dataset: shards[0],
      seed,
      latencyMs: 1 + new SeededEntropy(`distance ${seed}`).integer(20),
      fault: (from, _to, { header }) => {
        const { kind, walk, corpus } = header as {
          readonly kind: string;
          readonly walk: { readonly step: number; readonly microBatch: number };
          readonly corpus: string;
        };
        if (kind === "forward" && from.startsWith("trainer")) this.#sent(walk.step, walk.microBatch, corpus);
        return undefined;
      },
    });
    for (let stage = 0; stage < STAGES; stage++) {
      for (let replica = 0; replica < replicas; replica++) {
        this.swarm.startHost(`host-${stage}-${replica}`, stage);
      }
    }
  }

  startTrainer(index: number): PeerId {
    const peer = `trainer-${index}`;
    this.swarm.startTrainer(peer, true, shards[index % shards.length]);
    return peer;
  }

  #sent(step: number, microBatch: number, corpus: string): void {
    const key = `${step}/${microBatch}`;
    if ((this.#corpora.get(key) ?? corpus) !== corpus) this.replaced++;
    this.#corpora.set(key, corpus);
  }

  /** The micro-batch as it was fed. */
  microBatch(step: number, index: number): TokenBatch {
    const corpus = this.#corpora.get(`${step}/${index}`);
    return shards.find((shard) => shard.corpus === corpus)!.microBatch(step, index);
  }

  /** How many trainers' data were fed. */
  get shared(): number {
    return new Set(this.#corpora.values()).size;
  }

  /** Every step, and the weights in the end, are those of one process. */
  async check(context: string): Promise<void> {
    const { swarm } = this;
    assert.equal(swarm.end?.kind, "done", `${context}: ${JSON.stringify(swarm.events.at(-1))}`);
    const solo = await soloRun(manifest, undefined, this);
    const steps = swarm.steps();
    assert.ok(steps.length >= manifest.steps - 2, `${context}: ${steps.length} steps`);
    assertClose(steps.map(({ loss }) => loss), steps.map(({ step }) => solo.losses[step - 1]), 1e-5, context);
    for (const [peer, stage] of swarm.stages) {
      if (stage.step < manifest.steps) continue;
      const { bytes } = await stage.exportState();
      assertSameWeights(weightsOf(manifest, stage.index, bytes), solo.weights[stage.index], 1e-5);
      assert.ok(peer.startsWith("host"));
    }
    await swarm.close();
  }
}

Deno.test("trainers with data of their own feed them in equal shares", async () => {
  const world = new Fed(1, 2);
  for (let index = 0; index < 3; index++) world.startTrainer(index);
  await world.swarm.finish();
  assert.equal(world.shared, 3);
  assert.equal(world.replaced, 0);
  await world.check("shares");
});

for (const replicas of [1, 2]) {
  Deno.test(`trainers with data of their own die in the middle of steps (${SEEDS} seeds, ${replicas} hosts a stage): others' data take their places`, async () => {
    let replaced = 0;
    for (let seed = 1; seed <= SEEDS; seed++) {
      const chance = new SeededEntropy(`private ${seed}`);
      const world = new Fed(seed, replicas);
      const { swarm } = world;
      const alive = [world.startTrainer(0), world.startTrainer(1), world.startTrainer(2)];
      await swarm.until(() => swarm.steps().length >= 1);
      for (let next = 3; next < 8 && swarm.end === undefined; next++) {
        await swarm.simulation.run({ untilMs: swarm.simulation.clock.nowMs() + chance.integer(400) });
        // Whoever coordinates is hit as well.
        const victim = alive.splice(chance.integer(alive.length), 1)[0];
        if (chance.uniform() < 0.5) swarm.kill(victim);
        else swarm.stop(victim);
        alive.push(world.startTrainer(next));
      }
      await swarm.finish();
      replaced += world.replaced;
      await world.check(`seed ${seed}`);
    }
    assert.ok(replaced >= SEEDS, `only ${replaced} micro-batches were replaced: the test proves little`);
  });
}
