import assert from "node:assert/strict";
import { join } from "node:path";
import house from "./house.ts";
import { wrongWay } from "./room_direction.ts";

const ROOT = join(import.meta.dirname!, "..");

/** What the plugin says of `source`, were it the file at `path`. */
function findings(path: string, source: string): string[] {
  return Deno.lint.runPlugin(house, join(ROOT, path), source).map((found) => `${found.id}: ${found.message}`);
}

Deno.test("each room imports what the design lets it", () => {
  const allowed = [
    ["kernels/ops/linear.ts", "kernels/graph.ts"],
    ["stages/stage.ts", "kernels/device.ts"],
    ["stages/stage.ts", "run/manifest.ts"],
    ["actors/wire/codec.ts", "actors/core/actor.ts"],
    ["actors/wire/codec.ts", "actors/limits.ts"],
    ["actors/host.ts", "stages/stage.ts"],
    ["actors/host.ts", "actors/host/walks.ts"],
    ["actors/host/walks.ts", "stages/stage.ts"],
    ["actors/host/walks.ts", "actors/dispatch.ts"],
    ["actors/averager.ts", "stages/stage.ts"],
    ["actors/settler.ts", "contracts/ledger.ts"],
    ["actors/trainer.ts", "routing/choice.ts"],
    ["actors/trainer.ts", "actors/messages.ts"],
    ["actors/assemble.ts", "stages/stage.ts"],
    ["actors/assemble.ts", "actors/host.ts"],
    ["cli/host.ts", "actors/assemble.ts"],
    ["bench/mod.ts", "bench/wire.ts"],
    ["bench/pipeline.ts", "cli/local_swarm.ts"],
    ["mod.ts", "actors/assemble.ts"],
    ["sim/swarm.ts", "actors/assemble.ts"],
    ["sim/counting_stage.ts", "stages/stage.ts"],
    ["cli/sim.ts", "sim/world.ts"],
    ["bench/scale.ts", "sim/world.ts"],
    ["gateway/engine.ts", "run/sampling.ts"],
    ["cli/gateway.ts", "gateway/mod.ts"],
    ["tests/data.ts", "sim/swarm.ts"],
    ["tests/churn_test.ts", "cli/demo.ts"],
    ["kernels/graph_test.ts", "actors/core/seeded_entropy.ts"],
  ];
  for (const [importer, imported] of allowed) {
    assert.equal(wrongWay(importer, imported), undefined, `${importer} → ${imported}`);
  }
});

Deno.test("each wrong way is named", () => {
  const refused = [
    ["kernels/graph.ts", "stages/stage.ts"],
    ["kernels/graph.ts", "actors/core/clock.ts"],
    ["run/manifest.ts", "kernels/device.ts"],
    ["routing/choice.ts", "actors/core/clock.ts"],
    ["routing/choice.ts", "stages/stage.ts"],
    ["contracts/ledger.ts", "run/manifest.ts"],
    ["stages/stage.ts", "routing/choice.ts"],
    ["actors/core/actor.ts", "actors/wire/wire.ts"],
    ["actors/core/mailbox.ts", "actors/limits.ts"],
    ["actors/wire/codec.ts", "actors/messages.ts"],
    ["actors/wire/codec.ts", "routing/choice.ts"],
    ["actors/trainer.ts", "stages/stage.ts"],
    ["actors/trainer.ts", "actors/host.ts"],
    ["actors/trainer.ts", "actors/host/walks.ts"],
    ["actors/host/walks.ts", "actors/host.ts"],
    ["actors/host/walks.ts", "kernels/device.ts"],
    ["actors/host.ts", "actors/assemble.ts"],
    ["actors/host.ts", "contracts/ledger.ts"],
    ["actors/host.ts", "kernels/device.ts"],
    ["actors/limits.ts", "actors/messages.ts"],
    ["actors/assemble.ts", "cli/host.ts"],
    ["mod.ts", "tests/simulator.ts"],
    ["mod.ts", "sim/world.ts"],
    ["actors/assemble.ts", "sim/swarm.ts"],
    ["sim/world.ts", "cli/plot.ts"],
    ["gateway/engine.ts", "actors/reader.ts"],
    ["gateway/gateway.ts", "stages/stage.ts"],
    ["mod.ts", "gateway/mod.ts"],
    ["sim/world.ts", "tests/data.ts"],
    ["cli/host.ts", "bench/wire.ts"],
    ["kernels/graph.ts", "kernels/graph_test.ts"],
  ];
  for (const [importer, imported] of refused) {
    assert.notEqual(wrongWay(importer, imported), undefined, `${importer} → ${imported}`);
  }
  assert.match(wrongWay("actors/trainer.ts", "actors/host.ts")!, /meet only through messages/);
});

Deno.test("every form of import is seen", () => {
  const forms = [
    `import { Stage } from "../stages/stage.ts";`,
    `import type { Stage } from "../stages/stage.ts";`,
    `export { Stage } from "../stages/stage.ts";`,
    `export * from "../stages/stage.ts";`,
    `await import("../stages/stage.ts");`,
    `type Stage = import("../stages/stage.ts").Stage;`,
  ];
  for (const form of forms) {
    assert.deepEqual(findings("kernels/graph.ts", form), [
      "house/room-direction: Cannot import stages/stage.ts from kernels/graph.ts: kernels imports nothing of ours, not stages",
    ], form);
  }
  assert.deepEqual(findings("kernels/graph.ts", `import "./device.ts"; import "npm:zod"; import "zod";`), []);
});

Deno.test("ambient time is found, and its replacement named", () => {
  const uses = {
    "Date.now()": /use clock\.epochMs\(\)/,
    "new Date()": /use new Date\(clock\.epochMs\(\)\)/,
    "Date()": /use clock\.epochMs\(\)/,
    "performance.now()": /use clock\.nowMs\(\)/,
    "performance['now']()": /use clock\.nowMs\(\)/,
    "globalThis.performance.now()": /use clock\.nowMs\(\)/,
    "setTimeout(fire, 1)": /use clock\.after/,
    "globalThis.setTimeout(fire, 1)": /use clock\.after/,
    "setInterval(fire, 1)": /use clock\.after/,
    "AbortSignal.timeout(1)": /use within\(/,
    "import 'node:timers/promises'": /use clock\.after/,
    "const read = Date.now": /use clock\.epochMs\(\)/,
  };
  for (const [use, advice] of Object.entries(uses)) {
    const found = findings("routing/pace.ts", use);
    assert.equal(found.length, 1, use);
    assert.match(found[0], advice);
    assert.match(found[0], /^house\/ambient-time: Cannot take the time from/);
    assert.deepEqual(findings("actors/core/real_clock.ts", use), []);
  }
  assert.deepEqual(
    findings("routing/pace.ts", "new Date(clock.epochMs()); clock.after(1, fire); x.now(); x.setTimeout(1)"),
    [],
  );
});

Deno.test("ambient chance is found, and its replacement named", () => {
  const uses = {
    "Math.random()": /use uniform\(\) of an Entropy/,
    "crypto.randomUUID()": /use bytes\(16\) of an Entropy/,
    "globalThis.crypto.getRandomValues(bytes)": /use bytes\(length\) of an Entropy/,
  };
  for (const [use, advice] of Object.entries(uses)) {
    const found = findings("tests/churn_test.ts", use);
    assert.equal(found.length, 1, use);
    assert.match(found[0], advice);
    assert.deepEqual(findings("actors/core/system_entropy.ts", use), []);
  }
  assert.deepEqual(
    findings("routing/choice.ts", "Math.floor(entropy.uniform()); crypto.subtle.digest('SHA-256', x)"),
    [],
  );
});

Deno.test("benchmarks may read a stopwatch, and nothing else", () => {
  assert.deepEqual(findings("bench/wire.ts", "performance.now()"), []);
  assert.equal(findings("bench/wire.ts", "Date.now()").length, 1);
  assert.equal(findings("bench/wire.ts", "Math.random()").length, 1);
});
