/**
 * What a run is: one JSON file that every peer agrees on. Its hash names the run.
 */

/** A decoder of the Llama family: RMSNorm, RoPE, grouped-query attention, SwiGLU. */
export interface ModelConfig {
  readonly family: "llama";
  /** Tokens in the vocabulary, V. */
  readonly vocabulary: number;
  /** Width of the hidden states, C. */
  readonly width: number;
  readonly layers: number;
  /** Query heads. `width` must be a multiple, unless `headWidth` is given. */
  readonly heads: number;
  /** Key and value heads; `heads` is a multiple of it. */
  readonly keyValueHeads: number;
  /** Width of one head, even. Default `width / heads`. */
  readonly headWidth: number;
  /** Inner width of the SwiGLU block. */
  readonly hidden: number;
  readonly ropeTheta: number;
  readonly normEpsilon: number;
}

/** AdamW with warm-up and cosine decay. */
export interface OptimizerConfig {
  readonly kind: "adamw";
  readonly learningRate: number;
  readonly minimumLearningRate: number;
  readonly warmupSteps: number;
  readonly decaySteps: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** Decoupled; on matrices, not on norm gains. */
  readonly weightDecay: number;
  /** Bound on the norm of the whole model's mean gradient; 0 switches clipping off. */
  readonly clipNorm: number;
}

/** The whole run. */
export interface Manifest {
  readonly version: 1;
  readonly name: string;
  readonly model: ModelConfig;
  /** Number of stages, or the first layer of each stage after the first ("cut points"). */
  readonly stages: number | readonly number[];
  /** Tokens in a sequence, T. */
  readonly sequenceLength: number;
  /** Sequences in a micro-batch, B. */
  readonly sequencesPerMicroBatch: number;
  readonly microBatchesPerStep: number;
  readonly steps: number;
  readonly optimizer: OptimizerConfig;
  /** Of initialisation and of the order of the data. */
  readonly seed: number;
  readonly tokenizer:
    | { readonly kind: "bytes" }
    /** `file` is relative to the manifest; `sha256` is of its bytes. */
    | { readonly kind: "huggingface"; readonly file: string; readonly sha256: string };
  readonly validation: {
    /** Share of the data, from its end, that is never trained on. */
    readonly fraction: number;
    readonly everySteps: number;
    /** Micro-batches of one validation. */
    readonly microBatches: number;
  };
  readonly replicas: { readonly floor: number; readonly ceiling: number };
  readonly codecs: { readonly activation: "f32"; readonly gradient: "f32" };
  readonly ledger: "none";
}
