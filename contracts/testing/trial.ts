/**
 * Trials of contracts: each begins with the same chain and leaves no trace. Where
 * there is no anvil they are skipped, visibly.
 */

import assert from "node:assert/strict";
import type { LedgerClock } from "../clock.ts";
import { ANVIL, Reverted, Stand } from "./stand.ts";

/** Registers trials that share a stand: `before` is done once, each trial starts from there. */
export function trials<T>(
  name: string,
  clock: LedgerClock,
  before: (stand: Stand) => Promise<T>,
  list: Readonly<Record<string, (stand: Stand, prepared: T) => Promise<void>>>,
  token?: string,
): void {
  Deno.test({
    name,
    ignore: ANVIL === undefined,
    fn: async (context) => {
      await using stand = await Stand.open(clock, token);
      const prepared = await before(stand);
      for (const [title, trial] of Object.entries(list)) {
        await context.step(title, () => stand.undone(() => trial(stand, prepared)));
      }
    },
  });
}

/** Asserts that the chain refuses, with this error of the contracts. */
export async function refused(
  doing: Promise<unknown>,
  error: string,
  values?: readonly unknown[],
): Promise<void> {
  await assert.rejects(doing, (thrown) => {
    if (!(thrown instanceof Reverted)) throw thrown;
    assert.equal(thrown.error, error, thrown.message);
    if (values !== undefined) assert.deepEqual(thrown.values, values);
    return true;
  });
}
