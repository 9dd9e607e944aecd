import assert from "node:assert/strict";
import { CREDIT_TOKENS } from "./limits.ts";
import { TollBooth, TollPurse } from "./tolls.ts";
import { memoryJournal } from "../contracts/journal.ts";
import { type Lane, LedgerError, type SignedVoucher } from "../contracts/ledger.ts";
import { digestSigner } from "../contracts/signing.ts";
import { VoucherBook } from "../contracts/voucher_book.ts";
import { VoucherPurse } from "../contracts/voucher_purse.ts";
import type { Announcement } from "../routing/mod.ts";
import { address, NOWHERE as deployment } from "../contracts/testing/addresses.ts";

const MODEL = `0x${"a".repeat(64)}`;
const PRICE = 7n;
const OPERATOR = address("9");
const payer = digestSigner(new Uint8Array(32).fill(5));
const epochMs = () => 1_800_000_000_000;

/** Lanes as a chain keeps them. */
class Chain {
  isDown = false;
  readonly deposits: bigint[] = [];
  redeemedUnits = 0n;

  laneOf = (): Promise<Lane> => {
    if (this.isDown) return Promise.reject(new LedgerError("down", "Cannot ask: it is down"));
    const all = this.deposits.reduce((sum, units) => sum + units, 0n);
    const { redeemedUnits } = this;
    return Promise.resolve({
      depositUnits: all - redeemedUnits,
      redeemedUnits,
      thawingUnits: 0n,
      readySeconds: 0,
    });
  };

  deposit = (_host: string, _model: string, _stage: number, units: bigint) => {
    if (this.isDown) return Promise.reject(new LedgerError("down", "Cannot send: it is down"));
    this.deposits.push(units);
    return Promise.resolve();
  };

  redeemMany = (vouchers: readonly SignedVoucher[]) => {
    for (const { cumulativeUnits } of vouchers) {
      if (cumulativeUnits > this.redeemedUnits) this.redeemedUnits = cumulativeUnits;
    }
    return Promise.resolve();
  };
}

async function world() {
  const chain = new Chain();
  const troubles: string[] = [];
  const journals = { book: memoryJournal(), purse: memoryJournal() };
  const openBooth = async () =>
    new TollBooth({
      book: await VoucherBook.open({ deployment, host: OPERATOR, journal: journals.book, epochMs }),
      ledger: chain,
      priceUnits: PRICE,
      redeemAtLeastUnits: 1n,
      onTrouble: (reason) => troubles.push(reason),
    });
  const purse = new TollPurse({
    purse: await VoucherPurse.open({ deployment, signer: payer, journal: journals.purse, epochMs }),
    ledger: chain,
    payer: payer.address,
    model: MODEL,
    payeeOf: () => OPERATOR,
    depositUnits: 10_000n,
  });
  purse.learn([{ peer: "host", priceUnits: `${PRICE}` } as Announcement]);
  return { chain, troubles, purse, openBooth, booth: await openBooth() };
}

/** Ends what was begun and takes no time of its own. */
const settled = () => new Promise<void>((resolve) => queueMicrotask(() => queueMicrotask(resolve)));

async function pays({ purse, booth }: Awaited<ReturnType<typeof world>>, tokens: number): Promise<void> {
  for (const { peer, voucher } of await purse.owe(["host"], tokens) ?? []) {
    assert.equal(peer, "host");
    booth.accept("home", voucher);
    for (let turn = 0; turn < 20; turn++) await settled();
  }
}

Deno.test("who pays is served without end, for no more and no less than was computed", async () => {
  const it = await world();
  let served = 0;
  for (const tokens of [500, ...Array(300).fill(1), 90]) {
    await pays(it, tokens);
    assert.equal(it.booth.charge("home", tokens), undefined);
    served += tokens;
  }
  for (const { voucher } of await it.purse.settle(["host"])) it.booth.accept("home", voucher);
  const units = BigInt(served) * PRICE;
  assert.deepEqual(it.booth.totals, { paidUnits: units, servedUnits: units });
  await it.booth.redeem();
  assert.equal(it.chain.redeemedUnits, units);
  await it.booth.redeem();
  assert.equal(it.chain.redeemedUnits, units);
  assert.deepEqual(it.troubles, []);
});

Deno.test("who does not pay is lent a little, and not a token more", async () => {
  const { booth } = await world();
  for (let token = 0; token < CREDIT_TOKENS; token++) assert.equal(booth.charge("home", 1), undefined);
  assert.match(booth.charge("home", 1)!, /would be owed/);
  assert.match(booth.charge("home", 1)!, /would be owed/, "nor later");
  assert.equal(booth.charge("another", 1), undefined);
});

Deno.test("a voucher that is replayed, stolen or made up is worth nothing", async () => {
  const it = await world();
  const [{ voucher }] = (await it.purse.owe(["host"], 200))!;
  it.booth.accept("home", voucher);
  for (let turn = 0; turn < 20; turn++) await settled();
  const paid = it.booth.totals.paidUnits;
  assert.equal(paid, 200n * PRICE);
  for (
    const bytes of [
      voucher,
      new Uint8Array(3),
      new TextEncoder().encode("null"),
      new TextEncoder().encode("{}"),
    ]
  ) {
    it.booth.accept("thief", bytes);
  }
  const more = { ...JSON.parse(new TextDecoder().decode(voucher)), cumulativeUnits: "9999" };
  it.booth.accept("thief", new TextEncoder().encode(JSON.stringify(more)));
  for (let turn = 0; turn < 20; turn++) await settled();
  assert.equal(it.booth.totals.paidUnits, paid);
  assert.equal(it.troubles.length, 5);
});

Deno.test("what was not computed is paid by the next tokens", async () => {
  const it = await world();
  await pays(it, 200);
  it.purse.forgive(["host"], 200, ["host"]);
  assert.equal(await it.purse.owe(["host"], 200), undefined, "it is paid for already");
  assert.deepEqual(await it.purse.settle(["host"]), []);
});

Deno.test("a chain that is down costs nobody anything: what was owed is owed, and signed later", async () => {
  const it = await world();
  it.chain.isDown = true;
  await assert.rejects(it.purse.owe(["host"], 200)!, LedgerError);
  it.chain.isDown = false;
  await pays(it, 1);
  assert.equal(it.booth.totals.paidUnits, 201n * PRICE);
});

Deno.test("a host that starts again redeems what it was given before", async () => {
  const it = await world();
  await pays(it, 200);
  const again = await it.openBooth();
  await again.redeem();
  assert.equal(it.chain.redeemedUnits, 200n * PRICE);
});

Deno.test("hosts that cost nothing are owed nothing", async () => {
  const { purse } = await world();
  assert.equal(purse.owe(["stranger"], 10_000), undefined);
  assert.deepEqual(await purse.settle(["stranger"]), []);
});
