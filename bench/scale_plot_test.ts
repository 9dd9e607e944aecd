import assert from "node:assert/strict";
import { plotScale } from "./scale_plot.ts";

Deno.test("every swarm is a point of every curve", () => {
  const points = [100, 1000, 10_000].map((hosts) => ({
    hosts,
    messagesOfWork: 1,
    messagesOfPresence: 2,
    hops: Math.log2(hosts) / 3,
    questions: 20,
  }));
  const svg = plotScale(points);
  assert.match(svg, /^<svg .*<\/svg>\n$/s);
  assert.equal(svg.match(/<circle /g)!.length, 4 * 3);
  assert.match(svg, /10,000 hosts/);
  assert.doesNotMatch(svg, /NaN/);
  assert.doesNotMatch(plotScale([]), /NaN|Infinity/);
});
