import assert from "node:assert/strict";
import fc from "fast-check";
import { TypedDataEncoder } from "ethers";
import { hex, type PathVoucher, type Receipt, TypedData, type Voucher, voucherSchema } from "./typed_data.ts";

const word = fc.uint8Array({ minLength: 32, maxLength: 32 }).map(hex);
const address = fc.uint8Array({ minLength: 20, maxLength: 20 }).map(hex);
const seconds = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
const uint32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const units = fc.bigInt({ min: 0n, max: (1n << 128n) - 1n });

const domain = fc.record({
  name: fc.string({ unit: "grapheme" }),
  version: fc.string(),
  chainId: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
  contract: address,
});

const voucher: fc.Arbitrary<Voucher> = fc.record({
  payer: address,
  host: address,
  model: word,
  stage: uint32,
  expirySeconds: seconds,
  cumulativeUnits: units,
});

/** The types as the contracts spell them. */
const TYPES = {
  voucher: "address payer,address host,bytes32 model,uint32 stage,uint64 expiry,uint128 cumulative",
  path: "address payer,bytes32 root,uint64 expiry",
  receipt: "bytes32 request,bytes32 model,uint32 stage,address host,address prev,bytes32 inRoot," +
    "bytes32 outRoot,uint64 step,uint32 tokens",
  consent: "address owner,bytes32 model,bytes32 peerIdHash",
};

function reference(
  { name, version, chainId, contract }: { name: string; version: string; chainId: number; contract: string },
  type: string,
  fields: string,
  value: Record<string, unknown>,
): string {
  const types = {
    [type]: fields.split(",").map((field) => {
      const [kind, name] = field.split(" ");
      return { name, type: kind };
    }),
  };
  return TypedDataEncoder.hash({ name, version, chainId, verifyingContract: contract }, types, value);
}

Deno.test("every digest is the one that EIP-712 asks for", () => {
  fc.assert(
    fc.property(domain, voucher, word, address, word, uint32, (domain, it, root, other, id, number) => {
      const data = new TypedData(domain);
      const asSolidity = { ...it, expiry: it.expirySeconds, cumulative: it.cumulativeUnits };
      assert.equal(hex(data.voucher(it)), reference(domain, "Voucher", TYPES.voucher, asSolidity));
      const path: PathVoucher = { payer: it.payer, root, expirySeconds: it.expirySeconds };
      assert.equal(
        hex(data.pathVoucher(path)),
        reference(domain, "PathVoucher", TYPES.path, { ...path, expiry: path.expirySeconds }),
      );
      const receipt: Receipt = {
        request: id,
        model: it.model,
        stage: it.stage,
        host: it.host,
        previous: other,
        inRoot: root,
        outRoot: id,
        step: it.expirySeconds,
        tokens: number,
      };
      assert.equal(
        hex(data.receipt(receipt)),
        reference(domain, "Receipt", TYPES.receipt, { ...receipt, prev: other }),
      );
      const consent = { owner: it.payer, model: it.model, peerIdHash: id };
      assert.equal(hex(data.consent(consent)), reference(domain, "Consent", TYPES.consent, consent));
    }),
  );
});

const GOOD: Voucher & { signature: string } = {
  payer: `0x${"1".repeat(40)}`,
  host: `0x${"2".repeat(40)}`,
  model: `0x${"3".repeat(64)}`,
  stage: 4,
  expirySeconds: 5,
  cumulativeUnits: 6n,
  signature: `0x${"7".repeat(128)}`,
};

Deno.test("what does not fit its type is hashed to nothing", () => {
  const data = new TypedData({ name: "a", version: "1", chainId: 1, contract: GOOD.host });
  const bad: Partial<Voucher>[] = [
    { payer: "0x12" },
    { payer: `0x${"g".repeat(40)}` },
    { payer: "1".repeat(42) },
    { model: GOOD.payer },
    { stage: 2 ** 32 },
    { stage: -1 },
    { cumulativeUnits: 1n << 128n },
    { cumulativeUnits: -1n },
  ];
  for (const change of bad) assert.throws(() => data.voucher({ ...GOOD, ...change }), /Cannot hash/);
});

Deno.test("a stranger's voucher is believed only in its exact shape", () => {
  assert.deepEqual(voucherSchema.parse(GOOD), GOOD);
  const bad: Record<string, unknown>[] = [
    { payer: 1 },
    { host: "0x" },
    { model: `0x${"A".repeat(64)}` },
    { stage: 1.5 },
    { expirySeconds: Infinity },
    { cumulativeUnits: 6 },
    { cumulativeUnits: 1n << 128n },
    { signature: `0x${"7".repeat(130)}` },
    { more: 1 },
  ];
  for (const change of bad) assert.equal(voucherSchema.safeParse({ ...GOOD, ...change }).success, false);
});
