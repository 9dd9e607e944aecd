import assert from "node:assert/strict";
import fc from "fast-check";
import type { Deployment } from "./deployment.ts";
import { type Journal, memoryJournal } from "./journal.ts";
import { digestSigner } from "./signing.ts";
import { VoucherBook } from "./voucher_book.ts";
import { VoucherPurse } from "./voucher_purse.ts";

const at = (digit: string) => `0x${digit.repeat(40)}`;
const [token, vault, registry, rewards, revenue, escrow] = [..."123456"].map(at);
const DEPLOYMENT: Deployment = { chainId: 7, block: 0, token, vault, registry, rewards, revenue, escrow };
const signer = digestSigner(new Uint8Array(32).fill(9));
const LANE = { host: at("A"), model: `0x${"b".repeat(64)}`, stage: 2 };
const epochMs = () => 1e12;

const open = (journal: Journal = memoryJournal()) =>
  VoucherPurse.open({ deployment: DEPLOYMENT, signer, journal, epochMs });

function lane(depositUnits: bigint, redeemedUnits = 0n, thawingUnits = 0n) {
  return { depositUnits, redeemedUnits, thawingUnits, readySeconds: 0 };
}

Deno.test("what a purse promises a book takes, whatever happens in between", async () => {
  // An amount to owe; nothing: the payer crashes.
  const steps = fc.array(fc.option(fc.bigInt({ min: 1n, max: 60n })), { maxLength: 12 });
  await fc.assert(
    fc.asyncProperty(steps, async (steps) => {
      const journal = memoryJournal();
      const book = await VoucherBook.open({
        deployment: DEPLOYMENT,
        host: LANE.host,
        journal: memoryJournal(),
        epochMs,
      });
      book.noteLane({ ...LANE, payer: signer.address }, lane(400n));
      let purse = await open(journal);
      purse.noteLane(LANE, lane(400n));
      let owed = 0n;
      for (const units of steps) {
        if (units === null) {
          purse = await open(journal);
          purse.noteLane(LANE, lane(400n));
        } else if (units > purse.leftUnits(LANE)) {
          await assert.rejects(purse.owe(LANE, units), RangeError);
        } else {
          assert.equal(book.accept(await purse.owe(LANE, units)), units);
          owed += units;
        }
        assert.equal(purse.owedUnits(LANE), owed);
      }
    }),
    { numRuns: 30 },
  );
});

Deno.test("a purse that was lost learns from the chain what it has paid", async () => {
  const purse = await open();
  assert.equal(purse.leftUnits(LANE), 0n);
  purse.noteLane(LANE, lane(50n, 200n, 10n));
  assert.equal(purse.leftUnits(LANE), 40n);
  assert.equal((await purse.owe(LANE, 40n)).cumulativeUnits, 240n);
  await assert.rejects(purse.owe(LANE, 1n), /Cannot promise 1 units to .*: the lane has 0 left/);
  await assert.rejects(purse.owe(LANE, 0n), RangeError);
});

Deno.test("nothing is promised that is not on disk", async () => {
  const purse = await open({ ...memoryJournal(), save: () => Promise.reject(new Error("disk full")) });
  purse.noteLane(LANE, lane(50n));
  await assert.rejects(purse.owe(LANE, 1n), /disk full/);
  for (const text of ["", "{}", '[["a","-1"]]']) await assert.rejects(open(memoryJournal(text)));
});
