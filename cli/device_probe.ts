/**
 * Opens one device, in a process of its own: drivers crash, and take their
 * process along. Says what it finds as JSON lines (see `device_report.ts`), each
 * as soon as it is known, and ends with whoever started it.
 *
 * Argument: a {@link ProbeRequest} as JSON.
 */

import type { Clock } from "../actors/core/clock.ts";
import { RealClock } from "../actors/core/real_clock.ts";
import { openDevice } from "../stages/mod.ts";
import { findAdapter } from "./device_adapter.ts";
import { measureProduct, measureStage } from "./device_measure.ts";
import type { Finding, ProbeRequest } from "./device_report.ts";
import { holdLeash } from "./leash.ts";

async function probe(request: ProbeRequest, clock: Clock, tell: (finding: Finding) => void): Promise<void> {
  const adapter = await findAdapter(request.device);
  if (adapter !== undefined) tell({ kind: "adapter", adapter });
  const device = await openDevice(request.device);
  tell({ kind: "opened" });
  if (request.product !== undefined) {
    const flopsPerSecond = await measureProduct(device, clock, request.product.budgetMs);
    tell({ kind: "product", flopsPerSecond });
  }
  if (request.stages !== undefined) {
    const { manifest, indices, budgetMs } = request.stages;
    for (const index of indices) {
      const seconds = await measureStage(device, manifest, index, clock, budgetMs);
      tell({ kind: "stage", index, seconds });
    }
  }
  await device.close();
}

if (import.meta.main) {
  holdLeash().addEventListener("abort", () => Deno.exit(1));
  const say = (finding: Finding) => console.log(JSON.stringify(finding));
  try {
    await probe(JSON.parse(Deno.args[0]!), new RealClock(), say);
  } catch (error) {
    say({ kind: "failed", reason: error instanceof Error ? error.message : String(error) });
  }
  Deno.exit(0);
}
