import assert from "node:assert/strict";
import { lineBar } from "./bar.ts";

Deno.test("without a terminal every twentieth of the way is a line, and notes go between", () => {
  let said = "";
  const bar = lineBar(1000, (text) => void (said += text));
  for (let value = 0; value <= 1000; value++) {
    if (value === 500) bar.note("half\n");
    bar.update(value, `at ${value}`);
  }
  bar.stop();
  const lines = said.trimEnd().split("\n");
  assert.equal(lines.length, 21);
  assert.deepEqual([lines[0], lines[9], lines.at(-1)], ["5 % · at 50", "half", "100 % · at 1000"]);
});
