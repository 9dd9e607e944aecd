import assert from "node:assert/strict";
import fc from "fast-check";
import { SeededEntropy } from "../core/seeded_entropy.ts";
import { TraceRing } from "../core/trace.ts";
import { VirtualClock } from "../core/virtual_clock.ts";
import { SEND_QUEUE_FRAMES_MAX, WIRE_PEERS_MAX } from "../limits.ts";
import { MemoryHub, type MemoryHubOptions } from "./memory_wire.ts";
import { BadFrame, type Frame, type Wire } from "./wire.ts";

const LATENCY_MS = 10;

class Net {
  readonly clock = new VirtualClock();
  readonly hub: MemoryHub;
  /** What every owner was told, in order. */
  readonly heard: string[] = [];

  constructor(options: Partial<MemoryHubOptions> = {}) {
    this.hub = new MemoryHub({
      clock: this.clock,
      entropy: new SeededEntropy(1),
      link: () => ({ latencyMs: LATENCY_MS }),
      ...options,
    });
  }

  attach(peer: string, onFrame?: (from: string, frame: Frame) => void): Wire {
    const wire = this.hub.attach(peer);
    wire.open({
      onFrame: (from, frame) => {
        onFrame?.(from, frame);
        this.heard.push(`${this.clock.nowMs()} ${from}→${peer} ${frame.header}`);
      },
      onLost: (lost, reason) => this.heard.push(`${this.clock.nowMs()} ${peer} lost ${lost}: ${reason}`),
    });
    return wire;
  }
}

function control(header: unknown): Frame {
  return { header, tensors: [] };
}

function bulk(header: unknown, bytes = 8): Frame {
  return { header, tensors: [{ dataType: "u8", shape: [bytes], bytes: new Uint8Array(bytes).fill(7) }] };
}

Deno.test("a frame arrives a latency later, and shares no memory with what was sent", () => {
  const net = new Net();
  const received: Frame[] = [];
  const one = net.attach("one");
  net.attach("two", (_from, frame) => received.push(frame));
  const sent = bulk({ kind: "forward", nested: [1, 2] });
  assert.equal(one.send("two", sent), true);
  net.clock.advanceTo(LATENCY_MS - 1);
  assert.equal(received.length, 0);
  net.clock.advanceTo(LATENCY_MS);
  assert.deepEqual(received, [sent]);
  assert.notEqual(received[0]!.header, sent.header);
  assert.notEqual(received[0]!.tensors[0]!.bytes.buffer, sent.tensors[0]!.bytes.buffer);
});

Deno.test("a large tensor takes the link's time, and a control frame passes it", () => {
  const net = new Net({ link: () => ({ latencyMs: LATENCY_MS, bytesPerSecond: 1e6 }) });
  const one = net.attach("one");
  net.attach("two");
  one.send("two", bulk("large", 1_000_000));
  one.send("two", bulk("next", 1));
  one.send("two", control("small"));
  net.clock.advanceTo(5000);
  const times = net.heard.map((line) => Number(line.split(" ")[0]));
  assert.deepEqual(net.heard.map((line) => line.split(" ")[2]), ["small", "large", "next"]);
  assert.ok(times[0]! < 11 && times[1]! > 1010 && times[1]! < 1011 && times[2]! > times[1]!);
});

Deno.test("jitter and delays never reorder a stream", () => {
  fc.assert(
    fc.property(
      fc.integer(),
      fc.array(fc.record({ gapMs: fc.double({ min: 0, max: 3, noNaN: true }), late: fc.boolean() })),
      (seed, sends) => {
        const net = new Net({
          entropy: new SeededEntropy(seed),
          link: () => ({ latencyMs: 0.1, jitterMs: 5 }),
          fault: (_from, _to, frame) =>
            sends[frame.header as number]!.late ? { kind: "delay", delayMs: 4 } : undefined,
        });
        const order: unknown[] = [];
        const one = net.attach("one");
        net.attach("two", (_from, frame) => order.push(frame.header));
        let atMs = 0;
        sends.forEach(({ gapMs }, index) => {
          net.clock.advanceTo(atMs += gapMs);
          one.send("two", control(index));
        });
        net.clock.advanceTo(atMs + 1000);
        assert.deepEqual(order, sends.map((_, index) => index));
      },
    ),
  );
});

Deno.test("after a kill nothing arrives from or at the peer, and all it talked with are told", () => {
  const net = new Net();
  const [one, two, three] = ["one", "two", "three"].map((peer) => net.attach(peer)) as [Wire, Wire, Wire];
  net.attach("four");
  one.send("two", control("first"));
  three.send("one", control("first"));
  net.clock.advanceTo(LATENCY_MS);
  net.heard.length = 0;
  one.send("two", control("in flight from the dead"));
  two.send("one", control("in flight to the dead"));
  net.hub.kill("one");
  assert.equal(one.send("two", control("from the grave")), false);
  net.clock.advanceTo(100);
  assert.deepEqual(net.heard.sort(), ["20 three lost one: one is gone", "20 two lost one: one is gone"]);
});

Deno.test("a peer that comes back is a new end", () => {
  const net = new Net();
  const one = net.attach("one");
  const two = net.attach("two");
  assert.throws(() => net.hub.attach("one"), /Cannot attach one: it has a wire/);
  two.send("one", control("to the former"));
  one.send("two", control("lost"));
  net.hub.kill("one");
  net.attach("one").send("two", control("back"));
  net.clock.advanceTo(LATENCY_MS);
  two.send("one", control("welcome"));
  net.clock.advanceTo(100);
  assert.deepEqual(net.heard, ["10 two lost one: one is gone", "10 one→two back", "20 two→one welcome"]);
});

Deno.test("what is sent to nobody is lost, and its sender told once for all of it", () => {
  const net = new Net();
  const one = net.attach("one");
  assert.equal(one.send("nobody", control(1)), true);
  assert.equal(one.send("nobody", control(2)), true);
  net.hub.attach("unopened");
  one.send("unopened", control(3));
  net.clock.advanceTo(100);
  assert.deepEqual(net.heard, [
    "20 one lost nobody: Cannot reach nobody",
    "20 one lost unopened: Cannot reach unopened",
  ]);
});

Deno.test("a bad frame ends the connection: both are told why, and it is traced", () => {
  const trace = new TraceRing(10);
  const net = new Net({ trace: trace.sink });
  const one = net.attach("one");
  const two = net.attach("two", (_from, frame) => {
    if (frame.header === "nonsense") throw new BadFrame("Cannot take frame: nonsense");
  });
  one.send("two", control("fine"));
  one.send("two", control("nonsense"));
  one.send("two", control("never arrives"));
  two.send("one", bulk("arrives"));
  net.clock.advanceTo(100);
  assert.deepEqual(net.heard, [
    "10 one→two fine",
    "20 one lost two: Cannot take frame: nonsense",
    "20 two lost one: Cannot take frame: nonsense",
  ]);
  assert.deepEqual(trace.events().map(({ peer, event }) => [peer, event]), [["two", "bad frame"]]);
  one.send("two", control("a new connection"));
  net.clock.advanceTo(200);
  assert.equal(net.heard.at(-1), "110 one→two a new connection");
});

Deno.test("a bug in the owner is not hidden", () => {
  const net = new Net();
  net.attach("one").send("two", control(1));
  net.attach("two", () => {
    throw new TypeError("bug");
  });
  assert.throws(() => net.clock.advanceTo(100), /bug/);
});

Deno.test("a full queue answers false until frames have left", () => {
  const net = new Net({ link: () => ({ latencyMs: 1, bytesPerSecond: 1000 }) });
  const one = net.attach("one");
  net.attach("two");
  for (let index = 0; index < SEND_QUEUE_FRAMES_MAX; index++) {
    assert.equal(one.send("two", control(index)), true);
  }
  assert.equal(one.send("two", control("too many")), false);
  assert.equal(one.send("two", bulk("the other stream has room")), true);
  net.clock.advanceTo(1000);
  assert.equal(one.send("two", control("room again")), true);

  const large = bulk("large", 200 * 1024 * 1024);
  assert.deepEqual([1, 2, 3].map(() => one.send("two", large)), [true, true, false]);
});

Deno.test("a wire holds connections with so many peers", () => {
  const net = new Net();
  const one = net.attach("one");
  for (let index = 0; index < WIRE_PEERS_MAX; index++) {
    assert.equal(one.send(`peer ${index}`, control(0)), true);
  }
  assert.equal(one.send("one too many", control(0)), false);
  assert.equal(one.send("peer 0", control(0)), true);
});

Deno.test("a wire that closes lets its last words arrive, then the others are told", async () => {
  const net = new Net();
  const one = net.attach("one");
  const two = net.attach("two");
  one.send("two", control("goodbye"));
  two.send("one", control("too late"));
  await one.close();
  await one.close();
  assert.equal(one.send("two", control("more")), false);
  net.attach("one").send("two", control("a new life"));
  net.clock.advanceTo(100);
  assert.deepEqual(net.heard, [
    "10 one→two goodbye",
    "10 one→two a new life",
    "20 two lost one: Cannot reach one",
  ]);
});

Deno.test("a peer that only listens learns that the other closed", async () => {
  const net = new Net();
  const one = net.attach("one");
  net.attach("two");
  one.send("two", control("goodbye"));
  await one.close();
  net.clock.advanceTo(100);
  assert.deepEqual(net.heard, ["10 one→two goodbye", "20 two lost one: one closed its wire"]);
});

Deno.test("nothing leaves before open; a wire is opened once", () => {
  const net = new Net();
  const wire = net.hub.attach("one");
  assert.equal(wire.send("two", control(0)), false);
  const events = { onFrame: () => {}, onLost: () => {} };
  wire.open(events);
  assert.throws(() => wire.open(events), /a wire is opened once/);
  assert.throws(() => wire.send("one", control(0)), /a frame to oneself/);
});

Deno.test("faults drop, duplicate and break", () => {
  const net = new Net({
    fault: (_from, _to, { header }) =>
      header === "drop" || header === "duplicate" || header === "break" ? { kind: header } : undefined,
  });
  const one = net.attach("one");
  net.attach("two");
  for (const header of ["drop", "duplicate", "plain"]) one.send("two", control(header));
  net.clock.advanceTo(50);
  assert.deepEqual(net.heard, ["10 one→two duplicate", "10 one→two duplicate", "10 one→two plain"]);
  net.heard.length = 0;
  one.send("two", control("dropped with the connection"));
  one.send("two", control("break"));
  net.hub.disconnect("one", "two");
  net.clock.advanceTo(100);
  assert.deepEqual(net.heard, [
    "60 one lost two: the connection broke",
    "60 two lost one: the connection broke",
  ]);
});

Deno.test("a connection that times out swallows one stream until it breaks, and the other direction still works", () => {
  const net = new Net({
    fault: (_from, _to, { header }) => header === "lost" ? { kind: "break", afterMs: 100 } : undefined,
  });
  const one = net.attach("one");
  const two = net.attach("two");
  for (const header of ["before", "lost", "behind it"]) one.send("two", control(header));
  two.send("one", control("other way"));
  net.clock.advanceTo(99);
  one.send("two", control("swallowed too"));
  net.clock.advanceTo(200);
  one.send("two", control("on a new connection"));
  net.clock.advanceTo(300);
  assert.deepEqual(net.heard, [
    "10 one→two before",
    "10 two→one other way",
    "110 one lost two: the connection timed out",
    "110 two lost one: the connection timed out",
    "210 one→two on a new connection",
  ]);
});
