/**
 * A slice of a model: parameters, forward, backward, update, state, snapshot.
 * It knows no peers and no time.
 */

export { DeviceLost, squareSum } from "../kernels/mod.ts";
export { CompiledStage } from "./compiled_stage.ts";
export type { CompiledStageOptions } from "./compiled_stage.ts";
export { CACHE_BYTES } from "./compiled_sessions.ts";
export { drawToken } from "./draw.ts";
export { stageLayout } from "./parameters.ts";
export type { Parameter, StageLayout } from "./parameters.ts";
export { describePublishedState, publishedState, PublishedWeights } from "./published_state.ts";
export type { ByteSource, SafetensorsType } from "./safetensors.ts";
export { CacheFull } from "./sessions.ts";
export type { Continued, Draw, SessionResult, SessionRun, Sessions } from "./sessions.ts";
export { KEPT_SNAPSHOTS, newestFirst, Snapshots } from "./snapshot.ts";
export { SnapshotFile } from "./snapshot_file.ts";
export type { Disk, RejectedSnapshot, Restored, WholeState } from "./snapshot.ts";
export { createStages, trainSolo, validateSolo } from "./solo.ts";
export type { SoloStep } from "./solo.ts";
export { continueSolo, extendSolo } from "./solo_sessions.ts";
export { DEVICE_NAMES, type DeviceName, openDevice, type WorkerDevice } from "./open_device.ts";
export type { WebGpuSource } from "../kernels/webgpu/open.ts";
export { WeightFile } from "./weight_file.ts";
export type { PlacedBytes } from "./weight_file.ts";
export { WorkerStage } from "./worker_stage.ts";
export type { ForwardResult, Stage, StateManifest, StepUpdate } from "./stage.ts";
export {
  BadState,
  checkState,
  checkStateManifest,
  isPiece,
  PIECE_BYTES,
  pieceOf,
  stateBytes,
  StateHasher,
  stateHeader,
} from "./state.ts";
