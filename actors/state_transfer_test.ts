import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import fc from "fast-check";
import { Simulation } from "./core/simulation.ts";
import type { ActorSystem } from "./core/system.ts";
import { DONATION_LEASE_MS, DONOR_SILENCE_MS, PIECES_IN_FLIGHT_MAX } from "./limits.ts";
import type { Message, MessageOf } from "./messages.ts";
import { behaviour } from "./role.ts";
import { Donation, type PieceSink, type Remains, Transfer } from "./state_transfer.ts";

type Manifest = Omit<MessageOf<"stateOffer">, "kind" | "purpose">;

const PIECE_BYTES = 64;

function sha256(data: string | Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}

function stateHashOf({ step, pieces, pieceBytes, bytes }: Omit<Manifest, "stateHash">): string {
  return sha256(JSON.stringify([step, pieces, pieceBytes, bytes]));
}

/** A state of so many bytes, those from some place on zeros, and what it is made of. */
function stateOf(length: number, changed: readonly number[] = [], zerosFrom = length): {
  readonly manifest: Manifest;
  readonly bytes: Uint8Array;
} {
  const bytes = Uint8Array.from({ length }, (_, i) => i < zerosFrom ? (i * 31 + (i >> 6)) % 251 : 0);
  for (const piece of changed) bytes[piece * PIECE_BYTES] ^= 1;
  const pieces: string[] = [];
  for (let at = 0; at < length; at += PIECE_BYTES) pieces.push(sha256(bytes.subarray(at, at + PIECE_BYTES)));
  const rest = { step: 3, pieces, pieceBytes: PIECE_BYTES, bytes: length };
  return { manifest: { ...rest, stateHash: stateHashOf(rest) }, bytes };
}

/** What becomes of a message of a donor; `undefined`: it never comes. */
type Fault = (donor: string, message: Message) => Message | undefined;

/** A host that fetches a state, and donors that have it. */
class Fetching {
  readonly simulation = new Simulation({
    seed: 1,
    costs: { durationMs: () => 0, lane: () => undefined },
  });
  readonly state: ReturnType<typeof stateOf>;
  /** How it ended; each end once. */
  readonly ends: (Uint8Array | string)[] = [];
  /** Pieces that were asked for, in order. */
  readonly asked: { readonly of: string; readonly piece: number }[] = [];
  mostInFlight = 0;
  readonly unreachable = new Set<string>();
  readonly transfer: Transfer;
  readonly receiver: ActorSystem<Message>;
  #inFlight = 0;

  constructor(
    donors: readonly string[],
    options: {
      readonly length?: number;
      readonly zerosFrom?: number;
      readonly fault?: Fault;
      readonly empty?: readonly string[];
      readonly first?: readonly string[];
      readonly remains?: Remains;
      readonly liars?: Set<string>;
      readonly found?: ReadonlyMap<string, Uint8Array>;
      readonly sink?: PieceSink;
    } = {},
  ) {
    const { clock } = this.simulation;
    this.state = stateOf(options.length ?? 20 * PIECE_BYTES - 7, [], options.zerosFrom);
    const fault = options.fault ?? ((_donor, message) => message);
    const systems = new Map<string, ActorSystem<Message>>();
    const latencyMs = (peer: string) => 1 + donors.indexOf(peer);
    for (const peer of donors) {
      const system = this.simulation.system<Message>({
        peer,
        transport: (_to, actor, message) => {
          const passed = fault(peer, message);
          if (passed !== undefined) {
            clock.after(latencyMs(peer), () => {
              if (message.kind === "piece") this.#inFlight--;
              this.receiver.deliver(peer, actor, passed);
            });
          }
          return true;
        },
      });
      system.spawn(behaviour("host", (context) => {
        const donation = new Donation(context);
        const { manifest, bytes } = this.state;
        if (!options.empty?.includes(peer)) donation.keep(manifest, bytes);
        return {
          receive({ from, message }) {
            if (message.kind === "timer") donation.onTimer();
            if (message.kind === "stateRequest") donation.offer(from, message.purpose);
            if (message.kind === "pieceRequest") donation.onPieceRequest(from, message);
          },
        };
      }));
      systems.set(peer, system);
    }
    this.receiver = this.simulation.system<Message>({
      peer: "receiver",
      transport: (to, actor, message) => {
        if (this.unreachable.has(to)) return false;
        if (message.kind === "pieceRequest") {
          this.asked.push({ of: to, piece: message.piece });
          this.mostInFlight = Math.max(this.mostInFlight, ++this.#inFlight);
        }
        clock.after(latencyMs(to), () => void systems.get(to)?.deliver("receiver", actor, message));
        return true;
      },
    });
    let transfer!: Transfer;
    this.receiver.spawn(behaviour("host", (context) => {
      transfer = new Transfer({
        context,
        stateHash: this.state.manifest.stateHash,
        donors: options.first ?? donors,
        remains: options.remains,
        liars: options.liars,
        sink: options.sink,
        described: () => transfer.reuse(options.found ?? new Map()),
        check: (manifest) => {
          if (stateHashOf(manifest) !== manifest.stateHash) throw new TypeError("Cannot believe manifest");
        },
        whole: (_manifest, bytes) => this.ends.push(bytes),
        failed: (reason) => this.ends.push(reason),
      });
      return {
        receive({ from, message }) {
          if (message.kind === "timer") transfer.onTimer();
          if (message.kind === "stateOffer") transfer.onOffer(from, message);
          if (message.kind === "stateGone") transfer.onGone(from, message);
          if (message.kind === "piece") transfer.onPiece(from, message);
        },
      };
    }));
    this.transfer = transfer;
  }

  async run(untilMs = 60_000): Promise<void> {
    await this.simulation.run({ untilMs });
  }

  assertWhole(): void {
    const [bytes, ...more] = this.ends;
    assert.deepEqual(more, []);
    assert.ok(bytes instanceof Uint8Array, `it ended with ${bytes}`);
    assert.ok(bytes.every((byte, i) => byte === this.state.bytes[i]), "bytes differ");
    assert.equal(bytes.length, this.state.bytes.length);
  }

  assertFailed(): void {
    assert.equal(this.ends.length, 1);
    assert.match(String(this.ends[0]), /^Cannot fetch state [0-9a-f]{12}: no donor is left$/);
  }
}

Deno.test("a state of any length arrives whole from any number of donors", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 12 * PIECE_BYTES }),
      fc.integer({ min: 1, max: 6 }),
      async (length, count) => {
        const fetching = new Fetching(Array.from({ length: count }, (_, i) => `donor ${i}`), { length });
        fetching.transfer.start();
        await fetching.run();
        fetching.assertWhole();
        assert.equal(fetching.asked.length, fetching.state.manifest.pieces.length);
      },
    ),
    { numRuns: 50 },
  );
});

Deno.test("of pieces that are the same one is enough", async () => {
  for (const zerosFrom of [0, 5 * PIECE_BYTES, 5 * PIECE_BYTES + 3, 19 * PIECE_BYTES]) {
    const fetching = new Fetching(["a", "b"], { zerosFrom });
    fetching.transfer.start();
    await fetching.run();
    fetching.assertWhole();
    const distinct = new Set(fetching.state.manifest.pieces).size;
    const { length } = fetching.asked;
    assert.ok(length >= distinct && length < distinct + PIECES_IN_FLIGHT_MAX, `asked ${length}, ${distinct}`);
  }
});

Deno.test("a sink gets the pieces that it wants, each once, and never more than it has room for", async () => {
  for (const zerosFrom of [undefined, 3 * PIECE_BYTES]) {
    const kept: number[] = [];
    let held = 0;
    let mostHeld = 0;
    const pieces = 12;
    const fetching: Fetching = new Fetching(["a", "b"], {
      zerosFrom,
      sink: {
        pieces,
        keep(piece, bytes, done) {
          const from = piece * PIECE_BYTES;
          assert.deepEqual(bytes, fetching.state.bytes.slice(from, from + PIECE_BYTES));
          mostHeld = Math.max(mostHeld, ++held);
          // Slower than donors are patient.
          fetching.simulation.clock.after(DONOR_SILENCE_MS + 1000, () => {
            held--;
            kept.push(piece);
            done();
          });
        },
      },
    });
    fetching.transfer.start();
    await fetching.run(1_000_000);
    assert.deepEqual([...kept].sort((a, b) => a - b), Array.from({ length: pieces }, (_, piece) => piece));
    assert.equal(fetching.ends.length, 1);
    assert.equal((fetching.ends[0] as Uint8Array).length, 0, "nothing is held");
    // Of one content they come at once.
    if (zerosFrom === undefined) assert.ok(mostHeld <= PIECES_IN_FLIGHT_MAX, `${mostHeld} held`);
  }
});

Deno.test("donors are asked in turn, for a few pieces at a time", async () => {
  const fetching = new Fetching(["a", "b", "c"], { length: 60 * PIECE_BYTES });
  fetching.transfer.start();
  await fetching.run();
  fetching.assertWhole();
  for (const donor of ["a", "b", "c"]) {
    assert.ok(fetching.asked.filter(({ of }) => of === donor).length >= 10, `${donor} was hardly asked`);
  }
  assert.ok(fetching.mostInFlight <= PIECES_IN_FLIGHT_MAX);
});

Deno.test("when a donor is lost in the middle, only what it owed is asked of others", async () => {
  const fetching = new Fetching(["a", "b"]);
  fetching.transfer.start();
  await fetching.simulation.run({ until: () => fetching.asked.length > 10 });
  fetching.transfer.drop("a", "the connection broke");
  const before = fetching.asked.length;
  await fetching.run();
  fetching.assertWhole();
  assert.ok(fetching.asked.slice(before).every(({ of }) => of === "b"));
  assert.ok(fetching.asked.length <= fetching.state.manifest.pieces.length + PIECES_IN_FLIGHT_MAX);
});

Deno.test("a donor that falls silent is waited for, then passed over", async () => {
  let pieces = 0;
  const fetching = new Fetching(["a", "b"], {
    fault: (donor, message) =>
      donor === "a" && message.kind === "piece" && ++pieces > 3 ? undefined : message,
  });
  fetching.transfer.start();
  await fetching.run();
  fetching.assertWhole();
});

Deno.test("a donor that can't be reached is passed over, be it from the start or in the middle", async () => {
  const fetching = new Fetching(["a", "b", "c"]);
  fetching.unreachable.add("a");
  fetching.transfer.start();
  await fetching.simulation.run({ until: () => fetching.asked.length > 5 });
  fetching.unreachable.add("b");
  await fetching.run();
  fetching.assertWhole();
});

const LIES: [string, Fault][] = [
  [
    "sends garbage",
    (donor, message) =>
      donor === "a" && message.kind === "piece"
        ? { ...message, bytes: message.bytes.map((byte) => byte ^ 1) }
        : message,
  ],
  [
    "sends the wrong piece",
    (donor, message) =>
      donor === "a" && message.kind === "piece" ? { ...message, bytes: new Uint8Array(0) } : message,
  ],
  [
    "offers a state that is not what its hash says",
    (donor, message) =>
      donor === "a" && message.kind === "stateOffer" ? { ...message, bytes: 2 ** 40 } : message,
  ],
  [
    "takes its offer back",
    (donor, message) =>
      donor === "a" && message.kind === "piece"
        ? { kind: "stateGone", purpose: "join", stateHash: message.stateHash, reason: "changed my mind" }
        : message,
  ],
];

for (const [lie, fault] of LIES) {
  Deno.test(`a donor that ${lie} is asked no more, and does no harm`, async () => {
    const fetching = new Fetching(["a", "b"], { fault });
    fetching.transfer.start();
    await fetching.run();
    fetching.assertWhole();
    assert.ok(fetching.asked.filter(({ of }) => of === "a").length <= PIECES_IN_FLIGHT_MAX);
  });

  Deno.test(`when the only donor ${lie}, the transfer fails once`, async () => {
    const fetching = new Fetching(["a"], { fault });
    fetching.transfer.start();
    await fetching.run();
    fetching.assertFailed();
  });
}

Deno.test("without a donor it fails at once, oneself being none", () => {
  const nobody = new Fetching([]);
  nobody.transfer.start();
  nobody.assertFailed();
});

Deno.test("donors that never answer cost one silence", async () => {
  const fetching = new Fetching(["a", "b"], { fault: () => undefined });
  fetching.transfer.start();
  await fetching.run(DONOR_SILENCE_MS);
  fetching.assertFailed();
});

Deno.test("when the one donor that offered is lost, the others are not waited for without end", async () => {
  const fetching = new Fetching(["a", "b"], {
    fault: (donor, message) => donor === "b" ? undefined : message,
  });
  fetching.transfer.start();
  await fetching.simulation.run({ until: () => fetching.asked.length > 5 });
  fetching.transfer.drop("a", "the connection broke");
  await fetching.run();
  fetching.assertFailed();
});

Deno.test("strangers, late pieces and pieces that nobody asked for change nothing", async () => {
  const fetching = new Fetching(["a"]);
  const { manifest, bytes } = fetching.state;
  const { stateHash } = manifest;
  const intrude = () => {
    const own = bytes.slice(0, PIECE_BYTES);
    fetching.transfer.onOffer("stranger", { kind: "stateOffer", purpose: "join", ...manifest });
    fetching.transfer.onOffer("a", {
      kind: "stateOffer",
      purpose: "join",
      ...manifest,
      stateHash: sha256("another"),
    });
    fetching.transfer.onPiece("stranger", {
      kind: "piece",
      purpose: "join",
      stateHash,
      piece: 0,
      bytes: own,
    });
    fetching.transfer.onPiece("a", {
      kind: "piece",
      purpose: "join",
      stateHash,
      piece: 19,
      bytes: new Uint8Array(1),
    });
    fetching.transfer.onPiece("a", { kind: "piece", purpose: "join", stateHash, piece: 1e9, bytes: own });
    fetching.transfer.onGone("stranger", { kind: "stateGone", purpose: "join", stateHash, reason: "" });
    fetching.transfer.drop("stranger", "");
  };
  intrude();
  fetching.transfer.start();
  intrude();
  await fetching.simulation.run({ until: () => fetching.asked.length === 6 });
  intrude();
  await fetching.run();
  intrude();
  fetching.assertWhole();
});

Deno.test("a transfer that is cancelled says nothing more", async () => {
  const fetching = new Fetching(["a"]);
  fetching.transfer.start();
  await fetching.simulation.run({ until: () => fetching.asked.length > 5 });
  fetching.transfer.cancel();
  await fetching.run();
  assert.deepEqual(fetching.ends, []);
});

Deno.test("what has arrived outlives the transfer: the next one asks for the rest", async () => {
  const broken = new Fetching(["a", "b"]);
  broken.transfer.start();
  await broken.simulation.run({ until: () => broken.asked.length > 10 });
  const remains = broken.transfer.remains!;
  const arrived = remains.arrived.size;
  assert.ok(arrived > 0);
  for (const donor of ["a", "b"]) broken.transfer.drop(donor, "the connection broke");
  broken.assertFailed();

  const next = new Fetching(["c"], { remains });
  next.transfer.start();
  await next.run();
  next.assertWhole();
  assert.equal(next.asked.length, next.state.manifest.pieces.length - arrived);
});

Deno.test("pieces that an older state has in common with this one are not asked for again", async () => {
  const length = 20 * PIECE_BYTES - 7;
  const changed = [0, 7, 19];
  const { manifest, bytes } = stateOf(length, changed);
  const arrived = new Set(manifest.pieces.keys());
  const fetching = new Fetching(["a"], { remains: { manifest, bytes, arrived } });
  fetching.transfer.start();
  await fetching.run();
  fetching.assertWhole();
  assert.deepEqual(fetching.asked.map(({ piece }) => piece), changed);
});

Deno.test("long pieces are waited for in proportion, also by the host that gives them", async () => {
  const patienceMs = async (pieceBytes: number) => {
    const simulation = new Simulation({ seed: 1, costs: { durationMs: () => 0, lane: () => undefined } });
    const lost: number[] = [];
    const manifest = { stateHash: "f", step: 1, pieces: ["a", "b"], pieceBytes, bytes: 2 * pieceBytes };
    const sent: Message[] = [];
    const system = simulation.system<Message>({
      peer: "receiver",
      transport: (_to, _actor, message) => {
        sent.push(message);
        return true;
      },
    });
    system.spawn(behaviour("host", (context) => {
      // Nothing is held, as nothing comes.
      const sink = { pieces: 2, keep: () => assert.fail("nothing came") };
      const transfer = new Transfer({
        context,
        stateHash: "f",
        donors: ["donor"],
        sink,
        check: () => {},
        whole: () => assert.fail("it is not whole"),
        failed: () => lost.push(context.clock.nowMs()),
      });
      transfer.start();
      transfer.onOffer("donor", { kind: "stateOffer", purpose: "join", ...manifest });
      return { receive: () => transfer.onTimer() };
    }));
    system.spawn(behaviour("donor", (context) => {
      const donation = new Donation(context);
      donation.keep(manifest, new Uint8Array(0));
      return {
        receive() {
          donation.onTimer();
          lost.push(context.clock.nowMs());
        },
      };
    }));
    await simulation.run({ untilMs: 3_600_000 });
    assert.equal(sent.filter(({ kind }) => kind === "pieceRequest").length, 2);
    return lost;
  };
  assert.deepEqual(await patienceMs(2 ** 20), [DONOR_SILENCE_MS, DONATION_LEASE_MS]);
  const [silence, lease] = await patienceMs(2 ** 23);
  assert.ok(silence > 7 * DONOR_SILENCE_MS && silence < 8 * DONOR_SILENCE_MS, `${silence}`);
  assert.ok(lease > silence);
});

Deno.test("pieces found on the disk are used if they are what their names say", async () => {
  const { manifest, bytes } = stateOf(20 * PIECE_BYTES - 7);
  const found = new Map(manifest.pieces.map((name, piece) => {
    const content = bytes.slice(piece * PIECE_BYTES, (piece + 1) * PIECE_BYTES);
    if (piece === 5) content[0] ^= 1;
    return [name, piece === 6 ? new Uint8Array(0) : content];
  }));
  const fetching = new Fetching(["a"], { found });
  fetching.transfer.start();
  await fetching.run();
  fetching.assertWhole();
  assert.deepEqual(fetching.asked.map(({ piece }) => piece), [5, 6]);

  const whole = new Fetching(["a"], { found: new Map([...found, ...stateMap(bytes)]) });
  whole.transfer.start();
  await whole.run();
  whole.assertWhole();
  assert.deepEqual(whole.asked, []);
});

function stateMap(bytes: Uint8Array): [string, Uint8Array][] {
  return Array.from({ length: Math.ceil(bytes.length / PIECE_BYTES) }, (_, piece) => {
    const content = bytes.slice(piece * PIECE_BYTES, (piece + 1) * PIECE_BYTES);
    return [sha256(content), content];
  });
}

Deno.test("donors that are named later are asked too; one that has lied is not, not even by the next transfer", async () => {
  const liars = new Set<string>();
  const fault: Fault = (donor, message) =>
    donor === "a" && message.kind === "piece" ? { ...message, bytes: new Uint8Array(3) } : message;
  const fetching = new Fetching(["a", "b", "c"], { first: ["a", "b"], fault, liars });
  fetching.transfer.start();
  await fetching.simulation.run({ until: () => liars.size > 0 });
  const before = fetching.asked.length;
  fetching.transfer.addDonors(["a", "b", "c", "receiver"]);
  await fetching.run();
  fetching.assertWhole();
  const later = new Set(fetching.asked.slice(before).map(({ of }) => of));
  assert.deepEqual(later, new Set(["b", "c"]));

  const next = new Fetching(["a"], { liars });
  next.transfer.start();
  next.assertFailed();
});

Deno.test("a donor keeps its copy for as long as somebody asks for it", async () => {
  const fetching = new Fetching(["a"]);
  await fetching.run(DONATION_LEASE_MS - 10);
  fetching.transfer.start();
  await fetching.run(2 * DONATION_LEASE_MS - 20);
  fetching.assertWhole();

  const late = new Fetching(["a"]);
  await late.run(DONATION_LEASE_MS + 1);
  late.transfer.start();
  await late.run();
  late.assertFailed();
});
