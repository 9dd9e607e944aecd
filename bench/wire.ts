/**
 * How near the wire comes to a bare libp2p stream, which is encrypted as it is, and
 * to a plain socket, which is not: one-way throughput of large frames, and the
 * round trip of a small one, between two processes on loopback.
 *
 * Figures of one machine mean little; the ratios of the same run are what to
 * compare. Nothing computes meanwhile.
 */

import { RealClock } from "../actors/core/real_clock.ts";
import { createIdentity } from "../actors/wire/identity.ts";
import { createNode, type Libp2pNode } from "../actors/wire/libp2p_node.ts";
import { Libp2pWire } from "../actors/wire/libp2p_wire.ts";
import type { Frame } from "../actors/wire/wire.ts";
import { CHUNK_BYTES } from "../actors/wire/sending.ts";
import type { Stream } from "@libp2p/interface";
import { multiaddr } from "@multiformats/multiaddr";
import { type BenchContext, type BenchRow, median } from "./row.ts";

const MEGABYTE = 1_000_000;
const BYTES_PER_RUN = 384 * MEGABYTE;
const RUNS = 5;
/** Frames, queues and back-pressure may cost so much of what the bare stream does. */
const SHARE_OF_BARE_AT_LEAST = 0.9;
const BARE_ROUND_TRIPS_AT_MOST = 2;
/** A stream that carries bytes and nothing else: a count of bytes to swallow, or messages to echo. */
const BARE_PROTOCOL = "/murmuration/bench/bare/1.0.0";
const ROUND_TRIPS = 2000;
const SMALL_BYTES = 1024;

/** Measures for some seconds, with a second process of this file at the other end. */
export async function* benchWire({ quick, signal }: BenchContext): AsyncGenerator<BenchRow, void, void> {
  await using other = await startOther();
  await using near = await startWire();
  near.wire.addAddresses(other.peer, other.addresses);
  const bareStream = await near.node.libp2p.dialProtocol(multiaddr(other.addresses[0]), BARE_PROTOCOL);
  const runs = quick ? 1 : RUNS;
  for (const megabytes of [1, 16]) {
    const bytes = megabytes * MEGABYTE;
    const plain: number[] = [];
    const bare: number[] = [];
    const ours: number[] = [];
    // The first of each warms up.
    for (let run = 0; run <= runs; run++) {
      signal.throwIfAborted();
      plain.push(await plainThroughput(other.port, bytes));
      bare.push(await bareThroughput(bareStream, bytes));
      ours.push(await wireThroughput(near, other.peer, bytes));
    }
    const row = {
      name: `wire: one way, frames of ${megabytes} MB`,
      value: median(ours.slice(1)),
      unit: "MB/s",
    };
    yield {
      ...row,
      ratio: row.value / median(bare.slice(1)),
      to: "a bare libp2p stream",
      target: { of: "ratio", atLeast: SHARE_OF_BARE_AT_LEAST },
    };
    yield { ...row, ratio: row.value / median(plain.slice(1)), to: "a plain socket, not encrypted" };
  }
  const plain = median(await plainRoundTrips(other.port));
  const bare = median(await bareRoundTrips(bareStream));
  const row = {
    name: "wire: round trip of 1 KB, median",
    value: median(await wireRoundTrips(near, other.peer)),
    unit: "ms",
  };
  yield {
    ...row,
    ratio: row.value / bare,
    to: "a bare libp2p stream",
    target: { of: "ratio", atMost: BARE_ROUND_TRIPS_AT_MOST },
  };
  yield { ...row, ratio: row.value / plain, to: "a plain socket, not encrypted" };
  yield* benchRelayed(near, other, runs, signal);
}

/** The same frames through a relay in a third process, beside a direct connection. */
async function* benchRelayed(
  near: Near,
  direct: Other,
  runs: number,
  signal: AbortSignal,
): AsyncGenerator<BenchRow, void, void> {
  await using relay = await startOther({ relay: true });
  await using relayed = await startOther({ through: relay.addresses[0]! });
  near.wire.addAddresses(relayed.peer, relayed.addresses);
  const rates: { readonly direct: number[]; readonly relayed: number[] } = { direct: [], relayed: [] };
  for (let run = 0; run <= runs; run++) {
    signal.throwIfAborted();
    rates.direct.push(await wireThroughput(near, direct.peer, MEGABYTE));
    rates.relayed.push(await wireThroughput(near, relayed.peer, MEGABYTE));
  }
  const value = median(rates.relayed.slice(1));
  yield {
    name: "wire: one way, frames of 1 MB through a relay",
    value,
    unit: "MB/s",
    ratio: value / median(rates.direct.slice(1)),
    to: "a direct connection",
  };
  const roundTrip = median(await wireRoundTrips(near, relayed.peer));
  yield {
    name: "wire: round trip of 1 KB through a relay, median",
    value: roundTrip,
    unit: "ms",
    ratio: roundTrip / median(await wireRoundTrips(near, direct.peer)),
    to: "a direct connection",
  };
}

/** One end of a wire, and the next frame that reaches it. */
interface Near extends AsyncDisposable {
  readonly node: Libp2pNode;
  readonly wire: Libp2pWire;
  readonly addresses: readonly string[];
  next(): Promise<Frame>;
}

/** What is particular about the other process. */
interface OtherTask {
  /** Whether it relays. */
  readonly relay?: boolean;
  /** The relay that it listens at, and nowhere else. */
  readonly through?: string;
}

async function startWire(
  onFrame?: (wire: Libp2pWire, from: string, frame: Frame) => void,
  { relay = false, through }: OtherTask = {},
): Promise<Near> {
  const clock = new RealClock();
  const identity = await createIdentity();
  const listen = through === undefined ? ["/ip4/127.0.0.1/tcp/0"] : [];
  const relays = through === undefined ? [] : [through];
  const listening = Promise.withResolvers<void>();
  const node = await createNode({
    identity,
    listen,
    bootstrap: [],
    relays,
    serveDht: false,
    offerRelay: relay,
    clock,
    onReach: (reach) => reach !== "sought" && listening.resolve(),
  });
  await listening.promise;
  const wire = new Libp2pWire(node, clock);
  let waiting: PromiseWithResolvers<Frame> | undefined;
  wire.open({
    onFrame: (from, frame) => onFrame ? onFrame(wire, from, frame) : waiting?.resolve(frame),
    onLost: (peer, reason) => waiting?.reject(new Error(`Cannot measure: lost ${peer}: ${reason}`)),
  });
  return {
    node,
    wire,
    addresses: node.addresses(),
    next: () => (waiting = Promise.withResolvers<Frame>()).promise,
    [Symbol.asyncDispose]: async () => {
      await wire.close();
      await node.close();
    },
  };
}

/** MB/s, from the first frame queued to the other end's word that the last has arrived. */
async function wireThroughput(near: Near, peer: string, bytes: number): Promise<number> {
  const tensor = { dataType: "u8", shape: [bytes], bytes: new Uint8Array(bytes).fill(7) } as const;
  const frames = BYTES_PER_RUN / bytes;
  const arrived = near.next();
  const startMs = performance.now();
  for (let left = frames; left > 0; left--) {
    if (!near.wire.send(peer, { header: { last: left === 1 }, tensors: [tensor] })) {
      throw new Error("Cannot measure: queue is full");
    }
  }
  await arrived;
  return BYTES_PER_RUN / 1000 / (performance.now() - startMs);
}

/** Milliseconds of each. */
async function wireRoundTrips(near: Near, peer: string): Promise<number[]> {
  const frame: Frame = { header: { echo: new Uint8Array(SMALL_BYTES) }, tensors: [] };
  return await times(async () => {
    const answer = near.next();
    near.wire.send(peer, frame);
    await answer;
  });
}

/** As `wireThroughput`, by a stream without frames. */
async function bareThroughput(stream: Stream, bytes: number): Promise<number> {
  const frame = new Uint8Array(bytes).fill(7);
  const announced = new Uint8Array(8);
  new DataView(announced.buffer).setFloat64(0, BYTES_PER_RUN);
  const arrived = message(stream);
  const startMs = performance.now();
  stream.send(announced);
  for (let left = BYTES_PER_RUN / bytes; left > 0; left--) {
    for (let at = 0; at < bytes; at += CHUNK_BYTES) {
      if (!stream.send(frame.subarray(at, at + CHUNK_BYTES))) await event(stream, "drain");
    }
  }
  await arrived;
  return BYTES_PER_RUN / 1000 / (performance.now() - startMs);
}

async function bareRoundTrips(stream: Stream): Promise<number[]> {
  const bytes = new Uint8Array(SMALL_BYTES);
  return await times(async () => {
    const answer = message(stream);
    stream.send(bytes);
    await answer;
  });
}

function event(stream: Stream, name: "drain" | "message"): Promise<void> {
  return new Promise((resolve) => stream.addEventListener(name, () => resolve(), { once: true }));
}

function message(stream: Stream): Promise<void> {
  return event(stream, "message");
}

/** The other end of a bare stream: swallows as many bytes as it is told, and echoes what is not a number of bytes. */
function answerBare(stream: Stream): void {
  let left = 0;
  stream.addEventListener("message", ({ data }) => {
    let bytes = data.subarray();
    if (left === 0 && bytes.byteLength === SMALL_BYTES) return void stream.send(bytes);
    if (left === 0) {
      left = new DataView(bytes.buffer, bytes.byteOffset).getFloat64(0);
      bytes = bytes.subarray(8);
    }
    left -= bytes.byteLength;
    if (left === 0) stream.send(new Uint8Array(1));
  });
}

async function plainThroughput(port: number, bytes: number): Promise<number> {
  using socket = await connect(port, BYTES_PER_RUN);
  const frame = new Uint8Array(bytes).fill(7);
  const startMs = performance.now();
  for (let left = BYTES_PER_RUN / bytes; left > 0; left--) await writeAll(socket, frame);
  await readFull(socket, new Uint8Array(1));
  return BYTES_PER_RUN / 1000 / (performance.now() - startMs);
}

async function plainRoundTrips(port: number): Promise<number[]> {
  using socket = await connect(port, 0);
  const message = new Uint8Array(SMALL_BYTES);
  return await times(async () => {
    await writeAll(socket, message);
    await readFull(socket, message);
  });
}

async function times(roundTrip: () => Promise<void>): Promise<number[]> {
  const taken: number[] = [];
  for (let trip = 0; trip < ROUND_TRIPS; trip++) {
    const startMs = performance.now();
    await roundTrip();
    taken.push(performance.now() - startMs);
  }
  return taken.slice(ROUND_TRIPS / 10);
}

/** What the other process says of itself. */
interface Other extends AsyncDisposable {
  readonly peer: string;
  readonly addresses: readonly string[];
  /** Of its plain socket. */
  readonly port: number;
}

async function startOther(task: OtherTask = {}): Promise<Other> {
  const process = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", import.meta.filename!, JSON.stringify(task)],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const reader = process.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (!text.includes("\n")) {
    const { value, done } = await reader.read();
    if (done) throw new Error("Cannot measure: the other process ended at once");
    text += value;
  }
  return {
    ...JSON.parse(text),
    [Symbol.asyncDispose]: async () => {
      await process.stdin.close();
      await process.status;
      await reader.cancel();
    },
  };
}

/** The other process: answers until its standard input ends, as it does when its parent dies. */
async function beOther(task: OtherTask): Promise<void> {
  const far = await startWire((wire, from, frame) => {
    const header = frame.header as { readonly last?: boolean; readonly echo?: Uint8Array };
    if (header.echo !== undefined) wire.send(from, frame);
    else if (header.last) wire.send(from, { header: {}, tensors: [] });
  }, task);
  await far.node.libp2p.handle(BARE_PROTOCOL, answerBare);
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  servePlain(listener);
  console.log(JSON.stringify({ peer: far.wire.self, addresses: far.addresses, port: listener.addr.port }));
  for await (const _ of Deno.stdin.readable);
  Deno.exit();
}

async function servePlain(listener: Deno.TcpListener): Promise<void> {
  for await (const socket of listener) {
    socket.setNoDelay();
    answerPlain(socket).finally(() => socket.close());
  }
}

async function answerPlain(socket: Deno.TcpConn): Promise<void> {
  const announced = new Uint8Array(8);
  await readFull(socket, announced);
  let left = new DataView(announced.buffer).getFloat64(0);
  const buffer = new Uint8Array(left > 0 ? MEGABYTE : SMALL_BYTES);
  if (left === 0) {
    while (await readFull(socket, buffer)) await writeAll(socket, buffer);
    return;
  }
  while (left > 0) left -= await socket.read(buffer) ?? left;
  await writeAll(socket, new Uint8Array(1));
}

/** @param bytes to be swallowed and confirmed by one byte; 0 for an echo of small messages. */
async function connect(port: number, bytes: number): Promise<Deno.TcpConn> {
  const socket = await Deno.connect({ hostname: "127.0.0.1", port });
  socket.setNoDelay();
  const announced = new Uint8Array(8);
  new DataView(announced.buffer).setFloat64(0, bytes);
  await writeAll(socket, announced);
  return socket;
}

async function writeAll(socket: Deno.TcpConn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.byteLength;) at += await socket.write(bytes.subarray(at));
}

/** Fills the buffer; `false` if the socket ended before. */
async function readFull(socket: Deno.TcpConn, buffer: Uint8Array): Promise<boolean> {
  for (let at = 0; at < buffer.byteLength;) {
    const read = await socket.read(buffer.subarray(at));
    if (read === null) return false;
    at += read;
  }
  return true;
}

if (import.meta.main) {
  await beOther(JSON.parse(Deno.args[0] ?? "{}"));
}
