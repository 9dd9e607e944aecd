import assert from "node:assert/strict";
import { signAnnouncement } from "./announcement.ts";
import { recordKey } from "./directory.ts";
import { announcementRules } from "./record_rules.ts";

const NOW_MS = 1_800_000_000_000;

function signed(
  sequence: number,
  options: { expiresAtMs?: number; peer?: string } = {},
): Promise<Uint8Array> {
  const { expiresAtMs = NOW_MS + 1000, peer = "peer" } = options;
  return signAnnouncement({
    run: "ab".repeat(32),
    service: "stage:0",
    peer,
    step: 0,
    stateHash: null,
    addresses: [],
    device: "reference",
    load: 0,
    trains: true,
    sessionRoom: 0,
    sequence,
    issuedAtMs: NOW_MS - 1000,
    expiresAtMs,
  }, { peer, sign: () => new TextEncoder().encode(`of ${peer}`) });
}

const rules = announcementRules({
  epochMs: () => NOW_MS,
  verify: (peer, _bytes, signature) =>
    new TextDecoder().decode(signature) === `of ${peer}` && peer !== "forger",
});

Deno.test("a record stands under the name of the peer that signed it, and nowhere else", async () => {
  assert.equal(rules.namespace, "murmuration-host");
  rules.validate(recordKey("peer"), await signed(1));
  const refused = async (key: string, value: Uint8Array | Promise<Uint8Array>, reason: RegExp) => {
    const bytes = await value;
    assert.throws(() => rules.validate(recordKey(key), bytes), { name: "BadAnnouncement", message: reason });
  };
  await refused("other", signed(1), /the key names another peer/);
  await refused("peer2", signed(1), /the key names another peer/);
  await refused("forger", signed(1, { peer: "forger" }), /the signature is not that peer's/);
  await refused("peer", signed(1, { expiresAtMs: NOW_MS }), /it expired 0 ms ago/);
  await refused("peer", new Uint8Array([1]), /Cannot read envelope/);
});

Deno.test("of several records the highest sequence is best; ties go to the first, the invalid come last", async () => {
  const [one, two] = [await signed(1), await signed(2)];
  const expired = await signed(9, { expiresAtMs: NOW_MS });
  const select = (...values: Uint8Array[]) => rules.select(recordKey("peer"), values);
  assert.equal(select(one, two, one), 1);
  assert.equal(select(two, two), 0);
  assert.equal(select(expired, one), 1);
  assert.equal(select(new Uint8Array(), expired), 0);
});
