import assert from "node:assert/strict";
import { partition } from "../run/mod.ts";
import { stageLayout } from "./parameters.ts";
import { tinyManifest } from "./testing/fixtures.ts";

const manifest = tinyManifest();
const layouts = (stages: number) =>
  partition({ ...manifest, stages }).map((slice) => stageLayout(manifest.model, slice));

Deno.test("stageLayout names parameters as Hugging Face does", () => {
  const [{ parameters }] = layouts(1);
  assert.deepEqual(
    parameters.slice(0, 10).map(({ name, shape }) => `${name} [${shape}]`),
    [
      "model.embed_tokens.weight [13,12]",
      "model.layers.0.input_layernorm.weight [12]",
      "model.layers.0.self_attn.q_proj.weight [12,12]",
      "model.layers.0.self_attn.k_proj.weight [6,12]",
      "model.layers.0.self_attn.v_proj.weight [6,12]",
      "model.layers.0.self_attn.o_proj.weight [12,12]",
      "model.layers.0.post_attention_layernorm.weight [12]",
      "model.layers.0.mlp.gate_proj.weight [10,12]",
      "model.layers.0.mlp.up_proj.weight [10,12]",
      "model.layers.0.mlp.down_proj.weight [12,10]",
    ],
  );
  assert.deepEqual(
    parameters.slice(-2).map(({ name, shape }) => `${name} [${shape}]`),
    ["model.norm.weight [12]", "lm_head.weight [13,12]"],
  );
});

Deno.test("stageLayout lays parameters one after the other", () => {
  for (const layout of layouts(2)) {
    let offset = 0;
    for (const parameter of layout.parameters) {
      assert.equal(parameter.offset, offset);
      offset += parameter.size;
    }
    assert.equal(layout.size, offset);
  }
});

Deno.test("stageLayout lists the same parameters in the same order, however the model is cut", () => {
  const whole = layouts(1)[0].parameters.map(({ name }) => name);
  for (const stages of [2, 3]) {
    assert.deepEqual(layouts(stages).flatMap(({ parameters }) => parameters.map(({ name }) => name)), whole);
  }
});

Deno.test("weight decay pulls at matrices and not at gains", () => {
  for (const { name, decays } of layouts(1)[0].parameters) {
    assert.equal(decays, !name.includes("norm"), name);
  }
});
