import assert from "node:assert/strict";
import fc from "fast-check";
import { Simulation } from "./core/simulation.ts";
import type { ActorSystem } from "./core/system.ts";
import { host } from "./host.ts";
import type { HostStatus } from "./host/options.ts";
import {
  DECODE_BATCH_MAX,
  HELLO_PERIOD_MS,
  PREFILL_CHUNK_TOKENS,
  SESSION_BIASES_MAX,
  SESSION_ENDED_MS,
  SESSION_IDLE_MS,
  SESSION_LEASE_MS,
  STANDALONE_MS,
} from "./limits.ts";
import {
  fromFrame,
  type Message,
  type MessageOf,
  type RemoteMessage,
  type SessionPart,
  toFrame,
} from "./messages.ts";
import { behaviour } from "./role.ts";
import { announcementOf } from "./testing/announcement.ts";
import { encodeFrame } from "./wire/codec.ts";
import { GREEDY, type Sampling } from "../run/mod.ts";
import { LOGIT_BIAS_MAX } from "../run/sampling.ts";
import { countingManifest } from "../sim/counting_run.ts";
import { CountingSessions, countingText } from "../sim/counting_sessions.ts";
import { CountingStage } from "../sim/counting_stage.ts";
import { simulatedSigner, simulatedVerify } from "../sim/swarm.ts";
import type { SessionRun } from "../stages/mod.ts";

const RUN = "1".repeat(64);
const VOCABULARY = 256;
const WORK_MS = 10;
const SEQUENCE_LENGTH = 2048;
const PATH = ["first", "own", "last"];
const SAMPLING: Sampling = { ...GREEDY, temperature: 1, seed: 3 };

/** Name of the n-th session. */
function id(n: number): string {
  return n.toString(16).padStart(32, "0");
}

/** What a session's share of a frame can be told to be. */
interface PartOf {
  readonly session?: number;
  readonly home?: string;
  readonly position?: number;
  readonly tokens: readonly number[];
  readonly draws?: boolean;
  /** The whole text, if these are not its first tokens. */
  readonly text?: readonly number[];
  readonly change?: Partial<SessionPart>;
}

/** One of three hosts, alone in its world, with every peer that it talks to played by the test. */
class Hosting {
  readonly simulation = new Simulation({
    seed: 1,
    costs: { durationMs: () => WORK_MS, lane: () => "compute" },
  });
  readonly stage: CountingStage;
  readonly runs: SessionRun[] = [];
  readonly system: ActorSystem<Message>;
  sent: { readonly to: string; readonly actor: string; readonly message: Message }[] = [];
  status: HostStatus | undefined;
  /** Peers that can't be reached. */
  readonly unreachable = new Set<string>();
  /** What the next run fails with. */
  trouble: Error | undefined;

  private constructor(readonly index: number, capacityTokens?: number) {
    const manifest = countingManifest({
      stages: PATH.length,
      microBatchesPerStep: 1,
      steps: 1,
      sequenceLength: SEQUENCE_LENGTH,
    });
    this.stage = new CountingStage({
      manifest,
      index,
      sessions: {
        capacityTokens,
        onRun: (run) => {
          this.runs.push(run);
          const { trouble } = this;
          this.trouble = undefined;
          if (trouble !== undefined) throw trouble;
        },
      },
    });
    this.system = this.simulation.system<Message>({
      peer: PATH[index],
      transport: (to, actor, message) => {
        if (this.unreachable.has(to)) return false;
        const frame = toFrame(RUN, message as RemoteMessage);
        encodeFrame(frame);
        this.sent.push({ to, actor, message: fromFrame(RUN, frame) });
        return true;
      },
    });
    this.system.spawn(behaviour("scout", () => ({ receive: () => {} })));
    this.system.spawn(host({
      openStage: () => Promise.resolve(this.stage),
      layout: () => assert.fail("no state is fetched here"),
      stage: index,
      bounds: { vocabulary: VOCABULARY, width: 2, sequenceLength: SEQUENCE_LENGTH, stages: PATH.length },
      run: RUN,
      signer: simulatedSigner("own"),
      verify: simulatedVerify,
      tokensPerMicroBatch: 1,
      snapshotEverySteps: 10,
      onChange: (status) => this.status = status,
    }));
  }

  /** A host that serves readers, without a trainer. */
  static async of(index: number, capacityTokens?: number): Promise<Hosting> {
    const hosting = new Hosting(index, capacityTokens);
    await hosting.pass(STANDALONE_MS + HELLO_PERIOD_MS);
    assert.equal(hosting.status?.servesSessions, true);
    return hosting;
  }

  deliver(from: string, message: RemoteMessage): void {
    this.system.deliver(from, "host", fromFrame(RUN, toFrame(RUN, message)));
  }

  async pass(ms: number): Promise<void> {
    await this.simulation.run({ untilMs: this.simulation.clock.nowMs() + ms });
  }

  /** What was sent since it was last asked, of one kind. */
  take<Kind extends Message["kind"]>(
    kind: Kind,
  ): { readonly to: string; readonly message: MessageOf<Kind> }[] {
    const taken = this.sent.filter(({ message }) => message.kind === kind);
    this.sent = this.sent.filter(({ message }) => message.kind !== kind);
    return taken as unknown as { readonly to: string; readonly message: MessageOf<Kind> }[];
  }

  /** What the host before, or the home, would send. */
  async extendOf(...parts: readonly PartOf[]): Promise<MessageOf<"extend">> {
    const hidden: number[] = [];
    for (const { tokens, text = tokens, position = 0 } of parts) {
      hidden.push(...await hiddenOf(this.index, text, position, tokens.length));
    }
    const ids = parts.flatMap(({ tokens }) => tokens);
    return {
      kind: "extend",
      stage: this.index,
      parts: parts.map(({ session = 1, home = "home", position = 0, tokens, draws = true, change }) => ({
        session: id(session),
        position,
        count: tokens.length,
        draws,
        spentMs: new Array(this.index).fill(1),
        opening: position > 0
          ? null
          : { home, path: PATH, sampling: SAMPLING, promptTokens: tokens.length, tokensMax: SEQUENCE_LENGTH },
        ...change,
      })),
      tokens: { dataType: "i32", shape: [ids.length], data: Int32Array.from(ids) },
      ...(this.index === 0 ? {} : {
        hidden: { dataType: "f32", shape: [ids.length, 2], data: Float32Array.from(hidden) },
      }),
    };
  }

  /** Sends it as whoever has to, and lets it be computed. */
  async extend(...parts: readonly PartOf[]): Promise<void> {
    this.deliver(this.index === 0 ? "home" : PATH[this.index - 1], await this.extendOf(...parts));
    await this.pass(WORK_MS);
  }

  /** Sessions that stage and host keep, once the host has said so. */
  async kept() {
    await this.pass(HELLO_PERIOD_MS);
    return { held: this.stage.sessions.count, sessions: this.status!.sessions };
  }
}

/** Hidden states of some tokens of a text, after the stages before. */
async function hiddenOf(
  stage: number,
  text: readonly number[],
  from: number,
  count: number,
): Promise<number[]> {
  if (stage === 0) return [];
  let input: SessionRun["input"] = { dataType: "i32", shape: [1, text.length], data: Int32Array.from(text) };
  for (let index = 0; index < stage; index++) {
    const sessions = new CountingSessions({ index, count: PATH.length, vocabulary: VOCABULARY, width: 2 });
    const result = await sessions.extend({ sequences: [{ key: "", position: 0 }], input });
    if (result.kind === "activation") input = result.activation;
  }
  return [...input.data.slice(2 * from, 2 * (from + count))];
}

function countTo(count: number): number[] {
  return Array.from({ length: count }, (_, token) => token % VOCABULARY);
}

Deno.test("the first host hands hidden states on, with all that the next one needs", async () => {
  const hosting = await Hosting.of(0);
  await hosting.extend({ tokens: [1, 2, 3] });
  const [{ to, message }, ...others] = hosting.take("extend");
  assert.deepEqual([to, others], ["own", []]);
  assert.equal(message.stage, 1);
  assert.deepEqual([...message.tokens.data], [1, 2, 3]);
  assert.deepEqual([...message.hidden!.data], await hiddenOf(1, [1, 2, 3], 0, 3));
  const [{ opening, spentMs, draws, count, position }] = message.parts;
  assert.deepEqual([count, position, draws, spentMs], [3, 0, true, [WORK_MS]]);
  assert.equal(opening?.home, "home");
  await hosting.extend({ tokens: [9], position: 3, text: [1, 2, 3, 9] });
  const [{ message: next }] = hosting.take("extend");
  assert.deepEqual(next.parts.map(({ opening, position }) => ({ opening, position })), [{
    opening: null,
    position: 3,
  }]);
});

Deno.test("the last host draws, and tells the home", async () => {
  const hosting = await Hosting.of(2);
  const text = [7, 1, 200];
  const expected = countingText({ stages: 3, vocabulary: VOCABULARY }, text, SAMPLING, 2);
  await hosting.extend({ tokens: text });
  const [{ to, message }] = hosting.take("drawn");
  assert.equal(to, "home");
  assert.deepEqual(message.tokens, [{
    session: id(1),
    position: 3,
    ...expected[0],
    spentMs: [1, 1, WORK_MS],
  }]);
  const longer = [...text, expected[0].token];
  await hosting.extend({ tokens: longer.slice(3), position: 3, text: longer });
  assert.deepEqual(hosting.take("drawn")[0].message.tokens[0].token, expected[1].token);
});

Deno.test("a prompt is computed in chunks, each handed on at once, and only the last is drawn after", async () => {
  const hosting = await Hosting.of(0);
  const prompt = countTo(2 * PREFILL_CHUNK_TOKENS + 10);
  await hosting.extend({ tokens: prompt });
  assert.equal(hosting.take("extend").length, 1);
  await hosting.pass(2 * WORK_MS);
  const frames = hosting.take("extend").map(({ message }) => message);
  assert.deepEqual(
    frames.map(({ parts: [{ position, count, draws, opening }] }) => ({
      position,
      count,
      draws,
      isOpening: opening !== null,
    })),
    [
      { position: PREFILL_CHUNK_TOKENS, count: PREFILL_CHUNK_TOKENS, draws: false, isOpening: false },
      { position: 2 * PREFILL_CHUNK_TOKENS, count: 10, draws: true, isOpening: false },
    ],
  );
  assert.deepEqual(
    [...frames[1].hidden!.data],
    await hiddenOf(1, prompt, 2 * PREFILL_CHUNK_TOKENS, 10),
  );
});

/** Opens sessions, and leaves them resting after two tokens. */
async function opened(hosting: Hosting, sessions: readonly number[], home?: string): Promise<void> {
  for (const session of sessions) {
    const message = await hosting.extendOf({ session, home, tokens: [session % VOCABULARY, 0] });
    hosting.deliver(hosting.index === 0 ? home ?? "home" : PATH[hosting.index - 1], message);
    await hosting.pass(WORK_MS);
  }
  hosting.take("extend");
  hosting.take("drawn");
  hosting.runs.length = 0;
}

function tokenOf(session: number, token: number, home?: string): PartOf {
  return { session, home, position: 2, tokens: [token], text: [session % VOCABULARY, 0, token] };
}

/** Session numbers of each run. */
function runsOf(hosting: Hosting): number[][] {
  return hosting.runs.map(({ sequences }) => sequences.map(({ key }) => Number.parseInt(key, 16)));
}

Deno.test("all that wait for one token are one run, and what goes to one host is one frame", async () => {
  const hosting = await Hosting.of(1);
  const sessions = Array.from({ length: DECODE_BATCH_MAX + 3 }, (_, n) => n + 1);
  await opened(hosting, sessions);
  for (const session of sessions) hosting.deliver("first", await hosting.extendOf(tokenOf(session, 5)));
  await hosting.pass(WORK_MS);
  const [{ message }, ...others] = hosting.take("extend");
  assert.deepEqual([message.parts.length, others.length], [DECODE_BATCH_MAX, 0]);
  await hosting.pass(WORK_MS);
  assert.deepEqual(runsOf(hosting).map(({ length }) => length), [DECODE_BATCH_MAX, 3]);
  for (const [index, { session }] of message.parts.entries()) {
    const text = [Number.parseInt(session, 16) % VOCABULARY, 0, 5];
    assert.deepEqual(
      [...message.hidden!.data.slice(2 * index, 2 * index + 2)],
      await hiddenOf(2, text, 2, 1),
    );
  }
});

Deno.test("what is computed in one run and fits no one frame goes on in several", async () => {
  const hosting = await Hosting.of(0);
  const logitBias = Array.from(
    { length: LOGIT_BIAS_MAX },
    (_, n) => ({ token: n % VOCABULARY, bias: -99.5 }),
  );
  for (let session = 1; session <= DECODE_BATCH_MAX; session++) {
    const message = await hosting.extendOf({ session, tokens: [session] });
    const [part] = message.parts;
    const opening = { ...part.opening!, sampling: { ...SAMPLING, logitBias } };
    hosting.deliver("home", { ...message, parts: [{ ...part, opening }] });
  }
  await hosting.pass(2 * WORK_MS);
  const frames = hosting.take("extend").map(({ message }) => message);
  assert.equal(runsOf(hosting).length, 1);
  assert.ok(frames.length > 1 && frames.length < DECODE_BATCH_MAX);
  const told = frames.flatMap(({ parts, tokens }) =>
    parts.map(({ session }, place) => [session, tokens.data[place]])
  );
  assert.deepEqual(told, Array.from({ length: DECODE_BATCH_MAX }, (_, n) => [id(n + 1), n + 1]));
});

Deno.test("homes take turns: whoever has a hundred texts waits for itself", async () => {
  const hosting = await Hosting.of(0);
  const many = Array.from({ length: 100 }, (_, n) => n + 1);
  await opened(hosting, many, "busy");
  await opened(hosting, [500], "quiet");
  for (const session of many) hosting.deliver("busy", await hosting.extendOf(tokenOf(session, 5, "busy")));
  hosting.deliver("quiet", await hosting.extendOf(tokenOf(500, 5, "quiet")));
  await hosting.pass(5 * WORK_MS);
  const runs = runsOf(hosting);
  assert.equal(runs[0].includes(500), true);
  // Of one home the oldest goes first.
  assert.deepEqual(runs.flat().filter((session) => session !== 500), many);
  // And prompts take turns, too: of the homes first, of the texts of one then.
  hosting.runs.length = 0;
  const prompt = countTo(3 * PREFILL_CHUNK_TOKENS);
  for (const session of [601, 602]) {
    hosting.deliver("busy", await hosting.extendOf({ session, home: "busy", tokens: prompt }));
  }
  hosting.deliver("quiet", await hosting.extendOf({ session: 603, home: "quiet", tokens: prompt }));
  await hosting.pass(9 * WORK_MS);
  assert.deepEqual(runsOf(hosting).flat(), [601, 603, 602, 603, 601, 603, 602, 601, 602]);
});

Deno.test("between two chunks of prompts everybody gets a token", async () => {
  const hosting = await Hosting.of(0);
  await opened(hosting, [1, 2]);
  hosting.deliver("home", await hosting.extendOf({ session: 9, tokens: countTo(3 * PREFILL_CHUNK_TOKENS) }));
  hosting.deliver("home", await hosting.extendOf(tokenOf(1, 5), tokenOf(2, 5)));
  await hosting.pass(WORK_MS);
  const again = (session: number) => ({ session, position: 3, tokens: [6], text: [session, 0, 5, 6] });
  await hosting.extend(again(1), again(2));
  await hosting.pass(4 * WORK_MS);
  assert.deepEqual(runsOf(hosting), [[1, 2], [9], [1, 2], [9], [9]]);
});

Deno.test("what lies is refused, each session for itself", async () => {
  const own = { session: 1, tokens: [5], position: 2, text: [1, 0, 5] };
  const opening = (change: object) => async (hosting: Hosting) => {
    const message = await hosting.extendOf({ session: 9, tokens: [1, 2] });
    const [part] = message.parts;
    return { ...message, parts: [{ ...part, opening: { ...part.opening!, ...change } }] };
  };
  const changed = (change: Partial<SessionPart>) => (hosting: Hosting) =>
    hosting.extendOf({ ...own, change });
  const frame = (change: Partial<MessageOf<"extend">>) => async (hosting: Hosting) => ({
    ...await hosting.extendOf(own),
    ...change,
  });
  const hidden = (...data: number[]) =>
    frame({ hidden: { dataType: "f32", shape: [1, data.length], data: Float32Array.from(data) } });
  type Case = [string, (hosting: Hosting) => Promise<MessageOf<"extend">>, RegExp];
  const cases: Case[] = [
    ["a stage that is not this host's", frame({ stage: 2 }), /does not serve stage 2/],
    ["more tokens than rows", changed({ count: 2 }), /tokens are i32 \[1\], not i32 \[2\]/],
    ["counts beyond all bounds", changed({ count: Number.MAX_SAFE_INTEGER }), /tokens are/],
    ["no hidden states", frame({ hidden: undefined }), /hidden states are missing/],
    ["wider hidden states", hidden(1, 2, 3), /hidden states are f32 \[1,3\], not f32 \[1, 2\]/],
    ["a hidden state that is no number", hidden(NaN, 0), /a hidden state is NaN/],
    ["a hidden state beyond all bounds", hidden(0, -1e30), /a hidden state is -1/],
    [
      "a token of no word",
      (hosting) => hosting.extendOf({ ...own, tokens: [256] }),
      /token 256 is none of 256/,
    ],
    ["a negative token", (hosting) => hosting.extendOf({ ...own, tokens: [-1] }), /token -1 is none/],
    ["a gap", changed({ position: 3 }), /goes on at position 3, 2 tokens are known/],
    ["a step back", changed({ position: 1 }), /goes on at position 1/],
    ["a position beyond all bounds", changed({ position: Number.MAX_SAFE_INTEGER }), /goes on at position/],
    ["too many times", changed({ spentMs: [1, 2] }), /2 stages tell their time, not 1/],
    [
      "an opening of what is open",
      async (hosting) => {
        const { parts: [{ opening }] } = await hosting.extendOf({ tokens: [1] });
        return await hosting.extendOf({ ...own, change: { opening } });
      },
      /open already/,
    ],
    ["a path that is too long", opening({ path: [...PATH, "more"] }), /its path has 4 hosts/],
    [
      "a path that leads elsewhere",
      opening({ path: ["first", "other", "last"] }),
      /leads elsewhere at stage 1/,
    ],
    [
      "a text that is too long",
      opening({ tokensMax: 4096 }),
      /a text of 4096 tokens is wanted, the longest of this run has 2048/,
    ],
    ["a prompt longer than its text", opening({ promptTokens: 9, tokensMax: 8 }), /its prompt has 9 tokens/],
    [
      "more tokens than announced",
      opening({ promptTokens: 1, tokensMax: 1 }),
      /its text would have 2 tokens/,
    ],
    [
      "a bias of no word",
      opening({ sampling: { ...GREEDY, logitBias: [{ token: 999, bias: 1 }] } }),
      /token 999 of its biases/,
    ],
  ];
  for (const [name, make, reason] of cases) {
    const hosting = await Hosting.of(1);
    await opened(hosting, [1, 2]);
    hosting.deliver("first", await make(hosting));
    // It shares neither the blame nor the run.
    await hosting.extend(tokenOf(2, 5));
    const lost = hosting.take("sessionLost");
    assert.equal(lost.length, 1, name);
    assert.match(lost[0].message.reason, reason, name);
    assert.deepEqual([lost[0].to, lost[0].message.retryAfterMs], ["home", null], name);
    const [{ message }] = hosting.take("extend");
    assert.deepEqual(message.parts.map(({ session }) => session), [id(2)], name);
    const { held, sessions } = await hosting.kept();
    assert.equal(held, sessions, name);
  }
});

Deno.test("a stranger can neither go on with another's session nor end it nor open one in its name", async () => {
  const hosting = await Hosting.of(1);
  await opened(hosting, [1]);
  hosting.deliver("stranger", await hosting.extendOf(tokenOf(1, 5)));
  hosting.deliver("last", await hosting.extendOf({ session: 1, tokens: [1, 2] }));
  hosting.deliver("stranger", { kind: "endSessions", sessions: [id(1)] });
  hosting.deliver("stranger", await hosting.extendOf({ session: 7, tokens: [1, 2] }));
  await hosting.pass(WORK_MS);
  assert.deepEqual([hosting.sent.length, hosting.runs.length], [0, 0]);
  await hosting.extend(tokenOf(1, 5));
  assert.equal(hosting.take("extend").length, 1);
});

Deno.test("who has forgotten a session tells the host before, which tells the home", async () => {
  const hosting = await Hosting.of(1);
  await hosting.extend(tokenOf(1, 5));
  assert.deepEqual(hosting.take("endSessions"), [
    { to: "first", actor: "host", message: { kind: "endSessions", sessions: [id(1)] } },
  ]);
  await opened(hosting, [2]);
  hosting.deliver("last", { kind: "endSessions", sessions: [id(2)] });
  await hosting.pass(1);
  const [{ to, message }] = hosting.take("sessionLost");
  assert.deepEqual([to, message.session, message.stage], ["home", id(2), 2]);
  assert.equal((await hosting.kept()).held, 0);
  const first = await Hosting.of(0);
  await first.extend(tokenOf(1, 5));
  assert.deepEqual(first.take("sessionLost").map(({ to }) => to), ["home"]);
});

Deno.test("the end of a session may overtake its beginning, and passes along the path", async () => {
  const hosting = await Hosting.of(1);
  await opened(hosting, [1]);
  hosting.deliver("first", { kind: "endSessions", sessions: [id(1), id(2)] });
  await hosting.extend({ session: 2, tokens: [1, 2] });
  await hosting.extend(tokenOf(1, 5));
  assert.deepEqual(hosting.sent.map(({ to, message }) => ({ to, message })), [
    { to: "last", message: { kind: "endSessions", sessions: [id(1)] } },
  ]);
  assert.deepEqual([hosting.runs.length, (await hosting.kept()).held], [0, 0]);
});

Deno.test("a session that ends while it is computed leaves nothing, and its neighbour goes on", async () => {
  const hosting = await Hosting.of(1);
  await opened(hosting, [1, 2]);
  hosting.deliver("first", await hosting.extendOf(tokenOf(1, 5), tokenOf(2, 5)));
  await hosting.pass(WORK_MS / 2);
  assert.equal(hosting.runs.length, 1);
  hosting.deliver("first", { kind: "endSessions", sessions: [id(1)] });
  await hosting.pass(WORK_MS);
  assert.deepEqual(hosting.take("extend")[0].message.parts.map(({ session }) => session), [id(2)]);
  assert.deepEqual(await hosting.kept(), { held: 1, sessions: 1 });
});

Deno.test("when a neighbour is lost, whoever can do something about it is told", async () => {
  const lost = (peer: string) => ({ kind: "peerLost", peer, reason: "gone" } as const);
  const after = async (peer: string) => {
    const hosting = await Hosting.of(1);
    await opened(hosting, [1]);
    hosting.system.tell({ actor: "host" }, lost(peer));
    await hosting.pass(WORK_MS);
    assert.equal((await hosting.kept()).held, 0);
    return hosting.sent.map(({ to, message }) => `${message.kind} ${to}`).sort();
  };
  assert.deepEqual(await after("last"), ["endSessions last", "sessionLost home"]);
  assert.deepEqual(await after("first"), ["endSessions last"]);
  assert.deepEqual(await after("home"), ["endSessions first", "endSessions last"]);
  const hosting = await Hosting.of(1);
  await opened(hosting, [1]);
  hosting.unreachable.add("last");
  await hosting.extend(tokenOf(1, 5));
  assert.deepEqual(hosting.take("sessionLost").map(({ message }) => message.stage), [2]);
});

Deno.test("where there is no room, who rests for longest makes some; who is in use does not", async () => {
  const hosting = await Hosting.of(1, 96);
  await opened(hosting, [1, 2, 3]);
  await hosting.extend({ session: 4, tokens: [1, 2] });
  const [refused] = hosting.take("sessionLost");
  assert.deepEqual([refused.message.session, refused.message.stage], [id(4), 1]);
  assert.match(refused.message.reason, /no room in 0 of 96/);
  assert.ok(refused.message.retryAfterMs! > 0);
  assert.deepEqual(await hosting.kept(), { held: 3, sessions: 3 });
  await hosting.extend(tokenOf(1, 5));
  await hosting.pass(SESSION_IDLE_MS);
  await hosting.extend(tokenOf(3, 5));
  await hosting.extend({ session: 5, tokens: [1, 2] });
  await hosting.pass(WORK_MS);
  const [evicted, ...others] = hosting.take("sessionLost");
  assert.deepEqual([evicted.message.session, evicted.message.retryAfterMs, others], [id(2), 0, []]);
  assert.equal(hosting.take("extend").at(-1)?.message.parts[0].session, id(5));
  assert.deepEqual(await hosting.kept(), { held: 3, sessions: 3 });
});

Deno.test("what texts bring along is bounded as they are, and free again when they end", async () => {
  const hosting = await Hosting.of(0);
  const logitBias = Array.from({ length: LOGIT_BIAS_MAX }, (_, n) => ({ token: n % VOCABULARY, bias: 1 }));
  const many = SESSION_BIASES_MAX / LOGIT_BIAS_MAX;
  const begin = async (session: number) => {
    const message = await hosting.extendOf({ session, tokens: [1] });
    const [part] = message.parts;
    const opening = { ...part.opening!, sampling: { ...SAMPLING, logitBias } };
    hosting.deliver("home", { ...message, parts: [{ ...part, opening }] });
  };
  for (let session = 1; session <= many + 1; session++) await begin(session);
  await hosting.pass(WORK_MS * many);
  const [refused, ...others] = hosting.take("sessionLost");
  assert.deepEqual([refused.message.session, others], [id(many + 1), []]);
  assert.match(refused.message.reason, /262144 of 262144 biases/);
  hosting.deliver("home", { kind: "endSessions", sessions: [id(1)] });
  await begin(many + 2);
  await hosting.pass(WORK_MS);
  assert.deepEqual(hosting.take("sessionLost"), []);
});

Deno.test("of those that find no room in one run the newest goes, and the others go on", async () => {
  const hosting = await Hosting.of(1, 96);
  // Two blocks are full to the last place, and the third is another's.
  const text = countTo(32);
  for (const session of [1, 2]) await hosting.extend({ session, tokens: text });
  await hosting.extend({ session: 3, tokens: [1, 2] });
  hosting.take("extend");
  const more = [...text, 8];
  await hosting.extend(...[1, 2].map((session) => ({ session, tokens: [8], position: 32, text: more })));
  await hosting.pass(2 * WORK_MS);
  assert.deepEqual(hosting.take("sessionLost").map(({ message }) => message.session), [id(2)]);
  assert.deepEqual(hosting.take("extend").map(({ message }) => message.parts.map(({ session }) => session)), [
    [id(1)],
  ]);
});

Deno.test("numbers that outgrow f32 cost the sessions of the run, and no others", async () => {
  const hosting = await Hosting.of(1);
  await opened(hosting, [1, 2, 3]);
  hosting.trouble = new RangeError("a hidden state is not finite");
  await hosting.extend(tokenOf(1, 5), tokenOf(2, 5));
  assert.deepEqual(hosting.take("sessionLost").map(({ message }) => message.session), [id(1), id(2)]);
  await hosting.extend(tokenOf(3, 5));
  assert.equal(hosting.take("extend").length, 1);
  assert.deepEqual(await hosting.kept(), { held: 1, sessions: 1 });
});

Deno.test("what nobody continues is freed, and in the end nothing is left", async () => {
  const hosting = await Hosting.of(2);
  await opened(hosting, [1, 2]);
  await hosting.pass(SESSION_LEASE_MS / 2);
  await hosting.extend(tokenOf(2, 5));
  await hosting.pass(SESSION_LEASE_MS / 2);
  assert.deepEqual(hosting.take("sessionLost").map(({ message }) => message.session), [id(1)]);
  await hosting.pass(SESSION_LEASE_MS / 2);
  assert.deepEqual(hosting.take("sessionLost").map(({ message }) => message.session), [id(2)]);
  assert.deepEqual(await hosting.kept(), { held: 0, sessions: 0 });
  assert.equal(hosting.stage.sessions.roomTokens, hosting.stage.sessions.capacityTokens);
  // Its name means nothing any more, and is not remembered either.
  hosting.take("drawn");
  await hosting.pass(SESSION_ENDED_MS + 1);
  await hosting.extend({ session: 1, tokens: [1, 2] });
  assert.equal(hosting.take("drawn").length, 1);
});

Deno.test("after a thousand sessions nothing is kept of them", async () => {
  const hosting = await Hosting.of(1, 4096);
  for (let session = 1; session <= 1000; session += 50) {
    const sessions = Array.from({ length: 50 }, (_, n) => session + n);
    for (const one of sessions) {
      hosting.deliver("first", await hosting.extendOf({ session: one, tokens: [1, 2] }));
    }
    await hosting.pass(50 * WORK_MS);
    hosting.deliver("first", { kind: "endSessions", sessions: sessions.map(id) });
    await hosting.pass(WORK_MS);
  }
  assert.equal(hosting.take("extend").length, 1000);
  assert.equal(hosting.take("sessionLost").length, 0);
  assert.deepEqual(await hosting.kept(), { held: 0, sessions: 0 });
  assert.equal(hosting.stage.sessions.roomTokens, 4096);
});

Deno.test("a home that asks how far a host is hears at once how quick it is, and whether it has room", async () => {
  const hosting = await Hosting.of(1);
  await opened(hosting, [1]);
  await hosting.extend(tokenOf(1, 5));
  hosting.deliver("anybody", { kind: "probe", nonce: 7 });
  await hosting.pass(0);
  const [{ to, message }] = hosting.take("probed");
  assert.equal(to, "anybody");
  assert.deepEqual(message, {
    kind: "probed",
    nonce: 7,
    stage: 1,
    step: 0,
    secondsPerToken: WORK_MS / 1000,
    roomTokens: 65_536 - 32,
  });
});

Deno.test("who is told to leave tells the homes, and takes nothing more", async () => {
  const hosting = await Hosting.of(1);
  await opened(hosting, [1, 2]);
  hosting.system.tell({ actor: "host" }, { kind: "leave" });
  await hosting.pass(WORK_MS);
  assert.deepEqual(hosting.take("sessionLost").map(({ message }) => message.session), [id(1), id(2)]);
  assert.deepEqual(hosting.take("endSessions").map(({ to }) => to), ["last"]);
  await hosting.extend({ session: 3, tokens: [1, 2] });
  assert.match(hosting.take("sessionLost")[0].message.reason, /leaves/);
  assert.equal((await hosting.kept()).held, 0);
});

Deno.test("a host that a trainer leads takes in no new session before that accepts it", async () => {
  const hosting = await Hosting.of(1);
  await opened(hosting, [1]);
  hosting.system.tell({ actor: "host" }, {
    kind: "found",
    service: "coordinator",
    announcements: [announcementOf("coordinator")],
  });
  hosting.deliver("coordinator", { kind: "lead", term: 5, electorates: [] });
  await hosting.pass(WORK_MS);
  assert.equal(hosting.status?.servesSessions, false);
  await hosting.extend({ session: 2, tokens: [1, 2] });
  assert.match(hosting.take("sessionLost")[0].message.reason, /does not serve yet/);
  // What was begun goes on: the state is still the same.
  await hosting.extend(tokenOf(1, 5));
  assert.equal(hosting.take("extend").length, 1);
  hosting.deliver("coordinator", { kind: "accepted", term: 5, step: 0, round: 0, keep: false });
  await hosting.extend({ session: 3, tokens: [1, 2] });
  assert.equal(hosting.take("extend").length, 1);
  // Another state ends all.
  hosting.deliver("coordinator", {
    kind: "restore",
    term: 5,
    stage: 1,
    step: 3,
    stateHash: "b".repeat(64),
    donors: [],
    proof: null,
  });
  await hosting.pass(WORK_MS);
  assert.deepEqual(hosting.take("sessionLost").map(({ message }) => message.session), [id(1), id(3)]);
});

Deno.test("whatever comes, in any order, costs nobody else's session, and nothing is left in the end", async () => {
  const session = fc.integer({ min: 1, max: 4 });
  const wild = fc.constantFrom(0, 1, 2, 3, 5, 257, -1, 1e9, Number.MAX_SAFE_INTEGER);
  const event = fc.oneof(
    fc.record({
      kind: fc.constant("extend"),
      from: fc.constantFrom("first", "last", "other"),
      session,
      position: wild,
      count: wild,
      rows: fc.integer({ min: 0, max: 4 }),
      token: wild,
      hidden: fc.constantFrom(0, 61, NaN, 1e30),
      opens: fc.boolean(),
      home: fc.constantFrom("home", "first", "own"),
      path: fc.constantFrom(PATH, ["own"], ["first", "own", "own"], []),
    }),
    fc.record({ kind: fc.constant("end"), from: fc.constantFrom("first", "last", "other"), session }),
    fc.record({ kind: fc.constant("lost"), from: fc.constantFrom("last", "other") }),
    fc.record({ kind: fc.constant("wait"), ms: fc.constantFrom(1, WORK_MS, SESSION_IDLE_MS) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(event, { maxLength: 30 }), async (events) => {
      const hosting = await Hosting.of(1, 128);
      const text = [50, 0];
      let isWell = true;
      await opened(hosting, [50]);
      for (const it of events) {
        const event = it as typeof it & Record<string, unknown>;
        try {
          switch (event.kind) {
            case "wait":
              await hosting.pass(event.ms as number);
              break;
            case "lost":
              hosting.system.tell({ actor: "host" }, {
                kind: "peerLost",
                peer: event.from as string,
                reason: "",
              });
              isWell &&= event.from !== "last";
              break;
            case "end":
              hosting.deliver(event.from as string, {
                kind: "endSessions",
                sessions: [id(event.session as number)],
              });
              break;
            case "extend": {
              const rows = event.rows as number;
              hosting.deliver(event.from as string, {
                kind: "extend",
                stage: 1,
                parts: [{
                  session: id(event.session as number),
                  position: event.position as number,
                  count: event.count as number,
                  draws: true,
                  spentMs: [1],
                  opening: event.opens
                    ? {
                      home: event.home as string,
                      path: event.path as string[],
                      sampling: SAMPLING,
                      promptTokens: 1,
                      tokensMax: 64,
                    }
                    : null,
                }],
                tokens: {
                  dataType: "i32",
                  shape: [rows],
                  data: new Int32Array(rows).fill(event.token as number),
                },
                hidden: {
                  dataType: "f32",
                  shape: [rows, 2],
                  data: new Float32Array(2 * rows).fill(event.hidden as number),
                },
              });
            }
          }
        } catch (error) {
          // The wire turns it away.
          assert.equal((error as Error).name, "BadFrame");
        }
        assert.ok(hosting.stage.sessions.count <= 5);
      }
      await hosting.pass(10 * WORK_MS);
      // Whoever rests may have had to make room; nothing else can have cost it its place.
      for (const { message } of hosting.take("sessionLost")) {
        if (message.session === id(50)) assert.ok(!isWell || /others need its room/.test(message.reason));
        if (message.session === id(50)) isWell = false;
      }
      hosting.take("extend");
      text.push(7);
      await hosting.extend({ session: 50, tokens: [7], position: 2, text });
      if (isWell) {
        const frame = hosting.take("extend").find(({ message }) => message.parts[0].session === id(50));
        assert.deepEqual([...frame!.message.hidden!.data], await hiddenOf(2, text, 2, 1));
      }
      await hosting.pass(2 * SESSION_LEASE_MS);
      assert.deepEqual(await hosting.kept(), { held: 0, sessions: 0 });
    }),
    { numRuns: 200 },
  );
});
