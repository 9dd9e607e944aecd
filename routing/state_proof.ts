/**
 * Who says that a stage's state is what it is: each replica that has taken a step
 * signs the hash of its new state, together with the names of all that took the
 * step with it. A state is proved by more than half of them, whoever hands the
 * signatures over. This file believes no hash without them, and holds no keys:
 * signing and verifying are arguments. It can't tell whether the replicas that
 * were named were the right ones to take the step; that is the run's business.
 */

import { z } from "zod";
import type { Signer, Verify } from "./announcement.ts";

/** Replicas that one proof names. */
export const PROOF_REPLICAS_MAX = 256;

/** A proof as text: names and signatures of so many, with quotes and commas. */
export const PROOF_TEXT_LENGTH_MAX: number = 4096 + PROOF_REPLICAS_MAX * (2 * 131 + 1200);

/** What is claimed of a state. */
export interface StateClaim {
  /** Hash of the run's manifest, hex. */
  readonly run: string;
  /** Which stage's state it is. */
  readonly stage: number;
  /** Optimizer steps that it has taken: at least one, as before that it follows from the run's seed. */
  readonly step: number;
  /** Hex. */
  readonly stateHash: string;
}

/** One replica's signature of a claim and the replicas. */
export interface StateVote {
  /** Who signed. */
  readonly peer: string;
  /** Hex. */
  readonly signature: string;
}

/** What the replicas of a stage have signed. */
export interface StateProof {
  /** Everybody who took the step, sorted. */
  readonly replicas: readonly string[];
  /** Some of them. */
  readonly votes: readonly StateVote[];
}

/** A signature, hex. */
export const signatureSchema: z.ZodType<string> = z.string().regex(/^(?:[0-9a-f]{2}){1,512}$/);

/** Shape and bounds of a proof; whether it proves anything is another question. */
export const stateProofSchema: z.ZodType<StateProof> = z.strictObject({
  replicas: z.array(z.string().min(1).max(128)).min(1).max(PROOF_REPLICAS_MAX).readonly(),
  votes: z.array(z.strictObject({
    peer: z.string().min(1).max(128),
    signature: signatureSchema,
  })).max(PROOF_REPLICAS_MAX).readonly(),
});

/** Too few of a state's replicas are known to have signed it; the message says how many. */
export class UnprovedState extends Error {
  /** Tells it from a bug. */
  override name = "UnprovedState";
}

/** Goes before what is signed, so that no other statement of the same key can pass for a vote. */
const SIGNED_PREFIX = "murmuration state vote 1\n";

function signedBytes({ run, stage, step, stateHash }: StateClaim, replicas: readonly string[]): Uint8Array {
  return new TextEncoder().encode(SIGNED_PREFIX + JSON.stringify([run, stage, step, stateHash, replicas]));
}

/**
 * One replica's vote.
 *
 * @param replicas everybody who took the step, in any order; the signer among them.
 * @throws {TypeError} if the signer is not among them, or they are too many.
 */
export async function signState(
  claim: StateClaim,
  replicas: readonly string[],
  signer: Signer,
): Promise<StateProof> {
  const sorted = [...new Set(replicas)].sort();
  if (!sorted.includes(signer.peer)) {
    throw new TypeError(`Cannot sign state of step ${claim.step}: ${signer.peer} is not among its replicas`);
  }
  if (sorted.length > PROOF_REPLICAS_MAX) {
    throw new TypeError(
      `Cannot sign state of step ${claim.step}: ${sorted.length} replicas, at most ${PROOF_REPLICAS_MAX}`,
    );
  }
  const signature = await signer.sign(signedBytes(claim, sorted));
  return { replicas: sorted, votes: [{ peer: signer.peer, signature: toHex(signature) }] };
}

/** Signatures that prove a state of so many replicas: more than half. */
export function quorumOf(replicas: number): number {
  return Math.floor(replicas / 2) + 1;
}

/** Whether it holds as many signatures as are needed; whether they are good is another question. */
export function isQuorate({ replicas, votes }: StateProof): boolean {
  return votes.length >= quorumOf(replicas.length);
}

/** Of several proofs of one state that which says most: signatures of the same replicas together. */
export function joinProofs(proofs: readonly StateProof[]): StateProof | undefined {
  let best: StateProof | undefined;
  for (const { replicas, votes } of byReplicas(proofs)) {
    const distinct = new Map(
      votes.filter(({ peer }) => replicas.includes(peer)).map((vote) => [vote.peer, vote]),
    );
    const joined = { replicas, votes: [...distinct.values()].slice(0, PROOF_REPLICAS_MAX) };
    if (best === undefined || joined.votes.length > best.votes.length) best = joined;
  }
  return best;
}

/**
 * What several proofs prove together: signatures are believed, not those who brought them.
 *
 * @returns a proof that holds only signatures that were checked, just as many as are needed.
 * @throws {UnprovedState} if no set of replicas has signed by more than half.
 */
export async function proveState(
  claim: StateClaim,
  proofs: readonly StateProof[],
  verify: Verify,
): Promise<StateProof> {
  let best = { votes: 0, replicas: 0 };
  for (const { replicas, votes } of byReplicas(proofs)) {
    const bytes = signedBytes(claim, replicas);
    const needed = quorumOf(replicas.length);
    // Somebody may have brought a signature that doesn't hold, and another the one that does.
    const signed = new Map<string, StateVote>();
    for (const vote of votes) {
      if (signed.size >= needed) break;
      if (signed.has(vote.peer) || !replicas.includes(vote.peer)) continue;
      if (await verify(vote.peer, bytes, fromHex(vote.signature))) signed.set(vote.peer, vote);
    }
    if (signed.size >= needed) {
      return { replicas, votes: [...signed.values()].sort((a, b) => a.peer < b.peer ? -1 : 1) };
    }
    if (signed.size > best.votes || best.replicas === 0) {
      best = { votes: signed.size, replicas: replicas.length };
    }
  }
  const { run: _, stage, step, stateHash } = claim;
  throw new UnprovedState(
    `Cannot believe state ${stateHash.slice(0, 12)} of stage ${stage} at step ${step}: ` +
      (best.replicas === 0
        ? "nobody has signed it"
        : `${best.votes} of its ${best.replicas} replicas have signed it, needed are ${
          quorumOf(best.replicas)
        }`),
  );
}

/** Proofs of the same replicas, put together. Those that are no sorted set of names can't have been signed. */
function byReplicas(proofs: readonly StateProof[]): readonly StateProof[] {
  const sets = new Map<string, { readonly replicas: readonly string[]; readonly votes: StateVote[] }>();
  for (const { replicas, votes } of proofs) {
    if (replicas.length === 0 || replicas.length > PROOF_REPLICAS_MAX) continue;
    if (replicas.some((peer, index) => index > 0 && !(replicas[index - 1] < peer))) continue;
    const key = JSON.stringify(replicas);
    const set = sets.get(key) ?? { replicas, votes: [] };
    set.votes.push(...votes);
    sets.set(key, set);
  }
  return [...sets.values()];
}

/** A proof as text, to be kept beside the state. */
export function proofText(proof: StateProof): string {
  return JSON.stringify(proof);
}

/** A proof from its text; `undefined` if it is none. That of a stranger still has to be checked, see {@link proveState}. */
export function readProof(text: string): StateProof | undefined {
  if (text.length > PROOF_TEXT_LENGTH_MAX) return undefined;
  try {
    return stateProofSchema.safeParse(JSON.parse(text)).data;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function fromHex(text: string): Uint8Array {
  return Uint8Array.from(
    { length: text.length / 2 },
    (_, at) => parseInt(text.slice(2 * at, 2 * at + 2), 16),
  );
}
