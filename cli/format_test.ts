import assert from "node:assert/strict";
import * as format from "./format.ts";

Deno.test("numbers read as a person writes them", () => {
  assert.deepEqual([0, 3.14, 9, 12345.6].map(format.rate), ["0", "3.1", "9", "12,346"]);
  assert.deepEqual([0, 1e-3, 3.14e-4].map(format.learningRate), ["0", "1.0e-3", "3.1e-4"]);
  assert.deepEqual([0.2, 59.6, 61, 3600, 8040].map(format.duration), [
    "0s",
    "1m 00s",
    "1m 01s",
    "1h 00m",
    "2h 14m",
  ]);
});

Deno.test("tables put text left and numbers right", () => {
  assert.equal(
    format.table(["stage", "work", ""], [["0", 5, "early"], ["1", 1000, ""]]),
    "stage    work\n0           5   early\n1       1,000",
  );
});

Deno.test("text of a stranger can't steer the terminal", () => {
  assert.equal(format.printable("\x1b[2J\r\nred\x9b31m✓"), "?[2J??red?31m✓");
  assert.equal(format.printableLines("a\tb\r\n\x1b]0;name\x07é\n"), "a\tb?\n?]0;name?é\n");
});
