import assert from "node:assert/strict";
import { RealClock } from "../actors/core/real_clock.ts";
import { reportOn, summarise } from "./device_report.ts";
import { parseManifest } from "../run/mod.ts";

const crashing = new URL("./fixtures/crashing_probe.ts", import.meta.url);
const clock = new RealClock();

async function withFolder(body: (dataDirectory: string) => Promise<void>): Promise<void> {
  const folder = await Deno.realPath(await Deno.makeTempDir({ prefix: "murmuration-report-" }));
  try {
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("a device is opened and measured in a process of its own", async () => {
  const manifest = parseManifest(await Deno.readTextFile(new URL("../runs/tiny.json", import.meta.url)));
  await withFolder(async (dataDirectory) => {
    const report = await reportOn({
      device: { name: "reference" },
      product: { budgetMs: 1 },
      stages: { manifest, indices: [0], budgetMs: 1 },
    }, { clock, dataDirectory, limitMs: 60_000 });
    assert.equal(report.trouble, undefined);
    assert.ok(report.works);
    assert.ok(report.flopsPerSecond! > 0);
    assert.ok(report.stageSeconds.get(0)! > 0);
  });
});

Deno.test("a crash is a report, with what was known before it and the last words", async () => {
  await withFolder(async (dataDirectory) => {
    const settings = { clock, dataDirectory, limitMs: 60_000, program: crashing };
    const report = await reportOn({ device: { name: "reference" } }, settings);
    assert.ok(report.works);
    assert.equal(report.trouble, "its process ended with code 139: out of luck");
  });
});

Deno.test("a device that takes too long is ended", async () => {
  await withFolder(async (dataDirectory) => {
    const settings = { clock, dataDirectory, limitMs: 1_000, program: crashing };
    const report = await reportOn({ device: { name: "onnx" } }, settings);
    assert.equal(report.trouble, "it did not end within 1 s");
  });
});

Deno.test("nothing said is a device that does not work", () => {
  const report = summarise({ name: "onnx" }, [], undefined);
  assert.ok(!report.works);
  assert.equal(report.stageSeconds.size, 0);
});
