/**
 * What a run is: one JSON file that every peer agrees on. Its hash names the run.
 *
 * It opens no files and knows no defaults that depend on the machine: the same
 * text is the same run everywhere. Text from a stranger is safe to give to it.
 */

import { createHash } from "node:crypto";
import { z } from "zod";
import { canonicalJson } from "./canonical_json.ts";

/** A decoder of the Llama family: RMSNorm, RoPE, grouped-query attention, SwiGLU. */
export interface ModelConfig {
  /** Default `llama`, the only one so far. */
  readonly family: "llama";
  /** Tokens in the vocabulary, V. */
  readonly vocabulary: number;
  /** Width of the hidden states, C. */
  readonly width: number;
  /** Layers of attention and SwiGLU. */
  readonly layers: number;
  /** Query heads. `width` must be a multiple, unless `headWidth` is given. */
  readonly heads: number;
  /** Key and value heads; `heads` is a multiple of it. Default `heads`. */
  readonly keyValueHeads: number;
  /** Width of one head, even. Default `width / heads`. */
  readonly headWidth: number;
  /** Inner width of the SwiGLU block. Default 8/3 of `width`, up to a multiple of 8. */
  readonly hidden: number;
  /** Default 10000. */
  readonly ropeTheta: number;
  /** How positions beyond those of its first training are turned. Default: as all others. */
  readonly ropeScaling: RopeScaling;
  /** Default 1e-5. */
  readonly normEpsilon: number;
  /** Whether queries, keys and values have a bias (Qwen2). Default `false`. */
  readonly attentionBias: boolean;
  /** Whether each head's query and key pass an RMSNorm before RoPE (Qwen3). Default `false`. */
  readonly queryKeyNorm: boolean;
}

/** How a model's RoPE frequencies were changed to reach further than it was first taught. */
export type RopeScaling =
  | { readonly kind: "none" }
  /** Every frequency divided by `factor` (Chen et al., 2023). */
  | { readonly kind: "linear"; readonly factor: number }
  /** Low frequencies divided by `factor`, high ones left, between them both mixed (Llama 3.1). */
  | {
    readonly kind: "llama3";
    readonly factor: number;
    /** Wavelengths above `originalLength` ÷ this are low frequencies. */
    readonly lowFrequencyFactor: number;
    /** Wavelengths below `originalLength` ÷ this are high frequencies. */
    readonly highFrequencyFactor: number;
    /** Positions that the model was first taught. */
    readonly originalLength: number;
  };

/** AdamW with warm-up and cosine decay. */
export interface OptimizerConfig {
  /** Default `adamw`, the only one so far. */
  readonly kind: "adamw";
  /** Default 3e-4. */
  readonly learningRate: number;
  /** Default a tenth of `learningRate`. */
  readonly minimumLearningRate: number;
  /** Default a tenth of the steps, at most 100. */
  readonly warmupSteps: number;
  /** Step at which the minimum is reached. Default the steps of the run. */
  readonly decaySteps: number;
  /** Default 0.9. */
  readonly beta1: number;
  /** Default 0.95. */
  readonly beta2: number;
  /** Default 1e-8. */
  readonly epsilon: number;
  /** Decoupled; on matrices, not on norm gains. Default 0.1. */
  readonly weightDecay: number;
  /** Bound on the norm of the whole model's mean gradient; 0 switches clipping off. Default 1. */
  readonly clipNorm: number;
}

/** A file beside the manifest, and what it has to be. */
export interface NamedFile {
  /** Relative to the manifest. */
  readonly file: string;
  /** Of its bytes. */
  readonly sha256: string;
}

/** The whole run. */
export interface Manifest {
  /** Of this format. */
  readonly version: 1;
  /** For people; it names nothing that must be unique. */
  readonly name: string;
  /** What is trained. */
  readonly model: ModelConfig;
  /** Number of stages, or the first layer of each stage after the first ("cut points"). */
  readonly stages: number | readonly number[];
  /** Tokens in a sequence, T. */
  readonly sequenceLength: number;
  /** Sequences in a micro-batch, B. */
  readonly sequencesPerMicroBatch: number;
  /** Micro-batches whose gradients one step sums up. */
  readonly microBatchesPerStep: number;
  /** Optimizer steps of the whole run. */
  readonly steps: number;
  /** How it learns. */
  readonly optimizer: OptimizerConfig;
  /** Of initialisation and of the order of the data. Default 0. */
  readonly seed: number;
  /** Default `bytes`. */
  readonly tokenizer:
    | { readonly kind: "bytes" }
    | {
      readonly kind: "huggingface";
      /** `tokenizer.json`, relative to the manifest. */
      readonly file: string;
      /** Of its bytes. */
      readonly sha256: string;
      /** `tokenizer_config.json`: names of special tokens, and the template of chats, if there is one. */
      readonly config?: NamedFile;
      /** `chat_template.jinja`: goes before a template that stands in `config`. */
      readonly chatTemplate?: NamedFile;
      /** Ids that end a text, besides the one that `config` names. */
      readonly endOfText?: readonly number[];
    };
  /**
   * What the model begins with: draws from the seed (the default), or published weights.
   * `files` are relative to the manifest; `states` are the state hashes of the stages before their first
   * step, so that nobody can begin with others.
   */
  readonly weights:
    | { readonly kind: "random" }
    | { readonly kind: "safetensors"; readonly files: readonly string[]; readonly states: readonly string[] };
  /** What is held back, and how often it is looked at. */
  readonly validation: {
    /** Share of the data, from its end, that is never trained on. Default 0.1; 0 switches validation off. */
    readonly fraction: number;
    /** Default 100. */
    readonly everySteps: number;
    /** Micro-batches of one validation. Default 8. */
    readonly microBatches: number;
  };
  /** Peers that hold one stage. Default 1 to 16. */
  readonly replicas: { readonly floor: number; readonly ceiling: number };
  /** When hosts change their stage. */
  readonly rebalance: {
    /** Between two looks at the balance, about. Default 300; 0: nobody is ever sent elsewhere. */
    readonly everySeconds: number;
    /** Share by which the run must become faster for a move to be worth it. Default 0.05. */
    readonly hysteresis: number;
  };
  /**
   * Bits in which devices that can (`--device webgpu` on a GPU with `shader-f16`) keep activations, their
   * gradients and a copy of the weights: half the memory, and sums in 32 all the same. Weights, what is
   * summed up, and what hosts send each other have 32 bits always. Numbers past ±65,504 are kept as that, so a
   * model whose activations go there learns nothing from them. Default `f32`.
   */
  readonly precision: "f32" | "f16";
  /** How tensors are written on the wire. Default `f32`, exact. */
  readonly codecs: { readonly activation: "f32"; readonly gradient: "f32" };
  /** Who keeps account of earnings. Default `none`; `deno task chain --into` writes one down. */
  readonly ledger: "none" | LedgerConfig;
}

/** Where a run's contracts lie, and what its model is called there. */
export interface LedgerConfig {
  /** Number that the chain goes by. */
  readonly chainId: number;
  /** Where the chain answers JSON-RPC, for those who have no node of their own; no part of the run's id. */
  readonly rpc?: string;
  /** Block of the first contract. */
  readonly block: number;
  /** Address of the token that is staked and earned. */
  readonly token: string;
  /** Address of the contract that holds stakes. */
  readonly vault: string;
  /** Address of the contract that knows models and who serves them. */
  readonly registry: string;
  /** Address of the contract that pays for training. */
  readonly rewards: string;
  /** Address of the contract that shares what readers pay. */
  readonly revenue: string;
  /** Address of the contract that holds what readers will pay. */
  readonly escrow: string;
  /** Name of the model in the registry, 32 bytes: follows from its owner and {@link modelHash}. */
  readonly model: string;
}

/** A manifest that is not to be believed. The message has one line per problem. */
export class ManifestError extends Error {
  /** Tells it from other errors. */
  override name = "ManifestError";
  /** Each as `model.heads: found 3, expected a divisor of model.width 64`. */
  readonly problems: readonly string[];

  /** Takes one line per problem. */
  constructor(problems: readonly string[]) {
    const count = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
    super(`Cannot read manifest: ${count}\n${problems.map((line) => `  ${line}`).join("\n")}`);
    this.problems = problems;
  }
}

/** A manifest of 1024 cut points takes some 10 KiB; nothing honest needs more than this. */
const MANIFEST_CHARACTERS_MAX = 64 * 1024;
/** Hidden states of one micro-batch, B·T·C values: 256 MiB of f32, what one frame may carry. */
const ACTIVATION_VALUES_MAX = 64 * 1024 * 1024;
/** Values of one parameter: above it a tensor in f32 outgrows what devices address as one buffer. */
const PARAMETER_VALUES_MAX = 512 * 1024 * 1024;
/** Beyond it, further problems help nobody. */
const PROBLEMS_MAX = 32;
const LAYERS_MAX = 1024;
const VOCABULARY_MAX = 1_048_576;
const WIDTH_MAX = 65_536;

const integer = (minimum: number, maximum: number) => {
  const error = `an integer from ${minimum} to ${maximum}`;
  return z.int({ error }).min(minimum, { error }).max(maximum, { error });
};

const between = (minimum: number, maximum: number) => {
  const error = `a number from ${minimum} to ${maximum}`;
  return z.number({ error }).min(minimum, { error }).max(maximum, { error });
};

const word = <const Word extends string | number>(value: Word) =>
  z.literal(value, { error: JSON.stringify(value) });

const text = (pattern: RegExp, error: string) => z.string({ error }).regex(pattern, { error });

const object = <Shape extends z.ZodRawShape>(shape: Shape) =>
  z.strictObject(shape, {
    error: (issue) => issue.code === "unrecognized_keys" ? undefined : "an object",
  });

const ropeScalingSchema = z.discriminatedUnion("kind", [
  object({ kind: word("none") }),
  object({ kind: word("linear"), factor: between(1, 1e6) }),
  object({
    kind: word("llama3"),
    factor: between(1, 1e6),
    lowFrequencyFactor: between(1e-3, 1e6),
    highFrequencyFactor: between(1e-3, 1e6),
    originalLength: integer(1, 1e9),
  }),
], { error: 'an object whose kind is "none", "linear" or "llama3"' });

const modelSchema = object({
  family: word("llama").default("llama"),
  vocabulary: integer(2, VOCABULARY_MAX),
  width: integer(2, WIDTH_MAX),
  layers: integer(1, LAYERS_MAX),
  heads: integer(1, 1024),
  keyValueHeads: integer(1, 1024).optional(),
  headWidth: integer(2, 1024).optional(),
  hidden: integer(1, 4 * WIDTH_MAX).optional(),
  ropeTheta: between(1, 1e12).default(10_000),
  ropeScaling: ropeScalingSchema.default({ kind: "none" }),
  normEpsilon: between(1e-12, 0.1).default(1e-5),
  attentionBias: z.boolean({ error: "true or false" }).default(false),
  queryKeyNorm: z.boolean({ error: "true or false" }).default(false),
});

const optimizerSchema = object({
  kind: word("adamw").default("adamw"),
  learningRate: between(1e-12, 10).default(3e-4),
  minimumLearningRate: between(0, 10).optional(),
  warmupSteps: integer(0, 1e9).optional(),
  decaySteps: integer(0, 1e9).optional(),
  beta1: between(0, 0.9999999).default(0.9),
  beta2: between(0, 0.9999999).default(0.95),
  epsilon: between(1e-20, 1).default(1e-8),
  weightDecay: between(0, 10).default(0.1),
  clipNorm: between(0, 1e6).default(1),
});

/** A path inside the manifest's folder: a stranger's manifest must not name `/etc/passwd`. */
const RELATIVE_PATH = /^(?!\.{1,2}(?:\/|$))[\w.-]+(?:\/(?!\.{1,2}(?:\/|$))[\w.-]+){0,15}$/;

const relativePath = text(RELATIVE_PATH, "a path inside the manifest's folder").max(256, {
  error: "a path of at most 256 characters",
});

const sha256 = text(/^[0-9a-f]{64}$/, "64 lower-case hexadecimal digits");

const namedFile = object({ file: relativePath, sha256 });

/** Models of today have up to three. */
const ENDS_MAX = 64;

const tokenizerSchema = z.discriminatedUnion("kind", [
  object({ kind: word("bytes") }),
  object({
    kind: word("huggingface"),
    file: relativePath,
    sha256,
    config: namedFile.optional(),
    chatTemplate: namedFile.optional(),
    endOfText: z.array(integer(0, VOCABULARY_MAX - 1)).min(1).max(ENDS_MAX).optional(),
  }),
], { error: 'an object whose kind is "bytes" or "huggingface"' });

const FILES_MAX = 1024;

const weightsSchema = z.discriminatedUnion("kind", [
  object({ kind: word("random") }),
  object({
    kind: word("safetensors"),
    files: z.array(relativePath).min(1).max(FILES_MAX),
    states: z.array(sha256).min(1).max(LAYERS_MAX),
  }),
], { error: 'an object whose kind is "random" or "safetensors"' });

const stagesSchema = z.union([
  integer(1, LAYERS_MAX),
  z.array(integer(1, LAYERS_MAX - 1)).min(1).max(LAYERS_MAX - 1),
], { error: `an integer from 1 to ${LAYERS_MAX}, or a list of first layers` });

const rebalanceSchema = object({
  everySeconds: between(0, 1e6).default(300),
  hysteresis: between(0, 10).default(0.05),
});

const contractAddress = text(/^0x[0-9a-f]{40}$/, "0x and 40 lower-case hexadecimal digits");

const ledgerSchema = z.union([
  word("none"),
  object({
    chainId: integer(1, Number.MAX_SAFE_INTEGER),
    rpc: text(/^https?:\/\/[\x21-\x7e]{1,256}$/, "an address that begins with http:// or https://")
      .optional(),
    block: integer(0, Number.MAX_SAFE_INTEGER),
    token: contractAddress,
    vault: contractAddress,
    registry: contractAddress,
    rewards: contractAddress,
    revenue: contractAddress,
    escrow: contractAddress,
    model: text(/^0x[0-9a-f]{64}$/, "0x and 64 lower-case hexadecimal digits"),
  }),
], { error: '"none", or an object with chainId, block, the addresses of the contracts and model' });

const manifestSchema = object({
  version: word(1),
  name: text(/^[A-Za-z0-9][\w .-]{0,63}$/, "1 to 64 letters, digits, blanks, dots and dashes"),
  model: modelSchema,
  stages: stagesSchema,
  sequenceLength: integer(1, 131_072),
  sequencesPerMicroBatch: integer(1, 4096),
  microBatchesPerStep: integer(1, 4096),
  steps: integer(1, 1e9),
  optimizer: optimizerSchema.prefault({}),
  seed: integer(0, 0xffff_ffff).default(0),
  tokenizer: tokenizerSchema.default({ kind: "bytes" }),
  weights: weightsSchema.default({ kind: "random" }),
  validation: object({
    fraction: between(0, 0.5).default(0.1),
    everySteps: integer(1, 1e9).default(100),
    microBatches: integer(1, 4096).default(8),
  }).prefault({}),
  replicas: object({
    floor: integer(1, 1024).default(1),
    ceiling: integer(1, 1024).default(16),
  }).prefault({}),
  rebalance: rebalanceSchema.prefault({}),
  precision: z.enum(["f32", "f16"], { error: '"f32" or "f16"' }).default("f32"),
  codecs: object({
    activation: word("f32").default("f32"),
    gradient: word("f32").default("f32"),
  }).prefault({}),
  ledger: ledgerSchema.default("none"),
});

/**
 * Reads a manifest and fills its defaults in.
 *
 * @param source JSON.
 * @returns the manifest, deeply frozen.
 * @throws {ManifestError} if a field is missing, unknown, out of bounds or at odds with another.
 */
export function parseManifest(source: string): Manifest {
  if (source.length > MANIFEST_CHARACTERS_MAX) {
    throw new ManifestError([
      `manifest: found ${source.length} characters, expected at most ${MANIFEST_CHARACTERS_MAX}`,
    ]);
  }
  let raw: unknown;
  try {
    raw = JSON.parse(source);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new ManifestError([`manifest: found ${error.message}, expected JSON`]);
  }
  const result = manifestSchema.safeParse(raw);
  if (!result.success) throw new ManifestError(schemaProblems(raw, result.error.issues));
  const manifest = withDerivedDefaults(result.data);
  const problems = crossFieldProblems(manifest);
  if (problems.length > 0) throw new ManifestError(problems);
  return deepFreeze(manifest);
}

/** Fields that manifests once did not have, each with its default. */
const LATER_FIELDS = {
  manifest: { rebalance: rebalanceSchema.parse({}), precision: "f32", weights: { kind: "random" } },
  model: { ropeScaling: { kind: "none" }, attentionBias: false, queryKeyNorm: false },
} as const;

/**
 * SHA-256, hex, of the manifest's canonical JSON, defaults filled in: the run's id. A later field that
 * stands at its default is left out, so that the runs of older manifests keep their id.
 */
export function manifestHash(manifest: Manifest): string {
  const { manifest: later, model } = LATER_FIELDS;
  const content = {
    ...unusual(manifest, later),
    model: unusual(manifest.model, model),
    ledger: withoutRpc(manifest.ledger),
  };
  return createHash("sha256").update(canonicalJson(content)).digest("hex");
}

/** Whose node one asks is one's own affair. */
function withoutRpc(ledger: Manifest["ledger"]): object | string {
  if (ledger === "none") return ledger;
  const { rpc: _, ...place } = ledger;
  return place;
}

/** SHA-256, hex, of the manifest but for its ledger: what the ledger knows the model by. */
export function modelHash(manifest: Manifest): string {
  return manifestHash({ ...manifest, ledger: "none" });
}

/** The fields of an object but for those that stand at these values. */
function unusual(fields: object, usual: Readonly<Record<string, unknown>>): object {
  return Object.fromEntries(
    Object.entries(fields).filter(([name, value]) =>
      !Object.hasOwn(usual, name) || canonicalJson(value) !== canonicalJson(usual[name])
    ),
  );
}

function withDerivedDefaults(given: z.output<typeof manifestSchema>): Manifest {
  const { model, optimizer } = given;
  return {
    ...given,
    model: {
      ...model,
      keyValueHeads: model.keyValueHeads ?? model.heads,
      headWidth: model.headWidth ?? model.width / model.heads,
      hidden: model.hidden ?? Math.ceil(model.width / 3) * 8,
    },
    optimizer: {
      ...optimizer,
      minimumLearningRate: optimizer.minimumLearningRate ?? optimizer.learningRate / 10,
      warmupSteps: optimizer.warmupSteps ?? Math.min(100, Math.floor(given.steps / 10)),
      decaySteps: optimizer.decaySteps ?? given.steps,
    },
  };
}

function crossFieldProblems(manifest: Manifest): string[] {
  const problems: string[] = [];
  const expect = (holds: boolean, field: string, found: unknown, expected: string) => {
    if (!holds) problems.push(`${field}: found ${show(found)}, expected ${expected}`);
  };
  const { model, optimizer, stages, replicas, tokenizer } = manifest;
  const { width, layers, heads, keyValueHeads, headWidth, hidden, vocabulary } = model;

  if (Number.isInteger(headWidth)) {
    expect(headWidth % 2 === 0, "model.headWidth", headWidth, "an even number, as RoPE turns pairs");
  } else {
    expect(false, "model.heads", heads, `a divisor of model.width ${width}, or model.headWidth`);
  }
  expect(
    heads % keyValueHeads === 0,
    "model.keyValueHeads",
    keyValueHeads,
    `a divisor of model.heads ${heads}`,
  );
  const { ropeScaling } = model;
  if (ropeScaling.kind === "llama3") {
    expect(
      ropeScaling.lowFrequencyFactor < ropeScaling.highFrequencyFactor,
      "model.ropeScaling.lowFrequencyFactor",
      ropeScaling.lowFrequencyFactor,
      `less than highFrequencyFactor ${ropeScaling.highFrequencyFactor}`,
    );
  }
  const widest = Math.max(vocabulary, hidden, heads * headWidth);
  expect(
    width * widest <= PARAMETER_VALUES_MAX,
    "model.width",
    width,
    `a largest matrix (width × ${widest}) of at most ${PARAMETER_VALUES_MAX} values`,
  );
  if (tokenizer.kind === "bytes") {
    expect(vocabulary >= 256, "model.vocabulary", vocabulary, "at least 256 for the tokenizer of bytes");
  } else {
    tokenizer.endOfText?.forEach((id, index) =>
      expect(id < vocabulary, `tokenizer.endOfText[${index}]`, id, `below model.vocabulary ${vocabulary}`)
    );
  }

  if (typeof stages === "number") {
    expect(stages <= layers, "stages", stages, `at most model.layers ${layers}`);
  } else {
    stages.forEach((cut, index) => {
      const after = stages[index - 1] ?? 0;
      expect(
        cut > after && cut < layers,
        `stages[${index}]`,
        cut,
        `a layer above ${after} and below model.layers ${layers}`,
      );
    });
  }

  const { weights } = manifest;
  if (weights.kind === "safetensors") {
    const count = typeof stages === "number" ? stages : stages.length + 1;
    expect(
      weights.states.length === count,
      "weights.states",
      weights.states.length,
      `one state hash for each of the ${count} stages`,
    );
  }

  const values = manifest.sequenceLength * manifest.sequencesPerMicroBatch * width;
  expect(
    values <= ACTIVATION_VALUES_MAX,
    "sequencesPerMicroBatch",
    manifest.sequencesPerMicroBatch,
    `hidden states (× sequenceLength × model.width) of at most ${ACTIVATION_VALUES_MAX} values, not ${values}`,
  );
  expect(
    optimizer.minimumLearningRate <= optimizer.learningRate,
    "optimizer.minimumLearningRate",
    optimizer.minimumLearningRate,
    `at most optimizer.learningRate ${optimizer.learningRate}`,
  );
  expect(
    optimizer.warmupSteps <= optimizer.decaySteps,
    "optimizer.warmupSteps",
    optimizer.warmupSteps,
    `at most optimizer.decaySteps ${optimizer.decaySteps}`,
  );
  expect(
    replicas.floor <= replicas.ceiling,
    "replicas.floor",
    replicas.floor,
    `at most replicas.ceiling ${replicas.ceiling}`,
  );
  return problems;
}

/** One line per field: what stands there, and what should. */
function schemaProblems(raw: unknown, issues: readonly z.core.$ZodIssue[]): string[] {
  const problems = new Map<string, string>();
  const add = (path: readonly PropertyKey[], expected: string) => {
    const field = nameOf(path);
    if (problems.has(field) || problems.size >= PROBLEMS_MAX) return;
    problems.set(field, `${field}: found ${show(valueAt(raw, path))}, expected ${expected}`);
  };
  for (const issue of issues) {
    if (issue.code === "unrecognized_keys") {
      for (const key of issue.keys) add([...issue.path, key], "no such field");
    } else {
      add(issue.path, issue.message);
    }
  }
  return [...problems.values()];
}

function nameOf(path: readonly PropertyKey[]): string {
  if (path.length === 0) return "manifest";
  return path.map((part, index) =>
    typeof part === "number" ? `[${part}]` : (index > 0 ? "." : "") + clip(String(part))
  ).join("");
}

function valueAt(raw: unknown, path: readonly PropertyKey[]): unknown {
  let value = raw;
  for (const part of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Record<PropertyKey, unknown>)[part];
  }
  return value;
}

/** A found value in short; a stranger's text must not flood or steer a terminal. */
function show(value: unknown): string {
  if (value === undefined) return "nothing";
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === "object" && value !== null) return "an object";
  return typeof value === "string" ? JSON.stringify(clip(value)) : String(value);
}

function clip(value: string): string {
  const printable = value.replaceAll(/[^\x20-\x7e]/g, "?");
  return printable.length <= 40 ? printable : `${printable.slice(0, 40)}…`;
}

function deepFreeze<Value>(value: Value): Value {
  if (typeof value === "object" && value !== null) {
    Object.values(value).forEach(deepFreeze);
    Object.freeze(value);
  }
  return value;
}
