import assert from "node:assert/strict";
import fc from "fast-check";
import type { RunEvent } from "../actors/report.ts";
import { stepEvent } from "./fixtures/events.ts";
import { fromLine, MetricsFile, readMetrics, toLine } from "./metrics.ts";

const EVENTS: readonly RunEvent[] = [
  { kind: "waiting", step: 0, stage: 1, reason: "nobody\nthere" },
  { kind: "joined", peer: "a", stage: 1, step: 0 },
  stepEvent(1, { served: { a: 3 } }),
  stepEvent(2),
  { kind: "validation", step: 2, loss: 3, tokens: 10 },
  { kind: "moved", peer: "b", from: 0, to: 1, step: 2 },
  { kind: "lost", peer: "a", stage: 1, step: 2, reason: "gone" },
  { kind: "failed", step: 2, reason: "no more" },
  { kind: "done", step: 2 },
];

Deno.test("every event comes back from its line", () => {
  for (const event of EVENTS) {
    assert.equal(toLine(event).indexOf("\n"), toLine(event).length - 1);
    assert.deepEqual(fromLine(toLine(event).trimEnd()), event);
  }
});

Deno.test("a line that is no event is nothing, and harms nothing", () => {
  for (
    const line of [
      "",
      "{",
      "null",
      "[]",
      '{"kind":"step"}',
      '{"kind":"dance"}',
      toLine(stepEvent(1)).slice(0, 40),
    ]
  ) {
    assert.equal(fromLine(line), undefined);
  }
  fc.assert(fc.property(fc.json(), (line) => fromLine(line) === undefined));
});

Deno.test("a file grows event by event, survives a cut, and resumes", async () => {
  const path = await Deno.makeTempFile();
  {
    using file = new MetricsFile(path, false);
    for (const event of EVENTS) file.write(event);
  }
  assert.deepEqual(await readMetrics(path), EVENTS);
  await Deno.writeTextFile(path, '\n{"kind":"step","step":3,"lo', { append: true });
  {
    using file = new MetricsFile(path, true);
    file.write({ kind: "joined", peer: "b", stage: 0, step: 1 });
    file.write(stepEvent(2, { loss: 9 }));
  }
  const resumed = await readMetrics(path);
  // The line that was cut swallows the next; the second step that was taken anew replaces the old one.
  assert.deepEqual(resumed.filter((event) => event.kind === "step"), [EVENTS[2], stepEvent(2, { loss: 9 })]);
  assert.equal(resumed.some((event) => event.kind === "validation"), false);
  {
    using _ = new MetricsFile(path, false);
  }
  assert.deepEqual(await readMetrics(path), []);
  await Deno.remove(path);
  assert.deepEqual(await readMetrics(path), []);
});
