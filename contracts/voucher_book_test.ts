import assert from "node:assert/strict";
import fc from "fast-check";
import { fileJournal, type Journal, memoryJournal } from "./journal.ts";
import type { Deployment } from "./deployment.ts";
import { escrowDomain } from "./deployment.ts";
import type { SignedVoucher } from "./ledger.ts";
import { digestSigner } from "./signing.ts";
import { TypedData, type Voucher } from "./typed_data.ts";
import { BATCH_MAX, LANES_MAX, VoucherBook } from "./voucher_book.ts";

const at = (digit: string) => `0x${digit.repeat(40)}`;
const DEPLOYMENT: Deployment = {
  chainId: 31_337,
  block: 0,
  token: at("1"),
  vault: at("2"),
  registry: at("3"),
  rewards: at("4"),
  revenue: at("5"),
  escrow: at("6"),
};
const HOST = at("a");
const MODEL = `0x${"b".repeat(64)}`;
const HOUR = 3_600;
const START_SECONDS = 1_000_000;
const payers = Array.from({ length: 70 }, (_, index) => digestSigner(new Uint8Array(32).fill(index + 1)));

function signed(
  cumulativeUnits: bigint,
  change: Partial<Voucher> = {},
  payer = payers[0],
  deployment = DEPLOYMENT,
) {
  const voucher = {
    payer: payer.address,
    host: HOST,
    model: MODEL,
    stage: 0,
    expirySeconds: START_SECONDS + 10 * HOUR,
    cumulativeUnits,
    ...change,
  };
  return { ...voucher, signature: payer.sign(new TypedData(escrowDomain(deployment)).voucher(voucher)) };
}

async function open(journal: Journal = memoryJournal(), time = { seconds: START_SECONDS }) {
  return await VoucherBook.open({
    deployment: DEPLOYMENT,
    host: HOST,
    journal,
    epochMs: () => time.seconds * 1000,
  });
}

const lane = (payer = payers[0], stage = 0) => ({ payer: payer.address, model: MODEL, stage });

function cover(book: VoucherBook, units: bigint, payer = payers[0], more = {}): void {
  const it = { depositUnits: units, redeemedUnits: 0n, thawingUnits: 0n, readySeconds: 0, ...more };
  book.noteLane(lane(payer), it);
}

Deno.test("a good voucher counts by what it adds", async () => {
  const book = await open();
  cover(book, 100n);
  assert.equal(book.accept(signed(30n)), 30n);
  assert.equal(book.accept(signed(45n)), 15n);
  assert.equal(book.promisedUnits(lane()), 45n);
  assert.equal(book.promisedUnits(lane(payers[1])), 0n);
});

Deno.test("a bad voucher is turned away, and changes nothing", async () => {
  const book = await open();
  cover(book, 100n);
  const good = signed(50n);
  const elsewhere = { ...DEPLOYMENT, chainId: 1 };
  const otherContract = { ...DEPLOYMENT, escrow: at("7") };
  const bad: Record<string, unknown[]> = {
    "malformed": [undefined, null, {}, "voucher", { ...good, stage: -1 }, { ...good, extra: 1 }],
    "not ours": [signed(50n, { host: at("c") })],
    "expiring": [signed(50n, { expirySeconds: START_SECONDS + HOUR - 1 }), signed(50n, { expirySeconds: 0 })],
    "not rising": [signed(0n)],
    "uncovered": [signed(101n), signed(5n, { stage: 1 }), signed(5n, {}, payers[1])],
    "forged": [
      signed(50n, {}, payers[0], elsewhere),
      signed(50n, {}, payers[0], otherContract),
      { ...good, cumulativeUnits: 51n },
      { ...good, signature: `0x${"0".repeat(128)}` },
      { ...signed(50n, {}, payers[1]), payer: payers[0].address },
    ],
  };
  for (const [fault, vouchers] of Object.entries(bad)) {
    for (const voucher of vouchers) assert.equal(book.accept(voucher), fault);
  }
  assert.equal(book.promisedUnits(lane()), 0n);
  assert.equal(book.accept(good), 50n);
  assert.equal(book.accept(good), "not rising");
});

Deno.test("a payer that withdraws while it is served is covered for less", async () => {
  const book = await open();
  cover(book, 100n);
  assert.equal(book.accept(signed(60n)), 60n);
  cover(book, 100n, payers[0], { thawingUnits: 30n });
  assert.equal(book.accept(signed(71n)), "uncovered");
  assert.equal(book.accept(signed(70n)), 10n);
  cover(book, 40n, payers[0], { redeemedUnits: 70n });
  // What was redeemed already pays for nothing new.
  assert.equal(book.accept(signed(65n)), "not rising");
  assert.equal(book.accept(signed(110n)), 40n);
});

Deno.test("what is due goes in batches of one stage, and what is redeemed is forgotten", async () => {
  const time = { seconds: START_SECONDS };
  const book = await open(memoryJournal(), time);
  for (const [index, payer] of payers.entries()) {
    cover(book, 1_000n, payer);
    book.accept(signed(BigInt(index + 1), {}, payer));
  }
  assert.deepEqual(book.due(1_000n), []);
  const sizes = (batches: readonly (readonly SignedVoucher[])[]) => batches.map(({ length }) => length);
  // Those that are worth it, and as many others as there is room for.
  assert.deepEqual(sizes(book.due(60n)), [BATCH_MAX]);
  assert.deepEqual(sizes(book.due(1n)), [32, 32, 6]);
  time.seconds += 8 * HOUR + 1;
  assert.deepEqual(sizes(book.due(1_000n)), [32, 32, 6]);
  for (const [index, payer] of payers.entries()) cover(book, 0n, payer, { redeemedUnits: BigInt(index + 1) });
  assert.deepEqual(book.due(0n), []);
});

Deno.test("a part that is redeemed leaves the rest due", async () => {
  const book = await open();
  cover(book, 100n);
  book.accept(signed(80n));
  cover(book, 70n, payers[0], { redeemedUnits: 30n });
  assert.deepEqual(book.due(51n), []);
  assert.equal(book.due(50n).length, 1);
});

Deno.test("the book outlives its process, however it ends", async () => {
  const path = await Deno.makeTempFile();
  await Deno.remove(path);
  const book = await open(fileJournal(path));
  cover(book, 2n ** 100n);
  const voucher = signed(2n ** 90n);
  assert.equal(book.accept(voucher), 2n ** 90n);
  await Promise.all([book.saved(), book.saved()]);
  const later = await open(fileJournal(path));
  assert.deepEqual(later.due(0n), [[voucher]]);
  // Redeemed before the crash, and not noted: the chain says so now.
  cover(later, 0n, payers[0], { redeemedUnits: 2n ** 90n });
  assert.deepEqual(later.due(0n), []);
  await later.saved();
  assert.deepEqual((await open(fileJournal(path))).due(0n), []);
  await Deno.remove(path);
});

Deno.test("a write that fails is told, and tried again", async () => {
  let broken = true;
  const kept = memoryJournal();
  const book = await open({
    load: kept.load,
    save: (text) => broken ? Promise.reject(new Error("disk full")) : kept.save(text),
  });
  cover(book, 10n);
  book.accept(signed(5n));
  await assert.rejects(book.saved(), /disk full/);
  broken = false;
  await book.saved();
  assert.equal((await open(kept)).promisedUnits(lane()), 5n);
});

Deno.test("a damaged journal is not taken for an empty one", async () => {
  for (const text of ["", "{}", "[[]]", '[[{},"1","0"]]', '[[{},"-1","0"]]']) {
    await assert.rejects(open(memoryJournal(text)));
  }
});

Deno.test("lanes are bounded", async () => {
  const book = await open();
  for (let stage = 0; stage <= LANES_MAX; stage++) {
    const it = { depositUnits: 9n, redeemedUnits: 0n, thawingUnits: 0n, readySeconds: 0 };
    book.noteLane(lane(payers[0], stage), it);
  }
  assert.equal(book.accept(signed(1n, { stage: LANES_MAX })), "uncovered");
  assert.equal(book.accept(signed(1n, { stage: LANES_MAX - 1 })), 1n);
});

Deno.test("whatever vouchers come, promises only rise, and never above what covers them", () => {
  const sums = fc.array(fc.bigInt({ min: 0n, max: 150n }), { maxLength: 20 });
  return fc.assert(
    fc.asyncProperty(sums, async (sums) => {
      const book = await open();
      cover(book, 100n);
      let promised = 0n;
      for (const sum of sums) {
        const added = book.accept(signed(sum));
        if (typeof added === "bigint") promised += added;
        const now = book.promisedUnits(lane());
        assert.ok(now === promised && now <= 100n);
      }
      const best = sums.filter((sum) => sum <= 100n).reduce((most, sum) => sum > most ? sum : most, 0n);
      assert.equal(promised, best);
    }),
    { numRuns: 20 },
  );
});
