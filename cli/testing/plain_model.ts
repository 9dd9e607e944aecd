/**
 * A published model in plain loops and double precision, straight from its
 * folder, to be read beside the papers. It shares no code with the product, so
 * that the two can be held against each other.
 */

import { join } from "node:path";

/** A matrix `[rows][columns]`. */
type Matrix = readonly Float64Array[];

/** A tensor of a file. */
export interface PlainTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly values: Float64Array;
}

interface HeaderEntry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [from: number, to: number];
}

/** Every tensor of a folder's `*.safetensors`, by name. */
export async function readPlainTensors(folder: string): Promise<Map<string, PlainTensor>> {
  const tensors = new Map<string, PlainTensor>();
  for await (const { name } of Deno.readDir(folder)) {
    if (!name.endsWith(".safetensors")) continue;
    const bytes = await Deno.readFile(join(folder, name));
    const view = new DataView(bytes.buffer);
    const start = 8 + Number(view.getBigUint64(0, true));
    const { __metadata__: _, ...header } = JSON.parse(new TextDecoder().decode(bytes.subarray(8, start)));
    for (const [tensor, { dtype, shape, data_offsets: [from, to] }] of Object.entries<HeaderEntry>(header)) {
      const width = dtype === "F32" ? 4 : 2;
      const values = Float64Array.from({ length: (to - from) / width }, (_, i) => {
        const at = start + from + i * width;
        if (dtype === "F32") return view.getFloat32(at, true);
        if (dtype === "F16") return view.getFloat16(at, true);
        const word = new DataView(new ArrayBuffer(4));
        word.setUint16(0, view.getUint16(at, true));
        return word.getFloat32(0);
      });
      tensors.set(tensor, { dtype, shape, values });
    }
  }
  return tensors;
}

/** Logits of what follows these ids, as the model in a folder has them. */
export async function plainLogits(folder: string, ids: readonly number[]): Promise<Float64Array> {
  const config = JSON.parse(await Deno.readTextFile(join(folder, "config.json")));
  const tensors = await readPlainTensors(folder);
  const rows = (name: string): Matrix => {
    const { shape: [count, width], values } = tensors.get(name)!;
    return Array.from({ length: count }, (_, row) => values.subarray(row * width, (row + 1) * width));
  };
  const vector = (name: string) => tensors.get(name)?.values;
  const heads: number = config.num_attention_heads;
  const groups: number = heads / (config.num_key_value_heads ?? heads);
  const width: number = config.head_dim ?? config.hidden_size / heads;
  const frequencies = frequenciesOf(config, width);

  const norm = (x: Float64Array, gain: Float64Array) => {
    const meanSquare = x.reduce((sum, value) => sum + value * value, 0) / x.length;
    return x.map((value, i) => value / Math.sqrt(meanSquare + config.rms_norm_eps) * gain[i]);
  };
  /** Heads of one position, normed where the model does so, and turned. */
  const headsOf = (x: Float64Array, position: number, gain: Float64Array | undefined) =>
    Array.from({ length: x.length / width }, (_, head) => {
      const one = x.slice(head * width, (head + 1) * width);
      return turned(gain === undefined ? one : norm(one, gain), position, frequencies);
    });

  let hidden = ids.map((id) => rows("model.embed_tokens.weight")[id]);
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const weight = (name: string) => rows(`model.layers.${layer}.${name}.weight`);
    const gain = (name: string) => vector(`model.layers.${layer}.${name}.weight`);
    const project = (x: Float64Array, name: string) =>
      sum(product(weight(`self_attn.${name}`), x), vector(`model.layers.${layer}.self_attn.${name}.bias`));
    const before = hidden.map((x) => norm(x, gain("input_layernorm")!));
    const queries = before.map((x, t) => headsOf(project(x, "q_proj"), t, gain("self_attn.q_norm")));
    const keys = before.map((x, t) => headsOf(project(x, "k_proj"), t, gain("self_attn.k_norm")));
    const values = before.map((x) => project(x, "v_proj"));
    hidden = hidden.map((x, t) => {
      const mixed = queries[t].flatMap((query, head) => {
        const group = Math.floor(head / groups);
        const scores = keys.slice(0, t + 1).map((key) => dot(query, key[group]) / Math.sqrt(width));
        const greatest = Math.max(...scores);
        const shares = scores.map((score) => Math.exp(score - greatest));
        const whole = shares.reduce((a, b) => a + b);
        return Array.from(
          { length: width },
          (_, i) => shares.reduce((sum, share, s) => sum + share / whole * values[s][group * width + i], 0),
        );
      });
      return sum(x, product(weight("self_attn.o_proj"), Float64Array.from(mixed)));
    }).map((x) => {
      const between = norm(x, gain("post_attention_layernorm")!);
      const up = product(weight("mlp.up_proj"), between);
      const gated = product(weight("mlp.gate_proj"), between).map((g, i) => g / (1 + Math.exp(-g)) * up[i]);
      return sum(x, product(weight("mlp.down_proj"), gated));
    });
  }
  const head = config.tie_word_embeddings ? "model.embed_tokens.weight" : "lm_head.weight";
  return product(rows(head), norm(hidden.at(-1)!, vector("model.norm.weight")!));
}

/** Radians that each pair of a head turns by with every position (Su et al., 2021; Llama 3.1's scaling). */
function frequenciesOf(
  { rope_theta: base = 10_000, rope_scaling: scaling }: {
    rope_theta?: number;
    rope_scaling?: Record<string, number | string> | null;
  },
  width: number,
): readonly number[] {
  return Array.from({ length: width / 2 }, (_, pair) => {
    const frequency = base ** (-2 * pair / width);
    if (scaling?.rope_type !== "llama3") return frequency;
    const { factor, low_freq_factor: low, high_freq_factor: high, original_max_position_embeddings: length } =
      scaling as Record<string, number>;
    const turns = length * frequency / (2 * Math.PI);
    if (turns > high) return frequency;
    if (turns < low) return frequency / factor;
    const smooth = (turns - low) / (high - low);
    return (1 - smooth) * frequency / factor + smooth * frequency;
  });
}

/** The pair of a number is the one half a head further. */
function turned(x: Float64Array, position: number, frequencies: readonly number[]): Float64Array {
  const half = x.length / 2;
  return x.map((value, i) => {
    const angle = position * frequencies[i % half];
    return value * Math.cos(angle) + (i < half ? -x[i + half] : x[i - half]) * Math.sin(angle);
  });
}

function product(weight: Matrix, x: Float64Array): Float64Array {
  return Float64Array.from(weight, (row) => dot(row, x));
}

function dot(one: Float64Array, other: Float64Array): number {
  return one.reduce((sum, value, i) => sum + value * other[i], 0);
}

function sum(one: Float64Array, other: Float64Array | undefined): Float64Array {
  return other === undefined ? one : one.map((value, i) => value + other[i]);
}
