/**
 * The wire of a host that lies: it computes as it should, and says something
 * else. It stands between a host of the product and the network, so that no
 * behaviour has to be imitated. What it can't do is forge another's name.
 */

import type { PeerId } from "../actors/core/actor.ts";
import type { Entropy } from "../actors/core/entropy.ts";
import type { Frame, Wire, WireEvents, WireTensor } from "../actors/wire/wire.ts";
import type { Lie } from "./faults.ts";

/** Share of its frames that a liar spoils, where a lie would otherwise end its connection each time. */
const SPOILT_SHARE = 0.1;

/** A wire whose owner's words are changed on their way out. */
export class LyingWire implements Wire {
  readonly self: PeerId;
  readonly #wire: Wire;
  readonly #entropy: Entropy;
  readonly #lies: () => readonly Lie[];

  /** @param lies that are told at this moment. */
  constructor(wire: Wire, entropy: Entropy, lies: () => readonly Lie[]) {
    this.self = wire.self;
    this.#wire = wire;
    this.#entropy = entropy;
    this.#lies = lies;
  }

  open(events: WireEvents): void {
    this.#wire.open(events);
  }

  send(to: PeerId, frame: Frame): boolean {
    let said: Frame | undefined = frame;
    for (const lie of this.#lies()) said &&= this.#twist(lie, said);
    return said === undefined || this.#wire.send(to, said);
  }

  close(): Promise<void> {
    return this.#wire.close();
  }

  /** What is said instead; `undefined`: nothing. */
  #twist(lie: Lie, frame: Frame): Frame | undefined {
    const header = frame.header as Readonly<Record<string, unknown>>;
    const { kind } = header;
    switch (lie) {
      case "pieces":
        return kind === "piece" ? { header, tensors: frame.tensors.map(flipped) } : frame;
      case "hashes":
        return { header: withOtherHashes(header), tensors: frame.tensors };
      case "reports":
        return kind === "accumulated" ? { header: this.#otherReport(header), tensors: [] } : frame;
      case "garbage":
        return this.#entropy.uniform() < SPOILT_SHARE
          ? { header: { ...header, kind: "nonsense", depth: [[[]]] }, tensors: frame.tensors }
          : frame;
      case "notFinite":
        return { header, tensors: frame.tensors.map(spoilt) };
      case "silence":
        return kind === "processed" || kind === "backward" ? undefined : frame;
      default:
        return lie satisfies never;
    }
  }

  #otherReport(header: Readonly<Record<string, unknown>>): unknown {
    const walk = header.walk as { readonly microBatch: number };
    return { ...header, walk: { ...walk, microBatch: this.#entropy.integer(walk.microBatch + 2) } };
  }
}

const HASHES = ["hash", "stateHash"];

function withOtherHashes(header: Readonly<Record<string, unknown>>): unknown {
  const changed = HASHES.filter((name) => typeof header[name] === "string");
  return { ...header, ...Object.fromEntries(changed.map((name) => [name, "ab".repeat(32)])) };
}

function flipped({ bytes, ...form }: WireTensor): WireTensor {
  const copy = bytes.slice();
  if (copy.length > 0) copy[copy.length >> 1] ^= 1;
  return { ...form, bytes: copy };
}

function spoilt({ bytes, ...form }: WireTensor): WireTensor {
  if (form.dataType !== "f32") return { ...form, bytes };
  return { ...form, bytes: new Uint8Array(new Float32Array(bytes.length / 4).fill(NaN).buffer) };
}
