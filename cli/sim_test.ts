import assert from "node:assert/strict";
import { HELD_WALKS_MAX } from "../actors/limits.ts";
import { fileURLToPath } from "node:url";
import { join } from "node:path";
import { sharesOf } from "../sim/throughput.ts";
import { drawScenario } from "../sim/scenario.ts";
import { play } from "../sim/world.ts";
import { figures, picture, report } from "./sim_report.ts";

const COMMAND = fileURLToPath(new URL("./sim.ts", import.meta.url));

/** Runs the command in a process of its own. */
async function sim(...args: string[]) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", COMMAND, ...args],
  })
    .output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, out: text(stdout), err: text(stderr) };
}

Deno.test("a small simulation prints its seed first, and the same figures each time", async () => {
  const args = [
    "--peers",
    "6",
    "--stages",
    "2",
    "--hours",
    "0.02",
    "--churn",
    "poisson",
    "--up",
    "0.02",
    "--json",
  ];
  const [one, other] = [await sim(...args, "--seed", "7"), await sim(...args, "--seed", "7")];
  assert.equal(one.code, 0, one.err);
  assert.match(one.err, /^seed 7\n/);
  assert.equal(one.out, other.out);
  const found = JSON.parse(one.out);
  assert.ok(found.steps > 0 && found.lost > 0);
  assert.deepEqual(found.violations, []);
});

Deno.test("a trace is read from a file, and the picture written to one", async () => {
  const folder = await Deno.makeTempDir();
  const [trace, svg] = [join(folder, "trace.jsonl"), join(folder, "sim.svg")];
  const events = ["a", "b", "c"].map((peer) => ({ atMs: 0, kind: "start", peer }));
  const lines = [...events, { atMs: 30_000, kind: "kill", peer: "c" }].map((event) => JSON.stringify(event));
  await Deno.writeTextFile(trace, lines.join("\n"));
  const { code, out, err } = await sim("--churn", trace, "--stages", "2", "--hours", "0.02", "--svg", svg);
  assert.equal(code, 0, err);
  assert.match(out, /✓ each micro-batch counted once/);
  assert.match(await Deno.readTextFile(svg), /^<svg .*<\/svg>\n$/s);
  await Deno.writeTextFile(trace, '{"atMs":0,"kind":"explode","peer":"c"}');
  const refused = await sim("--churn", trace);
  assert.equal(refused.code, 2);
  assert.match(refused.err, /Cannot play .*trace.jsonl: Cannot read trace: line 1, kind/);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a broken promise is told, and drawn none the less", async () => {
  const scenario = { ...drawScenario(1, []), breakMs: 5000, boundMs: 20_000 };
  const outcome = await play(scenario, {
    spoil: (stage) => Object.defineProperty(stage, "kept", { get: () => HELD_WALKS_MAX + 1 }),
  });
  const words = `keeps holds ${HELD_WALKS_MAX + 1}, at most ${HELD_WALKS_MAX}`;
  assert.match(report(scenario, outcome), new RegExp(`✗ mailboxes .*${words}`));
  assert.match(report(scenario, outcome), /✓ nobody serves two stages/);
  assert.equal(figures(scenario, outcome).violations[0].checker, "within bounds");
  assert.match(picture(scenario, outcome), /micro-batches per second/);
});

Deno.test("shares are what was done by what could have been done", () => {
  const point = (atMs: number, applied: number, assigned: number) => ({
    atMs,
    alive: 4,
    serving: [2, 2],
    best: 2,
    assigned,
    applied,
  });
  const points = [point(0, 0, 1), point(1000, 1, 2), point(3000, 5, 2)];
  assert.deepEqual(sharesOf(points), { applied: 5 / 6, assigned: 5 / 6 });
  assert.deepEqual(sharesOf(points, 1000), { applied: 1, assigned: 1 });
  assert.ok(Number.isNaN(sharesOf([]).applied));
});
