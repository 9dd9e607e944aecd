import assert from "node:assert/strict";
import fc from "fast-check";
import { stepEvent } from "./fixtures/events.ts";
import { History } from "./history.ts";
import { plotLoss } from "./plot.ts";

const WORDS = { title: "a run", subtitle: "some steps" };

function historyOf(losses: readonly number[]): History {
  const history = new History();
  losses.forEach((loss, index) => history.add(stepEvent(index + 1, { loss })));
  return history;
}

Deno.test("a plot shows curve, validations, and who came and went", () => {
  const history = historyOf([4, 3, 2.5, 2]);
  history.add({ kind: "validation", step: 4, loss: 2.2, tokens: 10 });
  history.add({ kind: "lost", peer: "a", stage: 1, step: 2, reason: "gone" });
  history.add({ kind: "joined", peer: "b", stage: 0, step: 3 });
  const svg = plotLoss(history, WORDS);
  assert.match(svg, /^<svg [^>]*xmlns="http:\/\/www\.w3\.org\/2000\/svg"/);
  for (const part of ["a run", "optimizer steps", "nats per token", "step 4: validation 2.2000"]) {
    assert.ok(svg.includes(part), part);
  }
  assert.match(svg, /step 2: a host of stage 1 was lost/);
  assert.match(svg, /step 3: a host of stage 0 joined/);
  assert.equal(svg.match(/<circle/g)?.length, 1);
});

Deno.test("the same history gives the same picture", () => {
  assert.equal(plotLoss(historyOf([3, 2, 1]), WORDS), plotLoss(historyOf([3, 2, 1]), WORDS));
});

Deno.test("a name from a stranger stays text", () => {
  const svg = plotLoss(historyOf([1]), { title: `<script>"&'\u0007`, subtitle: "]]>" });
  assert.ok(svg.includes("&lt;script&gt;&quot;&amp;&apos;?"));
  assert.ok(!svg.includes("<script>"));
});

Deno.test("whatever the losses, every number in the picture is one", () => {
  const any = fc.oneof(fc.double(), fc.constantFrom(0, 1, NaN, Infinity));
  fc.assert(fc.property(fc.array(any, { maxLength: 20 }), (losses) => {
    assert.doesNotMatch(plotLoss(historyOf(losses), WORDS), /NaN|Infinity|undefined/);
  }));
});
