/**
 * Continues texts at one stage, for the host that holds it: takes in what homes and
 * hosts before it send, computes the next tokens of many sessions in one run, hands
 * the results on, and frees what nobody continues. A session that can't go on here is
 * lost, and its home told: that repairs it. This file knows no model and takes no part
 * in training; when a run may begin is for the host to say.
 *
 *     extend → waits (decode | prefill) → run → extend to the next host, or drawn to the home
 */

import type { Context, PeerId } from "./core/actor.ts";
import type { Timer } from "./core/clock.ts";
import { FairQueue } from "./fair_queue.ts";
import {
  DECODE_BATCH_MAX,
  PREFILL_CHUNK_TOKENS,
  REASON_CHARACTERS_MAX,
  SESSION_BIASES_MAX,
  SESSION_ENDED_MS,
  SESSION_IDLE_MS,
  SESSION_LEASE_MS,
  SESSION_PARTS_MAX,
  SESSION_RETRY_MS,
  SESSIONS_MAX,
} from "./limits.ts";
import type { Message, MessageOf, Opening, SessionPart } from "./messages.ts";
import { reasonOf } from "./role.ts";
import {
  frameFault,
  openingFault,
  partFault,
  previousOf,
  type TextBounds,
  type Tokens,
  tokensFault,
  tokensOf,
} from "./session_checks.ts";
import { inFrames } from "./session_frames.ts";
import { samplingUniform } from "../run/mod.ts";
import type { Draw, SessionResult, SessionRun, Sessions, Stage } from "../stages/mod.ts";

/** What the timer of a serving is named. */
export const SERVING_TIMER = "serving";

/** What serving asks of its host. */
export interface ServingOwner {
  /** The texts of the run. */
  readonly bounds: TextBounds;
  /** Why no new session is taken in now; `undefined` if one is. */
  readonly refuses: () => string | undefined;
  /** Why so many tokens are not computed for a home; `undefined` if they are, and then they are owed. */
  readonly charge?: (home: PeerId, tokens: number) => string | undefined;
  /** Something waits to be computed: `run` is to be called as soon as nothing else is under way. */
  readonly wake: () => void;
  /** Has a run carried out; `done` or `failed` is called from within a later message. */
  readonly start: (
    tokens: number,
    run: () => Promise<SessionResult>,
    done: (result: SessionResult) => void,
    failed: (error: unknown) => void,
  ) => void;
}

/** New tokens of one session that were not computed yet. */
interface Piece extends Tokens {
  /** Of the first of `ids`. */
  readonly position: number;
  readonly draws: boolean;
  readonly opening: Opening | null;
  readonly spentMs: readonly number[];
  readonly sinceMs: number;
  /** How many of `ids` are computed. */
  done: number;
}

/** A text that is continued here. */
interface Session {
  readonly key: string;
  readonly opening: Opening;
  readonly previous: PeerId;
  /** `undefined` at the last stage. */
  readonly next: PeerId | undefined;
  /** Tokens that have come, computed or not. */
  length: number;
  /** What waits, the oldest first. */
  readonly pieces: Piece[];
  /** At the last stage, where penalties look at it: the text, with room. */
  text: Int32Array | undefined;
  /** When it last moved. */
  movedMs: number;
}

/** One session's share of a run. */
interface Row {
  readonly session: Session;
  readonly piece: Piece;
  readonly from: number;
  /** This run computes the piece's last token. */
  readonly isLast: boolean;
}

/** Of new samples of the time that a token takes. */
const WEIGHT = 0.1;

/** A stage's sessions, as one host serves them. */
export class Serving {
  readonly #context: Context<Message>;
  readonly #owner: ServingOwner;
  #stage: Stage | undefined;
  #held: Sessions | undefined;
  /** The longest known stands first. */
  readonly #sessions = new Map<string, Session>();
  /** Sessions that wait for one token, and for several. */
  readonly #decodes = new FairQueue<PeerId, Session>();
  readonly #prefills = new FairQueue<PeerId, Session>();
  #prefilledLast = false;
  /** Over, and when; the oldest first. What comes late of them means nothing. */
  readonly #ended = new Map<string, number>();
  /** Tokens of all sessions. */
  #tokens = 0;
  /** Biases of all sessions. */
  #biases = 0;
  #secondsPerToken: number | undefined;
  #timer: Timer | undefined;
  #dueMs = Infinity;

  constructor(context: Context<Message>, owner: ServingOwner) {
    this.#context = context;
    this.#owner = owner;
  }

  /** Whether something is to be computed. */
  get waits(): boolean {
    return this.#decodes.size + this.#prefills.size > 0;
  }

  /** Sessions that are kept. */
  get count(): number {
    return this.#sessions.size;
  }

  /** Tokens for which there is room. */
  get roomTokens(): number {
    if (this.#held === undefined || this.#owner.refuses() !== undefined) return 0;
    return this.#sessions.size < SESSIONS_MAX ? this.#held.roomTokens : 0;
  }

  /** What is kept at all: for tests that nothing is. */
  get kept(): { readonly sessions: number; readonly tokens: number; readonly ended: number } {
    return { sessions: this.#sessions.size, tokens: this.#tokens, ended: this.#ended.size };
  }

  /** Serves the sessions of this stage from now on. */
  open(stage: Stage): void {
    this.#stage = stage;
    this.#held = stage.sessions;
    this.#secondsPerToken = undefined;
  }

  /** Ends all sessions, and tells their homes. The stage may be used again. */
  loseAll(reason: string): void {
    this.#lose([...this.#sessions.values()], reason, { retryAfterMs: 0 });
  }

  /** The stage is left. */
  close(reason: string): void {
    this.loseAll(reason);
    this.#stage = this.#held = undefined;
  }

  // --- what comes in ------------------------------------------------------------------------------

  /** Takes in what it can of a frame, each session for itself. */
  extend(from: PeerId, message: MessageOf<"extend">): void {
    const { parts, stage } = message;
    const fault = stage === this.#stage?.index
      ? frameFault(message, this.#owner.bounds)
      : `this host does not serve stage ${stage}`;
    if (fault !== undefined) {
      for (const part of parts) this.#refuse(from, stage, part, fault);
      return;
    }
    const tokens = tokensOf(message, this.#owner.bounds);
    parts.forEach((part, index) => this.#take(from, stage, part, tokens[index]));
    if (this.waits) this.#owner.wake();
  }

  #take(from: PeerId, stage: number, part: SessionPart, tokens: Tokens): void {
    const known = this.#sessions.get(part.session);
    if (known === undefined && this.#ended.has(part.session)) return;
    const opening = known?.opening ?? part.opening;
    if (opening === null) {
      return this.#refuse(from, stage, part, "this host does not know it", SESSION_RETRY_MS);
    }
    const length = known?.length ?? 0;
    const { bounds } = this.#owner;
    const fault =
      (known === undefined
        ? openingFault(opening, { self: this.#context.peer, stage, bounds })
        : part.opening === null
        ? undefined
        : "it is open already") ??
        partFault(part, opening, { stage, length }) ?? tokensFault(tokens, bounds);
    if (fault !== undefined) return this.#refuse(from, stage, part, fault);
    if (from !== previousOf(opening, stage)) return this.#refuse(from, stage, part, "it comes another way");
    const full = this.#fullFor(part.count, known, opening);
    const unpaid = full ?? this.#owner.charge?.(opening.home, part.count);
    if (unpaid !== undefined) return this.#refuse(from, stage, part, unpaid, SESSION_RETRY_MS);
    const session = known ?? this.#open(part.session, opening, stage);
    this.#add(session, {
      ...tokens,
      position: part.position,
      draws: part.draws,
      opening: part.opening,
      spentMs: part.spentMs,
      sinceMs: this.#context.clock.nowMs(),
      done: 0,
    });
  }

  /** Why there is no room, though sessions that rest have made some. */
  #fullFor(tokens: number, known: Session | undefined, opening: Opening): string | undefined {
    if (known === undefined) {
      const refused = this.#owner.refuses() ??
        (this.#held === undefined ? "its stage keeps no texts" : undefined);
      if (refused !== undefined) return refused;
    }
    const { capacityTokens } = this.#held!;
    const biases = opening.sampling.logitBias.length;
    const isFull = () =>
      this.#tokens + tokens > capacityTokens ||
      (known === undefined &&
        (this.#sessions.size >= SESSIONS_MAX || this.#biases + biases > SESSION_BIASES_MAX));
    while (isFull()) {
      const idle = this.#longestIdle(known);
      if (idle === undefined) {
        return `this host keeps ${this.#sessions.size} of ${SESSIONS_MAX} sessions, ` +
          `${this.#tokens} of ${capacityTokens} tokens and ${this.#biases} of ${SESSION_BIASES_MAX} biases`;
      }
      this.#evict(idle);
    }
    return undefined;
  }

  #open(key: string, opening: Opening, stage: number): Session {
    const session: Session = {
      key,
      opening,
      previous: previousOf(opening, stage),
      next: opening.path[stage + 1],
      length: 0,
      pieces: [],
      text: stage + 1 === this.#stage!.count && looksAtText(opening) ? new Int32Array(0) : undefined,
      movedMs: this.#context.clock.nowMs(),
    };
    this.#sessions.set(key, session);
    this.#biases += opening.sampling.logitBias.length;
    this.#setTimer(session.movedMs + SESSION_LEASE_MS);
    return session;
  }

  #add(session: Session, piece: Piece): void {
    const { ids, position } = piece;
    if (session.text !== undefined) session.text = withTokens(session.text, position, ids);
    session.length += ids.length;
    this.#tokens += ids.length;
    session.movedMs = piece.sinceMs;
    session.pieces.push(piece);
    if (session.pieces.length === 1) this.#queueOf(session).push(session.opening.home, session);
  }

  /** Nothing of this part is served. A stranger's word ends nobody's session. */
  #refuse(
    from: PeerId,
    stage: number,
    part: SessionPart,
    reason: string,
    retryAfterMs: number | null = null,
  ): void {
    const { session: key, opening } = part;
    const known = this.#sessions.get(key);
    if (known?.previous === from) return this.#lose([known], reason, { retryAfterMs });
    const isExpected = known === undefined && !this.#ended.has(key) &&
      (opening === null || previousOf(opening, stage) === from);
    if (!isExpected) {
      this.#context.trace("session ignored", { from, session: key, reason });
      return;
    }
    this.#remember(key);
    // Who forgot a session does not know whose it was: the host before does.
    if (opening === null && stage > 0) return this.#tellEnded(from, [key]);
    this.#tellLost(opening?.home ?? from, key, stage, reason, retryAfterMs);
  }

  /** From the home or the host before: it is over. From the host after: it is lost there. */
  end(from: PeerId, { sessions }: MessageOf<"endSessions">): void {
    const over: Session[] = [];
    const broken: Session[] = [];
    for (const key of sessions) {
      const session = this.#sessions.get(key);
      if (session === undefined) {
        // It may have overtaken the tokens that would have opened it.
        this.#remember(key);
      } else if (from === session.next) broken.push(session);
      else if (from === session.previous || from === session.opening.home) over.push(session);
      else this.#context.trace("session ignored", { from, session: key, reason: "it is not theirs to end" });
    }
    this.#free(over);
    if (broken.length > 0) this.#loseNext(broken, "the next host has lost it");
  }

  /** How far this host is, and how quick. */
  probe(from: PeerId, { nonce }: MessageOf<"probe">): void {
    const stage = this.#owner.refuses() === undefined ? this.#stage : undefined;
    this.#context.tell({ peer: from, actor: "reader" }, {
      kind: "probed",
      nonce,
      stage: stage?.index ?? null,
      step: stage?.step ?? 0,
      secondsPerToken: this.#secondsPerToken ?? null,
      roomTokens: this.roomTokens,
    });
  }

  /** A peer is gone. */
  lost(peer: PeerId): void {
    const sessions = [...this.#sessions.values()];
    this.#loseNext(sessions.filter(({ next }) => next === peer), `host ${peer} was lost`);
    this.#drop(sessions.filter(({ previous, opening }) => previous === peer || opening.home === peer), peer);
  }

  // --- runs ---------------------------------------------------------------------------------------

  /** Starts the next run; nothing else may be under way, and something has to wait. */
  run(): void {
    const decodes = this.#decodes.size > 0 && (this.#prefilledLast || this.#prefills.size === 0);
    this.#prefilledLast = !decodes;
    const sessions = decodes ? this.#decodes.take(DECODE_BATCH_MAX) : this.#prefills.take(1);
    this.#start(sessions.map((session) => {
      const [piece] = session.pieces;
      const left = piece.ids.length - piece.done;
      return { session, piece, from: piece.done, isLast: left <= PREFILL_CHUNK_TOKENS };
    }));
  }

  #start(rows: readonly Row[]): void {
    const held = this.#held!;
    const [{ piece, from }] = rows;
    const tokens = Math.min(piece.ids.length - from, PREFILL_CHUNK_TOKENS);
    const isLastStage = this.#stage!.index + 1 === this.#stage!.count;
    const sequences = rows.map(({ session, piece, from, isLast }) => {
      const position = piece.position + from;
      const draws = isLastStage && isLast && piece.draws;
      return { key: session.key, position, ...(draws ? { draw: drawOf(session, position + tokens) } : {}) };
    });
    const input = inputOf(rows, tokens, this.#owner.bounds.width);
    this.#owner.start(
      rows.length * tokens,
      () => held.extend({ sequences, input }),
      (result) => this.#ran(rows, tokens, result),
      (error) => this.#failed(rows, error),
    );
  }

  #ran(rows: readonly Row[], tokens: number, result: SessionResult): void {
    const nowMs = this.#context.clock.nowMs();
    const done: { readonly row: Row; readonly index: number }[] = [];
    rows.forEach((row, index) => {
      if (!this.#isKept(row.session)) return;
      done.push({ row, index });
      if (row.isLast && row.piece.ids.length === 1) this.#took((nowMs - row.piece.sinceMs) / 1000);
    });
    if (done.length === 0) return;
    if (result.kind === "drawn") this.#tellDrawn(done, result, nowMs);
    else this.#handOn(done, tokens, result.activation.data as Float32Array, nowMs);
    for (const { row: { session, piece, isLast } } of done) {
      // It may have been lost as its results were handed on.
      if (!this.#isKept(session)) continue;
      piece.done += tokens;
      if (isLast) session.pieces.shift();
      session.movedMs = nowMs;
      if (session.pieces.length > 0) this.#queueOf(session).push(session.opening.home, session);
    }
  }

  /** Rows that go to the same host travel together. */
  #handOn(
    done: readonly { readonly row: Row; readonly index: number }[],
    tokens: number,
    activation: Float32Array,
    nowMs: number,
  ): void {
    const { width } = this.#owner.bounds;
    const stage = this.#stage!.index + 1;
    const frames = [...Map.groupBy(done, ({ row }) => row.session.next!)].flatMap(([peer, all]) =>
      inFrames(all, ({ row: { piece, from } }) => ({ ...piece, opening: from === 0 ? piece.opening : null }))
        .map((rows) => ({ peer, rows }))
    );
    for (const { peer, rows } of frames) {
      const ids = new Int32Array(rows.length * tokens);
      const hidden = new Float32Array(ids.length * width);
      const parts = rows.map(({ row: { session, piece, from, isLast }, index }, place): SessionPart => {
        ids.set(piece.ids.subarray(from, from + tokens), place * tokens);
        const values = activation.subarray(index * tokens * width, (index + 1) * tokens * width);
        hidden.set(values, place * tokens * width);
        return {
          session: session.key,
          position: piece.position + from,
          count: tokens,
          draws: isLast && piece.draws,
          spentMs: [...piece.spentMs, nowMs - piece.sinceMs],
          opening: from === 0 ? piece.opening : null,
        };
      });
      const sent = this.#context.tell({ peer, actor: "host" }, {
        kind: "extend",
        stage,
        parts,
        tokens: { dataType: "i32", shape: [ids.length], data: ids },
        hidden: { dataType: "f32", shape: [ids.length, width], data: hidden },
      });
      if (!sent) this.#loseNext(rows.map(({ row }) => row.session), `host ${peer} can't be reached`);
    }
  }

  #tellDrawn(
    done: readonly { readonly row: Row; readonly index: number }[],
    { drawn }: Extract<SessionResult, { kind: "drawn" }>,
    nowMs: number,
  ): void {
    const told = done.flatMap(({ row, index }) => {
      const token = drawn[index];
      return token === undefined ? [] : [{ ...row, token }];
    });
    for (const [peer, rows] of Map.groupBy(told, ({ session }) => session.opening.home)) {
      const tokens = rows.map(({ session, piece, token }) => ({
        session: session.key,
        position: piece.position + piece.ids.length,
        ...token,
        spentMs: [...piece.spentMs, nowMs - piece.sinceMs],
      }));
      const sent = this.#context.tell({ peer, actor: "reader" }, { kind: "drawn", tokens });
      if (!sent) this.#drop(rows.map(({ session }) => session), peer);
    }
  }

  /** Nothing of the run has come about. */
  #failed(rows: readonly Row[], error: unknown): void {
    const left = rows.filter(({ session }) => this.#isKept(session));
    if (left.length === 0) return;
    if (!(error instanceof Error) || error.name !== "CacheFull") {
      return this.#lose(left.map(({ session }) => session), reasonOf(error), { retryAfterMs: 0 });
    }
    const idle = this.#longestIdle();
    if (idle !== undefined) {
      this.#evict(idle);
      return this.#start(left);
    }
    // Who came last has the least to lose.
    const asking = new Set(left.map(({ session }) => session));
    const newest = [...this.#sessions.values()].findLast((session) => asking.has(session))!;
    this.#lose([newest], reasonOf(error), { retryAfterMs: SESSION_RETRY_MS });
    const others = left.filter(({ session }) => session !== newest);
    if (others.length > 0) this.#start(others);
  }

  #took(seconds: number): void {
    const before = this.#secondsPerToken;
    this.#secondsPerToken = before === undefined ? seconds : (1 - WEIGHT) * before + WEIGHT * seconds;
  }

  // --- how sessions end ---------------------------------------------------------------------------

  /** They can't go on here: their homes are told. */
  #lose(
    sessions: readonly Session[],
    reason: string,
    { stage = this.#stage?.index ?? 0, retryAfterMs }: {
      /** Whose host is at fault. */
      readonly stage?: number;
      readonly retryAfterMs: number | null;
    },
  ): void {
    this.#free(sessions);
    for (const { opening, key } of sessions) this.#tellLost(opening.home, key, stage, reason, retryAfterMs);
  }

  /** The hosts after this one are at fault. */
  #loseNext(sessions: readonly Session[], reason: string): void {
    this.#lose(sessions, reason, { stage: (this.#stage?.index ?? 0) + 1, retryAfterMs: 0 });
  }

  /** Whom they came from, or who would hear of them, is gone. */
  #drop(sessions: readonly Session[], gone: PeerId): void {
    const kept = sessions.filter((session) => this.#isKept(session));
    this.#free(kept);
    // A home that only this host can't reach hears of it from the host before.
    for (const [peer, own] of Map.groupBy(kept, ({ previous }) => previous)) {
      if (peer !== gone) this.#tellEnded(peer, own.map(({ key }) => key));
    }
  }

  #evict(session: Session): void {
    this.#lose([session], "others need its room", { retryAfterMs: 0 });
  }

  /** Nothing is kept of them here, nor by those who come after. */
  #free(sessions: readonly Session[]): void {
    for (const session of sessions) {
      this.#sessions.delete(session.key);
      this.#decodes.delete(session.opening.home, session);
      this.#prefills.delete(session.opening.home, session);
      this.#tokens -= session.length;
      this.#biases -= session.opening.sampling.logitBias.length;
      this.#held?.end(session.key);
      this.#remember(session.key);
    }
    for (const [peer, own] of Map.groupBy(sessions, ({ next }) => next)) {
      if (peer !== undefined) this.#tellEnded(peer, own.map(({ key }) => key));
    }
  }

  #remember(key: string): void {
    const nowMs = this.#context.clock.nowMs();
    this.#ended.delete(key);
    this.#ended.set(key, nowMs);
    const [oldest] = this.#ended.keys();
    if (this.#ended.size > SESSIONS_MAX) this.#ended.delete(oldest);
    this.#setTimer(nowMs + SESSION_ENDED_MS);
  }

  #tellLost(home: PeerId, session: string, stage: number, reason: string, retryAfterMs: number | null): void {
    this.#context.trace("session lost", { session, stage, reason });
    this.#context.tell({ peer: home, actor: "reader" }, {
      kind: "sessionLost",
      session,
      stage,
      reason: reason.slice(0, REASON_CHARACTERS_MAX),
      retryAfterMs,
    });
  }

  #tellEnded(peer: PeerId, keys: readonly string[]): void {
    for (let from = 0; from < keys.length; from += SESSION_PARTS_MAX) {
      const sessions = keys.slice(from, from + SESSION_PARTS_MAX);
      this.#context.tell({ peer, actor: "host" }, { kind: "endSessions", sessions });
    }
  }

  /** What nobody has continued for long enough to make room for others, longest first. */
  #longestIdle(but?: Session): Session | undefined {
    const idleSinceMs = this.#context.clock.nowMs() - SESSION_IDLE_MS;
    let longest: Session | undefined;
    for (const session of this.#sessions.values()) {
      const rests = session !== but && session.pieces.length === 0 && session.movedMs <= idleSinceMs;
      if (rests && session.movedMs < (longest?.movedMs ?? Infinity)) longest = session;
    }
    return longest;
  }

  #setTimer(dueMs: number): void {
    if (this.#dueMs <= dueMs) return;
    this.#timer?.cancel();
    this.#dueMs = dueMs;
    const delayMs = Math.max(1, dueMs - this.#context.clock.nowMs());
    this.#timer = this.#context.after(delayMs, { kind: "timer", name: SERVING_TIMER, key: "" });
  }

  /** Frees what nobody continues. */
  timer(): void {
    const nowMs = this.#context.clock.nowMs();
    this.#dueMs = Infinity;
    const forgotten: Session[] = [];
    for (const session of this.#sessions.values()) {
      const dueMs = (session.pieces.length > 0 ? nowMs : session.movedMs) + SESSION_LEASE_MS;
      if (nowMs < dueMs) this.#setTimer(dueMs);
      else forgotten.push(session);
    }
    this.#lose(forgotten, `nobody has continued it for ${SESSION_LEASE_MS} ms`, { retryAfterMs: 0 });
    for (const [key, endedMs] of this.#ended) {
      if (nowMs < endedMs + SESSION_ENDED_MS) {
        this.#setTimer(endedMs + SESSION_ENDED_MS);
        break;
      }
      this.#ended.delete(key);
    }
  }

  #isKept(session: Session): boolean {
    return this.#sessions.get(session.key) === session;
  }

  #queueOf({ pieces: [{ ids, done }] }: Session): FairQueue<PeerId, Session> {
    return ids.length - done === 1 ? this.#decodes : this.#prefills;
  }
}

function looksAtText({ sampling }: Opening): boolean {
  return sampling.repetitionPenalty !== 1 || sampling.presencePenalty !== 0 ||
    sampling.frequencyPenalty !== 0;
}

/** A text with more tokens at a position, in twice the memory whenever it is short of it. */
function withTokens(text: Int32Array, position: number, ids: Int32Array): Int32Array {
  const length = position + ids.length;
  let roomy = text;
  if (length > text.length) {
    roomy = new Int32Array(Math.max(length, 2 * text.length));
    roomy.set(text.subarray(0, position));
  }
  roomy.set(ids, position);
  return roomy;
}

/** How the token after the first `length` is drawn. */
function drawOf({ opening: { sampling, promptTokens }, text }: Session, length: number): Draw {
  const uniform = samplingUniform(sampling, length);
  return { sampling, uniform, text: text?.subarray(0, length) ?? new Int32Array(0), promptTokens };
}

/** What the stage is given: token ids `[B, T]`, or hidden states `[B, T, C]`. */
function inputOf(rows: readonly Row[], tokens: number, width: number): SessionRun["input"] {
  const [{ piece: { hidden } }] = rows;
  const size = hidden === undefined ? tokens : tokens * width;
  const data = hidden === undefined
    ? new Int32Array(rows.length * size)
    : new Float32Array(rows.length * size);
  rows.forEach(({ piece, from }, index) => {
    const values = piece.hidden === undefined
      ? piece.ids.subarray(from, from + tokens)
      : piece.hidden.subarray(from * width, (from + tokens) * width);
    data.set(values, index * size);
  });
  return hidden === undefined
    ? { dataType: "i32", shape: [rows.length, tokens], data }
    : { dataType: "f32", shape: [rows.length, tokens, width], data };
}
