import assert from "node:assert/strict";
import type { Output } from "./arguments.ts";
import { stepEvent } from "./fixtures/events.ts";
import { describe, eventLines, progressLines } from "./progress.ts";

function gather(): Output & { readonly said: { out: string; err: string } } {
  const said = { out: "", err: "" };
  return { said, out: (text) => void (said.out += text), err: (text) => void (said.err += text) };
}

Deno.test("without a terminal a run tells its first, its last and some steps between", () => {
  const output = gather();
  const progress = progressLines({ steps: 1000, from: 0 }, output);
  for (let step = 1; step <= 1000; step++) progress.show(stepEvent(step));
  const lines = output.said.err.trimEnd().split("\n");
  assert.equal(output.said.out, "");
  assert.ok(lines.length <= 42);
  assert.match(
    lines[0]!,
    /^step 1\/1000 · loss 5\.0000 · rate 1\.0e-3 · 200 tokens\/s · hosts 2·2 · 8m 20s left$/,
  );
  assert.match(lines.at(-1)!, /^step 1000\/1000 .* hosts 2·2$/);
});

Deno.test("who comes and goes is always told", () => {
  const output = gather();
  const progress = progressLines({ steps: 1000, from: 500 }, output);
  progress.show({ kind: "joined", peer: "12D3KooWabcdef", stage: 1, step: 500 });
  progress.show({ kind: "lost", peer: "12D3KooWabcdef", stage: 1, step: 501, reason: "\x1b[2Jgone" });
  progress.show({ kind: "validation", step: 501, loss: 2, tokens: 5 });
  assert.equal(
    output.said.err,
    "+ host …abcdef serves stage 1 from step 500\n" +
      "− host …abcdef of stage 1 is lost at step 501 (?[2Jgone)\n" +
      "validation loss 2.0000 at step 501\n",
  );
});

Deno.test("for a program every event is a line of JSON", () => {
  const output = gather();
  const progress = eventLines(output);
  progress.show(stepEvent(1));
  progress.note("note\n");
  assert.deepEqual(JSON.parse(output.said.out), stepEvent(1));
  assert.equal(output.said.err, "note\n");
});

Deno.test("a run without hosts says which stage it waits for", () => {
  assert.equal(
    describe({ kind: "waiting", step: 3, stage: 2, reason: "its last host was lost" }),
    "waiting at step 3: nobody serves stage 2 (its last host was lost)",
  );
});
