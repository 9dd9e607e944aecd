/**
 * The whole of a run with a ledger, with real processes and a real chain: hosts are
 * staked for, train, one is killed; what they worked is acknowledged, put down,
 * claimed and withdrawn.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { RealClock } from "../actors/core/real_clock.ts";
import type { RunEvent } from "../actors/report.ts";
import { LocalOperators } from "../cli/local_operators.ts";
import { type LocalHost, LocalSwarm } from "../cli/local_swarm.ts";
import { UNITS_PER_TOKEN } from "../contracts/deployment.ts";
import { type NamedDocument, readEpoch, treeOf } from "../contracts/epoch.ts";
import { epochFolder, type EpochStore } from "../contracts/epoch_store.ts";
import { findAnvil } from "../contracts/local_chain.ts";
import { partition } from "../run/mod.ts";
import { countingText, tinyManifest } from "./data.ts";

const program = findAnvil();
const manifest = tinyManifest({ replicas: { floor: 2, ceiling: 2 } });
const stages = partition(manifest).length;
const EMISSION = 300n * UNITS_PER_TOKEN;
/** Steps of a few milliseconds each: so many may be under way between neighbours. */
const LOST_STEPS_MAX = 10;

/** Stages and micro-batches that neighbours acknowledge, by step, in an epoch and all before it. */
async function acknowledgedCells(last: NamedDocument, epochs: EpochStore): Promise<Map<number, Set<string>>> {
  const cells = new Map<number, Set<string>>();
  for (let hash: string | null = last.hash; hash !== null;) {
    const { document }: NamedDocument = readEpoch((await epochs.get(hash))!);
    for (const { step, stage, items, acknowledgements } of document.sheets) {
      const ofStep = cells.get(step) ?? new Set();
      cells.set(step, ofStep);
      for (const { microBatch } of items) {
        const by = acknowledgements.filter(({ microBatches }) => microBatches.includes(microBatch));
        if (by.length === (stage + 1 === stages ? 1 : 2)) ofStep.add(`${stage} ${microBatch}`);
      }
    }
    hash = document.previous;
  }
  return cells;
}

Deno.test({
  name: "what hosts worked until they died is acknowledged, put on the ledger, claimed and withdrawn",
  ignore: program === undefined,
  fn: async () => {
    const folder = await Deno.makeTempDir({ prefix: "murmuration-test-" });
    const clock = new RealClock();
    try {
      const run = join(folder, "run.json");
      const data = join(folder, "data.txt");
      const output = join(folder, "output");
      await Deno.writeTextFile(run, JSON.stringify(manifest));
      await Deno.writeTextFile(data, countingText(20_000));
      await using operators = await LocalOperators.open({
        run,
        folder,
        program: program!,
        clock,
        emissionUnits: EMISSION,
        terms: { windowSeconds: 2 },
      });
      const { model } = operators.at;
      const trainer = await operators.wallet("trainer", 100n * UNITS_PER_TOKEN);
      const hosts: LocalHost[] = [];
      const events: RunEvent[] = [];
      {
        await using swarm = await LocalSwarm.start({
          run,
          folder,
          device: "onnx",
          threads: 1,
          clock,
          enrol: (number, dataDir) => operators.enrol(number, dataDir),
        });
        hosts.push(...await Promise.all(Array.from({ length: 2 * stages }, () => swarm.startHost())));
        assert.deepEqual(hosts.map(({ stage }) => stage).sort(), [0, 0, 1, 1, 2, 2]);
        const worked = new Map<string, number>();
        let victim: LocalHost | undefined;
        for await (const event of swarm.train(data, output, trainer.flags)) {
          events.push(event);
          if (event.kind !== "step") continue;
          for (const [peer, count] of Object.entries(event.served)) {
            worked.set(peer, (worked.get(peer) ?? 0) + count);
          }
          if (event.step < manifest.steps / 2 || victim !== undefined) continue;
          // Of the two of its stage the one that has worked more.
          victim = hosts.filter(({ stage }) => stage === 1)
            .reduce((one, other) =>
              (worked.get(other.peer) ?? 0) > (worked.get(one.peer) ?? 0) ? other : one
            );
          await victim.kill();
        }

        const steps = events.flatMap((event) => event.kind === "step" ? [event] : []);
        assert.equal(steps.length, manifest.steps);
        using ledger = await operators.open(1);
        const { finalEpoch, proposedRoot } = await ledger.epochOf(model);
        assert.ok(finalEpoch > 0 && proposedRoot === undefined, "the last epoch is final");
        const { leavesHash } = (await ledger.proposalOf(model, finalEpoch))!;
        const epoch = readEpoch((await epochFolder(join(output, "epochs")).get(leavesHash))!);
        assert.equal(epoch.document.beforeStep, manifest.steps);

        // What a host had no time to bring, or to acknowledge, before it died is lost; nothing else is.
        const counted = await acknowledgedCells(epoch, epochFolder(join(output, "epochs")));
        const dies = steps.findLast(({ served }) => victim!.peer in served)!.step;
        const cells = manifest.microBatchesPerStep * stages;
        for (const { step } of steps) {
          const count = counted.get(step - 1)?.size ?? 0;
          assert.ok(
            count === cells || (count < cells && step > dies - LOST_STEPS_MAX && step <= dies),
            `step ${step}`,
          );
        }

        let claimed = 0n;
        for (const host of hosts) {
          const account = operators.operatorOf(host.number);
          const proof = treeOf(epoch)!.proofOf(model, host.stage!, account, finalEpoch);
          // On a busy machine one of two may get nothing to do.
          if (proof === undefined) {
            assert.ok(!worked.has(host.peer) && host !== victim, `host ${host.number} has earned nothing`);
            continue;
          }
          using own = await operators.open(host.number);
          await own.claim(proof);
          await own.claim(proof);
          const { rows, withdrawnUnits } = await own.earnings(account);
          assert.equal(rows.reduce((sum, { trainingUnits }) => sum + trainingUnits, 0n), withdrawnUnits);
          assert.equal(withdrawnUnits, proof.cumulativeRewardUnits);
          assert.equal((await own.balancesOf(account)).tokenUnits, withdrawnUnits);
          assert.ok(withdrawnUnits > 0n, `host ${host.number}, ${host === victim ? "killed, " : ""}earned`);
          claimed += withdrawnUnits;
        }
        const emitted = BigInt(finalEpoch) * EMISSION;
        assert.ok(claimed <= emitted, "no more than was emitted");
        assert.ok(claimed > emitted - emitted / 1_000n - BigInt(finalEpoch * 100), "and hardly less");
      }
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
