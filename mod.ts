/**
 * Murmuration trains and serves transformer language models on machines that
 * strangers own. This is the front door: what a program needs to build peers of
 * its own, and to simulate them. The commands in `cli/` are such programs; what
 * they add is a wire over libp2p (`cli/peer.ts`).
 *
 * A whole run in one process, the truth that a swarm is compared with:
 *
 * ```ts
 * import { byteTokenizer, createStages, Dataset, parseManifest, ReferenceDevice, trainSolo } from "./mod.ts";
 *
 * const manifest = parseManifest(await Deno.readTextFile("runs/tiny.json"));
 * const dataset = Dataset.fromTexts(manifest, byteTokenizer, [await Deno.readTextFile("README.md")]);
 * const stages = await createStages(new ReferenceDevice(), manifest);
 * for await (const { step, loss } of trainSolo({ manifest, dataset, stages })) console.log(step, loss);
 * ```
 *
 * @module
 */

export * from "./actors/assemble.ts";
export * from "./actors/core/mod.ts";
export type { Departure } from "./actors/host/departing.ts";
export type { PledgeStore } from "./actors/host/following.ts";
export type { HostStatus, Tolls } from "./actors/host/options.ts";
export type { KeptState, SnapshotStore } from "./actors/host/snapshots.ts";
export type { WeightSink } from "./actors/exporter.ts";
export type { EarnerOptions } from "./actors/earner.ts";
export type { SettlerLedger, SettlerOptions } from "./actors/settler.ts";
export * from "./actors/generation.ts";
export type { Payment, Payments, ReaderFigures } from "./actors/reader.ts";
export type { Pledge } from "./actors/allegiance.ts";
export type { Electorate, Tensor } from "./actors/messages.ts";
export * from "./actors/report.ts";
export * from "./actors/wire/mod.ts";
export type { Deployment } from "./contracts/deployment.ts";
export type { Balance, EpochDocument, EpochRules, NamedDocument, Share } from "./contracts/epoch.ts";
export type { EpochStore } from "./contracts/epoch_store.ts";
export type { Journal } from "./contracts/journal.ts";
export type {
  Earnings,
  EarningsRow,
  Emission,
  EpochState,
  Lane,
  LaneName,
  Ledger,
  Place,
  PlaceEvent,
  SignedVoucher,
  Stake,
} from "./contracts/ledger.ts";
export type { RewardLeaf, RewardProof, RewardTree } from "./contracts/reward_tree.ts";
export type { DigestSigner } from "./contracts/signing.ts";
export type { Domain, Voucher } from "./contracts/typed_data.ts";
export type { Acknowledgement, WorkItem, WorkSheet } from "./contracts/work_sheet.ts";
export {
  type CompileOptions,
  type DataType,
  type Device,
  type DeviceTensor,
  type Dimension,
  type Graph,
  type HostTensor,
  type NamedTensors,
  type Node,
  type OpName,
  type Output,
  type Precision,
  type Program,
  ReferenceDevice,
  type Shape,
  type Value,
} from "./kernels/mod.ts";
export * from "./routing/mod.ts";
export * from "./run/mod.ts";
export * from "./stages/mod.ts";
