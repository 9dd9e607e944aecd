/**
 * Break, then heal, hundreds of times: whatever a seed draws may go wrong does,
 * and no checker of the simulator may fire. Seeds that ever failed are kept in
 * `tests/seeds/`, and played again.
 */

import assert from "node:assert/strict";
import { drawScenario, type FaultKind, type Scenario, USUAL_FAULTS } from "../sim/scenario.ts";
import { parseSeedFile } from "../sim/seed_file.ts";
import { play } from "../sim/world.ts";

/** More with `MURMURATION_SEEDS=5000 deno task test tests/fault_mix_test.ts`. */
const SEEDS = Number(Deno.env.get("MURMURATION_SEEDS") ?? 120);
/** Of them, with several trainers that crash as well; and with hosts that lie about sums. */
const SEEDS_OF_MORE = Math.ceil(SEEDS / 4);
const SEEDS_FOLDER = new URL("seeds/", import.meta.url);

async function brokenPromises(scenario: Scenario): Promise<string[]> {
  const { violations } = await play(scenario);
  return violations.map(({ checker, words }) => `${checker}: ${words}`);
}

/** What was broken by the seeds from 1 on, and how many hosts were lost. */
async function playSeeds(
  seeds: number,
  kinds: readonly FaultKind[],
): Promise<{ broken: string[]; lost: number }> {
  const broken: string[] = [];
  let lost = 0;
  for (let seed = 1; seed <= seeds; seed++) {
    const outcome = await play(drawScenario(seed, kinds));
    lost += outcome.lost;
    const again = `deno task sim --seeds 1 --seed ${seed} --faults ${kinds.join(",")}`;
    for (const { checker, words } of outcome.violations) broken.push(`${again}: ${checker}: ${words}`);
  }
  return { broken, lost };
}

for (
  const [what, seeds, kinds] of [
    ["the fault mix", SEEDS, USUAL_FAULTS],
    ["the same, with trainers that crash", SEEDS_OF_MORE, [...USUAL_FAULTS, "trainer", "trainer"]],
    ["the same, with hosts that lie about sums", SEEDS_OF_MORE, [...USUAL_FAULTS, "poison", "poison"]],
  ] as const
) {
  Deno.test(`${seeds} seeds of ${what} break no promise`, async () => {
    const { broken, lost } = await playSeeds(seeds, kinds);
    assert.deepEqual(broken, []);
    assert.ok(lost > 0, "nothing broke: the test proves nothing");
  });
}

for (const { name } of [...Deno.readDirSync(SEEDS_FOLDER)].sort((a, b) => a.name < b.name ? -1 : 1)) {
  const { cause, open, scenario } = parseSeedFile(Deno.readTextFileSync(new URL(name, SEEDS_FOLDER)));
  // What nobody has mended yet is skipped, and seen to be.
  Deno.test({
    name: `seed ${name}: ${cause}`,
    ignore: open,
    fn: async () => assert.deepEqual(await brokenPromises(scenario), []),
  });
}
