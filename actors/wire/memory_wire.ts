/**
 * Wires between the peers of one process, on whatever clock they are given: for
 * simulations and tests. Frames pass through the real codec, so nothing is shared
 * between peers that a machine would have to send.
 *
 * Of a network it imitates latency, jitter, bandwidth of each pair of peers, and
 * connections that break as a whole. It doesn't imitate congestion.
 */

import assert from "node:assert/strict";
import type { PeerId } from "../core/actor.ts";
import type { Clock } from "../core/clock.ts";
import type { Entropy } from "../core/entropy.ts";
import { Queue } from "../core/queue.ts";
import { silentTrace, type TraceSink } from "../core/trace.ts";
import { SEND_QUEUE_BYTES_MAX, SEND_QUEUE_FRAMES_MAX, WIRE_PEERS_MAX } from "../limits.ts";
import { encodeFrame, FrameDecoder } from "./codec.ts";
import { BadFrame, type Frame, type Wire, type WireEvents } from "./wire.ts";

/** The way from one peer to another. */
export interface MemoryLink {
  /** From when a frame has left until it arrives. */
  readonly latencyMs: number;
  /** Added to the latency of each frame, uniformly drawn from 0 to this. */
  readonly jitterMs?: number;
  /** Of each of the two streams. Without it, frames of any size leave at once. */
  readonly bytesPerSecond?: number;
}

/** What goes wrong with one frame. */
export type MemoryFault =
  /** It never arrives, and nobody is told. */
  | { readonly kind: "drop" }
  /** It arrives twice. */
  | { readonly kind: "duplicate" }
  /** It, and all that follows on its stream, arrives later. */
  | { readonly kind: "delay"; readonly delayMs: number }
  /**
   * The connection breaks, at once or after so long. Neither the frame nor what follows on its stream
   * arrives. Both ends are told.
   */
  | { readonly kind: "break"; readonly afterMs?: number };

/** What a hub is built from. */
export interface MemoryHubOptions {
  /** Moves the frames. */
  readonly clock: Clock;
  /** Draws the jitter. */
  readonly entropy: Entropy;
  /** Asked for every frame, so it may change while the hub runs. */
  readonly link: (from: PeerId, to: PeerId) => MemoryLink;
  /** Connections of one peer. Default: as many as a wire of the product holds. */
  readonly peersMax?: number;
  /** Asked for every frame that is sent. Default: nothing goes wrong. */
  readonly fault?: (from: PeerId, to: PeerId, frame: Frame) => MemoryFault | undefined;
  /** Told of faults and bad frames. Default: nothing is kept. */
  readonly trace?: TraceSink;
}

/** Everything between two peers, in both directions, from the first frame until it breaks. */
interface Connection {
  readonly ends: readonly [PeerId, PeerId];
  /** The wire at each end, once it has sent or received. A later wire of the same peer is another end. */
  readonly wires: Map<PeerId, MemoryWire>;
  readonly streams: Map<string, Stream>;
  broken: boolean;
}

/** One of the two streams of a direction. */
interface Stream {
  readonly decoder: FrameDecoder;
  /** Frames that have not arrived. Each arrival takes the oldest, so that none overtakes another. */
  readonly flying: Queue<readonly Uint8Array[]>;
  /** Frames that have not left, oldest first. */
  readonly waiting: Queue<{ readonly leavesAtMs: number; readonly bytes: number }>;
  waitingBytes: number;
  /** When the last of them will have left. */
  freeAtMs: number;
  /** When the last frame arrives. */
  arrivesAtMs: number;
  /** Nothing that is sent arrives any more: the connection is about to break. */
  stalled: boolean;
}

/** Where the wires of one process meet. */
export class MemoryHub {
  readonly #options: MemoryHubOptions;
  readonly #trace: TraceSink;
  readonly #wires = new Map<PeerId, MemoryWire>();
  /** By both peers, whoever sent first. */
  readonly #connections = new Map<PeerId, Map<PeerId, Connection>>();

  /** A hub without peers. */
  constructor(options: MemoryHubOptions) {
    this.#options = options;
    this.#trace = options.trace ?? silentTrace;
  }

  /** A wire for a peer that has none, or whose last one was closed or killed. */
  attach(peer: PeerId): Wire {
    assert(!this.#wires.has(peer), `Cannot attach ${peer}: it has a wire`);
    const wire = new MemoryWire(peer, {
      send: (to, frame) => this.#send(peer, to, frame),
      close: () => this.#close(peer),
    });
    this.#wires.set(peer, wire);
    return wire;
  }

  /** Takes a peer away as a power cut would: what it sent and has not arrived never does. */
  kill(peer: PeerId): void {
    this.#wires.get(peer)?.end();
    this.#wires.delete(peer);
    for (const connection of this.#connectionsOf(peer)) this.#break(connection, `${peer} is gone`);
  }

  /** Breaks the connection of two peers, if there is one. Both are told. */
  disconnect(one: PeerId, other: PeerId): void {
    const connection = this.#connections.get(one)?.get(other);
    if (connection !== undefined) this.#break(connection, "the connection broke");
  }

  #connectionsOf(peer: PeerId): Connection[] {
    return [...(this.#connections.get(peer)?.values() ?? [])];
  }

  #send(from: PeerId, to: PeerId, frame: Frame): boolean {
    assert(to !== from, "a frame to oneself never reaches the wire");
    const pieces = encodeFrame(frame);
    const connection = this.#connections.get(from)?.get(to) ?? this.#connect(from, to);
    if (connection === undefined) return false;
    this.#wireAt(connection, from);
    const kind = frame.tensors.length > 0 ? "bulk" : "control";
    const stream = this.#stream(connection, `${from} ${kind}`);
    const bytes = pieces.reduce((sum, piece) => sum + piece.byteLength, 0);
    if (!this.#hasRoom(stream, bytes)) return false;

    const fault = this.#options.fault?.(from, to, frame);
    if (fault !== undefined) this.#note(from, "fault", { to, kind: fault.kind });
    if (fault?.kind === "drop" || stream.stalled) return true;
    const { clock, entropy, link } = this.#options;
    if (fault?.kind === "break") {
      const { afterMs = 0 } = fault;
      stream.stalled = true;
      if (afterMs > 0) clock.after(afterMs, () => this.#break(connection, "the connection timed out"));
      else this.#break(connection, "the connection broke");
      return true;
    }

    const { latencyMs, jitterMs = 0, bytesPerSecond = Infinity } = link(from, to);
    const leavesAtMs = Math.max(clock.nowMs(), stream.freeAtMs) + 1000 * bytes / bytesPerSecond;
    stream.waiting.push({ leavesAtMs, bytes });
    stream.waitingBytes += bytes;
    stream.freeAtMs = leavesAtMs;
    const delayMs = latencyMs + (jitterMs > 0 ? jitterMs * entropy.uniform() : 0) +
      (fault?.kind === "delay" ? fault.delayMs : 0);
    stream.arrivesAtMs = Math.max(stream.arrivesAtMs, leavesAtMs + delayMs);
    for (let copies = fault?.kind === "duplicate" ? 2 : 1; copies > 0; copies--) {
      stream.flying.push(pieces);
      clock.after(stream.arrivesAtMs - clock.nowMs(), () => this.#arrive(connection, stream, from, to));
    }
    return true;
  }

  #connect(one: PeerId, other: PeerId): Connection | undefined {
    for (const peer of [one, other]) {
      const most = this.#options.peersMax ?? WIRE_PEERS_MAX;
      if ((this.#connections.get(peer)?.size ?? 0) >= most) return undefined;
    }
    const connection: Connection = {
      ends: [one, other],
      wires: new Map(),
      streams: new Map(),
      broken: false,
    };
    for (const [peer, far] of [[one, other], [other, one]] as const) {
      const all = this.#connections.get(peer) ?? new Map<PeerId, Connection>();
      this.#connections.set(peer, all.set(far, connection));
    }
    return connection;
  }

  #wireAt(connection: Connection, peer: PeerId): MemoryWire | undefined {
    const wire = connection.wires.get(peer) ?? this.#wires.get(peer);
    if (wire !== undefined) connection.wires.set(peer, wire);
    return wire;
  }

  #stream(connection: Connection, name: string): Stream {
    let stream = connection.streams.get(name);
    if (stream === undefined) {
      stream = {
        decoder: new FrameDecoder(),
        flying: new Queue(),
        waiting: new Queue(),
        waitingBytes: 0,
        freeAtMs: -Infinity,
        arrivesAtMs: -Infinity,
        stalled: false,
      };
      connection.streams.set(name, stream);
    }
    return stream;
  }

  /** Frames leave as time passes; nobody needs to know before there is another one to send. */
  #hasRoom(stream: Stream, bytes: number): boolean {
    const nowMs = this.#options.clock.nowMs();
    for (
      let first = stream.waiting.peek();
      first && first.leavesAtMs <= nowMs;
      first = stream.waiting.peek()
    ) {
      stream.waitingBytes -= first.bytes;
      stream.waiting.shift();
    }
    return stream.waiting.size < SEND_QUEUE_FRAMES_MAX && stream.waitingBytes + bytes <= SEND_QUEUE_BYTES_MAX;
  }

  #arrive(connection: Connection, stream: Stream, from: PeerId, to: PeerId): void {
    const pieces = stream.flying.shift()!;
    if (connection.broken) return;
    const wire = this.#wireAt(connection, to);
    if (wire?.events === undefined) return this.#break(connection, `Cannot reach ${to}`);
    try {
      for (const piece of pieces) {
        for (const frame of stream.decoder.push(piece)) {
          wire.events.onFrame(from, frame);
          // The owner may have closed or killed anybody meanwhile.
          if (connection.broken || wire.events === undefined) return;
        }
      }
    } catch (error) {
      if (!(error instanceof BadFrame)) throw error;
      this.#note(to, "bad frame", { from, reason: error.message });
      this.#break(connection, error.message);
    }
  }

  /** Ends a connection: nothing that is on its way arrives. Each living end learns of it a latency later. */
  #break(connection: Connection, reason: string): void {
    if (connection.broken) return;
    connection.broken = true;
    this.#detach(connection);
    const { clock, link } = this.#options;
    const [one, other] = connection.ends;
    for (const [peer, far] of [[one, other], [other, one]] as const) {
      const wire = connection.wires.get(peer);
      if (wire?.events === undefined) continue;
      clock.after(link(far, peer).latencyMs, () => wire.events?.onLost(far, reason));
    }
  }

  /** What is sent from now on makes a new connection. */
  #detach(connection: Connection): void {
    const [one, other] = connection.ends;
    for (const [peer, far] of [[one, other], [other, one]] as const) {
      const all = this.#connections.get(peer);
      if (all?.get(far) !== connection) continue;
      all.delete(far);
      if (all.size === 0) this.#connections.delete(peer);
    }
  }

  /** Lets arrive what has been sent, then breaks every connection of the peer. */
  #close(peer: PeerId): void {
    this.#wires.delete(peer);
    const { clock } = this.#options;
    for (const connection of this.#connectionsOf(peer)) {
      this.#detach(connection);
      const lastMs = Math.max(...[...connection.streams.values()].map(({ arrivesAtMs }) => arrivesAtMs));
      const delayMs = Math.max(0, lastMs - clock.nowMs());
      clock.after(delayMs, () => this.#break(connection, `${peer} closed its wire`));
    }
  }

  #note(peer: PeerId, event: string, fields: Readonly<Record<string, unknown>>): void {
    this.#trace({ atMs: this.#options.clock.nowMs(), peer, actor: "", event, fields });
  }
}

/** One peer's end. */
class MemoryWire implements Wire {
  readonly self: PeerId;
  /** What the owner is told; nothing before `open` and after the end. */
  events: WireEvents | undefined;
  readonly #hub: { send(to: PeerId, frame: Frame): boolean; close(): void };
  #ended = false;

  constructor(self: PeerId, hub: { send(to: PeerId, frame: Frame): boolean; close(): void }) {
    this.self = self;
    this.#hub = hub;
  }

  open(events: WireEvents): void {
    assert(this.events === undefined && !this.#ended, "a wire is opened once");
    this.events = events;
  }

  send(to: PeerId, frame: Frame): boolean {
    return this.events !== undefined && this.#hub.send(to, frame);
  }

  /** No frame is sent or delivered any more, and no loss told. */
  end(): void {
    this.#ended = true;
    this.events = undefined;
  }

  close(): Promise<void> {
    if (!this.#ended) {
      this.end();
      this.#hub.close();
    }
    return Promise.resolve();
  }
}
