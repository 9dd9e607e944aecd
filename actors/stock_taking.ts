/**
 * What the answers of the hosts to one order add up to: whether what they hold is what the table says, and
 * whether replicas of a stage have come to the same sum. It says who differs from whom; what is done about
 * it is for the step protocol to say (`coordination.ts`).
 */

import type { PeerId } from "./core/actor.ts";
import type { MessageOf } from "./messages.ts";
import { pairsOf, type StepTable } from "./step_table.ts";

/** A host that takes part, and the stage that it holds. */
export interface Replica {
  readonly peer: PeerId;
  readonly stage: number;
}

/** Two hosts that can't both be right; one that contradicts itself is both of them. */
export interface Quarrel {
  readonly accused: PeerId;
  readonly accuser: PeerId;
}

/** What hosts hold, beside the table. */
export interface Stock<Host> {
  /** Hosts that stand at another state than their stage. */
  readonly strayed: readonly Host[];
  /** Hosts that hold what the table gives to others, or to nobody. */
  readonly surplus: readonly Host[];
  /** Cells of hosts that don't hold what the table gives to them. */
  readonly missing: readonly { readonly microBatch: number; readonly stage: number }[];
  /** In the order in which they were found. */
  readonly quarrels: readonly Quarrel[];
  /** Whether nothing differs. */
  readonly agrees: boolean;
}

/**
 * Compares what each host says that it holds with the table.
 *
 * @param said by each of them.
 * @param stateHashes by stage: what a host has to stand at.
 */
export function takeStock<Host extends Replica>(
  hosts: readonly Host[],
  said: ReadonlyMap<PeerId, MessageOf<"prepared">>,
  stateHashes: readonly string[],
  table: StepTable,
): Stock<Host> {
  const pairs = new Map([...said].map(([peer, { held }]) => [peer, pairsOf(held)]));
  const holds = (peer: PeerId, microBatch: number) =>
    pairs.get(peer)!.some((held) => held.microBatch === microBatch);
  const strayed: Host[] = [];
  const surplus: Host[] = [];
  const missing: { readonly microBatch: number; readonly stage: number }[] = [];
  const quarrels: Quarrel[] = [];
  for (const host of hosts) {
    const { peer, stage } = host;
    const itself = { accused: peer, accuser: peer };
    if (said.get(peer)!.stateHash !== stateHashes[stage]) {
      strayed.push(host);
      quarrels.push(itself);
      continue;
    }
    const lacks = table.countedBy(peer, stage).filter((microBatch) => !holds(peer, microBatch));
    if (lacks.length > 0) quarrels.push(itself);
    let hasMore = false;
    for (const { microBatch, corpus } of pairs.get(peer)!) {
      const cell = table.cell(microBatch, stage);
      const owner = cell === undefined ? peer : cell.owner;
      if (owner === peer && cell?.corpus === corpus) continue;
      hasMore = true;
      // An owner that does not hold it either is to blame itself.
      const isRightly = owner !== undefined && (owner === peer || holds(owner, microBatch));
      if (isRightly) quarrels.push({ accused: peer, accuser: owner });
    }
    // Who forgets all that it holds has no cells that are missing.
    if (hasMore) surplus.push(host);
    else missing.push(...lacks.map((microBatch) => ({ microBatch, stage })));
  }
  const agrees = strayed.length === 0 && surplus.length === 0 && missing.length === 0;
  return { strayed, surplus, missing, quarrels, agrees };
}

/** What replicas have summed up to. */
export type Sum =
  /** Those of each stage agree. */
  | { readonly kind: "agreed"; readonly squareSum: number }
  /** Those of one stage don't: these differ from most of them, or of as many from those who came first. */
  | { readonly kind: "split"; readonly others: readonly PeerId[] };

/** Compares the sums of the replicas of each stage. */
export function compareSums(
  hosts: readonly Replica[],
  reduced: ReadonlyMap<PeerId, MessageOf<"reduced">>,
): Sum {
  const byStage = new Map<number, MessageOf<"reduced">>();
  for (const { peer, stage } of hosts) {
    const sum = reduced.get(peer)!;
    const first = byStage.get(stage) ?? sum;
    if (first.hash !== sum.hash || first.squareSum !== sum.squareSum) {
      return { kind: "split", others: minority(hosts.filter((host) => host.stage === stage), reduced) };
    }
    byStage.set(stage, first);
  }
  const inOrder = [...byStage].sort(([a], [b]) => a - b);
  return { kind: "agreed", squareSum: inOrder.reduce((sum, [, it]) => sum + it.squareSum, 0) };
}

/** All but the most that agree; of as many, but those who came first. */
function minority(
  replicas: readonly Replica[],
  reduced: ReadonlyMap<PeerId, MessageOf<"reduced">>,
): PeerId[] {
  const bySum = Map.groupBy(replicas, ({ peer }) => {
    const { hash, squareSum } = reduced.get(peer)!;
    return `${hash} ${squareSum}`;
  });
  const most = [...bySum.values()].reduce((most, some) => some.length > most.length ? some : most);
  return [...bySum.values()].flatMap((some) => some === most ? [] : some.map(({ peer }) => peer));
}
