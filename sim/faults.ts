/**
 * What can go wrong in a simulated world, as plain data: each fault by itself,
 * at its time, so that a plan of them can be written down, replayed, and cut
 * down one by one. Times are virtual, in milliseconds from the start. It does
 * nothing; `world.ts` and `weather.ts` do.
 */

import { z } from "zod";

const time = z.number().min(0).max(1e10);
const peer = z.string().min(1).max(128);
const share = z.number().min(0).max(1);

/** Lies that cost time: those who are told them find out, or wait in vain. */
export const LIES = ["pieces", "reports", "garbage", "silence"] as const;
/** Lies about a sum: hashes that are not those of what was computed, and numbers that are none. */
export const POISONS = ["hashes", "notFinite"] as const;
/** Ways in which a host lies to others while it computes as it should. */
export type Lie = (typeof LIES)[number] | (typeof POISONS)[number];

/** One fault. */
export const faultSchema = z.discriminatedUnion("kind", [
  /** Power cut: it is back after so long, with its disk or without. */
  z.strictObject({ kind: z.literal("crash"), atMs: time, peer, disk: z.boolean(), backMs: time }),
  /** It is told to leave, goes once it is not needed any more, and is back after so long. */
  z.strictObject({ kind: z.literal("leave"), atMs: time, peer, backMs: time }),
  /** A newcomer: for this stage, or for the neediest. */
  z.strictObject({ kind: z.literal("join"), atMs: time, peer, stage: z.int().min(0).nullable() }),
  /**
   * What these peers send to the others does not arrive; unless one way only, nor does what the
   * others send to them.
   */
  z.strictObject({
    kind: z.literal("partition"),
    atMs: time,
    forMs: time,
    peers: z.array(peer).min(1).max(16_384),
    oneWay: z.boolean(),
  }),
  /** What one peer sends to another waits until it is over. */
  z.strictObject({ kind: z.literal("clog"), atMs: time, forMs: time, from: peer, to: peer }),
  /** Packets are lost: a share of all frames is late by a retransmission, a share breaks its connection. */
  z.strictObject({ kind: z.literal("loss"), atMs: time, forMs: time, share, breakShare: share }),
  /** A share of all frames arrives twice. */
  z.strictObject({ kind: z.literal("duplication"), atMs: time, forMs: time, share }),
  /** Each frame is late by up to so much: streams overtake each other. */
  z.strictObject({ kind: z.literal("jitter"), atMs: time, forMs: time, jitterMs: time }),
  /** A host's work takes so many times as long. */
  z.strictObject({
    kind: z.literal("slow"),
    atMs: time,
    forMs: time,
    peer,
    factor: z.number().min(1).max(1e4),
  }),
  /** A peer's clock is wrong, from the start. */
  z.strictObject({
    kind: z.literal("skew"),
    peer,
    offsetMs: z.number().min(-1e7).max(1e7),
    driftPpm: z.number().min(-1e5).max(1e5),
  }),
  /** A host lies. Its stage is not watched: it promises nothing. */
  z.strictObject({
    kind: z.literal("lie"),
    atMs: time,
    forMs: time,
    peer,
    how: z.enum([...LIES, ...POISONS]),
  }),
]);

/** See {@link faultSchema}. */
export type Fault = z.infer<typeof faultSchema>;
/** One kind of fault. */
export type FaultOf<K extends Fault["kind"]> = Extract<Fault, { kind: K }>;

/** What a fault of a duration has in common. */
export interface Lasting {
  readonly atMs: number;
  readonly forMs: number;
}

/** Whether it lasts at this moment. */
export function lasts({ atMs, forMs }: Lasting, nowMs: number): boolean {
  return nowMs >= atMs && nowMs < atMs + forMs;
}
