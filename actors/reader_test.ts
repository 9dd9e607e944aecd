import assert from "node:assert/strict";
import { Simulation } from "./core/simulation.ts";
import type { ActorSystem } from "./core/system.ts";
import type { GenerationFact, GenerationFailed, GenerationRequest } from "./generation.ts";
import {
  HOME_WAITING_MAX,
  HOSTS_WAIT_MS_MAX,
  PATH_ATTEMPTS_MIN,
  ROOM_WAIT_MS_MAX,
  SESSION_PARTS_MAX,
  TOKEN_TIMEOUT_MS_MAX,
  TOKEN_TIMEOUT_MS_MIN,
} from "./limits.ts";
import { type Message, type MessageOf, type RemoteMessage, type SessionPart, toFrame } from "./messages.ts";
import { reader, type ReaderFigures } from "./reader.ts";
import { behaviour } from "./role.ts";
import { announcementOf } from "./testing/announcement.ts";
import { encodeFrame } from "./wire/codec.ts";
import { type DrawnToken, GREEDY, type Sampling } from "../run/mod.ts";
import { LOGIT_BIAS_MAX } from "../run/sampling.ts";

const VOCABULARY = 1000;
const TOKENS_MAX = 200;
const LATENCY_MS = 5;

type Drawn = MessageOf<"drawn">["tokens"][number];

/** The token after these, as every honest host would draw it. */
function tokenAfter(text: readonly number[], { seed }: Pick<Sampling, "seed">): number {
  let mixed = 17 + seed;
  for (const token of text) mixed = (mixed * 31 + token) % 99_991;
  return mixed % VOCABULARY;
}

/** The text that a request is answered with. */
function expected({ prompt, tokensMax, sampling, stopTokens }: GenerationRequest): number[] {
  const text = [...prompt];
  for (let added = 0; added < tokensMax; added++) {
    const token = tokenAfter(text, sampling);
    text.push(token);
    if (stopTokens.includes(token)) break;
  }
  return text.slice(prompt.length);
}

/** What the swarm keeps of a session. */
interface Kept {
  readonly path: readonly string[];
  readonly sampling: Sampling;
  readonly promptTokens: number;
  readonly text: number[];
}

/** What a host may do instead of what it should. */
interface Mischief {
  /** Instead of handing a path's answer to home; `undefined`: nothing comes. */
  answer?: (token: Drawn, from: string) => readonly Message[] | undefined;
  /** Whether a frame to a peer leaves. */
  leaves?: (to: string, message: Message) => boolean;
  /** What a peer says when it is asked; `undefined`: nothing. */
  probed?: (peer: string, answer: MessageOf<"probed">) => MessageOf<"probed"> | undefined;
}

/** A reader, and hosts of which the test says how they are. */
class Reading {
  readonly simulation = new Simulation({ seed: 1, costs: { durationMs: () => 0, lane: () => undefined } });
  readonly system: ActorSystem<Message>;
  readonly stages: number;
  readonly watched: string[] = [];
  readonly sent: { readonly to: string; readonly message: Message }[] = [];
  readonly tokens = new Map<number, DrawnToken[]>();
  readonly ended: number[] = [];
  readonly failed = new Map<number, GenerationFailed>();
  readonly facts: GenerationFact[] = [];
  figures: ReaderFigures | undefined;
  readonly kept = new Map<string, Kept>();
  readonly mischief: Mischief;
  /** Whether the owner of a text still wants it. */
  wants: (request: number) => boolean = () => true;

  constructor(stages: number, mischief: Mischief = {}) {
    this.stages = stages;
    this.mischief = mischief;
    this.system = this.simulation.system<Message>({
      peer: "home",
      transport: (to, _actor, message) => {
        if (mischief.leaves?.(to, message) === false) return false;
        encodeFrame(toFrame("1".repeat(64), message as RemoteMessage));
        this.sent.push({ to, message });
        this.simulation.clock.after(LATENCY_MS, () => this.#host(to, message));
        return true;
      },
    });
    this.system.spawn(behaviour("scout", () => ({
      receive: ({ message }) => void this.watched.push((message as MessageOf<"watch">).service),
    })));
    this.system.spawn(reader({
      stages,
      vocabulary: VOCABULARY,
      tokensMax: TOKENS_MAX,
      onToken: (request, token) => {
        this.tokens.set(request, [...this.tokens.get(request) ?? [], token]);
        return this.wants(request);
      },
      onEnd: (request) => this.ended.push(request),
      onFailed: (request, error) => this.failed.set(request, error),
      onFact: (fact) => this.facts.push(fact),
      onFigures: (figures) => this.figures = figures,
    }));
  }

  /** These offer a stage, as the directory says. */
  found(stage: number, hosts: readonly string[], sessionRoom = 10_000): void {
    const announcements = hosts.map((peer) => ({ ...announcementOf(peer), sessionRoom }));
    this.tell({ kind: "found", service: `stage:${stage}`, announcements });
  }

  tell(message: Message): void {
    this.system.tell({ actor: "reader" }, message);
  }

  hear(from: string, message: Message): void {
    this.system.deliver(from, "reader", message);
  }

  generate(request: number, more: Partial<GenerationRequest> = {}): GenerationRequest {
    const wish = {
      prompt: new Int32Array([1, 2, request % 100]),
      tokensMax: 5,
      sampling: GREEDY,
      stopTokens: [],
      ...more,
    };
    this.tell({ kind: "generate", request, ...wish });
    return wish;
  }

  async run(forMs: number): Promise<void> {
    await this.simulation.run({ untilMs: this.simulation.clock.nowMs() + forMs });
  }

  idsOf(request: number): number[] {
    return (this.tokens.get(request) ?? []).map(({ token }) => token);
  }

  messages<K extends Message["kind"]>(kind: K): { readonly to: string; readonly message: MessageOf<K> }[] {
    return this.sent.filter(({ message }) => message.kind === kind) as never;
  }

  #host(to: string, message: Message): void {
    if (message.kind === "probe") {
      const stage = Number(to.split(".")[0]);
      const answer: MessageOf<"probed"> = {
        kind: "probed",
        nonce: message.nonce,
        stage,
        step: 0,
        secondsPerToken: 0.001,
        roomTokens: 10_000,
      };
      const said = this.mischief.probed === undefined ? answer : this.mischief.probed(to, answer);
      if (said !== undefined) this.simulation.clock.after(LATENCY_MS, () => this.hear(to, said));
    }
    if (message.kind === "endSessions") { for (const key of message.sessions) this.kept.delete(key); }
    if (message.kind !== "extend") return;
    let row = 0;
    for (const part of message.parts) {
      this.#extend(part, [...message.tokens.data.subarray(row, row + part.count)]);
      row += part.count;
    }
    assert.equal(row, message.tokens.data.length);
  }

  #extend({ session, position, opening }: SessionPart, tokens: readonly number[]): void {
    if (opening !== null) {
      const { path, sampling, promptTokens } = opening;
      this.kept.set(session, { path, sampling, promptTokens, text: [] });
    }
    const kept = this.kept.get(session);
    if (kept === undefined) return;
    assert.equal(position, kept.text.length, "no token is lost or sent twice");
    kept.text.push(...tokens);
    const from = kept.path.at(-1)!;
    const token: Drawn = {
      session,
      position: kept.text.length,
      token: tokenAfter(kept.text, kept.sampling),
      logProbability: -1,
      top: [],
      spentMs: kept.path.map(() => 1),
    };
    const delayMs = LATENCY_MS * this.stages + this.stages;
    const answers = this.mischief.answer === undefined
      ? [{ kind: "drawn" as const, tokens: [token] }]
      : this.mischief.answer(token, from);
    for (const answer of answers ?? []) {
      this.simulation.clock.after(delayMs, () => this.hear(from, answer));
    }
  }
}

/** Two stages, two hosts each. */
function twoByTwo(mischief: Mischief = {}): Reading {
  const reading = new Reading(2, mischief);
  reading.found(0, ["0.a", "0.b"]);
  reading.found(1, ["1.a", "1.b"]);
  return reading;
}

Deno.test("a text goes to one host of each stage, the prompt at once, then token by token", async () => {
  const reading = twoByTwo();
  const wish = reading.generate(1);
  await reading.run(1000);
  assert.deepEqual(reading.watched, ["stage:0", "stage:1"]);
  assert.deepEqual(reading.idsOf(1), expected(wish));
  assert.deepEqual(reading.ended, [1]);
  const extend = reading.messages("extend");
  const parts = extend.map(({ message }) => message.parts[0]);
  assert.deepEqual(parts.map(({ position, count }) => [position, count]), [[0, 3], [3, 1], [4, 1], [5, 1], [
    6,
    1,
  ]]);
  assert.equal(new Set(parts.map(({ session }) => session)).size, 1);
  const [opening, ...others] = parts.map(({ opening }) => opening);
  assert.ok(others.every((other) => other === null));
  assert.deepEqual({ ...opening, path: [] }, {
    home: "home",
    path: [],
    sampling: GREEDY,
    promptTokens: 3,
    tokensMax: 8,
  });
  assert.deepEqual(opening!.path.map((peer) => peer[0]), ["0", "1"]);
  assert.ok(extend.every(({ to }) => to === opening!.path[0]));
  assert.equal(reading.kept.size, 0, "and nobody keeps anything of it");
  assert.deepEqual(reading.figures, { sessions: 0, waiting: 0, repairs: 0, hosts: [2, 2] });
  assert.deepEqual(reading.facts.map(({ kind }) => kind), ["placed", ...Array(5).fill("token"), "ended"]);
});

Deno.test("a text ends with the first token that ends it, and that one is given as well", async () => {
  const reading = twoByTwo();
  const third = expected(reading.generate(1))[2];
  const wish = reading.generate(2, {
    prompt: new Int32Array([1, 2, 1]),
    stopTokens: [VOCABULARY - 1, third],
  });
  await reading.run(1000);
  assert.deepEqual(reading.idsOf(2), expected(wish));
  assert.equal(reading.idsOf(2).length, 3);
  assert.deepEqual(reading.ended.toSorted(), [1, 2]);
});

Deno.test("texts of one turn travel to a host in one frame, and come to no more than fit one", async () => {
  const reading = new Reading(1);
  const count = SESSION_PARTS_MAX + 6;
  const wishes = Array.from({ length: count }, (_, index) => reading.generate(index));
  reading.found(0, ["0.a"]);
  await reading.run(1000);
  wishes.forEach((wish, index) => assert.deepEqual(reading.idsOf(index), expected(wish)));
  const [first, second] = reading.messages("extend");
  assert.deepEqual([first.message.parts.length, second.message.parts.length], [SESSION_PARTS_MAX, 6]);
});

Deno.test("texts that bring much along travel in as many frames as hold them", async () => {
  const reading = new Reading(1);
  const logitBias = Array.from(
    { length: LOGIT_BIAS_MAX },
    (_, n) => ({ token: n % VOCABULARY, bias: -99.5 }),
  );
  const wishes = Array.from(
    { length: 32 },
    (_, index) => reading.generate(index, { sampling: { ...GREEDY, logitBias } }),
  );
  reading.found(0, ["0.a"]);
  await reading.run(1000);
  wishes.forEach((wish, index) => assert.deepEqual(reading.idsOf(index), expected(wish)));
  assert.ok(reading.messages("extend")[0].message.parts.length > 1);
});

Deno.test("a text that nobody wants any more is over at once on its hosts", async () => {
  const reading = twoByTwo();
  reading.generate(1, { tokensMax: 100 });
  await reading.run(100);
  assert.equal(reading.kept.size, 1);
  const before = reading.idsOf(1).length;
  reading.tell({ kind: "leaveText", request: 1 });
  reading.tell({ kind: "leaveText", request: 1 });
  await reading.run(1000);
  assert.ok(before > 0 && reading.idsOf(1).length === before);
  assert.equal(reading.kept.size, 0);
  assert.deepEqual([reading.ended, reading.failed.size, reading.figures!.sessions], [[], 0, 0]);
});

Deno.test("if that word was lost the next token finds that nobody wants it", async () => {
  const reading = twoByTwo();
  reading.wants = () => false;
  reading.generate(1);
  await reading.run(1000);
  assert.deepEqual([reading.idsOf(1).length, reading.kept.size, reading.figures!.sessions], [1, 0, 0]);
});

Deno.test("a host that is lost costs a pause: others compute the text again, and go on with the same", async () => {
  for (const stage of [0, 1]) {
    const reading = twoByTwo();
    const wish = reading.generate(1, { tokensMax: 20, sampling: { ...GREEDY, temperature: 1, seed: 5 } });
    await reading.run(150);
    const [{ path }] = reading.kept.values();
    const before = reading.idsOf(1).length;
    assert.ok(before > 0 && before < 20);
    reading.kept.clear();
    const lost = path[stage];
    reading.tell({ kind: "peerLost", peer: lost, reason: "it fell over" });
    await reading.run(1000);
    assert.deepEqual(reading.idsOf(1), expected(wish));
    const opened = reading.messages("extend").map(({ message }) => message.parts[0]).filter(({ opening }) =>
      opening
    );
    assert.equal(opened.length, 2);
    assert.notEqual(opened[0].session, opened[1].session);
    assert.equal(opened[1].opening!.promptTokens, 3, "penalties know what the prompt was");
    assert.equal(opened[1].count, 3 + before);
    assert.ok(!opened[1].opening!.path.includes(lost));
    const [repair] = reading.facts.filter((fact) => fact.kind === "repaired");
    assert.deepEqual([repair.blamed, repair.attempts], [[lost], 1]);
    assert.ok(repair.pauseMs < 100);
    // All that were on the first path and are there are told; nobody else.
    const told = reading.messages("endSessions").filter(({ message }) =>
      message.sessions.includes(opened[0].session)
    );
    assert.deepEqual(told.map(({ to }) => to), path.filter((peer) => peer !== lost));
    assert.equal(reading.figures!.repairs, 1);
  }
});

Deno.test("late words of a path that was left change nothing", async () => {
  const reading = twoByTwo();
  const wish = reading.generate(1, { tokensMax: 20 });
  await reading.run(150);
  const [[key, { path }]] = reading.kept;
  reading.tell({ kind: "peerLost", peer: path[0], reason: "it fell over" });
  const late = { session: key, position: 3, token: 7, logProbability: -1, top: [], spentMs: [] };
  for (const peer of [...path, "stranger"]) {
    reading.hear(peer, { kind: "drawn", tokens: [late] });
    reading.hear(peer, { kind: "sessionLost", session: key, stage: 0, reason: "late", retryAfterMs: null });
  }
  await reading.run(1000);
  assert.deepEqual(reading.idsOf(1), expected(wish));
  assert.equal(reading.figures!.repairs, 1);
});

Deno.test("nobody but the last host of the path has a say in what follows", async () => {
  const reading = twoByTwo();
  const wish = reading.generate(1, { tokensMax: 20 });
  await reading.run(150);
  const [[key, { path, text }]] = reading.kept;
  const lie = { session: key, position: text.length, token: 7, logProbability: -1, top: [], spentMs: [] };
  const other = path[1] === "1.a" ? "1.b" : "1.a";
  for (const peer of [path[0], other, "stranger"]) {
    reading.hear(peer, { kind: "drawn", tokens: [lie] });
    if (peer === path[0]) continue;
    reading.hear(peer, { kind: "sessionLost", session: key, stage: 1, reason: "a lie", retryAfterMs: null });
  }
  await reading.run(1000);
  assert.deepEqual(reading.idsOf(1), expected(wish));
  assert.equal(reading.figures!.repairs, 0);
});

const LIES: readonly (readonly [string, (token: Drawn) => readonly Drawn[]])[] = [
  ["the same token twice", (token) => [token, token]],
  ["a token too far", (token) => [{ ...token, position: token.position + 1 }]],
  ["a token of before", (token) => [{ ...token, position: token.position - 1 }]],
  ["a token that is none", (token) => [{ ...token, token: VOCABULARY }]],
  [
    "an alternative that is none",
    (token) => [{ ...token, top: [{ token: VOCABULARY, logProbability: -1 }] }],
  ],
  ["alternatives that nobody asked for", (token) => [{ ...token, top: [{ token: 1, logProbability: -1 }] }]],
];

for (const [what, lie] of LIES) {
  Deno.test(`a host that sends ${what} is to blame, and the text goes on without it`, async () => {
    const liars = new Set<string>();
    const reading = twoByTwo({
      answer: (token, from) => {
        if (liars.size === 0 && token.position > 5) liars.add(from);
        return [{ kind: "drawn", tokens: liars.has(from) ? lie(token) : [token] }];
      },
    });
    const wish = reading.generate(1, { tokensMax: 30 });
    await reading.run(3000);
    assert.deepEqual(reading.idsOf(1), expected(wish));
    const repairs = reading.facts.filter((fact) => fact.kind === "repaired");
    assert.deepEqual(repairs.map(({ blamed }) => blamed), [[...liars]]);
    // And the next one does not go there.
    reading.generate(2);
    await reading.run(1000);
    const openings = reading.messages("extend").flatMap(({ message }) => message.parts[0].opening ?? []);
    assert.ok(!openings.at(-1)!.path.includes([...liars][0]));
    assert.deepEqual(reading.ended, [1, 2]);
  });
}

Deno.test("a host without a word is found out: those who answer are not to blame", async () => {
  const reading = twoByTwo({
    answer: (token, from) =>
      from === "1.a" && token.position > 5 ? undefined : [{ kind: "drawn", tokens: [token] }],
    probed: (peer, answer) => peer === "1.a" && reading.simulation.clock.nowMs() > 1000 ? undefined : answer,
  });
  reading.tell({ kind: "found", service: "stage:1", announcements: [] });
  const wishes = [1, 2].map((request) => reading.generate(request, { tokensMax: 20 }));
  await reading.run(2 * TOKEN_TIMEOUT_MS_MIN);
  wishes.forEach((wish, index) => assert.deepEqual(reading.idsOf(index + 1), expected(wish)));
  const [repair] = reading.facts.filter((fact) => fact.kind === "repaired");
  assert.deepEqual(repair.blamed, ["1.a"]);
  assert.ok(repair.pauseMs < 1000, "the pause is counted from when the path was given up");
});

Deno.test("who puts the blame on the next host is believed once", async () => {
  const reading = twoByTwo({
    answer: (token, from) => {
      const { path } = reading.kept.get(token.session)!;
      if (path[0] !== "0.a") return [{ kind: "drawn", tokens: [token] }];
      // Never hands anything on.
      const lost = { session: token.session, stage: 1, reason: "the next host is gone", retryAfterMs: 0 };
      reading.simulation.clock.after(LATENCY_MS, () => reading.hear("0.a", { kind: "sessionLost", ...lost }));
      return void from;
    },
  });
  const wishes = Array.from({ length: 4 }, (_, index) => reading.generate(index));
  await reading.run(5000);
  wishes.forEach((wish, index) => assert.deepEqual(reading.idsOf(index), expected(wish)));
});

Deno.test("a full host is asked again when it said so; with no other the owner hears when", async () => {
  const refusedAtMs: number[] = [];
  const reading = new Reading(1, {
    answer: ({ session }) => {
      refusedAtMs.push(reading.simulation.clock.nowMs());
      return [{ kind: "sessionLost", session, stage: 0, reason: "it is full", retryAfterMs: 2000 }];
    },
  });
  reading.found(0, ["0.a"]);
  reading.generate(1);
  await reading.run(60_000);
  const failure = reading.failed.get(1)?.failure;
  assert.ok(failure?.kind === "unanswered" && failure.attempts >= PATH_ATTEMPTS_MIN);
  refusedAtMs.slice(1).forEach((atMs, index) => assert.ok(atMs - refusedAtMs[index] >= 2000));
});

Deno.test("a host that refuses often, takes a text at last and then says nothing, is not waited for longer for it", async () => {
  const reading: Reading = new Reading(1, {
    answer: ({ session }) =>
      reading.simulation.clock.nowMs() > HOSTS_WAIT_MS_MAX - 2000
        ? undefined
        : [{ kind: "sessionLost", session, stage: 0, reason: "it is full", retryAfterMs: 500 }],
  });
  reading.found(0, ["0.a"]);
  reading.generate(1);
  await reading.run(HOSTS_WAIT_MS_MAX + 2 * TOKEN_TIMEOUT_MS_MIN);
  assert.ok(reading.messages("extend").length > 20, "it was refused often");
  assert.equal(reading.failed.get(1)?.failure.kind, "unanswered");
});

Deno.test("no host's word makes a text wait for it without end", async () => {
  const reading = new Reading(1, {
    // At first it does what it should.
    answer: (token) => token.position < 5 ? [{ kind: "drawn", tokens: [token] }] : undefined,
    probed: (_, answer) => ({ ...answer, secondsPerToken: 1e308 }),
  });
  reading.found(0, ["0.a"]);
  reading.generate(1);
  await reading.run(10 * TOKEN_TIMEOUT_MS_MAX);
  assert.equal(reading.failed.get(1)?.failure.kind, "unanswered");
});

Deno.test("without room anywhere a new text waits a little, and hears when to come again", async () => {
  const reading = new Reading(1, { probed: (_, answer) => ({ ...answer, roomTokens: 2 }) });
  reading.found(0, ["0.a"]);
  reading.generate(1);
  await reading.run(ROOM_WAIT_MS_MAX - 100);
  assert.equal(reading.figures!.waiting, 1);
  await reading.run(200);
  assert.equal(reading.failed.get(1)?.failure.kind, "noRoom");
  assert.match(reading.failed.get(1)!.message, /Cannot go on with a text: no host of stage 0 has room/);
  assert.equal(reading.figures!.waiting, 0);
});

Deno.test("a text waits for hosts of every stage, and fails by name of the stage that has none", async () => {
  const reading = new Reading(2);
  reading.found(0, ["0.a"]);
  const wish = reading.generate(1);
  await reading.run(HOSTS_WAIT_MS_MAX - 1000);
  reading.found(1, ["1.a"]);
  await reading.run(500);
  assert.deepEqual(reading.idsOf(1), expected(wish));

  const alone = new Reading(2);
  alone.found(0, ["0.a"]);
  alone.generate(1);
  await alone.run(HOSTS_WAIT_MS_MAX + 1);
  assert.deepEqual(alone.failed.get(1)?.failure, { kind: "noHosts", stage: 1 });
});

Deno.test("a stage whose one known host is gone is waited for: another may be found", async () => {
  const gone = new Set<string>();
  const reading = new Reading(1, { leaves: (to, { kind }) => kind !== "extend" || !gone.has(to) });
  reading.found(0, ["0.a"]);
  const wish = reading.generate(1, { tokensMax: 20 });
  await reading.run(100);
  gone.add("0.a");
  reading.kept.clear();
  reading.tell({ kind: "peerLost", peer: "0.a", reason: "it fell over" });
  await reading.run(HOSTS_WAIT_MS_MAX - 2000);
  reading.found(0, ["0.b"]);
  await reading.run(2000);
  assert.deepEqual(reading.idsOf(1), expected(wish));
});

Deno.test("hosts that take no frame are tried again after a pause; a text gives up in the end", async () => {
  const reading = new Reading(1, { leaves: (_, { kind }) => kind !== "extend" });
  reading.found(0, ["0.a"]);
  reading.generate(1);
  await reading.run(60_000);
  const failure = reading.failed.get(1)?.failure;
  assert.ok(failure?.kind === "unanswered" && failure.attempts >= PATH_ATTEMPTS_MIN);
  assert.match(reading.failed.get(1)!.message, /takes nothing/);
  assert.equal(reading.figures!.sessions, 0);
});

Deno.test("what can't be continued is refused at once, with the reason", async () => {
  const reading = twoByTwo();
  const wrong: readonly (readonly [Partial<GenerationRequest>, string, RegExp])[] = [
    [{ prompt: new Int32Array() }, "invalid", /the prompt is empty/],
    [{ prompt: new Int32Array([1, VOCABULARY]) }, "invalid", /token 1000 is none of the model's 1000/],
    [{ prompt: new Int32Array([-1]) }, "invalid", /token -1/],
    [{ tokensMax: 0 }, "invalid", /must be whole, and at least 1/],
    [{ tokensMax: 1.5 }, "invalid", /must be whole/],
    [{ tokensMax: TOKENS_MAX }, "tooLong", /Cannot continue a text of 3 tokens by 200: .* 200 tokens/],
    [{ sampling: { ...GREEDY, temperature: NaN } }, "invalid", /temperature/],
    [{ sampling: { ...GREEDY, topP: 0 } }, "invalid", /topP/],
    [
      { sampling: { ...GREEDY, logitBias: [{ token: VOCABULARY, bias: 1 }] } },
      "invalid",
      /token 1000, none of 1000/,
    ],
  ];
  wrong.forEach(([more], index) => reading.generate(index, more));
  await reading.run(100);
  wrong.forEach(([, kind, message], index) => {
    assert.equal(reading.failed.get(index)?.failure.kind, kind);
    assert.match(reading.failed.get(index)!.message, message);
  });
  assert.deepEqual(reading.messages("extend"), []);
});

Deno.test("no more texts wait than there is room for", async () => {
  const reading = new Reading(1);
  for (let request = 0; request <= HOME_WAITING_MAX; request += 500) {
    for (let one = request; one < Math.min(request + 500, HOME_WAITING_MAX + 1); one++) reading.generate(one);
    await reading.run(1);
  }
  assert.deepEqual([...reading.failed.keys()], [HOME_WAITING_MAX]);
  assert.equal(reading.failed.get(HOME_WAITING_MAX)!.failure.kind, "busy");
});

Deno.test("when the peer stops every text hears of it, and so does every host", async () => {
  const reading = twoByTwo();
  reading.generate(1, { tokensMax: 100 });
  await reading.run(100);
  reading.generate(2, { tokensMax: 100 });
  await reading.run(1);
  reading.system.stop();
  await reading.run(100);
  assert.deepEqual([...reading.failed.values()].map(({ failure }) => failure), [{ kind: "stopped" }, {
    kind: "stopped",
  }]);
  assert.equal(reading.kept.size, 0);
});

Deno.test("tokens that take long because the prompt is long are waited for", async () => {
  // A token of a prompt has taken 100 ms: fifty of them may take five seconds, and ten times that.
  const reading = new Reading(1, {
    answer: (token) => {
      const { text } = reading.kept.get(token.session)!;
      if (text.length !== 50) return [{ kind: "drawn", tokens: [{ ...token, spentMs: [20] }] }];
      reading.simulation.clock.after(20_000, () => {
        reading.hear("0.a", { kind: "drawn", tokens: [{ ...token, spentMs: [19_000] }] });
      });
      return undefined;
    },
    probed: (_, answer) => ({ ...answer, secondsPerToken: 0.1 }),
  });
  reading.found(0, ["0.a"]);
  const wish = reading.generate(1, { prompt: new Int32Array(50), tokensMax: 3 });
  await reading.run(60_000);
  assert.deepEqual(reading.idsOf(1), expected(wish));
  assert.equal(reading.figures!.repairs, 0);
});
