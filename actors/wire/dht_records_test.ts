import assert from "node:assert/strict";
import { DHT_VALUE_BYTES_MAX } from "../limits.ts";
import { recordValidators } from "./dht_records.ts";

const KEY = new TextEncoder().encode("/host/alice");

/** Values are `[sequence, life]`; a life of 0 is over, and `living` decides the rest. */
function rules(living: { life: number }) {
  return recordValidators({
    namespace: "host",
    validate: (_key, value) => {
      if (value[1] < living.life) throw new Error("it has expired");
    },
    select: (_key, values) => {
      const sequences = values.map((value) => value[0]);
      return sequences.indexOf(Math.max(...sequences));
    },
  });
}

Deno.test("a value must hold, and be no older than the best one seen", () => {
  const living = { life: 1 };
  const { validators, selectors } = rules(living);
  const take = (...value: number[]) => validators.host(KEY, Uint8Array.from(value));
  assert.throws(() => take(1, 0), /expired/);
  take(5, 1);
  take(5, 1);
  assert.throws(() => take(4, 1), /a newer one is known under \/host\/alice/);
  assert.throws(() => take(5, 2), /a newer one is known/, "of two equals the first stays");
  take(6, 2);
  assert.throws(() => take(5, 1), /a newer one/);
  assert.equal(selectors.host(KEY, [Uint8Array.of(1, 1), Uint8Array.of(3, 1), Uint8Array.of(2, 1)]), 1);
  living.life = 3;
  take(2, 3);
});

Deno.test("a value above the limit is refused before it is looked at", () => {
  const { validators } = rules({ life: 0 });
  assert.throws(
    () => validators.host(KEY, new Uint8Array(DHT_VALUE_BYTES_MAX + 1)),
    /16385 bytes, at most 16384/,
  );
});

Deno.test("without rules no value is believed", () => {
  assert.deepEqual(recordValidators(undefined), { validators: {}, selectors: {} });
});
