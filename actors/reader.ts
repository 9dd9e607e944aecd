/**
 * The home of texts that are being continued: chooses the hosts that each goes
 * through, sends them its tokens, takes the next one, and sends that. When a host
 * fails the text goes on through others, which compute all of it once more; as a
 * token depends on the text, the seed and its place alone, nobody can tell from it.
 * It holds no weights and draws no token.
 */

import type { Context, Envelope, PeerId } from "./core/actor.ts";
import type { Timer } from "./core/clock.ts";
import { type GenerationFact, GenerationFailed, type GenerationFailure } from "./generation.ts";
import {
  HOME_TEXTS_MAX,
  HOME_WAITING_MAX,
  HOSTS_WAIT_MS_MAX,
  PATH_ATTEMPTS_MIN,
  PAYMENT_MS_MAX,
  PROBE_PERIOD_MS,
  ROOM_WAIT_MS_MAX,
  TOKEN_TIMEOUT_FACTOR,
  TOKEN_TIMEOUT_MS_MAX,
  TOKEN_TIMEOUT_MS_MIN,
} from "./limits.ts";
import type { Message, MessageOf } from "./messages.ts";
import { Probing } from "./probing.ts";
import { behaviour, Jobs, reasonOf, type Role } from "./role.ts";
import { SessionMail } from "./session_mail.ts";
import { type Announcement, type PathChoice, Paths, stageService } from "../routing/mod.ts";
import type { DrawnToken, Sampling } from "../run/mod.ts";
import { samplingSchema } from "../run/sampling.ts";

/** Pays hosts for the tokens that they compute. */
export interface Payments {
  /** What hosts cost. */
  learn(announcements: readonly Announcement[]): void;
  /** So many tokens are about to be sent along a path. @returns vouchers that have to go first, if there are any. */
  owe(path: readonly PeerId[], tokens: number): Promise<readonly Payment[]> | undefined;
  /** So many tokens that were sent were not computed by these hosts of it. */
  forgive(path: readonly PeerId[], tokens: number, peers: readonly PeerId[]): void;
  /** All that the hosts of a path are owed. */
  settle(path: readonly PeerId[]): Promise<readonly Payment[]>;
}

/** A voucher for a host. */
export interface Payment {
  /** Whom it pays. */
  readonly peer: PeerId;
  /** As it is signed and sent. */
  readonly voucher: Uint8Array;
}

/** What a reader is made of. */
export interface ReaderOptions {
  /** Of the model. */
  readonly stages: number;
  /** Tokens are below. */
  readonly vocabulary: number;
  /** Tokens of a text, prompt and all. */
  readonly tokensMax: number;
  /** Hosts that want more for a token are not asked, in units. Default: those that want anything. */
  readonly priceUnitsMax?: number;
  /** The next token of a text. @returns whether more are wanted. */
  readonly onToken: (request: number, token: DrawnToken) => boolean;
  /** It is whole. */
  readonly onEnd: (request: number) => void;
  readonly onFailed: (request: number, error: GenerationFailed) => void;
  readonly onFact?: (fact: GenerationFact) => void;
  /** Pays hosts; without it they have to work for nothing. */
  readonly payments?: Payments;
  /** Told, after `settle`, when nothing is left to be paid. */
  readonly onSettled?: () => void;
  /** Told of each change of what a person wants to know. */
  readonly onFigures?: (figures: ReaderFigures) => void;
}

/** How a reader does. */
export interface ReaderFigures {
  /** Texts that have a path. */
  readonly sessions: number;
  /** Texts that wait for one. */
  readonly waiting: number;
  /** Times that a text went on along another path. */
  readonly repairs: number;
  /** Hosts that are known of each stage. */
  readonly hosts: readonly number[];
}

/** A text, wherever it is computed. */
interface Text {
  readonly request: number;
  /** Room for all that it may hold. */
  readonly tokens: Int32Array;
  readonly promptTokens: number;
  readonly sampling: Sampling;
  readonly stopTokens: ReadonlySet<number>;
  readonly askedAtMs: number;
  length: number;
  session: Session | undefined;
  /** When it began to wait for a path. */
  waitsSinceMs: number;
  placed: boolean;
  repairs: number;
  /**
   * What broke first since the last token, how many paths were tried since, and how many paths said nothing
   * in time; `undefined` if nothing did.
   */
  broken:
    | {
      readonly sinceMs: number;
      readonly blamed: readonly PeerId[];
      readonly reason: string;
      attempts: number;
      timeouts: number;
    }
    | undefined;
}

/** A text on its path. */
interface Session {
  readonly key: string;
  readonly path: readonly PeerId[];
  /** New tokens under way. */
  sentTokens: number;
  sentAtMs: number;
  deadlineMs: number;
  /** Its hosts were asked whether they are there, as the answer is late. */
  asked: boolean;
}

const SWEEP_TIMER = "sweep";
const PLACE_TIMER = "place";
const PROBE_TIMER = "probe";
const SETTLE_TIMER = "settle";
/** So long a home that goes waits for the hosts that it has paid. */
const TAKEN_MS_MAX = 5_000;

/** How often is looked for answers that are late. */
const SWEEP_MS = 500;

class Reader implements Role {
  readonly #context: Context<Message>;
  readonly #options: ReaderOptions;
  readonly #paths: Paths;
  readonly #probing: Probing;
  readonly #mail: SessionMail;
  readonly #jobs: Jobs;
  readonly #texts = new Map<number, Text>();
  /** Those that have a path, by session. */
  readonly #sessions = new Map<string, Text>();
  /** Those that wait for one: broken ones, then new ones, each in their order. */
  #waiting: Text[] = [];
  #repairs = 0;
  /** Its owner waits until all that is owed is paid. */
  #settling = false;
  #settleTimer: Timer | undefined;
  /** Vouchers that hosts were sent and have not said that they have. */
  readonly #untaken = new Map<PeerId, number>();
  /** Something has changed in who waits for a path, or for whom there may be one. */
  #changed = true;
  #sweepTimer: Timer | undefined;
  #placeTimer: Timer | undefined;

  constructor(context: Context<Message>, options: ReaderOptions) {
    this.#context = context;
    this.#options = options;
    const { stages, priceUnitsMax = 0 } = options;
    this.#paths = new Paths({ stages, priceUnitsMax, uniform: () => context.entropy.uniform() });
    this.#probing = new Probing(context, (peer, answer) => {
      this.#paths.answered(peer, answer);
      this.#changed = true;
    });
    this.#mail = new SessionMail(context);
    this.#jobs = new Jobs(context);
    for (let stage = 0; stage < stages; stage++) {
      context.tell({ actor: "scout" }, {
        kind: "watch",
        service: stageService(stage),
        subscriber: context.actor,
      });
    }
    this.#probe();
  }

  receive({ from, message }: Envelope<Message>): void {
    this.#take(from, message);
    this.#post();
    if (this.#changed) this.#tellFigures();
    if (!this.#settling || this.#jobs.size > 0 || this.#untaken.size > 0) return;
    this.#settling = false;
    this.#settleTimer?.cancel();
    this.#options.onSettled?.();
  }

  stop(): void {
    this.abandon("this peer has stopped");
  }

  abandon(reason = "this peer has to begin anew"): void {
    for (const text of [...this.#texts.values()]) {
      this.#fail(text, { kind: "stopped" }, `Cannot go on with a text: ${reason}`);
    }
    this.#mail.send();
  }

  #take(from: PeerId, message: Message): void {
    switch (message.kind) {
      case "performed":
        return this.#jobs.end(message.job, message.outcome);
      case "generate":
        return this.#generate(message);
      case "settle":
        this.#settling = true;
        this.#settleTimer = this.#context.after(TAKEN_MS_MAX, { kind: "timer", name: SETTLE_TIMER, key: "" });
        return;
      case "voucherTaken":
        return this.#noteVouchers(from, -1);
      case "leaveText":
        return this.#leave(message.request);
      case "drawn":
        for (const token of message.tokens) this.#drawn(from, token);
        return;
      case "sessionLost":
        return this.#lost(from, message);
      case "probed":
        return this.#probing.answered(from, message);
      case "found":
        return this.#found(message);
      case "peerLost":
        return this.#peerLost(message);
      case "timer":
        if (message.name === SWEEP_TIMER) return this.#sweep();
        if (message.name === PROBE_TIMER) return this.#probe();
        if (message.name === SETTLE_TIMER) return this.#untaken.clear();
        this.#changed = true;
    }
  }

  // --- who is there -----------------------------------------------------------------------------

  #found({ service, announcements }: MessageOf<"found">): void {
    const nowMs = this.#context.clock.nowMs();
    for (let stage = 0; stage < this.#options.stages; stage++) {
      if (service === stageService(stage)) this.#paths.learn(stage, announcements, nowMs);
    }
    this.#options.payments?.learn(announcements);
    this.#probing.watch(this.#paths.peers());
    this.#changed = true;
  }

  #probe(): void {
    this.#probing.watch(this.#paths.peers());
    this.#context.after(PROBE_PERIOD_MS, { kind: "timer", name: PROBE_TIMER, key: "" });
  }

  #peerLost({ peer, reason }: MessageOf<"peerLost">): void {
    this.#untaken.delete(peer);
    this.#paths.lost(peer, this.#context.clock.nowMs());
    for (const text of [...this.#sessions.values()]) {
      if (text.session!.path.includes(peer)) {
        this.#break(text, [peer], `host ${peer} was lost: ${reason}`, peer);
      }
    }
  }

  // --- a text begins, and ends ------------------------------------------------------------------

  #generate({ request, prompt, tokensMax, sampling, stopTokens }: MessageOf<"generate">): void {
    const reject = (failure: GenerationFailure, why: string) => {
      const reason = `Cannot continue a text of ${prompt.length} tokens by ${tokensMax}: ${why}`;
      this.#options.onFailed(request, new GenerationFailed(failure, reason));
    };
    const { vocabulary } = this.#options;
    if (prompt.length === 0) return reject({ kind: "invalid" }, "the prompt is empty");
    if (!Number.isSafeInteger(tokensMax) || tokensMax < 1) {
      return reject({ kind: "invalid" }, "the number of tokens to add must be whole, and at least 1");
    }
    const stranger = prompt.find((token) => !(token >= 0 && token < vocabulary));
    if (stranger !== undefined) {
      return reject({ kind: "invalid" }, `its token ${stranger} is none of the model's ${vocabulary}`);
    }
    const wish = samplingSchema.safeParse(sampling);
    if (!wish.success) {
      const [{ path, message }] = wish.error.issues;
      return reject({ kind: "invalid" }, `${path.join(".") || "its sampling"}: ${message}`);
    }
    const biased = wish.data.logitBias.find(({ token }) => token >= vocabulary);
    if (biased !== undefined) {
      return reject({ kind: "invalid" }, `its bias is for token ${biased.token}, none of ${vocabulary}`);
    }
    const tokens = prompt.length + tokensMax;
    if (tokens > this.#options.tokensMax) {
      const failure = { kind: "tooLong", tokens, tokensMax: this.#options.tokensMax } as const;
      return reject(failure, `the model was made for ${this.#options.tokensMax} tokens`);
    }
    if (this.#waiting.length >= HOME_WAITING_MAX) {
      const failure = { kind: "busy", retryAfterMs: ROOM_WAIT_MS_MAX } as const;
      return reject(failure, `${this.#waiting.length} of ${HOME_WAITING_MAX} texts wait`);
    }
    const nowMs = this.#context.clock.nowMs();
    const text: Text = {
      request,
      tokens: new Int32Array(tokens),
      promptTokens: prompt.length,
      sampling,
      stopTokens: new Set(stopTokens),
      askedAtMs: nowMs,
      length: prompt.length,
      session: undefined,
      waitsSinceMs: nowMs,
      placed: false,
      repairs: 0,
      broken: undefined,
    };
    text.tokens.set(prompt);
    this.#texts.set(request, text);
    this.#waiting.push(text);
    this.#changed = true;
  }

  #leave(request: number): void {
    const text = this.#texts.get(request);
    if (text !== undefined) this.#forget(text);
  }

  #fail(text: Text, failure: GenerationFailure, reason: string): void {
    this.#forget(text);
    this.#options.onFailed(text.request, new GenerationFailed(failure, reason));
  }

  /** Nothing of it is left, here or at any host. */
  #forget(text: Text): void {
    this.#texts.delete(text.request);
    this.#waiting = this.#waiting.filter((other) => other !== text);
    this.#endSession(text, ([first]) => [first]);
    this.#options.onFact?.({
      kind: "ended",
      tokens: text.length - text.promptTokens,
      ms: this.#context.clock.nowMs() - text.askedAtMs,
      repairs: text.repairs,
    });
    this.#changed = true;
  }

  /** @param told hosts that are told so; each tells the next. */
  #endSession(text: Text, told: (path: readonly PeerId[]) => readonly PeerId[]): void {
    const { session } = text;
    if (session === undefined) return;
    text.session = undefined;
    this.#sessions.delete(session.key);
    this.#paths.ended(session.path, text.length);
    for (const peer of told(session.path)) this.#mail.end(peer, session.key);
    const owed = this.#options.payments?.settle(session.path);
    if (owed !== undefined) {
      this.#pay(owed, () => {}, (reason) => this.#context.trace("not paid", { reason }));
    }
  }

  // --- a path -----------------------------------------------------------------------------------

  /** Gives a path to all that wait for one, as far as there are any; those behind one that gets none wait, too. */
  #place(): void {
    this.#placeTimer?.cancel();
    const nowMs = this.#context.clock.nowMs();
    let retryAtMs = Infinity;
    while (this.#waiting.length > 0) {
      const text = this.#waiting[0];
      const choice = this.#sessions.size >= HOME_TEXTS_MAX
        ? { kind: "wait", stage: 0, for: "room", retryAtMs: Infinity } as const
        : this.#paths.choose({ tokens: text.length + 1, nowMs });
      if (choice.kind === "path") {
        this.#waiting.shift();
        this.#begin(text, choice.path);
        continue;
      }
      if (choice.kind === "wait") retryAtMs = choice.retryAtMs;
      const endsAtMs = text.waitsSinceMs + waitMsMax(choice, text);
      if (nowMs < endsAtMs) {
        retryAtMs = Math.min(retryAtMs, endsAtMs);
        break;
      }
      this.#fail(text, ...this.#whyNone(choice, nowMs));
    }
    if (this.#waiting.length === 0) return;
    this.#placeTimer = this.#context.after(Math.max(1, retryAtMs - nowMs), {
      kind: "timer",
      name: PLACE_TIMER,
      key: "",
    });
  }

  #whyNone(choice: Exclude<PathChoice, { kind: "path" }>, nowMs: number): [GenerationFailure, string] {
    const { stage } = choice;
    if (choice.kind === "wait" && choice.for === "room") {
      const retryAfterMs = Math.max(0, Math.min(60_000, choice.retryAtMs - nowMs));
      return [
        { kind: "noRoom", retryAfterMs },
        `Cannot go on with a text: no host of stage ${stage} has room`,
      ];
    }
    const why = choice.kind === "noHosts" ? "nobody is known who serves" : "nobody can be reached who serves";
    return [{ kind: "noHosts", stage }, `Cannot go on with a text: ${why} stage ${stage}`];
  }

  #begin(text: Text, path: readonly PeerId[]): void {
    const nowMs = this.#context.clock.nowMs();
    const key = [...this.#context.entropy.bytes(16)].map((byte) => byte.toString(16).padStart(2, "0")).join(
      "",
    );
    text.session = { key, path, sentTokens: 0, sentAtMs: nowMs, deadlineMs: 0, asked: false };
    this.#sessions.set(key, text);
    this.#paths.begun(path, text.length, nowMs);
    if (!text.placed) this.#options.onFact?.({ kind: "placed", path, waitedMs: nowMs - text.askedAtMs });
    text.placed = true;
    if (text.broken !== undefined) text.broken.attempts++;
    this.#extend(text, text.session, 0);
    this.#sweepTimer ??= this.#context.after(SWEEP_MS, { kind: "timer", name: SWEEP_TIMER, key: "" });
    this.#changed = true;
  }

  /** Sends what its hosts don't have yet. */
  #extend(text: Text, session: Session, position: number): void {
    const nowMs = this.#context.clock.nowMs();
    session.sentTokens = text.length - position;
    session.sentAtMs = nowMs;
    session.asked = false;
    const usualMs = this.#paths.usualMs(session.path, session.sentTokens);
    // Whoever was late may need longer; whoever refused has said so in time.
    const timeoutMs = Math.max(TOKEN_TIMEOUT_MS_MIN, TOKEN_TIMEOUT_FACTOR * usualMs) *
      2 ** (text.broken?.timeouts ?? 0);
    session.deadlineMs = nowMs + Math.min(timeoutMs, TOKEN_TIMEOUT_MS_MAX);
    const due = this.#options.payments?.owe(session.path, session.sentTokens);
    if (due === undefined) return this.#mailTokens(text, session, position);
    session.deadlineMs += PAYMENT_MS_MAX;
    this.#pay(due, () => {
      if (text.session !== session) return;
      const nowMs = this.#context.clock.nowMs();
      session.deadlineMs += nowMs - session.sentAtMs - PAYMENT_MS_MAX;
      session.sentAtMs = nowMs;
      this.#mailTokens(text, session, position);
    }, (reason) => {
      if (text.session === session) this.#fail(text, { kind: "unpaid" }, `Cannot pay for a text: ${reason}`);
    });
  }

  /** Vouchers are on disk before anybody hears of them. */
  #pay(due: Promise<readonly Payment[]>, then: () => void, failed: (reason: string) => void): void {
    this.#jobs.start({ kind: "pay", amount: 1 }, () => due, (payments) => {
      for (const { peer, voucher } of payments) {
        const sent = this.#context.tell({ peer, actor: "host" }, { kind: "voucher", bytes: voucher });
        if (sent) this.#noteVouchers(peer, 1);
      }
      then();
    }, (error) => failed(reasonOf(error)));
  }

  #noteVouchers(peer: PeerId, more: number): void {
    const untaken = (this.#untaken.get(peer) ?? 0) + more;
    if (untaken > 0) this.#untaken.set(peer, untaken);
    else this.#untaken.delete(peer);
  }

  #mailTokens(text: Text, session: Session, position: number): void {
    this.#mail.extend(session.path[0], {
      session: session.key,
      position,
      draws: true,
      opening: position > 0 ? null : {
        home: this.#context.peer,
        path: session.path,
        sampling: text.sampling,
        promptTokens: text.promptTokens,
        tokensMax: text.tokens.length,
      },
      tokens: text.tokens.subarray(position, text.length),
    });
  }

  #post(): void {
    while (true) {
      if (this.#changed) this.#place();
      const unsent = this.#mail.send();
      // Whoever takes nothing is not asked again, so that this ends.
      if (unsent.size === 0) return;
      for (const [peer, sessions] of unsent) {
        this.#paths.failed(peer, this.#context.clock.nowMs());
        for (const key of sessions) {
          const text = this.#sessions.get(key);
          if (text !== undefined) this.#break(text, [peer], `host ${peer} takes nothing`, peer);
        }
      }
    }
  }

  // --- a token ----------------------------------------------------------------------------------

  #drawn(
    from: PeerId,
    { session: key, spentMs, position, ...drawn }: MessageOf<"drawn">["tokens"][number],
  ): void {
    const text = this.#sessions.get(key);
    const session = text?.session;
    if (text === undefined || session === undefined || session.path.at(-1) !== from) {
      this.#context.trace("token ignored", { from, session: key });
      return;
    }
    const lie = this.#lieIn(text, position, drawn);
    if (lie !== undefined) {
      const nowMs = this.#context.clock.nowMs();
      // As bad as if it had kept silent: it may do so again.
      this.#paths.failed(from, nowMs, Math.max(TOKEN_TIMEOUT_MS_MIN, nowMs - session.sentAtMs));
      return this.#break(text, [from], `host ${from} sent ${lie}`, undefined);
    }
    this.#passed(text, session, spentMs);
    text.tokens[text.length++] = drawn.token;
    if (!this.#options.onToken(text.request, drawn)) return this.#forget(text);
    if (text.length < text.tokens.length && !text.stopTokens.has(drawn.token)) {
      return this.#extend(text, session, text.length - 1);
    }
    this.#options.onEnd(text.request);
    this.#forget(text);
  }

  /** What no honest host sends; `undefined` if there is nothing of that. */
  #lieIn(text: Text, position: number, { token, top }: DrawnToken): string | undefined {
    if (position !== text.length) return `token ${position} of a text of ${text.length}`;
    const vocabulary = text.sampling.vocabulary || this.#options.vocabulary;
    const stranger = [token, ...top.map(({ token }) => token)].find((one) => one >= vocabulary);
    if (stranger !== undefined) return `token ${stranger}, which is none of the model's ${vocabulary}`;
    if (top.length <= text.sampling.topLogProbabilities) return undefined;
    return `${top.length} alternatives instead of ${text.sampling.topLogProbabilities}`;
  }

  #passed(text: Text, session: Session, spentMs: readonly number[]): void {
    const nowMs = this.#context.clock.nowMs();
    const ms = nowMs - session.sentAtMs;
    this.#paths.passed(session.path, { tokens: session.sentTokens, totalMs: ms, spentMs });
    this.#options.onFact?.({ kind: "token", ms, computedTokens: session.sentTokens });
    const { broken } = text;
    if (broken === undefined) return;
    text.broken = undefined;
    text.repairs++;
    this.#repairs++;
    const { sinceMs, blamed, reason, attempts } = broken;
    const pauseMs = nowMs - sinceMs;
    this.#options.onFact?.({ kind: "repaired", path: session.path, blamed, reason, pauseMs, attempts });
    this.#changed = true;
  }

  // --- what breaks ------------------------------------------------------------------------------

  #lost(from: PeerId, { session: key, stage, reason, retryAfterMs }: MessageOf<"sessionLost">): void {
    const text = this.#sessions.get(key);
    const path = text?.session?.path;
    if (text === undefined || path === undefined || !path.includes(from)) return;
    const nowMs = this.#context.clock.nowMs();
    // Whoever puts the blame on another is believed once: between two hosts either may be the culprit.
    const blamed = [path[stage] ?? from, ...text.broken === undefined ? [] : [from]];
    for (const peer of new Set(blamed)) {
      if (retryAfterMs) this.#paths.refused(peer, nowMs + retryAfterMs);
      else this.#paths.failed(peer, nowMs);
    }
    this.#break(text, blamed, `host ${from} gave it up: ${reason}`, undefined);
  }

  /** Whoever is late is to blame, unless it says that it is there. */
  #sweep(): void {
    this.#sweepTimer = undefined;
    const nowMs = this.#context.clock.nowMs();
    for (const text of [...this.#sessions.values()]) {
      const session = text.session!;
      if (nowMs >= session.deadlineMs) this.#timedOut(text, session);
      else if (!session.asked && nowMs >= (session.sentAtMs + session.deadlineMs) / 2) {
        session.asked = true;
        for (const peer of session.path) this.#probing.ask(peer);
      }
    }
    if (this.#sessions.size === 0) return;
    this.#sweepTimer = this.#context.after(SWEEP_MS, { kind: "timer", name: SWEEP_TIMER, key: "" });
  }

  #timedOut(text: Text, { path, sentAtMs }: Session): void {
    const nowMs = this.#context.clock.nowMs();
    const silent = path.filter((peer) => this.#probing.answeredAtMs(peer) < sentAtMs);
    // Those who answer and yet do nothing can't be told from one another.
    const blamed = silent.length > 0 ? silent : path;
    for (const peer of blamed) this.#paths.failed(peer, nowMs, nowMs - sentAtMs);
    this.#break(text, blamed, `nothing came for ${Math.round(nowMs - sentAtMs)} ms`, undefined);
    if (text.broken !== undefined) text.broken.timeouts++;
  }

  /** Its path is of no use any more. @param gone host that can't be told. */
  #break(text: Text, blamed: readonly PeerId[], reason: string, gone: PeerId | undefined): void {
    const nowMs = this.#context.clock.nowMs();
    this.#context.trace("path broken", { request: text.request, blamed, reason });
    this.#forgive(text.session, blamed);
    this.#endSession(text, (path) => path.filter((peer) => peer !== gone));
    text.broken ??= { sinceMs: nowMs, blamed, reason, attempts: 0, timeouts: 0 };
    const { attempts } = text.broken;
    // Others may only have to be found: a stage whose one known host is gone is looked for again.
    if (attempts >= PATH_ATTEMPTS_MIN && nowMs - text.broken.sinceMs >= HOSTS_WAIT_MS_MAX) {
      const why = `${attempts} paths after the first have failed as well; the last one as ${reason}`;
      return this.#fail(text, { kind: "unanswered", attempts }, `Cannot go on with a text: ${why}`);
    }
    text.waitsSinceMs = nowMs;
    const others = this.#waiting.findIndex(({ broken }) => broken === undefined);
    this.#waiting.splice(others < 0 ? this.#waiting.length : others, 0, text);
    this.#changed = true;
  }

  /** Those to blame have computed nothing of what was sent last, and nobody after them. */
  #forgive(session: Session | undefined, blamed: readonly PeerId[]): void {
    if (session === undefined) return;
    const first = Math.max(0, session.path.findIndex((peer) => blamed.includes(peer)));
    this.#options.payments?.forgive(session.path, session.sentTokens, session.path.slice(first));
  }

  #tellFigures(): void {
    this.#changed = false;
    this.#options.onFigures?.({
      sessions: this.#sessions.size,
      waiting: this.#waiting.length,
      repairs: this.#repairs,
      hosts: this.#paths.hosts,
    });
  }
}

/** How long a text may wait, given why. Of one that has begun somebody has read already. */
function waitMsMax(choice: Exclude<PathChoice, { kind: "path" }>, { broken }: Text): number {
  const isNew = broken === undefined;
  return isNew && choice.kind === "wait" && choice.for === "room" ? ROOM_WAIT_MS_MAX : HOSTS_WAIT_MS_MAX;
}

/** The role of somebody who has texts continued. */
export function reader(options: ReaderOptions) {
  return behaviour("reader", (context) => new Reader(context, options));
}
