/**
 * Where the peers of a simulated world are, and what lies between them: regions
 * on a map drawn from a seed, latency by distance, bandwidth by the slower end.
 * Nothing goes wrong here; that is the weather's business.
 */

import type { PeerId } from "../actors/core/actor.ts";
import type { Entropy } from "../actors/core/entropy.ts";
import type { MemoryLink } from "../actors/wire/memory_wire.ts";

/** What a network is like. */
export interface NetworkShape {
  readonly regions: number;
  /** One way, between the corners of the map. Two peers of one region are a millisecond apart. */
  readonly latencyMsMax: number;
  /** Of each peer's uplink, drawn evenly by magnitude between these. */
  readonly bytesPerSecondMin: number;
  readonly bytesPerSecondMax: number;
}

/** Share of the latency that varies from frame to frame. */
const JITTER_SHARE = 0.1;
const LATENCY_MS_MIN = 1;

interface Place {
  readonly region: number;
  readonly bytesPerSecond: number;
}

/** The map. */
export class Network {
  readonly #entropy: Entropy;
  readonly #shape: NetworkShape;
  /** Latency from region to region, in ms. */
  readonly #latencyMs: readonly (readonly number[])[];
  readonly #places = new Map<PeerId, Place>();

  constructor(entropy: Entropy, shape: NetworkShape) {
    this.#entropy = entropy;
    this.#shape = shape;
    const map = entropy.fork("regions");
    const centres = Array.from({ length: shape.regions }, () => [map.uniform(), map.uniform()]);
    const perDiagonal = (shape.latencyMsMax - LATENCY_MS_MIN) / Math.SQRT2;
    this.#latencyMs = centres.map(([x, y]) =>
      centres.map(([otherX, otherY]) => LATENCY_MS_MIN + perDiagonal * Math.hypot(x - otherX, y - otherY))
    );
  }

  /** The way from one peer to another. */
  link(from: PeerId, to: PeerId): MemoryLink {
    const [one, other] = [this.#place(from), this.#place(to)];
    const latencyMs = this.#latencyMs[one.region][other.region];
    return {
      latencyMs,
      jitterMs: JITTER_SHARE * latencyMs,
      bytesPerSecond: Math.min(one.bytesPerSecond, other.bytesPerSecond),
    };
  }

  /** Where a peer is. It is there in every life. */
  region(peer: PeerId): number {
    return this.#place(peer).region;
  }

  #place(peer: PeerId): Place {
    let place = this.#places.get(peer);
    if (place === undefined) {
      const chance = this.#entropy.fork(`place of ${peer}`);
      const { regions, bytesPerSecondMin, bytesPerSecondMax } = this.#shape;
      place = {
        region: chance.integer(regions),
        bytesPerSecond: bytesPerSecondMin * (bytesPerSecondMax / bytesPerSecondMin) ** chance.uniform(),
      };
      this.#places.set(peer, place);
    }
    return place;
  }
}
