/**
 * What a run is: its manifest, its tokens, their order, its schedule and its
 * cut into stages. It knows neither peers nor tensors.
 */

export { byteTokenizer } from "./byte_tokenizer.ts";
export { canonicalJson } from "./canonical_json.ts";
export { ChatTemplateError, openChatTemplate } from "./chat_template.ts";
export type { ChatMessage, ChatRole, ChatTemplate } from "./chat_template.ts";
export { updateScale } from "./clipping.ts";
export type { UpdateScale } from "./clipping.ts";
export { Dataset } from "./dataset.ts";
export type { DatasetSource, TokenBatch } from "./dataset.ts";
export { publishedEndOfText, publishedModel } from "./huggingface_config.ts";
export type { PublishedModel } from "./huggingface_config.ts";
export { huggingFaceTokenizer } from "./huggingface_tokenizer.ts";
export { ManifestError, manifestHash, modelHash, parseManifest } from "./manifest.ts";
export type {
  LedgerConfig,
  Manifest,
  ModelConfig,
  NamedFile,
  OptimizerConfig,
  RopeScaling,
} from "./manifest.ts";
export { openNamedChatTemplate, openTokenizer } from "./open_tokenizer.ts";
export type { TokenizerFiles } from "./open_tokenizer.ts";
export { drawInteger, philox, Purpose, unitInterval } from "./order.ts";
export { partition, sliceOf, stageFlopsPerToken } from "./partition.ts";
export type { PartitionSource, Slice } from "./partition.ts";
export { GREEDY, LOGIT_BIAS_MAX, samplingUniform, TOP_LOG_PROBABILITIES_MAX } from "./sampling.ts";
export type { DrawnToken, Sampling } from "./sampling.ts";
export { byteTokenizerFile, publishedConfig } from "./published_config.ts";
export type { PublishedState } from "./published_config.ts";
export { learningRate } from "./schedule.ts";
export { TextStream } from "./text_stream.ts";
export { checkTokenIds } from "./tokenizer.ts";
export type { Tokenizer } from "./tokenizer.ts";
