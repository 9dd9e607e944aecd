/**
 * Cuts a scenario that fails down to what is needed to fail: takes faults away,
 * many at once and then one by one, as long as it still does. It asks a question
 * of whoever knows how to play, and plays nothing itself.
 */

import type { Violation } from "./checkers/checker.ts";
import type { Scenario } from "./scenario.ts";

/** Whether two violations are of one sort: the same checker saw the same but for numbers. */
export function alike(one: Violation | undefined, other: Violation | undefined): boolean {
  const sort = (it: Violation | undefined) => it && `${it.checker}: ${it.words.replace(/\d+/g, "#")}`;
  return sort(one) === sort(other);
}

/**
 * The smallest scenario that was found to fail still: no fault and no event of
 * churn can be left out of it alone.
 *
 * @param fails whether a scenario fails as the first one did.
 * @param triesMax questions that may be asked.
 */
export async function shrink(
  scenario: Scenario,
  fails: (smaller: Scenario) => Promise<boolean>,
  triesMax = 200,
): Promise<Scenario> {
  let tries = 0;
  const ask = async (smaller: Scenario) => tries++ < triesMax && await fails(smaller);
  const churn = await fewest(scenario.churn, (churn) => ask({ ...scenario, churn }));
  const calmer = { ...scenario, churn };
  const faults = await fewest(scenario.faults, (faults) => ask({ ...calmer, faults }));
  return { ...calmer, faults };
}

/** Drops runs of items, of half the length, a quarter, …, one, while what is left still `fails`. */
async function fewest<Item>(
  items: readonly Item[],
  fails: (fewer: readonly Item[]) => Promise<boolean>,
): Promise<readonly Item[]> {
  let left = items;
  for (let length = Math.ceil(left.length / 2); left.length > 0 && length >= 1;) {
    let dropped = false;
    for (let start = 0; start < left.length;) {
      const fewer = [...left.slice(0, start), ...left.slice(start + length)];
      if (await fails(fewer)) {
        left = fewer;
        dropped = true;
      } else start += length;
    }
    // A single one may be needed only for another that is gone by now.
    if (length === 1 && !dropped) break;
    length = Math.max(1, Math.min(Math.floor(length / 2), left.length));
  }
  return left;
}
