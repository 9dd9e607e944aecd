/**
 * The table of ops. Adding one is its file, its name and its line here.
 */

import type { OpRow } from "./op.ts";
import { accumulate } from "./ops/accumulate.ts";
import { adamw } from "./ops/adamw.ts";
import { add } from "./ops/add.ts";
import { addBias } from "./ops/add_bias.ts";
import { attention } from "./ops/attention.ts";
import { attentionGradient } from "./ops/attention_gradient.ts";
import { cachedAttention } from "./ops/cached_attention.ts";
import { crossEntropy } from "./ops/cross_entropy.ts";
import { crossEntropyGradient } from "./ops/cross_entropy_gradient.ts";
import { embedding } from "./ops/embedding.ts";
import { embeddingGradient } from "./ops/embedding_gradient.ts";
import { joinHeads } from "./ops/join_heads.ts";
import { linear } from "./ops/linear.ts";
import { linearInputGradient } from "./ops/linear_input_gradient.ts";
import { linearWeightGradient } from "./ops/linear_weight_gradient.ts";
import { rmsNorm } from "./ops/rms_norm.ts";
import { rmsNormGradient } from "./ops/rms_norm_gradient.ts";
import { rope } from "./ops/rope.ts";
import { splitHeads } from "./ops/split_heads.ts";
import { sumRows } from "./ops/sum_rows.ts";
import { swiglu } from "./ops/swiglu.ts";
import { swigluGradient } from "./ops/swiglu_gradient.ts";
import { takeLast } from "./ops/take_last.ts";
import { takeLastGradient } from "./ops/take_last_gradient.ts";
import { takeRows } from "./ops/take_rows.ts";
import { zeros } from "./ops/zeros.ts";

/** Name of an op. Spelt out, because a device of somebody else's has to know them all. */
export type OpName =
  | "accumulate"
  | "adamw"
  | "add"
  | "addBias"
  | "attention"
  | "attentionGradient"
  | "cachedAttention"
  | "crossEntropy"
  | "crossEntropyGradient"
  | "embedding"
  | "embeddingGradient"
  | "joinHeads"
  | "linear"
  | "linearInputGradient"
  | "linearWeightGradient"
  | "rmsNorm"
  | "rmsNormGradient"
  | "rope"
  | "splitHeads"
  | "sumRows"
  | "swiglu"
  | "swigluGradient"
  | "takeLast"
  | "takeLastGradient"
  | "takeRows"
  | "zeros";

/** Every op by its name. */
export const OPS = {
  accumulate,
  adamw,
  add,
  addBias,
  attention,
  attentionGradient,
  cachedAttention,
  crossEntropy,
  crossEntropyGradient,
  embedding,
  embeddingGradient,
  joinHeads,
  linear,
  linearInputGradient,
  linearWeightGradient,
  rmsNorm,
  rmsNormGradient,
  rope,
  splitHeads,
  sumRows,
  swiglu,
  swigluGradient,
  takeLast,
  takeLastGradient,
  takeRows,
  zeros,
} as const satisfies Record<OpName, OpRow>;

/** The table's type, from which `GraphBuilder.op` reads its own. */
export type OpTable = typeof OPS;
