/**
 * What the calls cost that are made most often. Each bound is what a change must
 * not pass by without somebody noticing; the figures themselves are printed by
 * `deno task bench --only ledger`.
 */

import assert from "node:assert/strict";
import { RealClock } from "../actors/core/real_clock.ts";
import { measureGas } from "./testing/gas.ts";
import { trials } from "./testing/trial.ts";

/** Gas of one call, or of one voucher of a batch. */
const GAS_AT_MOST: Readonly<Record<string, number>> = {
  "redeem, the first of a lane": 158_000,
  "redeem": 87_000,
  "redeemMany, a voucher of 32": 18_800,
  "redeemRoot, one stage of a path of 16": 91_500,
  "claim, the first of an account": 85_500,
  "claim": 67_500,
};

trials("gas", new RealClock(), () => Promise.resolve(), {
  "stays within its bounds": async (stand) => {
    const measured = await measureGas(stand);
    assert.deepEqual(Object.keys(measured).sort(), Object.keys(GAS_AT_MOST).sort());
    for (const [name, gas] of Object.entries(measured)) {
      assert.ok(gas <= GAS_AT_MOST[name], `${name}: ${gas} gas, at most ${GAS_AT_MOST[name]}`);
    }
  },
});
