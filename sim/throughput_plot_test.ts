import assert from "node:assert/strict";
import { plotThroughput } from "./throughput_plot.ts";

const points = [{ hour: 0, value: 16 }, { hour: 1.5, value: 12 }, { hour: 2, value: 13 }];

Deno.test("every way has its curve and its name", () => {
  const picture = plotThroughput([{ name: "best", possible: true, points }, { name: "as it was", points }], {
    title: "a day",
    unit: "hosts",
  });
  assert.equal(picture.match(/<path /g)?.length, 2);
  for (const word of ["best", "as it was", "a day", "hosts"]) assert.ok(picture.includes(`>${word}</text>`));
  assert.doesNotMatch(picture, /NaN|undefined|Infinity/);
});

Deno.test("without curves there is an empty picture", () => {
  assert.doesNotMatch(plotThroughput([], { title: "none", unit: "hosts" }), /<path|NaN|Infinity/);
});
