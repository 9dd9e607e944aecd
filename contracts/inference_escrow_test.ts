import assert from "node:assert/strict";
import { StandardMerkleTree } from "@openzeppelin/merkle-tree";
import { RealClock } from "../actors/core/real_clock.ts";
import { escrowDomain } from "./deployment.ts";
import type { DigestSigner } from "./signing.ts";
import { events, NEVER_SECONDS, person, voucherArgument, WEALTH, word } from "./testing/scene.ts";
import { type Stand, TERMS } from "./testing/stand.ts";
import { refused, trials } from "./testing/trial.ts";
import { TypedData } from "./typed_data.ts";

/** As the contract numbers its refusals. */
const EXPIRED = 1n, FORGED = 2n, SPENT = 3n, UNCOVERED = 4n;
const NOBODY = `0x${"0".repeat(40)}`;
const ZERO = `0x${"0".repeat(64)}`;
const MODEL = word("model");
const STAGE = 3;

async function prepare(stand: Stand) {
  const [payer, other, host] = await Promise.all(
    ["payer", "other", "host"].map((name) => person(stand, name)),
  );
  return { payer, other, host: host.address };
}

const voucher = (
  stand: Pick<Stand, "deployment">,
  payer: DigestSigner,
  host: string,
  cumulativeUnits: bigint,
  more = {},
) =>
  voucherArgument(stand, payer, {
    host,
    model: MODEL,
    stage: STAGE,
    expirySeconds: NEVER_SECONDS,
    cumulativeUnits,
    ...more,
  });

const deposit = (stand: Stand, payer: DigestSigner, host: string, units: bigint) =>
  stand.send(payer.address, "escrow", "deposit", host, MODEL, STAGE, units);

const redeem = (stand: Stand, host: string, it: Record<string, unknown>) =>
  stand.send(host, "escrow", "redeem", host, MODEL, STAGE, it);

async function lane(stand: Stand, payer: DigestSigner, host: string): Promise<[bigint, bigint]> {
  const [id] = host === NOBODY
    ? await stand.call("escrow", "reserveOf", payer.address)
    : await stand.call("escrow", "laneOf", payer.address, host, MODEL, STAGE);
  const it = await stand.call("escrow", "lanes", id);
  return [it.deposit, it.redeemed];
}

const earned = async (stand: Stand, who: string) => (await stand.call("escrow", "earned", who))[0] as bigint;

const balance = async (stand: Stand, who: string) =>
  (await stand.call("token", "balanceOf", who))[0] as bigint;

trials("InferenceEscrow", new RealClock(), prepare, {
  "a voucher pays what was not paid before, and its parts go where they belong": async (stand, all) => {
    const { payer, host } = all;
    await deposit(stand, payer, host, 10_000n);
    const done = await redeem(stand, host, voucher(stand, payer, host, 1_000n));
    const [parts] = events(done, stand.contracts.escrow, "Earned");
    assert.deepEqual([parts.toHost, parts.toShard, parts.toAuditors], [770n, 200n, 30n]);
    assert.deepEqual(await lane(stand, payer, host), [9_000n, 1_000n]);
    await redeem(stand, host, voucher(stand, payer, host, 1_501n));
    assert.equal(await earned(stand, host), 1_501n - 300n - 45n);
    assert.equal(await balance(stand, stand.deployment.revenue), 300n);
    await stand.send(host, "escrow", "withdraw", host);
    assert.equal(await balance(stand, host), WEALTH + 1_156n);
    await refused(stand.send(host, "escrow", "withdraw", host), "Nothing");
    // Anybody may pay for the transaction, and nobody else gets the money.
    const { auditors } = stand.offices;
    await stand.send(host, "escrow", "withdraw", auditors);
    assert.equal(await balance(stand, auditors), 45n);
    assert.equal(await balance(stand, stand.deployment.escrow), 10_000n - 1_501n);
  },
  "a small payment goes to the host whole": async (stand, { payer, host }) => {
    await deposit(stand, payer, host, 10n);
    await redeem(stand, host, voucher(stand, payer, host, 4n));
    assert.equal(await earned(stand, host), 4n);
  },
  "a replayed voucher pays nothing, and neither does a smaller one": async (stand, { payer, host }) => {
    await deposit(stand, payer, host, 10_000n);
    const it = voucher(stand, payer, host, 1_000n);
    await redeem(stand, host, it);
    await refused(redeem(stand, host, it), "NotRedeemed", [SPENT]);
    await refused(redeem(stand, host, voucher(stand, payer, host, 999n)), "NotRedeemed", [SPENT]);
    await refused(redeem(stand, host, voucher(stand, payer, host, 0n)), "NotRedeemed", [SPENT]);
    assert.deepEqual(await lane(stand, payer, host), [9_000n, 1_000n]);
  },
  "an expired voucher pays nothing": async (stand, { payer, host }) => {
    await deposit(stand, payer, host, 10_000n);
    const expirySeconds = await stand.nowSeconds() + 50;
    const it = voucher(stand, payer, host, 1_000n, { expirySeconds });
    await stand.undone(async () => {
      await stand.pass(49);
      await redeem(stand, host, it);
    });
    await stand.pass(50);
    await refused(redeem(stand, host, it), "NotRedeemed", [EXPIRED]);
  },
  "a voucher binds chain, contract, payer, host, model, stage, expiry and sum": async (stand, all) => {
    const { payer, other, host } = all;
    for (const who of [payer, other]) await deposit(stand, who, host, 10_000n);
    const good = voucher(stand, payer, host, 1_000n);
    const elsewhere = (change: object) => ({ deployment: { ...stand.deployment, ...change } });
    const forged = [
      voucher(elsewhere({ chainId: 1 }), payer, host, 1_000n),
      voucher(elsewhere({ escrow: stand.deployment.vault }), payer, host, 1_000n),
      voucher(stand, payer, other.address, 1_000n),
      voucher(stand, payer, host, 1_000n, { model: word("another") }),
      voucher(stand, payer, host, 1_000n, { stage: STAGE + 1 }),
      { ...good, payer: other.address },
      { ...good, expiry: NEVER_SECONDS + 1 },
      { ...good, cumulative: 1_001n },
      { ...good, r: word("r") },
      { ...good, vs: ZERO },
      { ...good, payer: NOBODY, vs: ZERO },
    ];
    for (const it of forged) await refused(redeem(stand, host, it), "NotRedeemed", [FORGED]);
    await redeem(stand, host, good);
    // Each lane has its own sum.
    const own = { host, model: MODEL, stage: STAGE + 1, expirySeconds: NEVER_SECONDS, cumulativeUnits: 5n };
    await refused(
      stand.send(host, "escrow", "redeem", host, MODEL, STAGE + 1, voucherArgument(stand, payer, own)),
      "NotRedeemed",
      [UNCOVERED],
    );
  },
  "a voucher over the deposit pays what there is, and the rest when there is more": async (stand, all) => {
    const { payer, host } = all;
    await refused(redeem(stand, host, voucher(stand, payer, host, 1n)), "NotRedeemed", [UNCOVERED]);
    await deposit(stand, payer, host, 600n);
    const it = voucher(stand, payer, host, 1_000n);
    await redeem(stand, host, it);
    assert.deepEqual(await lane(stand, payer, host), [0n, 600n]);
    await refused(redeem(stand, host, it), "NotRedeemed", [UNCOVERED]);
    await deposit(stand, payer, host, 600n);
    await redeem(stand, host, it);
    assert.deepEqual(await lane(stand, payer, host), [200n, 1_000n]);
  },
  "the reserve steps in where a lane is empty": async (stand, { payer, other, host }) => {
    await stand.send(payer.address, "escrow", "depositReserve", 500n);
    await stand.send(other.address, "escrow", "depositReserve", 500n);
    await deposit(stand, payer, host, 100n);
    await redeem(stand, host, voucher(stand, payer, host, 300n));
    assert.deepEqual(await lane(stand, payer, host), [0n, 300n]);
    assert.deepEqual(await lane(stand, payer, NOBODY), [300n, 0n]);
    await redeem(stand, host, voucher(stand, payer, host, 900n));
    assert.deepEqual(await lane(stand, payer, host), [0n, 600n]);
    assert.deepEqual(await lane(stand, payer, NOBODY), [0n, 0n]);
    assert.deepEqual(await lane(stand, other, NOBODY), [500n, 0n]);
  },
  "a reserve is moved into lanes without being paid twice": async (stand, { payer, host }) => {
    await stand.send(payer.address, "escrow", "depositReserve", 500n);
    const allocate = (units: bigint, to = host) =>
      stand.send(payer.address, "escrow", "allocate", to, MODEL, STAGE, units);
    await refused(allocate(501n), "DepositTooSmall", [500n, 501n]);
    await refused(allocate(1n, NOBODY), "NoHost");
    await allocate(200n);
    assert.deepEqual(await lane(stand, payer, host), [200n, 0n]);
    assert.deepEqual(await lane(stand, payer, NOBODY), [300n, 0n]);
  },
  "nobody is no host": async (stand, { payer }) => {
    await stand.send(payer.address, "escrow", "depositReserve", 500n);
    const it = voucherArgument(stand, payer, {
      host: NOBODY,
      model: ZERO,
      stage: 0,
      expirySeconds: NEVER_SECONDS,
      cumulativeUnits: 5n,
    });
    const send = (call: string, ...values: unknown[]) => stand.send(payer.address, "escrow", call, ...values);
    await refused(send("redeem", NOBODY, ZERO, 0, it), "NoHost");
    await refused(send("redeemMany", NOBODY, ZERO, 0, [it]), "NoHost");
    const path = { payer: payer.address, expiry: 0, root: ZERO, r: ZERO, vs: ZERO };
    await refused(send("redeemRoot", NOBODY, ZERO, 0, 1, path, []), "NoHost");
    await refused(send("deposit", NOBODY, ZERO, 0, 1n), "NoHost");
    await refused(send("deposit", payer.address, ZERO, 0, 0n), "Nothing");
    await refused(send("depositReserve", 0n), "Nothing");
  },
  "many are redeemed at once, and a bad one costs the others nothing": async (stand, all) => {
    const { payer, other, host } = all;
    await deposit(stand, payer, host, 1_000n);
    await deposit(stand, other, host, 1_000n);
    const list = [
      voucher(stand, payer, host, 100n),
      voucher(stand, other, host, 300n, { expirySeconds: 1 }),
      { ...voucher(stand, other, host, 400n), cumulative: 900n },
      voucher(stand, payer, host, 100n),
      voucher(stand, other, host, 200n),
      voucher(stand, payer, host, 250n),
    ];
    const done = await stand.send(host, "escrow", "redeemMany", host, MODEL, STAGE, list);
    assert.equal(await earned(stand, host), 450n - 90n - 13n);
    assert.equal(await balance(stand, stand.deployment.revenue), 90n);
    assert.deepEqual(
      events(done, stand.contracts.escrow, "Refused").map(({ reason }) => reason),
      [EXPIRED, FORGED, SPENT],
    );
    assert.deepEqual(
      events(done, stand.contracts.escrow, "Redeemed").map(({ paid }) => paid),
      [100n, 200n, 150n],
    );
    assert.deepEqual(await lane(stand, payer, host), [750n, 250n]);
    // A batch of which nothing is good is no trouble; it was redeemed before, perhaps.
    const again = await stand.send(host, "escrow", "redeemMany", host, MODEL, STAGE, list);
    assert.equal(events(again, stand.contracts.escrow, "Earned").length, 0);
    await stand.send(host, "escrow", "redeemMany", host, MODEL, STAGE, []);
  },
  "one signature pays every stage of a path": async (stand, { payer, other, host }) => {
    const owed = [host, other.address].map((who, stage) => [who, MODEL, stage, 100n * BigInt(stage + 1)]);
    const tree = StandardMerkleTree.of(owed, ["address", "bytes32", "uint32", "uint128"]);
    const data = new TypedData(escrowDomain(stand.deployment));
    const sign = (payer: DigestSigner, expiry = NEVER_SECONDS) => {
      const it = { payer: payer.address, root: tree.root, expirySeconds: expiry };
      const signature = payer.sign(data.pathVoucher(it));
      return {
        payer: payer.address,
        expiry,
        root: tree.root,
        r: signature.slice(0, 66),
        vs: `0x${signature.slice(66)}`,
      };
    };
    const redeemRoot = (place: number, path = sign(payer), cumulative = owed[place][3]) => {
      const [who, model, stage] = owed[place];
      return stand.send(
        host,
        "escrow",
        "redeemRoot",
        who,
        model,
        stage,
        cumulative,
        path,
        tree.getProof(place),
      );
    };
    await refused(redeemRoot(0), "NotRedeemed", [UNCOVERED]);
    await stand.send(payer.address, "escrow", "deposit", host, MODEL, 0, 1_000n);
    await stand.send(payer.address, "escrow", "deposit", other.address, MODEL, 1, 1_000n);
    await redeemRoot(0);
    await redeemRoot(1);
    assert.deepEqual([await earned(stand, host), await earned(stand, other.address)], [77n, 154n]);
    await refused(redeemRoot(0), "NotRedeemed", [SPENT]);
    await refused(redeemRoot(0, sign(payer), 101n), "NotProven");
    await refused(redeemRoot(0, { ...sign(other), payer: payer.address }), "NotRedeemed", [FORGED]);
    await refused(redeemRoot(0, sign(payer, 1)), "NotRedeemed", [EXPIRED]);
    // A voucher of its own counts on from there.
    const own = { host, model: MODEL, stage: 0, expirySeconds: NEVER_SECONDS, cumulativeUnits: 150n };
    await stand.send(host, "escrow", "redeem", host, MODEL, 0, voucherArgument(stand, payer, own));
    assert.equal(await earned(stand, host), 77n + 39n);
  },
  "a refund is announced, and until it is taken the host may redeem": async (stand, { payer, host }) => {
    await deposit(stand, payer, host, 1_000n);
    const thaw = (units: bigint) => stand.send(payer.address, "escrow", "thaw", host, MODEL, STAGE, units);
    const refund = () => stand.send(host, "escrow", "refund", payer.address, host, MODEL, STAGE);
    await refused(refund(), "Nothing");
    await refused(thaw(1_001n), "DepositTooSmall", [1_000n, 1_001n]);
    await thaw(900n);
    await refused(refund(), "NotReady");
    await stand.pass(TERMS.thawSeconds - 3);
    await refused(refund(), "NotReady");
    await redeem(stand, host, voucher(stand, payer, host, 300n));
    const before = await balance(stand, payer.address);
    await stand.undone(async () => {
      await refund();
      assert.equal(await balance(stand, payer.address), before + 700n);
      assert.deepEqual(await lane(stand, payer, host), [0n, 300n]);
      await refused(refund(), "Nothing");
    });
    await deposit(stand, payer, host, 500n);
    await refund();
    assert.equal(await balance(stand, payer.address), before - 500n + 900n);
    assert.deepEqual(await lane(stand, payer, host), [300n, 300n]);
    await refused(refund(), "Nothing");
  },
  "announcing again starts the time anew": async (stand, { payer, host }) => {
    await deposit(stand, payer, host, 1_000n);
    const thaw = (units: bigint) => stand.send(payer.address, "escrow", "thaw", host, MODEL, STAGE, units);
    const refund = () => stand.send(host, "escrow", "refund", payer.address, host, MODEL, STAGE);
    await thaw(100n);
    await stand.pass(TERMS.thawSeconds);
    await thaw(1_000n);
    await refused(refund(), "NotReady");
    await thaw(0n);
    await stand.pass(TERMS.thawSeconds);
    await refused(refund(), "Nothing");
  },
  "a reserve thaws as a lane does": async (stand, { payer }) => {
    await stand.send(payer.address, "escrow", "depositReserve", 500n);
    await stand.send(payer.address, "escrow", "thaw", NOBODY, ZERO, 0, 400n);
    await stand.pass(TERMS.thawSeconds);
    await stand.send(payer.address, "escrow", "refund", payer.address, NOBODY, ZERO, 0);
    assert.equal(await balance(stand, payer.address), WEALTH - 100n);
  },
  "a pause stops deposits, and nothing else": async (stand, { payer, host }) => {
    await deposit(stand, payer, host, 1_000n);
    await stand.send(payer.address, "escrow", "depositReserve", 500n);
    await stand.send(stand.offices.guardian, "escrow", "pause");
    await refused(deposit(stand, payer, host, 1n), "EnforcedPause");
    await refused(stand.send(payer.address, "escrow", "depositReserve", 1n), "EnforcedPause");
    await refused(stand.send(payer.address, "escrow", "allocate", host, MODEL, STAGE, 1n), "EnforcedPause");
    await redeem(stand, host, voucher(stand, payer, host, 300n));
    await stand.send(host, "escrow", "redeemMany", host, MODEL, STAGE, [voucher(stand, payer, host, 400n)]);
    await stand.send(host, "escrow", "withdraw", host);
    await stand.send(payer.address, "escrow", "thaw", host, MODEL, STAGE, 600n);
    await stand.pass(TERMS.thawSeconds);
    await stand.send(payer.address, "escrow", "refund", payer.address, host, MODEL, STAGE);
  },
});
