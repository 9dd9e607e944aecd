/**
 * What lies between the machines of a network: distance, lines of some width,
 * loss, and cuts. It moves packets from queue to queue as a clock says, and
 * touches no device: whoever calls it reads and writes.
 */

import type { Entropy } from "../../actors/core/entropy.ts";
import { Line } from "./line.ts";

/** How bad a network is. */
export interface Impairment {
  /** One way, between any two machines. */
  readonly delayMs: number;
  /** Of each machine's line, each way; infinite without a limit. */
  readonly bitsPerSecond: number;
  /** Of all packets, drawn for each. */
  readonly lossShare: number;
}

/** Nothing but what a packet needs to come through at all. */
export const UNIMPAIRED: Impairment = { delayMs: 0, bitsPerSecond: Infinity, lossShare: 0 };

/** A packet under way. */
interface Packet {
  readonly to: number;
  readonly bytes: Uint8Array;
  /** When it leaves the queue that it is in. */
  readonly dueMs: number;
}

/** Packets in the order in which they are due. */
class Queue {
  #packets: Packet[] = [];
  #first = 0;

  push(packet: Packet): void {
    this.#packets.push(packet);
  }

  get dueMs(): number {
    return this.#packets[this.#first]?.dueMs ?? Infinity;
  }

  shift(): Packet {
    const packet = this.#packets[this.#first++]!;
    // What was shifted is let go of in large steps: an array's own shift is slow when it is long.
    if (this.#first > 1024 && this.#first > this.#packets.length / 2) {
      this.#packets = this.#packets.slice(this.#first);
      this.#first = 0;
    }
    return packet;
  }
}

/** The space between machines 0 to `machines - 1`. */
export class Between {
  readonly #impairment: Impairment;
  readonly #entropy: Entropy;
  readonly #upward: readonly Line[];
  readonly #downward: readonly Line[];
  /** By sender: on its line and on the way. */
  readonly #flying: readonly Queue[];
  /** By receiver: on its line. */
  readonly #landing: readonly Queue[];
  /** Group of each machine; only within one packets pass. */
  #groups: readonly number[];

  constructor(machines: number, impairment: Impairment, entropy: Entropy) {
    const each = <T>(make: () => T) => Array.from({ length: machines }, make);
    this.#impairment = impairment;
    this.#entropy = entropy;
    this.#upward = each(() => new Line(impairment.bitsPerSecond));
    this.#downward = each(() => new Line(impairment.bitsPerSecond));
    this.#flying = each(() => new Queue());
    this.#landing = each(() => new Queue());
    this.#groups = each(() => 0);
  }

  /** Cuts the network in parts; what is under way arrives. @param groups of each machine, one number. */
  cut(groups: readonly number[]): void {
    this.#groups = [...groups];
  }

  /** Takes a packet. It keeps the bytes. */
  send(nowMs: number, from: number, to: number, bytes: Uint8Array): void {
    if (this.#groups[from] !== this.#groups[to] || this.#upward[to] === undefined) return;
    if (this.#entropy.uniform() < this.#impairment.lossShare) return;
    const sentMs = this.#upward[from]!.pass(nowMs, bytes.length);
    if (sentMs === undefined) return;
    this.#flying[from]!.push({ to, bytes, dueMs: sentMs + this.#impairment.delayMs });
  }

  /** When {@link Between.deliver} has something to do; infinite if nothing is under way. */
  get dueMs(): number {
    let due = Infinity;
    for (const queue of this.#flying) due = Math.min(due, queue.dueMs);
    for (const queue of this.#landing) due = Math.min(due, queue.dueMs);
    return due;
  }

  /** Hands over what has arrived by now. */
  deliver(nowMs: number, receive: (to: number, bytes: Uint8Array) => void): void {
    for (const queue of this.#flying) {
      while (queue.dueMs <= nowMs) {
        const { to, bytes } = queue.shift();
        const dueMs = this.#downward[to]!.pass(nowMs, bytes.length);
        if (dueMs !== undefined) this.#landing[to]!.push({ to, bytes, dueMs });
      }
    }
    for (const queue of this.#landing) {
      while (queue.dueMs <= nowMs) {
        const { to, bytes } = queue.shift();
        receive(to, bytes);
      }
    }
  }
}
