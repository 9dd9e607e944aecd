/**
 * Who comes and goes, and when: a list of events in time, drawn from a seed or
 * read from a file. It knows neither stages nor what a host does.
 */

import { z } from "zod";
import type { Entropy } from "../actors/core/entropy.ts";

/** One host comes or goes. */
export interface ChurnEvent {
  /** Virtual time, milliseconds from the start. */
  readonly atMs: number;
  /** `stop` leaves in good order, `kill` as a power cut would. */
  readonly kind: "start" | "stop" | "kill";
  /** Its name. One that comes again after a `stop` or `kill` is the same host with its disk. */
  readonly peer: string;
}

/** How hosts come and go in a Poisson process. */
export interface PoissonChurn {
  /** Hosts that there are in all; about `meanUpMs / (meanUpMs + meanDownMs)` of them are up. */
  readonly hosts: number;
  readonly durationMs: number;
  /** Mean time for which a host stays. */
  readonly meanUpMs: number;
  /** Mean time for which it is away. */
  readonly meanDownMs: number;
  /** Share of departures in good order. */
  readonly graceful: number;
}

/** Events of hosts that come and go without memory of how long they have stayed, in order. */
export function poissonChurn(options: PoissonChurn, entropy: Entropy): ChurnEvent[] {
  const { hosts, durationMs, meanUpMs, meanDownMs, graceful } = options;
  const events: ChurnEvent[] = [];
  const upAtStart = meanUpMs / (meanUpMs + meanDownMs);
  for (let host = 0; host < hosts; host++) {
    const peer = `host-${host}`;
    const chance = entropy.fork(peer);
    let up = chance.uniform() < upAtStart;
    if (up) events.push({ atMs: 0, kind: "start", peer });
    let atMs = 0;
    while (true) {
      atMs += exponential(chance, up ? meanUpMs : meanDownMs);
      if (atMs >= durationMs) break;
      const kind = !up ? "start" : chance.uniform() < graceful ? "stop" : "kill";
      events.push({ atMs: Math.round(atMs), kind, peer });
      up = !up;
    }
  }
  return sortedChurn(events);
}

const eventSchema = z.strictObject({
  atMs: z.number().min(0),
  kind: z.enum(["start", "stop", "kill"]),
  peer: z.string().min(1).max(128),
});

/** Events of one trace: a 32-hour trace of ten thousand hosts has fewer. */
const EVENTS_MAX = 1_000_000;

/**
 * A trace from a file: one JSON object a line, `{"atMs":0,"kind":"start","peer":"host-1"}`.
 *
 * @throws {TypeError} if a line is no such thing, with its number.
 */
export function parseChurn(text: string): ChurnEvent[] {
  const lines = text.split("\n");
  if (lines.length > EVENTS_MAX) {
    throw new TypeError(`Cannot read trace: ${lines.length} lines, at most ${EVENTS_MAX}`);
  }
  const events: ChurnEvent[] = [];
  lines.forEach((line, index) => {
    if (line.trim() === "") return;
    events.push(parseLine(line, index + 1));
  });
  return sortedChurn(events);
}

function parseLine(line: string, number: number): ChurnEvent {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new TypeError(`Cannot read trace: line ${number} is no JSON`);
  }
  const parsed = eventSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new TypeError(
    `Cannot read trace: line ${number}, ${issue.path.join(".") || "event"}: ${issue.message}`,
  );
}

/** In the order of time; of equal times in the order given. */
export function sortedChurn(events: readonly ChurnEvent[]): ChurnEvent[] {
  return events.toSorted((one, other) => one.atMs - other.atMs);
}

/** Time to the next event of a Poisson process, in the unit of `mean`. */
export function exponential(entropy: Entropy, mean: number): number {
  return -mean * Math.log(1 - entropy.uniform());
}
