import assert from "node:assert/strict";
import { plotMemory } from "./memory_plot.ts";

const points = [{ step: 1, megabytes: 80 }, { step: 500, megabytes: 120.5 }];

Deno.test("Every process has its curve and its name", () => {
  const picture = plotMemory([{ name: "host 1", points }, { name: "trainer", points }], "tiny", "texts");
  assert.equal(picture.match(/<path /g)?.length, 2);
  for (const word of ["host 1", "trainer", "tiny", "texts"]) assert.ok(picture.includes(`>${word}</text>`));
  assert.doesNotMatch(picture, /NaN|undefined|Infinity/);
});

Deno.test("A run without samples gives a picture without curves", () => {
  const picture = plotMemory([], "nothing", "texts");
  assert.doesNotMatch(picture, /<path|NaN|Infinity/);
});
