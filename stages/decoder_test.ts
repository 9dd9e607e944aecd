import assert from "node:assert/strict";
import { partition } from "../run/mod.ts";
import { decoderGraph } from "./decoder.ts";
import { tinyManifest } from "./testing/fixtures.ts";

const { model } = tinyManifest();
const [first, , last] = partition(tinyManifest({ stages: 3 }));
const inputsOf = (graph: ReturnType<typeof decoderGraph>) =>
  graph.inputs.filter(({ name }) => !name.endsWith(".weight")).map(({ name }) => name).sort();

Deno.test("the first slice takes tokens, later ones hidden states, the last one targets", () => {
  assert.deepEqual(inputsOf(decoderGraph(model, first, "activation")), ["positions", "tokens"]);
  assert.deepEqual(inputsOf(decoderGraph(model, last, "loss")), ["hidden", "positions", "targets"]);
  assert.deepEqual(inputsOf(decoderGraph(model, last, "logits")), ["hidden", "positions"]);
});

Deno.test("a slice yields what its place allows", () => {
  const outputOf = (graph: ReturnType<typeof decoderGraph>) =>
    graph.outputs.map(({ name, value }) => `${name} ${value.dataType} [${value.shape}]`);
  assert.deepEqual(outputOf(decoderGraph(model, first, "activation")), ["activation f32 [B,T,12]"]);
  assert.deepEqual(outputOf(decoderGraph(model, last, "loss")), ["loss f32 [1]"]);
  assert.deepEqual(outputOf(decoderGraph(model, last, "logits")), ["logits f32 [B,13]"]);
  assert.throws(() => decoderGraph(model, first, "loss"), {
    name: "TypeError",
    message: "Cannot build stage 0 of 3: it yields no loss",
  });
  assert.throws(() => decoderGraph(model, first, "logits"), TypeError);
  assert.throws(() => decoderGraph(model, last, "activation"), TypeError);
});
