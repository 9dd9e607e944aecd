import assert from "node:assert/strict";
import { RealClock } from "../actors/core/real_clock.ts";
import { openLedger } from "./chain_ledger.ts";
import { memoryJournal } from "./journal.ts";
import { findAnvil } from "./local_chain.ts";
import { fundLocally, type LocalLedger, openLocalLedger } from "./local_ledger.ts";
import { digestSigner } from "./signing.ts";
import { stageWeights } from "./stage_weights.ts";
import { hex } from "./typed_data.ts";

const program = findAnvil();
const clock = new RealClock();
const stages = stageWeights([3, 1]).map((weightBps) => ({ weightBps, maxReplicas: 4, minStakeUnits: 10n }));
const offer = { manifestHash: `0x${"ab".repeat(32)}`, stages };

function open({ chain, deployment }: LocalLedger, key: Uint8Array) {
  return openLedger({ chain: chain.url, deployment, key, clock, journal: memoryJournal(), pollMs: 5 });
}

Deno.test({
  name: "a local ledger is found again in its folder, and gives money away",
  ignore: program === undefined,
  fn: async () => {
    const folder = await Deno.makeTempDir();
    try {
      const key = new Uint8Array(32).fill(3);
      const { address } = digestSigner(key);
      let model: string;
      {
        await using local = await openLocalLedger({ clock, program: program!, folder });
        assert.equal(local.found, false);
        using owner = await open(local, local.ownerKey);
        model = await owner.createModel(offer);
        assert.equal(await owner.createModel(offer), model, "it is there already");
        await owner.mint(1_000n);
        await owner.fundTraining(model, 1_000n, 100n);
        assert.deepEqual(await owner.emissionOf(model), { poolUnits: 1_000n, stageUnits: [75n, 25n] });
        await fundLocally(local.chain.url, local.deployment, address, 50n);
      }
      await using again = await openLocalLedger({ clock, program: program!, folder });
      assert.equal(again.found, true);
      using ledger = await open(again, key);
      assert.equal((await ledger.balancesOf(address)).tokenUnits, 50n);
      await ledger.stake(50n);
      assert.equal((await ledger.emissionOf(model)).poolUnits, 1_000n);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

Deno.test({
  name: "a folder whose chain has lost its state gets the contracts anew",
  ignore: program === undefined,
  fn: async () => {
    const folder = await Deno.makeTempDir();
    try {
      for (const round of [1, 2]) {
        await using local = await openLocalLedger({ clock, program: program!, folder });
        assert.equal(local.found, false, `round ${round}`);
        assert.match(hex(local.ownerKey), /^0x[0-9a-f]{64}$/);
        await local[Symbol.asyncDispose]();
        await Deno.remove(`${folder}/chain.json`);
      }
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
