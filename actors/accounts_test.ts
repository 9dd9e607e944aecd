/** Earners and a settler together: three hosts, their trainer, and a ledger in memory. */

import assert from "node:assert/strict";
import { Simulation } from "./core/simulation.ts";
import type { ActorSystem } from "./core/system.ts";
import { earner } from "./earner.ts";
import { SETTLE_PERIOD_MS, VOUCH_LIMIT_MS, WORK_GRACE_MS } from "./limits.ts";
import { fromFrame, type Message, recipientOf, type RemoteMessage, toFrame, type Walk } from "./messages.ts";
import { settler } from "./settler.ts";
import { faultOf, readEpoch } from "../contracts/epoch.ts";
import { epochMemory, type EpochStore } from "../contracts/epoch_store.ts";
import { type Journal, memoryJournal } from "../contracts/journal.ts";
import { type EpochState, LedgerError } from "../contracts/ledger.ts";
import type { RewardProof } from "../contracts/reward_tree.ts";
import { type DigestSigner, digestSigner } from "../contracts/signing.ts";
import { address, NOWHERE as deployment } from "../contracts/testing/addresses.ts";

const RUN = "cd".repeat(32);
const MODEL = `0x${"a".repeat(64)}`;
const STAGES = 3;
const MICRO_BATCHES = 2;
const WINDOW_SECONDS = 4;

/** A ledger that takes every proposal, and pays nobody. */
class Books {
  isDown = false;
  finalEpoch = 0;
  proposal: { readonly root: string; readonly leavesHash: string; readonly atSeconds: number } | undefined;
  readonly hashes = new Map<number, { readonly root: string; readonly leavesHash: string }>();
  readonly claims: RewardProof[] = [];
  readonly #nowSeconds: () => number;

  constructor(nowSeconds: () => number) {
    this.#nowSeconds = nowSeconds;
  }

  #up(): void {
    if (this.isDown) throw new LedgerError("down", "Cannot ask: it is down");
  }

  async epochOf(): Promise<EpochState> {
    this.#up();
    return await Promise.resolve({
      finalEpoch: this.finalEpoch,
      proposedRoot: this.proposal?.root,
      challenged: false,
      finalSeconds: (this.proposal?.atSeconds ?? 0) + WINDOW_SECONDS,
      nextSeconds: 0,
    });
  }

  emissionOf = () => Promise.resolve({ poolUnits: 1_000_000n, stageUnits: [100n, 100n, 100n] });
  proposalOf = (_model: string, epoch: number) => Promise.resolve(this.hashes.get(epoch));

  async proposeEpoch(
    _model: string,
    epoch: number,
    { root, leavesHash }: { readonly root: string; readonly leavesHash: string },
  ): Promise<void> {
    this.#up();
    assert.equal(this.proposal, undefined);
    assert.equal(epoch, this.finalEpoch + 1);
    this.proposal = { root, leavesHash, atSeconds: this.#nowSeconds() };
    this.hashes.set(epoch, { root, leavesHash });
    await Promise.resolve();
  }

  finalizeEpoch = () => {
    this.#up();
    this.finalEpoch++;
    this.proposal = undefined;
    return Promise.resolve();
  };

  claim = (proof: RewardProof) => Promise.resolve(void this.claims.push(proof));
  syncCredit = () => Promise.resolve();
}

interface Member {
  readonly signer: DigestSigner;
  readonly journal: Journal;
  readonly epochs: EpochStore;
  system: ActorSystem<Message>;
}

/** Three hosts in a row, and whoever feeds them. */
class World {
  readonly simulation = new Simulation({
    seed: 1,
    costs: { durationMs: () => 1, lane: () => undefined },
    epochStartMs: 1_800_000_000_000,
  });
  readonly books = new Books(() => this.simulation.clock.epochMs() / 1000);
  readonly members = new Map<string, Member>();
  readonly troubles: string[] = [];
  isSettled = false;
  /** Whom nothing reaches. */
  readonly deaf = new Set<string>();

  constructor() {
    for (const [index, name] of ["trainer", "host 0", "host 1", "host 2"].entries()) {
      const signer = digestSigner(new Uint8Array(32).fill(index + 1));
      const member = { signer, journal: memoryJournal(), epochs: epochMemory() };
      this.members.set(name, { ...member, system: this.#start(name, member) });
    }
  }

  get rules() {
    return {
      deployment,
      model: MODEL,
      stageWork: [1n, 1n, 1n],
      microBatches: MICRO_BATCHES,
      ownerOf: (signer: string, stage: number) =>
        this.#signerOf(`host ${stage}`) === signer ? owner(stage) : undefined,
    };
  }

  #signerOf = (name: string): string | undefined => this.members.get(name)?.signer.address;

  #start(name: string, { signer, journal, epochs }: Omit<Member, "system">): ActorSystem<Message> {
    const system = this.simulation.system<Message>({
      peer: name,
      transport: (peer, _actor, message) => {
        const other = this.members.get(peer);
        if (other === undefined || this.deaf.has(peer) || this.deaf.has(name)) return true;
        const arrived = fromFrame(RUN, toFrame(RUN, message as RemoteMessage));
        return other.system.deliver(name, recipientOf(arrived), arrived);
      },
    });
    const common = { run: RUN, signer, journal, epochs, accountOf: this.#signerOf, ledger: this.books };
    if (name === "trainer") {
      system.spawn(settler({
        ...common,
        rules: this.rules,
        ownerNow: (signer, stage) => Promise.resolve(this.rules.ownerOf(signer, stage)),
        onTrouble: (reason) => this.troubles.push(reason),
        onSettled: () => this.isSettled = true,
      }));
    } else {
      const ownerOf = (stage: number) => name === `host ${stage}` ? owner(stage) : undefined;
      system.spawn(earner({ ...common, deployment, model: MODEL, tokensPerMicroBatch: 8, ownerOf }));
    }
    return system;
  }

  /** The same peer again, with what is on its disk. */
  restart(name: string): void {
    const member = this.members.get(name)!;
    member.system.kill();
    member.system = this.#start(name, member);
  }

  tell(name: string, message: Message): void {
    this.members.get(name)!.system.tell({ actor: "settler" }, message);
  }

  /** A step that everybody has taken. `claims` are micro-batches that nobody else has seen. */
  step(step: number, claims: readonly number[] = []): void {
    const own = Array.from({ length: MICRO_BATCHES }, (_, microBatch) => microBatch);
    const root = (microBatch: number, hop: number) => `${step % 10}${microBatch}${hop}`.padEnd(64, "0");
    for (const microBatch of [...own, ...claims]) {
      const walk: Walk = { purpose: "train", term: 1, step, round: 0, microBatch, attempt: 0 };
      for (let stage = 0; stage < STAGES; stage++) {
        if (claims.includes(microBatch) && stage !== 1) continue;
        this.tell(`host ${stage}`, {
          kind: "worked",
          walk,
          stage,
          previous: stage === 0 ? "trainer" : `host ${stage - 1}`,
          next: stage + 1 === STAGES ? null : `host ${stage + 1}`,
          inRoot: root(microBatch, stage),
          outRoot: stage + 1 === STAGES ? null : root(microBatch, stage + 1),
          counted: true,
        });
      }
      if (claims.includes(microBatch)) continue;
      const trainer = { stage: -1, previous: "trainer", next: "host 0", inRoot: null, outRoot: null };
      this.tell("trainer", { kind: "worked", walk, ...trainer, counted: false });
    }
    for (let stage = 0; stage < STAGES; stage++) {
      const microBatches = stage === 1 ? [...own, ...claims] : own;
      this.tell(`host ${stage}`, { kind: "stepTaken", step, microBatches, leader: "trainer" });
    }
    const served = Object.fromEntries([0, 1, 2].map((stage) => [`host ${stage}`, MICRO_BATCHES]));
    this.tell("trainer", { kind: "stepServed", step, served });
  }

  async pass(ms: number): Promise<void> {
    await this.simulation.run({ untilMs: this.simulation.clock.nowMs() + ms });
  }

  /** What the last final epoch has counted since the beginning, by stage. */
  async counted(): Promise<number[]> {
    const counts = [0, 0, 0];
    const { epochs } = this.members.get("trainer")!;
    let before: ReturnType<typeof readEpoch> | undefined;
    for (let epoch = 1; epoch <= this.books.finalEpoch; epoch++) {
      const document = readEpoch((await epochs.get(this.books.hashes.get(epoch)!.leavesHash))!);
      assert.equal(faultOf(this.rules, before, document), undefined);
      for (const { stage, microBatches } of document.document.window.at(-1)!) counts[stage] += microBatches;
      before = document;
    }
    return counts;
  }
}

function owner(stage: number): string {
  return address(`${stage + 7}`);
}

const SETTLED_MS = 3 * SETTLE_PERIOD_MS + 1_000 * WINDOW_SECONDS;

Deno.test("what hosts worked in steps is acknowledged, proposed, final, claimed, and off their disks", async () => {
  const world = new World();
  for (let step = 0; step < 3; step++) world.step(step);
  await world.pass(SETTLED_MS);
  world.tell("trainer", { kind: "settle" });
  await world.pass(SETTLED_MS);
  assert.ok(world.isSettled);
  assert.deepEqual(await world.counted(), [6, 6, 6]);
  // Sheets go with the first note that says that they are settled.
  world.step(3);
  await world.pass(SETTLED_MS);
  for (let stage = 0; stage < STAGES; stage++) {
    const kept = JSON.parse((await world.members.get(`host ${stage}`)!.journal.load())!);
    assert.ok(kept.length <= 1, `host ${stage} keeps ${kept.length} sheets`);
  }
  const claimed = world.books.claims.map(({ stage, account }) => [stage, account]).sort();
  assert.deepEqual(claimed, [[0, owner(0)], [1, owner(1)], [2, owner(2)]]);
});

Deno.test("what no neighbour has seen does not count, nor what is more than the step's table says", async () => {
  const world = new World();
  world.step(0, [1_000]);
  world.step(1);
  await world.pass(VOUCH_LIMIT_MS + WORK_GRACE_MS + 2 * SETTLED_MS);
  assert.deepEqual(await world.counted(), [4, 2, 4]);
});

Deno.test("a neighbour that is gone costs its word, and time, and nothing else", async () => {
  const world = new World();
  world.step(0);
  await world.pass(SETTLED_MS);
  world.deaf.add("host 1");
  world.step(1);
  await world.pass(VOUCH_LIMIT_MS + WORK_GRACE_MS + 2 * SETTLED_MS);
  assert.deepEqual(await world.counted(), [2, 2, 2]);
  world.deaf.clear();
  world.step(2);
  await world.pass(WORK_GRACE_MS + 2 * SETTLED_MS);
  assert.deepEqual(await world.counted(), [4, 4, 4]);
});

Deno.test("while the chain is down everything waits, and is settled once when it is back", async () => {
  const world = new World();
  world.books.isDown = true;
  world.step(0);
  await world.pass(10 * SETTLED_MS);
  assert.equal(world.books.hashes.size, 0);
  assert.match(world.troubles[0], /it is down/);
  world.books.isDown = false;
  await world.pass(2 * SETTLED_MS);
  assert.deepEqual(await world.counted(), [2, 2, 2]);
});

Deno.test("a trainer and a host that start again have forgotten no sheet, and nothing is counted twice", async () => {
  const world = new World();
  world.books.isDown = true;
  for (const step of [0, 1]) world.step(step);
  await world.pass(2_000);
  world.restart("trainer");
  world.restart("host 1");
  world.books.isDown = false;
  await world.pass(1_000);
  world.step(2);
  await world.pass(2 * WORK_GRACE_MS + 3 * SETTLED_MS);
  assert.deepEqual(await world.counted(), [6, 6, 6]);
});

Deno.test("strangers' sheets and requests change nothing", async () => {
  const world = new World();
  for (const name of ["trainer", "host 0"]) {
    const { system } = world.members.get(name)!;
    for (const text of ["", "{}", "null", "[]", '{"model":1}']) {
      system.deliver("stranger", "settler", { kind: "vouch", part: 0, sheet: text });
      system.deliver("stranger", "settler", { kind: "workSheet", part: 0, sheet: text });
      system.deliver("stranger", "settler", { kind: "vouched", step: 0, part: 0, acknowledgement: text });
    }
    system.deliver("stranger", "settler", { kind: "epochRequest", hash: "0".repeat(64) });
    system.deliver("stranger", "settler", {
      kind: "epochNews",
      epoch: 1,
      hash: "0".repeat(64),
      isFinal: true,
    });
    system.deliver("stranger", "settler", {
      kind: "epochDocument",
      hash: "0".repeat(64),
      bytes: new Uint8Array(3),
    });
  }
  world.step(0);
  await world.pass(2 * SETTLED_MS);
  assert.deepEqual(await world.counted(), [2, 2, 2]);
});
