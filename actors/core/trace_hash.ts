/**
 * One number for a whole trace, to tell whether two runs were the same run.
 */

import { createHash } from "node:crypto";
import type { TraceSink } from "./trace.ts";

/** SHA-256 over every event in order. */
export class TraceHash {
  /** Where the events go in. */
  readonly sink: TraceSink = ({ atMs, peer, actor, event, fields }) => {
    this.#hash.update(JSON.stringify([atMs, peer, actor, event, fields], legible) + "\n");
    this.#events++;
  };
  #hash = createHash("sha256");
  #events = 0;

  /** Events so far. */
  get events(): number {
    return this.#events;
  }

  /** Hash of the events so far, in hex. */
  digest(): string {
    return this.#hash.copy().digest("hex");
  }
}

/** Gives JSON the values that it would drop, refuse or confuse. */
function legible(_key: string, value: unknown): unknown {
  if (typeof value === "bigint" || typeof value === "number" && !Number.isFinite(value)) {
    return `${typeof value}:${value}`;
  }
  return value instanceof Error ? `${value.name}: ${value.message}` : value;
}
