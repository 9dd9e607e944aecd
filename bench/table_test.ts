import assert from "node:assert/strict";
import { line, table } from "./table.ts";

const row = {
  name: "wire, one way",
  value: 812.345,
  unit: "MB/s",
  ratio: 0.4567,
  to: "a plain socket",
  target: { of: "value", atLeast: 830 },
} as const;

Deno.test("A row says its figure, what it is compared with, and whether that is enough", () => {
  assert.equal(line(row), "wire, one way: 812 MB/s, 0.46 of a plain socket (target: ≥ 830 MB/s; met: no)");
  assert.equal(line({ name: "x", value: 0.00123, unit: "s" }), "x: 0.00123 s");
  assert.equal(line({ name: "x", value: NaN, unit: "s" }), "x: – s");
});

Deno.test("All lines of a table put their columns under the head", () => {
  const [head, ...lines] = table([row, { name: "x", value: 3, unit: "s" }]).split("\n");
  for (const text of lines) {
    assert.equal(text.indexOf(text === lines[0] ? "MB/s" : "s"), head.indexOf("unit"));
  }
});
