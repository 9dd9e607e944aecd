import assert from "node:assert/strict";
import { Simulation } from "./core/simulation.ts";
import { SUPERVISION_DEFAULT } from "./core/supervisor.ts";
import type { ActorSystem } from "./core/system.ts";
import { host } from "./host.ts";
import type { HostStatus } from "./host/options.ts";
import type { KeptState, SnapshotStore } from "./host/snapshots.ts";
import { HELD_WALKS_MAX, HELLO_PERIOD_MS, OFFER_MS_MAX } from "./limits.ts";
import { type Message, type MessageOf, type RemoteMessage, walkKey } from "./messages.ts";
import { behaviour } from "./role.ts";
import { announcementOf } from "./testing/announcement.ts";
import { signState, type StateClaim, type StateProof } from "../routing/mod.ts";
import { simulatedSigner, simulatedVerify } from "../sim/swarm.ts";
import { DeviceLost, type Stage, type StateManifest } from "../stages/mod.ts";

const HASH = "a".repeat(64);
const STATE: StateManifest = { step: 0, stateHash: HASH, pieces: [HASH], pieceBytes: 4, bytes: 4 };
const WORK_MS = 10;
const RUN = "1".repeat(64);

/** The first of two stages; it computes nothing, and counts what is asked of it. */
class IdleStage implements Stage {
  readonly index = 0;
  readonly count = 2;
  readonly step = 0;
  readonly parameters = 1;
  readonly kept = 0;
  inFlightMax = 1;
  readonly calls: string[] = [];
  /** What the next backward pass, or the sum of the gradients, is rejected with. */
  trouble: Error | undefined;
  forward(key: string) {
    this.calls.push(`forward ${key}`);
    const activation = { dataType: "f32", shape: [1], data: new Float32Array(1) } as const;
    return Promise.resolve({ kind: "activation", activation } as const);
  }
  backward(key: string, _gradient: unknown, { accumulate }: { readonly accumulate: boolean }) {
    this.calls.push(`backward ${key}${accumulate ? ", counted" : ""}`);
    return this.trouble === undefined ? Promise.resolve(undefined) : Promise.reject(this.trouble);
  }
  release(key: string) {
    this.calls.push(`release ${key}`);
  }
  gradientSum() {
    return this.trouble === undefined ? Promise.resolve(new Float32Array(1)) : Promise.reject(this.trouble);
  }
  clearGradients() {
    this.calls.push("clear");
    return Promise.resolve();
  }
  apply() {
    return Promise.resolve();
  }
  exportState() {
    this.calls.push("export");
    return Promise.resolve({ manifest: STATE, bytes: new Uint8Array(4) });
  }
  importState() {
    this.calls.push("import");
    return Promise.resolve();
  }
  describeState() {
    return Promise.resolve(STATE);
  }
  close() {
    this.calls.push("close");
    return Promise.resolve();
  }
}

/** A host of the first stage, and what it tells others. */
class Hosting {
  readonly simulation = new Simulation({
    seed: 1,
    costs: { durationMs: () => WORK_MS, lane: () => "compute" },
  });
  readonly stage = new IdleStage();
  readonly system: ActorSystem<Message>;
  readonly sent: { readonly to: string; readonly actor: string; readonly message: Message }[] = [];
  status: HostStatus | undefined;

  constructor(snapshots?: SnapshotStore) {
    this.system = this.simulation.system<Message>({
      peer: "own",
      transport: (to, actor, message) => {
        this.sent.push({ to, actor, message });
        return true;
      },
    });
    this.system.spawn(behaviour("scout", () => ({ receive: () => {} })));
    this.system.spawn(host({
      openStage: () => Promise.resolve(this.stage),
      layout: () => assert.fail("no state is fetched here"),
      stage: 0,
      bounds: { vocabulary: 256, width: 2, sequenceLength: 64, stages: 2 },
      run: RUN,
      signer: simulatedSigner("own"),
      verify: simulatedVerify,
      snapshots,
      tokensPerMicroBatch: 1,
      snapshotEverySteps: 10,
      onChange: (status) => this.status = status,
    }));
  }

  /** A host that serves, and knows a coordinator and a host of the next stage. */
  static async serving(snapshots?: SnapshotStore): Promise<Hosting> {
    const hosting = new Hosting(snapshots);
    hosting.system.tell({ actor: "host" }, {
      kind: "found",
      service: "coordinator",
      announcements: [announcementOf("coordinator")],
    });
    await hosting.pass(WORK_MS);
    hosting.system.tell({ actor: "host" }, {
      kind: "found",
      service: "stage:1",
      announcements: [announcementOf("next")],
    });
    hosting.deliver("coordinator", { kind: "lead", term: 5, electorates: [] });
    await hosting.pass(WORK_MS);
    hosting.deliver("coordinator", { kind: "accepted", term: 5, step: 0, round: 0, keep: false });
    await hosting.pass(WORK_MS);
    assert.equal(hosting.status?.serving, true);
    hosting.sent.length = 0;
    return hosting;
  }

  deliver(from: string, message: RemoteMessage): void {
    this.system.deliver(from, "host", message);
  }

  async pass(ms: number): Promise<void> {
    await this.simulation.run({ untilMs: this.simulation.clock.nowMs() + ms });
  }

  /** What was sent, of one kind. */
  of<Kind extends Message["kind"]>(kind: Kind): { readonly to: string; readonly message: MessageOf<Kind> }[] {
    return this.sent.filter(({ message }) => message.kind === kind) as {
      to: string;
      actor: string;
      message: MessageOf<Kind>;
    }[];
  }
}

/** Names some data. */
const CORPUS = "d".repeat(64);

function forward(change: Partial<MessageOf<"forward">> = {}, microBatch = 0): MessageOf<"forward"> {
  return {
    kind: "forward",
    walk: { purpose: "train", term: 5, step: 0, round: 0, microBatch, attempt: 1 },
    stage: 0,
    mask: [0, 1],
    corpus: CORPUS,
    trainer: "trainer",
    coordinator: "coordinator",
    input: { dataType: "i32", shape: [1, 1], data: new Int32Array(1) },
    ...change,
  };
}

/** How a micro-batch comes back to the first stage. */
function gradientOf(microBatch: number): MessageOf<"backward"> {
  const gradient = { dataType: "f32", shape: [1], data: new Float32Array(1) } as const;
  return { kind: "backward", walk: forward({}, microBatch).walk, stage: 0, gradient };
}

Deno.test("a host says what it holds, and serves once the coordinator says so", async () => {
  const hosting = new Hosting();
  await hosting.pass(WORK_MS);
  hosting.deliver("trainer", forward());
  await hosting.pass(1);
  assert.match(hosting.of("refused")[0].message.reason, /does not serve yet/);
  hosting.deliver("coordinator", { kind: "accepted", term: 1, step: 0, round: 0, keep: false });
  await hosting.pass(1);
  assert.equal(
    hosting.status?.serving,
    false,
    "orders of somebody to whom it has promised nothing are ignored",
  );
  hosting.system.tell({ actor: "host" }, {
    kind: "found",
    service: "coordinator",
    announcements: [announcementOf("coordinator")],
  });
  await hosting.pass(1);
  const [{ to, message }] = hosting.of("hello");
  assert.deepEqual([to, message.stage, message.step, message.stateHash], ["coordinator", 0, 0, HASH]);
});

Deno.test("an order of an earlier term, or for another step, changes nothing", async () => {
  const hosting = await Hosting.serving();
  hosting.deliver("coordinator", { kind: "prepare", term: 4, step: 0, round: 0 });
  hosting.deliver("coordinator", { kind: "prepare", term: 5, step: 1, round: 0 });
  hosting.deliver("stranger", { kind: "prepare", term: 9, step: 0, round: 0 });
  await hosting.pass(1);
  assert.deepEqual(hosting.of("prepared"), []);
  hosting.deliver("coordinator", { kind: "prepare", term: 5, step: 0, round: 0 });
  await hosting.pass(1);
  assert.deepEqual(hosting.of("prepared")[0].message.held, []);
});

const REFUSALS: [string, MessageOf<"forward">, RegExp][] = [
  ["of another stage", forward({ stage: 1 }), /serves stage 0/],
  ["of another step", forward({ walk: { ...forward().walk, step: 1 } }), /stands at step 0/],
  ["of another coordinator", forward({ coordinator: "other" }), /follows another coordinator/],
];

for (const [what, message, reason] of REFUSALS) {
  Deno.test(`a walk ${what} is refused with a reason`, async () => {
    const hosting = await Hosting.serving();
    hosting.deliver("trainer", message);
    await hosting.pass(1);
    assert.match(hosting.of("refused")[0].message.reason, reason);
    assert.deepEqual(hosting.stage.calls, []);
  });
}

Deno.test("it holds so many walks and refuses the next; one that comes twice is computed once", async () => {
  const hosting = await Hosting.serving();
  for (let i = 0; i <= HELD_WALKS_MAX; i++) hosting.deliver("trainer", forward({}, i));
  hosting.deliver("trainer", forward({}, 0));
  await hosting.pass(2 * HELD_WALKS_MAX * WORK_MS);
  assert.equal(hosting.of("admitted").length, HELD_WALKS_MAX);
  assert.equal(hosting.of("processed").length, HELD_WALKS_MAX);
  assert.equal(hosting.of("refused").length, 1);
  assert.equal(new Set(hosting.stage.calls).size, HELD_WALKS_MAX);
});

Deno.test("a gradient counts once, from the host that has the walk, and not after the round is sealed", async () => {
  const hosting = await Hosting.serving();
  hosting.deliver("trainer", forward({}, 0));
  hosting.deliver("trainer", forward({}, 1));
  await hosting.pass(3 * WORK_MS);
  hosting.deliver("stranger", gradientOf(0));
  hosting.deliver("next", gradientOf(0));
  hosting.deliver("next", gradientOf(0));
  await hosting.pass(3 * WORK_MS);
  hosting.deliver("coordinator", { kind: "prepare", term: 5, step: 0, round: 0 });
  hosting.deliver("next", gradientOf(1));
  await hosting.pass(3 * WORK_MS);
  assert.deepEqual(
    hosting.stage.calls.filter((call) => call.startsWith("backward")),
    ["backward train/5/0/0/1/0, counted", "backward train/5/0/1/1/0"],
  );
  assert.deepEqual(hosting.of("accumulated").map(({ to, message }) => [to, message.walk.microBatch]), [
    ["coordinator", 0],
  ]);
  assert.deepEqual(hosting.of("prepared")[0].message.held, [{ corpus: CORPUS, microBatches: [0] }]);
  assert.equal(hosting.of("finished").length, 2);
});

Deno.test("walks are computed side by side, as many as the stage likes, and all else alone", async () => {
  const hosting = await Hosting.serving();
  const began = () => hosting.stage.calls.filter((call) => /forward|backward/.test(call)).length;
  for (const microBatch of [0, 1, 2]) hosting.deliver("trainer", forward({}, microBatch));
  await hosting.pass(WORK_MS / 2);
  assert.equal(began(), 1);
  await hosting.pass(3 * WORK_MS);

  hosting.stage.inFlightMax = 2;
  for (const microBatch of [3, 4, 5]) hosting.deliver("trainer", forward({}, microBatch));
  await hosting.pass(WORK_MS / 2);
  assert.equal(began(), 3 + 2, "the third waits");
  for (const microBatch of [0, 1]) hosting.deliver("next", gradientOf(microBatch));
  hosting.deliver("coordinator", { kind: "prepare", term: 5, step: 0, round: 0 });
  await hosting.pass(WORK_MS);
  assert.equal(began(), 3 + 2, "one is done, and nothing is begun before the round is sealed");
  assert.equal(hosting.of("prepared").length, 0);
  await hosting.pass(WORK_MS);
  assert.deepEqual(hosting.of("prepared")[0].message.held, []);
  assert.ok(began() > 3 + 2);
});

Deno.test("attempts at one micro-batch are never counted side by side", async () => {
  const hosting = await Hosting.serving();
  hosting.stage.inFlightMax = 4;
  const again = { ...forward({}, 0).walk, attempt: 2 };
  hosting.deliver("trainer", forward({}, 0));
  hosting.deliver("trainer", forward({ walk: again }, 0));
  hosting.deliver("trainer", forward({}, 1));
  await hosting.pass(5 * WORK_MS);
  for (const message of [gradientOf(0), { ...gradientOf(0), walk: again }, gradientOf(1)]) {
    hosting.deliver("next", message);
  }
  await hosting.pass(5 * WORK_MS);
  assert.deepEqual(
    hosting.stage.calls.filter((call) => call.startsWith("backward")),
    ["backward train/5/0/0/1/0, counted", "backward train/5/0/0/2/0", "backward train/5/0/1/1/0, counted"],
  );
  assert.equal(hosting.of("finished").length, 3);
  assert.deepEqual(await heldAtPrepare(hosting), [0, 1]);
});

Deno.test("a micro-batch that spoils the sum costs what is computed beside it, and the stage is cleared", async () => {
  const hosting = await Hosting.serving();
  hosting.stage.inFlightMax = 2;
  for (const microBatch of [0, 1]) hosting.deliver("trainer", forward({}, microBatch));
  await hosting.pass(3 * WORK_MS);
  hosting.stage.trouble = new Error("out of memory");
  hosting.deliver("next", gradientOf(0));
  await hosting.pass(1);
  hosting.stage.trouble = undefined;
  hosting.deliver("next", gradientOf(1));
  await hosting.pass(5 * WORK_MS);
  assert.equal(hosting.of("failed").length, 1);
  assert.equal(hosting.of("finished").length, 1);
  assert.ok(hosting.stage.calls.includes("clear"));
  assert.deepEqual(await heldAtPrepare(hosting), []);
});

Deno.test("a sum that is spoilt is cleared, also before anything was counted in it", async () => {
  const hosting = await Hosting.serving();
  hosting.stage.trouble = new Error("out of memory");
  await walkThere(hosting, 0);
  hosting.stage.trouble = undefined;
  assert.ok(hosting.stage.calls.includes("clear"));
  await walkThere(hosting, 1);
  assert.deepEqual(await heldAtPrepare(hosting), [1]);
});

Deno.test("whoever asks for the state again and again gets one offer, and one copy is made for all", async () => {
  const hosting = await Hosting.serving();
  hosting.deliver("trainer", forward());
  await hosting.pass(1);
  for (let i = 0; i < 100; i++) {
    hosting.deliver("flood", { kind: "stateRequest", purpose: "join", stateHash: HASH });
    hosting.deliver("joiner", { kind: "stateRequest", purpose: "join", stateHash: HASH });
  }
  await hosting.pass(10 * WORK_MS);
  assert.deepEqual(hosting.of("stateOffer").map(({ to }) => to), ["flood", "joiner"]);
  assert.equal(hosting.stage.calls.filter((call) => call === "export").length, 1);
});

/** Takes a micro-batch through the host and back. */
async function walkThere(hosting: Hosting, microBatch: number): Promise<void> {
  const { walk } = forward({}, microBatch);
  hosting.deliver("trainer", forward({}, microBatch));
  await hosting.pass(2 * WORK_MS);
  hosting.deliver("next", { kind: "processed", walk, stage: 1 });
  hosting.deliver("next", gradientOf(microBatch));
  await hosting.pass(2 * WORK_MS);
}

async function heldAtPrepare(hosting: Hosting, round = 0): Promise<readonly number[]> {
  hosting.deliver("coordinator", { kind: "prepare", term: 5, step: 0, round });
  await hosting.pass(2 * WORK_MS);
  return hosting.of("prepared").at(-1)!.message.held.flatMap(({ microBatches }) => microBatches);
}

Deno.test("a gradient that is refused leaves the sum as it was; one that breaks off in the middle costs it", async () => {
  for (const [trouble, held] of [[new TypeError("NaN"), [0]], [new Error("out of memory"), []]] as const) {
    const hosting = await Hosting.serving();
    await walkThere(hosting, 0);
    hosting.stage.trouble = trouble;
    await walkThere(hosting, 1);
    assert.equal(hosting.of("failed").length, 1);
    assert.deepEqual(await heldAtPrepare(hosting), held);
    assert.equal(hosting.stage.calls.includes("clear"), held.length === 0);
  }
});

Deno.test("a host that is left out of a step forgets what it has counted, and takes nothing in", async () => {
  const hosting = await Hosting.serving();
  await walkThere(hosting, 0);
  hosting.deliver("coordinator", { kind: "leftOut", term: 5, step: 0, reason: "it denies what it has said" });
  await hosting.pass(2 * WORK_MS);
  assert.ok(hosting.stage.calls.includes("clear"));
  hosting.deliver("trainer", forward({}, 1));
  await hosting.pass(1);
  assert.match(hosting.of("refused")[0].message.reason, /does not serve/);
});

Deno.test("a host whose device is lost tells whoever waits for it, and begins anew", async () => {
  const hosting = await Hosting.serving();
  await walkThere(hosting, 0);
  hosting.deliver("trainer", forward({}, 1));
  await hosting.pass(2 * WORK_MS);
  hosting.stage.trouble = new DeviceLost("unplugged");
  await walkThere(hosting, 2);
  const failed = hosting.of("failed").map(({ message: { walk, reason } }) => [walk.microBatch, reason]);
  assert.deepEqual(failed, [[1, "unplugged"], [2, "unplugged"]], "nobody waits for a time-out");
  assert.deepEqual([hosting.status?.serving, hosting.status?.trouble], [false, "unplugged"]);
  assert.equal(hosting.stage.calls.at(-1), "close", "what is left of its stage leaves room for the next");

  hosting.stage.trouble = undefined;
  hosting.sent.length = 0;
  await hosting.pass(SUPERVISION_DEFAULT.pauseMs + WORK_MS);
  hosting.system.tell({ actor: "host" }, {
    kind: "found",
    service: "coordinator",
    announcements: [announcementOf("coordinator")],
  });
  await hosting.pass(HELLO_PERIOD_MS);
  const hello = hosting.of("hello").at(-1)!.message;
  assert.equal(hello.stage, 0, "it has opened its stage again");
  assert.deepEqual(hello.report?.held ?? [], [], "of what was counted before it says nothing");
});

Deno.test("a sum that can't be had is forgotten, so that the next round replays what it held", async () => {
  const hosting = await Hosting.serving();
  await walkThere(hosting, 0);
  assert.deepEqual(await heldAtPrepare(hosting), [0]);
  hosting.stage.trouble = new Error("out of memory");
  hosting.deliver("coordinator", { kind: "reduce", term: 5, step: 0, round: 0, replicas: ["own"] });
  await hosting.pass(4 * WORK_MS);
  assert.match(hosting.of("reduceFailed")[0].message.reason, /out of memory/);
  assert.deepEqual(await heldAtPrepare(hosting, 1), []);
});

Deno.test("a walk whose next stage has nobody is not kept for ever: its trainer hears that it failed", async () => {
  const hosting = await Hosting.serving();
  const walk = { ...forward().walk, purpose: "evaluate" as const };
  hosting.deliver("trainer", forward({ walk, mask: [] }));
  await hosting.pass(OFFER_MS_MAX + 2 * WORK_MS);
  const [{ to, message }, ...more] = hosting.of("failed");
  assert.deepEqual([to, message.walk, more], ["trainer", walk, []]);
  assert.match(message.reason, /no host of stage 1 computed it/);
  assert.ok(hosting.stage.calls.includes(`release ${walkKey(walk)}`));
});

Deno.test("who is told that a walk was given up says that it waits itself, unless it owes the gradient", async () => {
  const hosting = await Hosting.serving();
  for (const microBatch of [0, 1]) hosting.deliver("trainer", forward({}, microBatch));
  await hosting.pass(3 * WORK_MS);
  hosting.deliver("next", { kind: "processed", walk: forward({}, 0).walk, stage: 1 });
  await hosting.pass(1);
  const giveUp = (microBatch: number) => {
    hosting.deliver("trainer", { kind: "givenUp", walk: forward({}, microBatch).walk, stage: 0 });
  };
  giveUp(0);
  await hosting.pass(1);
  assert.deepEqual(hosting.of("abandoned").map(({ to, message }) => [to, message.walk.microBatch]), [[
    "trainer",
    0,
  ]]);
  assert.deepEqual(hosting.of("givenUp").map(({ to, message }) => [to, message.walk.microBatch]), [[
    "next",
    0,
  ]]);
  await walkThere(hosting, 1);
  giveUp(1);
  await hosting.pass(1);
  assert.equal(hosting.of("abandoned").length, 1);
});

// --- what a host believes of a state ----------------------------------------------------------------

const WANTED: StateClaim = { run: RUN, stage: 0, step: 7, stateHash: "c".repeat(64) };
const REPLICAS = ["a", "b", "c"];

/** What these have signed. */
async function signedBy(peers: readonly string[], claim = WANTED, replicas = REPLICAS): Promise<StateProof> {
  const proofs = await Promise.all(peers.map((peer) => signState(claim, replicas, simulatedSigner(peer))));
  return { replicas, votes: proofs.flatMap(({ votes }) => votes) };
}

async function restored(
  proof: StateProof | null,
  change: Partial<MessageOf<"restore">> = {},
): Promise<Hosting> {
  const hosting = await Hosting.serving();
  const { step, stateHash } = WANTED;
  const order = { kind: "restore", term: 5, stage: 0, step, stateHash, donors: ["a", "b"], proof } as const;
  hosting.deliver("coordinator", { ...order, ...change });
  await hosting.pass(5 * WORK_MS);
  return hosting;
}

Deno.test("a state that a quorum has signed is asked for, from every donor", async () => {
  const hosting = await restored(await signedBy(["a", "c"]));
  assert.deepEqual(hosting.of("stateRequest").map(({ to }) => to), ["a", "b"]);
});

Deno.test("a state that no quorum has signed is not asked for, whoever orders it", async () => {
  const one = await signedBy(["a"]);
  const foreign = await signedBy(["x"], WANTED, ["x"]);
  const proofs: [string, StateProof | null, RegExp][] = [
    ["none", null, /nobody has signed it/],
    ["one of three", one, /1 of its 3 replicas/],
    ["one, twice", { ...one, votes: [...one.votes, ...one.votes] }, /1 of its 3/],
    ["forged", { ...one, votes: [...one.votes, { ...one.votes[0], peer: "b" }] }, /1 of its 3/],
    ["of a stranger", { ...one, votes: [...one.votes, ...foreign.votes] }, /1 of its 3/],
    ["of another state", await signedBy(["a", "b"], { ...WANTED, stateHash: "d".repeat(64) }), /0 of its 3/],
    ["of another step", await signedBy(["a", "b"], { ...WANTED, step: 8 }), /0 of its 3/],
    ["of another run", await signedBy(["a", "b"], { ...WANTED, run: "2".repeat(64) }), /0 of its 3/],
  ];
  for (const [what, proof, reason] of proofs) {
    const hosting = await restored(proof);
    assert.deepEqual(hosting.of("stateRequest"), [], what);
    assert.match(hosting.status?.trouble ?? "", reason, what);
    assert.equal(hosting.stage.calls.includes("import"), false, what);
  }
});

Deno.test("the state before the first step is computed, not fetched; if it is another one it is refused", async () => {
  const hosting = await restored(null, { step: 0, stateHash: "d".repeat(64) });
  assert.deepEqual(hosting.of("stateRequest"), []);
  assert.match(
    hosting.status?.trouble ?? "",
    /Cannot import state dddddddddddd of step 0: it is aaaaaaaaaaaa/,
  );
  assert.equal(hosting.stage.calls.includes("import"), false);
});

Deno.test("of the states on its disk a host offers those that a quorum has signed", async () => {
  const states: KeptState[] = [
    { step: 9, stateHash: "9".repeat(64), proof: undefined },
    {
      step: 8,
      stateHash: "8".repeat(64),
      proof: await signedBy(["a"], { ...WANTED, step: 8, stateHash: "8".repeat(64) }),
    },
    { step: 7, stateHash: WANTED.stateHash, proof: await signedBy(["b", "c"]) },
  ];
  const loaded: string[] = [];
  const hosting = await Hosting.serving({
    list: () => Promise.resolve(states),
    load: (_stage, stateHash) => {
      loaded.push(stateHash);
      return Promise.resolve({ manifest: STATE, bytes: new Uint8Array(4) });
    },
    save: () => assert.fail("nothing is written here"),
  });
  assert.deepEqual(loaded, [WANTED.stateHash]);
  hosting.deliver("coordinator", { kind: "released", term: 5 });
  await hosting.pass(WORK_MS);
  const { snapshots, report } = hosting.of("hello").at(-1)!.message;
  assert.deepEqual(snapshots, [{ step: 7, stateHash: WANTED.stateHash }]);
  assert.deepEqual(report, null);
});

/** The total of the first step, and what is made of it. */
const AVERAGED: MessageOf<"averaged"> = {
  kind: "averaged",
  step: 0,
  term: 5,
  round: 0,
  vector: new Float32Array(1),
  hash: HASH,
  squareSum: 0,
};
const UPDATE: MessageOf<"apply">["update"] = {
  total: { term: 5, round: 0 },
  scale: 1,
  learningRate: 1,
  squareSum: 1,
  lossSum: 1,
  tokens: 1,
};

Deno.test("a snapshot is written once its state is proved, with the proof", async () => {
  const saved: StateProof[] = [];
  const hosting = await Hosting.serving({
    list: () => Promise.resolve([]),
    load: () => assert.fail("there is nothing"),
    save: (_stage, _manifest, _bytes, proof) => {
      saved.push(proof!);
      return Promise.resolve();
    },
  });
  hosting.deliver("coordinator", { kind: "prepare", term: 5, step: 0, round: 0 });
  hosting.deliver("coordinator", {
    kind: "reduce",
    term: 5,
    step: 0,
    round: 0,
    replicas: ["other", "own", "third"],
  });
  await hosting.pass(3 * WORK_MS);
  hosting.system.tell({ actor: "host" }, AVERAGED);
  hosting.deliver("coordinator", { kind: "apply", term: 5, step: 0, update: UPDATE });
  await hosting.pass(3 * WORK_MS);
  const [{ message: applied }] = hosting.of("applied");
  assert.deepEqual([applied.certify, saved], [true, []]);
  const own = { peer: "own", signature: applied.signature };
  const claim = { run: RUN, stage: 0, step: 0, stateHash: HASH };
  const replicas = ["other", "own", "third"];
  const { votes } = await signedBy(["third"], claim, replicas);
  const certify = (proof: StateProof) =>
    hosting.deliver("coordinator", { kind: "certified", term: 5, step: 0, stateHash: HASH, proof });
  certify({ replicas, votes: [own, { ...votes[0], peer: "other" }] });
  await hosting.pass(3 * WORK_MS);
  assert.deepEqual(saved, []);
  certify({ replicas, votes });
  await hosting.pass(3 * WORK_MS);
  assert.deepEqual(saved, [{ replicas, votes: [own, ...votes] }]);
});

Deno.test("a total that a host has not asked for, as it has started again since, is not applied", async () => {
  const hosting = await Hosting.serving();
  hosting.system.tell({ actor: "host" }, AVERAGED);
  hosting.deliver("coordinator", { kind: "apply", term: 5, step: 0, update: UPDATE });
  await hosting.pass(3 * WORK_MS);
  assert.deepEqual(hosting.of("applied"), []);
  assert.equal(hosting.status?.serving, false);
  assert.match(hosting.status?.trouble ?? "", /the total of step 0 is missing/);
});
