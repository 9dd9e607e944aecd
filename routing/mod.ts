/** Who serves what, and who is next: pure decisions. */

export {
  type Announcement,
  BadAnnouncement,
  readAnnouncement,
  signAnnouncement,
  type Signer,
  stageService,
  type Verify,
  verifyAnnouncement,
} from "./announcement.ts";
export {
  type Admits,
  Directory,
  RECORD_NAMESPACE,
  recordKey,
  type Rendezvous,
  type Saying,
  serviceKey,
} from "./directory.ts";
export { announcementRules, type RecordRules } from "./record_rules.ts";
export { MemoryRendezvous } from "./memory_rendezvous.ts";
export {
  type BalancedHost,
  type BalanceRules,
  type Move,
  pipelineCapacity,
  Placement,
  planMoves,
  rebalanceDelayMs,
} from "./rebalancing.ts";
export { COOLOFF_PER_WASTE_MIN, type Deed } from "./cooloff.ts";
export { type HostAnswer, type PathChoice, Paths, type PathWish } from "./paths.ts";
export { type Choice, Router, ROUTER_PEERS_MAX, type Task } from "./router.ts";
export {
  isQuorate,
  joinProofs,
  PROOF_REPLICAS_MAX,
  PROOF_TEXT_LENGTH_MAX,
  proofText,
  proveState,
  quorumOf,
  readProof,
  signState,
  type StateClaim,
  type StateProof,
  type StateVote,
  UnprovedState,
} from "./state_proof.ts";
