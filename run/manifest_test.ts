import assert from "node:assert/strict";
import fc from "fast-check";
import { ManifestError, manifestHash, modelHash, parseManifest } from "./manifest.ts";

/** The least that a manifest says. */
const least = {
  version: 1,
  name: "shakespeare",
  model: { vocabulary: 256, width: 64, layers: 4, heads: 4 },
  stages: 2,
  sequenceLength: 128,
  sequencesPerMicroBatch: 4,
  microBatchesPerStep: 8,
  steps: 500,
};

const [token, vault, registry, rewards, revenue, escrow] = [..."123456"].map((digit) =>
  `0x${digit.repeat(40)}`
);
const contracts = { token, vault, registry, rewards, revenue, escrow };
const ledger = { chainId: 31_337, block: 1, ...contracts, model: `0x${"7".repeat(64)}` };
const LEDGER_EXPECTED =
  'expected "none", or an object with chainId, block, the addresses of the contracts and model';

type Fields = Record<string, unknown>;

/** The least manifest with fields of it replaced; `model.` goes one level down. */
function changed(changes: Fields): string {
  const copy: Fields = structuredClone(least);
  for (const [path, value] of Object.entries(changes)) {
    const [outer, inner] = path.split(".");
    if (inner === undefined) copy[outer] = value;
    else copy[outer] = { ...(copy[outer] as Fields ?? {}), [inner]: value };
  }
  return JSON.stringify(copy);
}

Deno.test("parseManifest fills defaults in", () => {
  const manifest = parseManifest(JSON.stringify(least));
  assert.deepEqual(manifest.model, {
    family: "llama",
    vocabulary: 256,
    width: 64,
    layers: 4,
    heads: 4,
    keyValueHeads: 4,
    headWidth: 16,
    hidden: 176,
    ropeTheta: 10_000,
    ropeScaling: { kind: "none" },
    normEpsilon: 1e-5,
    attentionBias: false,
    queryKeyNorm: false,
  });
  assert.deepEqual(manifest.optimizer, {
    kind: "adamw",
    learningRate: 3e-4,
    minimumLearningRate: 3e-4 / 10,
    warmupSteps: 50,
    decaySteps: 500,
    beta1: 0.9,
    beta2: 0.95,
    epsilon: 1e-8,
    weightDecay: 0.1,
    clipNorm: 1,
  });
  assert.deepEqual(manifest.tokenizer, { kind: "bytes" });
  assert.deepEqual(manifest.weights, { kind: "random" });
  assert.deepEqual(manifest.validation, { fraction: 0.1, everySteps: 100, microBatches: 8 });
  assert.deepEqual(manifest.replicas, { floor: 1, ceiling: 16 });
  assert.deepEqual(manifest.rebalance, { everySeconds: 300, hysteresis: 0.05 });
  assert.deepEqual(manifest.codecs, { activation: "f32", gradient: "f32" });
  assert.equal(manifest.ledger, "none");
  assert.equal(manifest.seed, 0);
});

Deno.test("parseManifest gives back what nobody can change", () => {
  const manifest = parseManifest(JSON.stringify(least));
  assert.ok(Object.isFrozen(manifest) && Object.isFrozen(manifest.model));
});

Deno.test("parseManifest takes head widths that are not width / heads", () => {
  const { model } = parseManifest(changed({ "model.heads": 3, "model.headWidth": 32 }));
  assert.equal(model.headWidth, 32);
});

const hostile: readonly [why: string, text: string, problem: string][] = [
  ["no JSON", "{", "expected JSON"],
  ["nothing", "", "expected JSON"],
  ["no object", "7", "manifest: found 7, expected an object"],
  ["a list", "[]", "manifest: found a list of 0, expected an object"],
  ["null", "null", "manifest: found null, expected an object"],
  ["too long", JSON.stringify({ ...least, name: "x".repeat(70_000) }), "expected at most 65536"],
  ["deep nesting", "[".repeat(60_000), "expected JSON"],
  ["another version", changed({ version: 2 }), "version: found 2, expected 1"],
  ["an unknown field", changed({ colour: "red" }), 'colour: found "red", expected no such field'],
  ["an unknown inner field", changed({ "model.depth": 3 }), "model.depth: found 3, expected no such field"],
  [
    "__proto__",
    JSON.stringify(least).replace("{", '{"__proto__":{"steps":1},'),
    "__proto__: found an object, expected no such field",
  ],
  ["a missing field", changed({ steps: undefined }), "steps: found nothing, expected an integer from 1"],
  ["a missing model", changed({ model: undefined }), "model: found nothing, expected an object"],
  ["text for a number", changed({ steps: "500" }), 'steps: found "500", expected an integer'],
  ["a fraction", changed({ steps: 1.5 }), "steps: found 1.5, expected an integer"],
  ["infinity", JSON.stringify(least).replace("500", "1e999"), "steps: found Infinity, expected an integer"],
  ["a negative count", changed({ microBatchesPerStep: -1 }), "microBatchesPerStep: found -1"],
  ["too many micro-batches", changed({ microBatchesPerStep: 4097 }), "an integer from 1 to 4096"],
  ["too long sequences", changed({ sequenceLength: 131_073 }), "an integer from 1 to 131072"],
  ["too wide a model", changed({ "model.width": 65_537 }), "model.width: found 65537"],
  ["too large a matrix", changed({ "model.width": 65_536 }), "model.width: found 65536, expected a largest"],
  ["too large activations", changed({ sequenceLength: 131_072, sequencesPerMicroBatch: 64 }), "67108864"],
  ["an unknown precision", changed({ precision: "f8" }), 'precision: found "f8", expected "f32" or "f16"'],
  ["a large seed", changed({ seed: 2 ** 32 }), "seed: found 4294967296"],
  ["another family", changed({ "model.family": "mamba" }), 'model.family: found "mamba", expected "llama"'],
  ["heads that don't divide", changed({ "model.heads": 5 }), "model.heads: found 5, expected a divisor"],
  ["key heads that don't divide", changed({ "model.keyValueHeads": 3 }), "model.keyValueHeads: found 3"],
  ["an odd head", changed({ "model.headWidth": 15 }), "model.headWidth: found 15, expected an even"],
  [
    "a small vocabulary",
    changed({ "model.vocabulary": 255 }),
    "model.vocabulary: found 255, expected at least",
  ],
  ["more stages than layers", changed({ stages: 5 }), "stages: found 5, expected at most model.layers 4"],
  ["no stages", changed({ stages: 0 }), "stages: found 0"],
  ["no cuts", changed({ stages: [] }), "stages: found a list of 0"],
  ["a text among cuts", changed({ stages: [1, "2"] }), "stages"],
  ["cuts that don't ascend", changed({ stages: [2, 2] }), "stages[1]: found 2, expected a layer above 2"],
  ["a cut at the end", changed({ stages: [4] }), "stages[0]: found 4"],
  ["a floor above the ceiling", changed({ "replicas.floor": 17 }), "replicas.floor: found 17"],
  ["time that runs backwards", changed({ "rebalance.everySeconds": -1 }), "rebalance.everySeconds: found -1"],
  [
    "a minimum above the peak",
    changed({ "optimizer.minimumLearningRate": 1 }),
    "minimumLearningRate: found 1",
  ],
  ["a long warm-up", changed({ "optimizer.warmupSteps": 501 }), "optimizer.warmupSteps: found 501"],
  ["beta of 1", changed({ "optimizer.beta2": 1 }), "optimizer.beta2: found 1"],
  ["all data held back", changed({ "validation.fraction": 1 }), "validation.fraction: found 1"],
  [
    "another codec",
    changed({ "codecs.activation": "int8" }),
    'codecs.activation: found "int8", expected "f32"',
  ],
  ["a ledger", changed({ ledger: "0x00" }), `ledger: found "0x00", ${LEDGER_EXPECTED}`],
  [
    "a contract's address",
    changed({ ledger: { ...ledger, escrow: "0x5" } }),
    'ledger.escrow: found "0x5", expected 0x and 40',
  ],
  [
    "a chain",
    changed({ ledger: { ...ledger, rpc: "file:///etc" } }),
    'ledger.rpc: found "file:///etc", expected an address',
  ],
  ["a name that steers terminals", changed({ name: "\u001b[2Jx" }), 'name: found "?[2Jx", expected'],
  ["another tokenizer", changed({ tokenizer: { kind: "words" } }), 'tokenizer.kind: found "words"'],
  ["a tokenizer outside the folder", tokenizerAt("../secret.json"), "a path inside the manifest's folder"],
  ["a tokenizer further outside", tokenizerAt("a/../../secret.json"), "a path inside the manifest's folder"],
  ["a tokenizer at the root", tokenizerAt("/etc/passwd"), "a path inside the manifest's folder"],
  ["a tokenizer by URL", tokenizerAt("https://example.org/x"), "a path inside the manifest's folder"],
  [
    "a tokenizer without hash",
    changed({ tokenizer: { kind: "huggingface", file: "x" } }),
    "tokenizer.sha256",
  ],
  [
    "weights outside the folder",
    changed({ weights: { kind: "safetensors", files: ["../model"], states: Array(2).fill("0".repeat(64)) } }),
    'weights.files[0]: found "../model", expected a path inside the manifest\'s folder',
  ],
  [
    "weights of another cut",
    changed({ weights: { kind: "safetensors", files: ["model"], states: ["0".repeat(64)] } }),
    "weights.states: found 1, expected one state hash for each of the 2 stages",
  ],
];

function tokenizerAt(file: string): string {
  return changed({ tokenizer: { kind: "huggingface", file, sha256: "0".repeat(64) } });
}

for (const [why, text, problem] of hostile) {
  Deno.test(`parseManifest refuses ${why}`, () => {
    assert.throws(() => parseManifest(text), (error) => {
      assert.ok(error instanceof ManifestError, String(error));
      assert.ok(error.message.includes(problem), error.message);
      return true;
    });
  });
}

Deno.test("parseManifest tells all problems at once, a line for each", () => {
  assert.throws(() => parseManifest(changed({ steps: 0, "model.width": "wide", more: true })), {
    problems: [
      'model.width: found "wide", expected an integer from 2 to 65536',
      "steps: found 0, expected an integer from 1 to 1000000000",
      "more: found true, expected no such field",
    ],
  });
});

Deno.test("parseManifest throws nothing but ManifestError, whatever it reads", () => {
  const field = fc.constantFrom(...Object.keys(least), "optimizer", "tokenizer", "replicas", "rebalance");
  fc.assert(fc.property(field, fc.jsonValue(), (name, value) => {
    try {
      parseManifest(JSON.stringify({ ...least, [name]: value }));
    } catch (error) {
      assert.ok(error instanceof ManifestError, String(error));
    }
  }));
});

Deno.test("manifestHash asks for meaning, not for spelling", () => {
  const hash = manifestHash(parseManifest(JSON.stringify(least)));
  assert.match(hash, /^[0-9a-f]{64}$/);
  const reversed = Object.fromEntries(Object.entries(least).reverse());
  assert.equal(manifestHash(parseManifest(JSON.stringify(reversed, null, 4))), hash);
  assert.equal(manifestHash(parseManifest(changed({ "model.keyValueHeads": 4, seed: 0 }))), hash);
  assert.notEqual(manifestHash(parseManifest(changed({ seed: 1 }))), hash);
  assert.equal(manifestHash(parseManifest(changed({ "rebalance.everySeconds": 300 }))), hash);
  assert.notEqual(manifestHash(parseManifest(changed({ "rebalance.everySeconds": 60 }))), hash);
  assert.equal(manifestHash(parseManifest(changed({ precision: "f32" }))), hash);
  assert.notEqual(manifestHash(parseManifest(changed({ precision: "f16" }))), hash);
});

Deno.test("a run on another ledger is another run, of the same model; whose node answers does not matter", () => {
  const without = parseManifest(JSON.stringify(least));
  const on = parseManifest(changed({ ledger }));
  assert.deepEqual(on.ledger, ledger);
  assert.notEqual(manifestHash(on), manifestHash(without));
  assert.equal(modelHash(on), manifestHash(without));
  const rpc = "http://127.0.0.1:8545";
  assert.equal(manifestHash(parseManifest(changed({ ledger: { ...ledger, rpc } }))), manifestHash(on));
  const elsewhere = { ...ledger, chainId: 1 };
  assert.notEqual(manifestHash(parseManifest(changed({ ledger: elsewhere }))), manifestHash(on));
});

Deno.test("manifestHash does not change from one release to the next", () => {
  assert.equal(
    manifestHash(parseManifest(JSON.stringify(least))),
    "4acd562749faa4e6b1c40dc4b39c4b56506d2990850d690af98ba01f1f62fd65",
  );
});

Deno.test("a manifest survives being written and read again", () => {
  const manifest = parseManifest(JSON.stringify(least));
  assert.deepEqual(parseManifest(JSON.stringify(manifest)), manifest);
});
