/**
 * The whole protocol in one file: one closed union. Messages between peers are
 * described by schemas, which is all that a stranger's frame can become;
 * messages within a peer are plain types and never cross a wire.
 *
 * Read it from the top: the walk of a micro-batch, membership, state, the step,
 * averaging, then what the roles of one peer tell each other.
 */

import { z } from "zod";
import type { PeerId } from "./core/actor.ts";
import type { Announcement } from "../routing/mod.ts";
import { type Sampling, TOP_LOG_PROBABILITIES_MAX } from "../run/mod.ts";
import { samplingSchema } from "../run/sampling.ts";
import { signatureSchema as signature, stateProofSchema } from "../routing/state_proof.ts";
import { BadFrame, type Frame, type WireTensor } from "./wire/wire.ts";
import {
  CORPORA_MAX,
  ELECTORATES_MAX,
  ELECTORS_MAX,
  MICRO_BATCHES_MAX,
  REASON_CHARACTERS_MAX,
  REPLICAS_MAX,
  SECONDS_PER_MICRO_BATCH_MAX,
  SESSION_PARTS_MAX,
  SHEET_CHARACTERS_MAX,
  SNAPSHOTS_OFFERED_MAX,
  STAGES_MAX,
  STATE_PIECES_MAX,
} from "./limits.ts";

/** A tensor in host memory, row-major. */
export interface Tensor {
  /** Element type. */
  readonly dataType: "f32" | "i32";
  /** Sizes, the slowest dimension first. */
  readonly shape: readonly number[];
  /** product(shape) elements. */
  readonly data: Float32Array | Int32Array;
}

const peer = z.string().min(1).max(128);
const hash = z.string().regex(/^[0-9a-f]{64}$/);
const count = z.int().min(0).max(Number.MAX_SAFE_INTEGER);
const stage = z.int().min(0).max(STAGES_MAX - 1);
const microBatch = z.int().min(0).max(MICRO_BATCHES_MAX - 1);
const reason = z.string().max(REASON_CHARACTERS_MAX);
const finite = z.number();
const sheetText = z.string().max(SHEET_CHARACTERS_MAX);

/**
 * Names one walk of one micro-batch. `term` tells the walks of one coordinator
 * from those of the next; `round` walks before a Prepare from those after it;
 * `attempt` one replay from the next.
 */
const walk = z.strictObject({
  purpose: z.enum(["train", "evaluate"]),
  term: count,
  step: count,
  round: count,
  microBatch,
  attempt: count,
});

/** Names one walk of one micro-batch, see the schema. */
export type Walk = z.infer<typeof walk>;

/** Hosts whose word makes a step count, as a host remembers them; see `electorate.ts`. */
export interface Electorate {
  /** Term of the coordinator that named it. */
  readonly term: number;
  /** Rises within a term, and from one term to the next that took over. */
  readonly number: number;
  /** Its hosts; the first decides when they are evenly divided. */
  readonly electors: readonly PeerId[];
  /** The one that was in force when it was named; `null` for the first of a run. */
  readonly after: { readonly term: number; readonly number: number } | null;
  /** Known to be in force: those before it don't matter any more. */
  readonly settled: boolean;
}

/** What a stranger's word about an electorate has to look like. */
export const electorateSchema: z.ZodType<Electorate> = z.strictObject({
  term: count,
  number: count,
  electors: z.array(peer).min(1).max(ELECTORS_MAX).readonly(),
  after: z.strictObject({ term: count, number: count }).nullable(),
  settled: z.boolean(),
});

/**
 * What a gradient sum holds, by the data that the micro-batches were drawn from
 * (`Dataset.corpus`). The same number from other data is another micro-batch.
 */
const held = z.array(z.strictObject({
  corpus: hash,
  microBatches: z.array(microBatch).min(1).max(MICRO_BATCHES_MAX).readonly(),
})).max(CORPORA_MAX).readonly();

/** What a gradient sum holds, see the schema. */
export type Held = z.infer<typeof held>;

/** Names one all-reduce: a term's rounds are its own. */
const total = z.strictObject({ term: count, round: count });

/** What a state is wanted for: to hold its stage, or to be used outside of the run. */
const purpose = z.enum(["join", "export"]);

/** What a state is wanted for, see the schema. */
export type StatePurpose = z.infer<typeof purpose>;

/** The actor that wants a state for this. */
export function askerOf(purpose: StatePurpose): string {
  return purpose === "join" ? "host" : "exporter";
}

/** Names one session, for all hosts of its path: drawn by its home, never used again. */
const session = z.string().regex(/^[0-9a-f]{32}$/);

/** Milliseconds that each stage so far has had a session's tokens, waiting included. */
const spentMs = z.array(finite.min(0)).max(STAGES_MAX).readonly();

/** What a host has to know of a session. */
const opening = z.strictObject({
  /** Who continues the text, and hears of every token. */
  home: peer,
  /** One host for each stage, the receiver among them. */
  path: z.array(peer).min(1).max(STAGES_MAX).readonly(),
  sampling: samplingSchema,
  /** Of the text, what has been added before a repair not included. */
  promptTokens: count,
  /** The text will not be longer. */
  tokensMax: count,
});

/** What a host has to know of a session, see the schema. */
export type Opening = z.infer<typeof opening>;

/** One session's share of an `extend`. */
const part = z.strictObject({
  session,
  /** Tokens that stand before these. */
  position: count,
  /** New tokens, rows of the frame's tensors. */
  count: z.int().min(1).max(Number.MAX_SAFE_INTEGER),
  /** Whether the token after them is wanted. */
  draws: z.boolean(),
  spentMs,
  /** With the first tokens of a session. */
  opening: opening.nullable(),
});

/** One session's share of an `extend`, see the schema. */
export type SessionPart = z.infer<typeof part>;

const logProbability = finite.max(0);

/** A token that was drawn. */
const drawnToken = z.strictObject({
  session,
  /** Its place in the text, from 0. */
  position: count,
  token: count,
  logProbability,
  top: z.array(z.strictObject({ token: count, logProbability })).max(TOP_LOG_PROBABILITIES_MAX).readonly(),
  spentMs,
});

/** What leads from one state to the next, and what was found on the way. */
const update = z.strictObject({
  /** The gradient sum that everybody agrees on. */
  total,
  scale: finite.min(0),
  learningRate: finite.min(0),
  /** Of the whole model's gradient sum. */
  squareSum: finite.min(0),
  /** Over the whole step. */
  lossSum: finite,
  tokens: count,
});

/** What leads from one state to the next, see the schema. */
export type Update = z.infer<typeof update>;

/** Text under which a walk is held. */
export function walkKey(walk: Walk): string {
  return `${walk.purpose}/${walk.term}/${walk.step}/${walk.microBatch}/${walk.attempt}/${walk.round}`;
}

const schemas = [
  // --- the walk of a micro-batch ---------------------------------------------------------------
  /** Please compute this stage. Tensors: `input`, and `targets` on their way to the last stage. */
  z.strictObject({
    kind: z.literal("forward"),
    walk,
    stage,
    /** Stages that still have to accumulate this micro-batch; the others take part without counting. */
    mask: z.array(stage).max(STAGES_MAX).readonly(),
    /** Names the data that it was drawn from; `null` if nobody is to count it. */
    corpus: hash.nullable(),
    /** Who issued the walk and hears how it ends. */
    trainer: peer,
    /** Who keeps the table. */
    coordinator: peer,
  }),
  /** The host has taken the walk in. */
  z.strictObject({ kind: z.literal("admitted"), walk, stage }),
  /** It has not; not a failure. Ask again after so long. */
  z.strictObject({
    kind: z.literal("refused"),
    walk,
    stage,
    retryAfterMs: finite.min(0).max(60_000),
    reason,
  }),
  /** Forward is done; the sender may let its activation go. */
  z.strictObject({ kind: z.literal("processed"), walk, stage }),
  /** The way back. Tensor: `gradient` of the loss sum by the receiver's output. */
  z.strictObject({ kind: z.literal("backward"), walk, stage }),
  /** To the hop after: nobody waits for this walk any more, let go of it. */
  z.strictObject({ kind: z.literal("givenUp"), walk, stage }),
  /** To the hop before: this walk ends here, let go of it. */
  z.strictObject({ kind: z.literal("abandoned"), walk, stage, reason }),
  /** To the coordinator: this host's gradient sum holds this micro-batch. The last stage tells the loss. */
  z.strictObject({
    kind: z.literal("accumulated"),
    walk,
    stage,
    corpus: hash,
    lossSum: finite.optional(),
    tokens: count.optional(),
  }),
  /** To the trainer: the walk came back to its start. */
  z.strictObject({ kind: z.literal("finished"), walk }),
  /** To the trainer: the walk is broken. */
  z.strictObject({ kind: z.literal("failed"), walk, stage, reason }),
  /** To the trainer: loss of an evaluation. */
  z.strictObject({ kind: z.literal("evaluated"), walk, lossSum: finite, tokens: count }),

  // --- sessions ---------------------------------------------------------------------------------
  /**
   * From home to stage 0, and from host to host: continue these texts. Tensors: `tokens` `[N]`, the parts' one
   * after the other, and beyond stage 0 `hidden` `[N, C]`.
   */
  z.strictObject({
    kind: z.literal("extend"),
    stage,
    parts: z.array(part).min(1).max(SESSION_PARTS_MAX).readonly(),
  }),
  /** From the last stage to home: these tokens follow. */
  z.strictObject({
    kind: z.literal("drawn"),
    tokens: z.array(drawnToken).min(1).max(SESSION_PARTS_MAX).readonly(),
  }),
  /**
   * To home: this host can't go on with this session, and keeps nothing of it. Another may, now or after so long.
   * `stage` is the one to blame: the sender's own, or the next one if that can't be reached.
   */
  z.strictObject({
    kind: z.literal("sessionLost"),
    session,
    /** Whose host is at fault: the sender's own, or the next one that it can't reach. */
    stage,
    reason,
    retryAfterMs: finite.min(0).max(60_000).nullable(),
  }),
  /**
   * From home, and along the path: these are over. It may overtake an `extend`. From a host to the one before:
   * it does not know them, or can't tell their home anything.
   */
  z.strictObject({
    kind: z.literal("endSessions"),
    sessions: z.array(session).min(1).max(SESSION_PARTS_MAX).readonly(),
  }),
  /** From home: how far away are you? */
  z.strictObject({ kind: z.literal("probe"), nonce: count }),
  /** The answer, at once: and how long does a token take, and for how many is there room? */
  z.strictObject({
    kind: z.literal("probed"),
    nonce: count,
    stage: stage.nullable(),
    step: count,
    /** For one token of one session, waiting included; `null` before any was measured. */
    secondsPerToken: finite.min(0).nullable(),
    roomTokens: count,
  }),

  // --- membership -------------------------------------------------------------------------------
  /** Host to coordinator, every so often: who I am and what I hold. */
  z.strictObject({
    kind: z.literal("hello"),
    /** Stage served; `null` asks for the neediest. */
    stage: stage.nullable(),
    /** With `null`: what it has held while nobody led it, and keeps if no other is needier. */
    prefers: stage.optional(),
    step: count,
    stateHash: hash.nullable(),
    /** Older states on this host's disk. */
    snapshots: z.array(z.strictObject({ step: count, stateHash: hash })).max(SNAPSHOTS_OFFERED_MAX)
      .readonly(),
    /** Changes when the host starts anew: what it had accumulated is gone. */
    incarnation: count,
    /** Seconds that it computes for one micro-batch, waiting not counted; `null` before it has measured any. */
    secondsPerMicroBatch: finite.min(0).max(SECONDS_PER_MICRO_BATCH_MAX).nullable(),
    /** Whether it may be sent to another stage: its owner has not asked for this one. */
    movable: z.boolean(),
    /** Whether it wants to go as soon as it is not needed any more. */
    leaving: z.boolean(),
    /** Times that a transfer came too late; from the second on the coordinator waits for this host. */
    missed: count,
    /** The promise in force: its term, 0 before the first, and to whom. */
    term: count,
    leader: peer.nullable(),
    /** The latest electorate that it remembers, */
    latest: z.strictObject({ term: count, number: count, settled: z.boolean() }).nullable(),
    /** and all of them, unless it serves and follows. */
    electorates: z.array(electorateSchema).max(ELECTORATES_MAX).readonly(),
    /** What a coordinator needs to rebuild its table; `null` while the host serves. */
    report: z.strictObject({
      /** In the gradient sum. The last stage tells their losses. */
      held,
      losses: z.array(z.strictObject({ microBatch, sum: finite, tokens: count })).max(MICRO_BATCHES_MAX)
        .readonly(),
      /** The all-reduce whose total this host holds, not yet applied. */
      total: total.nullable(),
      /** What led to `step`, for those who hold the same total and have not applied it. */
      applied: update.nullable(),
      /** What is known of who signed `stateHash`. */
      proof: stateProofSchema.nullable(),
    }).nullable(),
  }),
  /** Coordinator to host: follow me under this term; repeated as an answer to each hello. */
  z.strictObject({
    kind: z.literal("lead"),
    term: count,
    /** The electorate in force, and the one that is to follow it, for those who don't remember them. */
    electorates: z.array(electorateSchema).max(2).readonly(),
  }),
  /** Host to coordinator: I have promised myself elsewhere; `leader` is whom I follow and hear of. */
  z.strictObject({ kind: z.literal("outranked"), term: count, leader: peer.nullable() }),
  /** Coordinator to host: follow me no longer. */
  z.strictObject({ kind: z.literal("released"), term: count }),
  /** Trainer to trainer, every so often: do you lead? I would feed, from the data of this name. */
  z.strictObject({ kind: z.literal("follow"), corpus: hash }),
  /** The answer of a trainer that does. */
  z.strictObject({ kind: z.literal("leading"), term: count, step: count, done: z.boolean() }),
  /** Coordinator to a host that wants to leave: how many others hold its stage, and whether it may go now. */
  z.strictObject({ kind: z.literal("relieved"), term: count, replicas: count, now: z.boolean() }),
  /** Coordinator to host: hold this stage, in the place of any other. */
  z.strictObject({ kind: z.literal("placed"), term: count, stage }),
  /** Coordinator to host: get this state, from your disk or these donors. */
  z.strictObject({
    kind: z.literal("restore"),
    term: count,
    stage,
    step: count,
    stateHash: hash,
    donors: z.array(peer).max(REPLICAS_MAX).readonly(),
    /** Who signed it; `null` if nobody is known to, as of the state before the first step. */
    proof: stateProofSchema.nullable(),
  }),
  /** Coordinator to host: you serve from this step and round on. */
  z.strictObject({
    kind: z.literal("accepted"),
    term: count,
    step: count,
    round: count,
    /** What it reported is in the table; otherwise it has nothing accumulated. */
    keep: z.boolean(),
  }),

  // --- state ------------------------------------------------------------------------------------
  /** Host, or exporter, to host: have you this state? */
  z.strictObject({ kind: z.literal("stateRequest"), purpose, stateHash: hash }),
  z.strictObject({
    kind: z.literal("stateOffer"),
    purpose,
    stateHash: hash,
    step: count,
    pieces: z.array(hash).max(STATE_PIECES_MAX).readonly(),
    pieceBytes: count,
    bytes: count,
  }),
  z.strictObject({ kind: z.literal("stateGone"), purpose, stateHash: hash, reason }),
  z.strictObject({ kind: z.literal("pieceRequest"), purpose, stateHash: hash, piece: count }),
  /** Tensor: `bytes`. */
  z.strictObject({ kind: z.literal("piece"), purpose, stateHash: hash, piece: count }),
  /** Exporter to host: which states could be had of you, to be used outside of the run? */
  z.strictObject({ kind: z.literal("exportRequest") }),
  z.strictObject({
    kind: z.literal("exportable"),
    stage,
    states: z.array(z.strictObject({
      step: count,
      stateHash: hash,
      /** What is known of who signed it; `null` for the state before the first step. */
      proof: stateProofSchema.nullable(),
    })).max(SNAPSHOTS_OFFERED_MAX + 1).readonly(),
  }),
  z.strictObject({ kind: z.literal("exportRefused"), reason }),

  // --- the step ---------------------------------------------------------------------------------
  /** Coordinator: the table is full; seal this round and say what you hold. */
  z.strictObject({ kind: z.literal("prepare"), term: count, step: count, round: count }),
  z.strictObject({
    kind: z.literal("prepared"),
    term: count,
    step: count,
    round: count,
    stateHash: hash,
    held,
  }),
  /** Coordinator: your sum disagrees with the table; forget it. */
  z.strictObject({ kind: z.literal("fence"), term: count, step: count, round: count }),
  z.strictObject({ kind: z.literal("fenced"), term: count, step: count, round: count }),
  /** Coordinator: this step goes on without you. Forget what you have counted, and serve nobody. */
  z.strictObject({ kind: z.literal("leftOut"), term: count, step: count, reason }),
  /** Coordinator: add up the sums of these replicas. */
  z.strictObject({
    kind: z.literal("reduce"),
    term: count,
    step: count,
    round: count,
    replicas: z.array(peer).min(1).max(REPLICAS_MAX).readonly(),
  }),
  z.strictObject({
    kind: z.literal("reduced"),
    term: count,
    step: count,
    round: count,
    hash,
    /** Square sum of the stage's gradient sum. */
    squareSum: finite.min(0),
  }),
  z.strictObject({
    kind: z.literal("reduceFailed"),
    term: count,
    step: count,
    round: count,
    reason,
    /** The replica that sent what can't be used. */
    culprit: peer.nullable(),
  }),
  /** Coordinator: everybody agrees; take the step. */
  z.strictObject({ kind: z.literal("apply"), term: count, step: count, update }),
  z.strictObject({
    kind: z.literal("applied"),
    term: count,
    step: count,
    stateHash: hash,
    /** Of the new state, by this host, see `routing/state_proof.ts`. */
    signature,
    /** Whether it wants to know who else has signed: it writes this state to its disk. */
    certify: z.boolean(),
  }),
  /** Coordinator to a host that wanted to know: these have signed your state. */
  z.strictObject({
    kind: z.literal("certified"),
    term: count,
    step: count,
    stateHash: hash,
    proof: stateProofSchema,
  }),

  /** Coordinator to a trainer: walk this micro-batch, drawn from this data. */
  z.strictObject({
    kind: z.literal("assign"),
    walk,
    mask: z.array(stage).max(STAGES_MAX).readonly(),
    corpus: hash,
  }),
  /** Trainer to coordinator: this walk is over, one way or the other. */
  z.strictObject({ kind: z.literal("walkOver"), walk, reason: reason.nullable() }),
  /** Coordinator to the trainers that follow it: this step was taken. */
  z.strictObject({
    kind: z.literal("stepped"),
    term: count,
    step: count,
    loss: finite,
    learningRate: finite,
    gradientNorm: finite,
    tokens: count,
    seconds: finite,
    replays: count,
    hosts: z.array(count).max(STAGES_MAX).readonly(),
  }),

  // --- accounts, in runs that have a ledger: what a `text` says is for settlers to judge ----------
  /** Host to a neighbour: does this sheet say what has passed between us? */
  z.strictObject({ kind: z.literal("vouch"), part: count, sheet: sheetText }),
  /** The neighbour's signed answer. */
  z.strictObject({
    kind: z.literal("vouched"),
    step: count,
    part: count,
    /** `null` if nothing of it was seen here. */
    acknowledgement: sheetText.nullable(),
  }),
  /** Host to the trainer that coordinates: what I worked in a step that was taken, and who acknowledges it. */
  z.strictObject({ kind: z.literal("workSheet"), part: count, sheet: sheetText }),
  /** It is noted; what was worked before `settledStep` has been counted, once and for ever. */
  z.strictObject({ kind: z.literal("sheetNoted"), step: count, part: count, settledStep: count }),
  /** Trainer to hosts: an epoch was proposed, or is final, and its document goes by this hash. */
  z.strictObject({ kind: z.literal("epochNews"), epoch: count, hash, isFinal: z.boolean() }),
  z.strictObject({ kind: z.literal("epochRequest"), hash }),
  /** Tensor: `bytes`, UTF-8. */
  z.strictObject({ kind: z.literal("epochDocument"), hash }),

  /** Home to a host of its path: pay yourself from this. Tensor: `bytes`, so that it comes before what it pays for. */
  z.strictObject({ kind: z.literal("voucher") }),
  /** Its host has it: the home may go. */
  z.strictObject({ kind: z.literal("voucherTaken") }),

  // --- averaging --------------------------------------------------------------------------------
  /** To the owner of a slice: a run of my sum. Tensor: `values`. `offset` counts within the slice. */
  z.strictObject({ kind: z.literal("part"), term: count, step: count, round: count, offset: count }),
  /** From the owner of a slice: a run of the total. Tensor: `values`. */
  z.strictObject({ kind: z.literal("total"), term: count, step: count, round: count, offset: count }),
] as const;

const schema = z.discriminatedUnion("kind", schemas);
type Header = z.infer<typeof schema>;

/** Tensors that a message carries, by kind. A `?` marks one that may be absent. */
const TENSORS = {
  forward: { input: "required", targets: "optional" },
  backward: { gradient: "required" },
  extend: { tokens: "required", hidden: "optional" },
  part: { values: "required" },
  total: { values: "required" },
  piece: { bytes: "required" },
  epochDocument: { bytes: "required" },
  voucher: { bytes: "required" },
} as const satisfies Partial<Record<Header["kind"], Readonly<Record<string, "required" | "optional">>>>;

type Carried = {
  forward: { readonly input: Tensor; readonly targets?: Tensor };
  backward: { readonly gradient: Tensor };
  extend: { readonly tokens: Tensor; readonly hidden?: Tensor };
  part: { readonly values: Tensor };
  total: { readonly values: Tensor };
  piece: { readonly bytes: Uint8Array };
  epochDocument: { readonly bytes: Uint8Array };
  voucher: { readonly bytes: Uint8Array };
};

type WithTensors<H> = H extends { kind: infer K } ? K extends keyof Carried ? H & Carried[K] : H : never;

/** A message that crosses a wire. */
export type RemoteMessage = WithTensors<Header>;

/** Any message of one kind. */
export type MessageOf<K extends Message["kind"]> = Extract<Message, { kind: K }>;

/** How performed work ended. */
export type Outcome = { readonly ok: true; readonly value: unknown } | {
  readonly ok: false;
  readonly error: unknown;
};

/** What the roles of one peer tell each other, and what the world tells them. */
export type LocalMessage =
  /** The wire: a peer is gone, or can't be reached. */
  | { readonly kind: "peerLost"; readonly peer: PeerId; readonly reason: string }
  /** A role to the scout: keep me informed about who offers this service. */
  | { readonly kind: "watch"; readonly service: string; readonly subscriber: string }
  /** A role to the scout: not any more. */
  | { readonly kind: "unwatch"; readonly service: string; readonly subscriber: string }
  /** A role to the scout: announce this until told otherwise. */
  | {
    readonly kind: "announce";
    readonly service: string;
    readonly step: number;
    readonly stateHash: string | null;
    /** Seconds of work that wait. */
    readonly load: number;
    readonly trains: boolean;
    readonly sessionRoom: number;
  }
  /** The owner to the host: leave in good order. */
  | { readonly kind: "leave" }
  /** A role to the scout: stop announcing. */
  | { readonly kind: "withdraw" }
  /** The scout: who offers this service now. */
  | { readonly kind: "found"; readonly service: string; readonly announcements: readonly Announcement[] }
  /** A timer of the role that set it. */
  | { readonly kind: "timer"; readonly name: string; readonly key: string }
  /** Work that an actor had performed ended; the actor knows what the job was. */
  | { readonly kind: "performed"; readonly job: number; readonly outcome: Outcome }
  /** Coordinator to its own trainer: whose walks are to be fed from now on; what came before is over. */
  | { readonly kind: "led"; readonly leader: PeerId; readonly term: number }
  /** Coordinator to its own trainer: this step is applied; say `proceed` when the next may start. */
  | { readonly kind: "stepApplied"; readonly term: number; readonly step: number }
  | { readonly kind: "proceed"; readonly step: number }
  /** To the reader: continue this text, see `GenerationRequest`. */
  | {
    readonly kind: "generate";
    readonly request: number;
    readonly prompt: Int32Array;
    readonly tokensMax: number;
    readonly sampling: Sampling;
    readonly stopTokens: readonly number[];
  }
  /** To the reader: nobody wants that text any more. */
  | { readonly kind: "leaveText"; readonly request: number }
  /** Host or trainer to settler: what passed in a walk that came back; `stage` is -1 for the trainer. */
  | {
    readonly kind: "worked";
    readonly walk: Walk;
    readonly stage: number;
    readonly previous: PeerId;
    readonly next: PeerId | null;
    /** SHA-256, hex, of what came in and what went out; `null` where nobody has to check it. */
    readonly inRoot: string | null;
    readonly outRoot: string | null;
    /** Whether this host accumulated it. */
    readonly counted: boolean;
  }
  /** Host to settler: this step was taken with these micro-batches of ours; `leader` coordinated it. */
  | {
    readonly kind: "stepTaken";
    readonly step: number;
    readonly microBatches: readonly number[];
    readonly leader: PeerId | null;
  }
  /** To a trainer's settler: this step was taken, and each host accumulated so many micro-batches. */
  | { readonly kind: "stepServed"; readonly step: number; readonly served: Readonly<Record<PeerId, number>> }
  /** Coordinator to settler: this trainer feeds, too. */
  | { readonly kind: "feeder"; readonly peer: PeerId }
  /** The owner to a trainer's settler, or to a reader: nothing will come; say when all is proposed, or paid. */
  | { readonly kind: "settle" }
  /** Host to averager: add this vector up with the replicas', then tell me. */
  | {
    readonly kind: "average";
    readonly term: number;
    readonly step: number;
    readonly round: number;
    readonly replicas: readonly PeerId[];
    readonly vector: Float32Array;
  }
  | {
    readonly kind: "averaged";
    readonly term: number;
    readonly step: number;
    readonly round: number;
    readonly vector: Float32Array;
    readonly hash: string;
    readonly squareSum: number;
  }
  | {
    readonly kind: "averageFailed";
    readonly term: number;
    readonly step: number;
    readonly round: number;
    readonly reason: string;
    readonly culprit: PeerId | null;
  };

/** Everything that an actor can be told. */
export type Message = RemoteMessage | LocalMessage;

/** Which actor of a peer a message from another peer is for. */
const RECIPIENT = {
  forward: "host",
  backward: "host",
  givenUp: "host",
  extend: "host",
  endSessions: "host",
  probe: "host",
  drawn: "reader",
  sessionLost: "reader",
  probed: "reader",
  placed: "host",
  relieved: "host",
  restore: "host",
  accepted: "host",
  stateRequest: "host",
  stateOffer: "asker",
  stateGone: "asker",
  pieceRequest: "host",
  piece: "asker",
  exportRequest: "host",
  exportable: "exporter",
  exportRefused: "exporter",
  prepare: "host",
  fence: "host",
  leftOut: "host",
  reduce: "host",
  apply: "host",
  certified: "host",
  lead: "host",
  released: "host",
  outranked: "coordinator",
  follow: "coordinator",
  leading: "coordinator",
  stepped: "coordinator",
  walkOver: "coordinator",
  assign: "trainer",
  accumulated: "coordinator",
  hello: "coordinator",
  prepared: "coordinator",
  fenced: "coordinator",
  reduced: "coordinator",
  reduceFailed: "coordinator",
  applied: "coordinator",
  voucher: "host",
  voucherTaken: "reader",
  vouch: "settler",
  vouched: "settler",
  workSheet: "settler",
  sheetNoted: "settler",
  epochNews: "settler",
  epochRequest: "settler",
  epochDocument: "settler",
  part: "averager",
  total: "averager",
  admitted: "previous hop",
  refused: "previous hop",
  processed: "previous hop",
  abandoned: "previous hop",
  finished: "trainer",
  failed: "trainer",
  evaluated: "trainer",
} as const satisfies Record<RemoteMessage["kind"], string>;

/** The actor that a message from another peer is for. */
export function recipientOf(message: RemoteMessage): string {
  const role = RECIPIENT[message.kind];
  if (role === "asker") return askerOf((message as { purpose: StatePurpose }).purpose);
  if (role !== "previous hop") return role;
  return (message as { stage: number }).stage > 0 ? "host" : "trainer";
}

/** A message as a frame of this run. Tensors are not copied. */
export function toFrame(run: string, message: RemoteMessage): Frame {
  const carried: Readonly<Record<string, unknown>> | undefined =
    TENSORS[message.kind as keyof typeof TENSORS];
  if (carried === undefined) return { header: { run, ...message }, tensors: [] };
  const header: Record<string, unknown> = { run, ...message };
  const tensors: WireTensor[] = [];
  const names: string[] = [];
  for (const name of Object.keys(carried)) {
    const value = header[name] as Tensor | Uint8Array | undefined;
    delete header[name];
    if (value === undefined) continue;
    names.push(name);
    tensors.push(
      value instanceof Uint8Array ? { dataType: "u8", shape: [value.byteLength], bytes: value } : {
        dataType: value.dataType,
        shape: value.shape,
        bytes: new Uint8Array(value.data.buffer, value.data.byteOffset, value.data.byteLength),
      },
    );
  }
  header.tensors = names;
  return { header, tensors };
}

/**
 * A frame as a message of this run.
 *
 * @throws {BadFrame} if it is of another run, of no known kind, or not what its kind demands.
 */
export function fromFrame(run: string, frame: Frame): RemoteMessage {
  if (typeof frame.header !== "object" || frame.header === null || Array.isArray(frame.header)) {
    throw new BadFrame(`Cannot read message: header is ${describe(frame.header)}, expected an object`);
  }
  const { run: theirs, tensors: names = [], ...rest } = frame.header as Record<string, unknown>;
  if (theirs !== run) {
    throw new BadFrame(`Cannot read message: it is of run ${describe(theirs)}, this peer serves ${run}`);
  }
  const parsed = schema.safeParse(rest);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new BadFrame(
      `Cannot read message of kind ${describe(rest.kind)}: ${
        issue?.path.join(".") || "message"
      }: ${issue?.message}`,
    );
  }
  const carried: Readonly<Record<string, "required" | "optional">> =
    TENSORS[parsed.data.kind as keyof typeof TENSORS] ??
      {};
  if (
    !Array.isArray(names) || names.length !== frame.tensors.length || new Set(names).size !== names.length
  ) {
    throw new BadFrame(
      `Cannot read message of kind ${parsed.data.kind}: ${frame.tensors.length} tensors, named ${
        describe(names)
      }`,
    );
  }
  const message: Record<string, unknown> = { ...parsed.data };
  names.forEach((name: unknown, index: number) => {
    if (typeof name !== "string" || !Object.hasOwn(carried, name)) {
      throw new BadFrame(
        `Cannot read message of kind ${parsed.data.kind}: no tensor is named ${describe(name)}`,
      );
    }
    message[name] = name === "bytes" ? frame.tensors[index].bytes : toTensor(frame.tensors[index]);
  });
  for (const [name, need] of Object.entries(carried)) {
    if (need === "required" && message[name] === undefined) {
      throw new BadFrame(`Cannot read message of kind ${parsed.data.kind}: tensor ${name} is missing`);
    }
  }
  return message as RemoteMessage;
}

function toTensor({ dataType, shape, bytes }: WireTensor): Tensor {
  const { buffer, byteOffset, byteLength } = bytes;
  if (dataType === "f32") {
    return { dataType, shape, data: new Float32Array(buffer, byteOffset, byteLength / 4) };
  }
  if (dataType === "i32") {
    return { dataType, shape, data: new Int32Array(buffer, byteOffset, byteLength / 4) };
  }
  throw new BadFrame(`Cannot read tensor: type is ${dataType}, expected f32 or i32`);
}

/** A value for an error message, short. */
function describe(value: unknown): string {
  const text = typeof value === "string" ? value : JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}
