/**
 * Machines that a cloud lends cheaply and takes back when somebody pays more: a
 * trace of starts and kills, drawn from a seed. It is no recording; it imitates
 * what measurements of such machines agree on.
 *
 * - Machines of one zone go together: of 2,635 interruptions on two clouds, over
 *   92 % of those that hit the same type and zone came within three minutes of
 *   each other (Spot-and-Scoot, arXiv 2604.16457). Here what a zone can lend
 *   falls in jumps, and what is above it is reclaimed within three minutes;
 *   zones fall independently.
 * - What a zone can lend follows the day of those who pay (each zone has hours
 *   of its own), and grows scarcer from the beginning to the end.
 * - A pool asks for what it has lost, and gets it after some minutes, one by one,
 *   while the zone can lend: machines come slowly and go at once. A new machine
 *   has a new name and an empty disk.
 * - Single machines are taken at any time.
 *
 * SWARM's simulation of rebalancing ran over 32 hours of pre-emptions (Ryabinin
 * et al. 2023); the same length is the default here, and the number of machines
 * swings and falls so far that a swarm whose hosts come anywhere and never move
 * loses about as much as the one without rebalancing lost there.
 */

import { SeededEntropy } from "../actors/core/seeded_entropy.ts";
import { type ChurnEvent, exponential, sortedChurn } from "./churn.ts";

/** What of a trace can be chosen. */
export interface SpotTraceOptions {
  readonly seed: number;
  /** Default 32. */
  readonly hours?: number;
  /** Machines that the pool asks for. Default 64. */
  readonly hosts?: number;
  /** Zones that they are spread over. Default 4. */
  readonly zones?: number;
}

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** What a zone can lend at night, as a share of what is asked of it: at the beginning, and at the end. */
const LENT_FIRST = 1.15;
const LENT_LAST = 0.6;
/** How much less it is by day. */
const DAY_SWING = 0.3;
/** When a zone's first night is deepest, and how far zones are apart at most. */
const NIGHT_MS = 1 * HOUR_MS;
const NIGHTS_APART_MS = 4 * HOUR_MS;
/** Others' jobs that take a share of a zone away at once, for a while. */
const JUMPS_PER_HOUR = 0.15;
const JUMP_SHARE_MEAN = 0.2;
const JUMP_MS_MEAN = 3 * HOUR_MS;
/** A zone that has just reclaimed machines lends none for about so long. */
const DRY_MS_MEAN = 2 * HOUR_MS;
/** A zone reclaims nothing until this share of what is asked of it is at stake; */
const RECLAIM_SHARE_MIN = 0.15;
/** then its machines go together, within this. */
const RECLAIM_MS_MAX = 3 * MINUTE_MS;
/** From asking for a machine to its first breath: booking and booting, at least and on the mean. */
const REFILL_MS_MIN = 2 * MINUTE_MS;
const REFILL_MS_MEAN = 6 * MINUTE_MS;
/** Machines that a zone boots at a time for one pool. */
const REFILLS_AT_ONCE = 2;
/** Hours that a machine lives if nothing but chance takes it. */
const LIFE_HOURS_MEAN = 150;

/** What another's job takes from a zone. */
interface Jump {
  readonly share: number;
  readonly endsAtMs: number;
}

interface Zone {
  readonly number: number;
  readonly asked: number;
  /** When it can lend most. */
  readonly nightMs: number;
  jump: Jump[];
  dryUntilMs: number;
  live: string[];
  /** When the machines that boot will be there. */
  booting: number[];
}

/** The trace of a seed, in order of time; a machine's name begins with its zone's. All machines that a zone can lend at the beginning start at 0. */
export function spotTrace({ seed, hours = 32, hosts = 64, zones = 4 }: SpotTraceOptions): ChurnEvent[] {
  const chance = new SeededEntropy(`spot trace ${seed}`);
  const about = (mean: number) => exponential(chance, mean);
  const endMs = hours * HOUR_MS;
  const events: ChurnEvent[] = [];
  let named = 0;
  const places: Zone[] = Array.from({ length: zones }, (_, index) => ({
    number: index,
    asked: Math.floor((hosts + index) / zones),
    nightMs: NIGHT_MS + (chance.uniform() - 0.5) * NIGHTS_APART_MS,
    jump: [],
    dryUntilMs: 0,
    live: [],
    booting: [],
  }));
  const start = (zone: Zone, atMs: number) => {
    const peer = `zone${zone.number}-${named++}`;
    zone.live.push(peer);
    events.push({ atMs, kind: "start", peer });
  };
  const take = (zone: Zone, atMs: number) => {
    const [peer] = zone.live.splice(chance.integer(zone.live.length), 1);
    events.push({ atMs, kind: "kill", peer });
  };
  const lent = ({ asked, nightMs, jump }: Zone, atMs: number) => {
    const trend = LENT_FIRST + (LENT_LAST - LENT_FIRST) * atMs / endMs;
    const day = DAY_SWING * (1 - Math.cos(2 * Math.PI * (atMs - nightMs) / DAY_MS)) / 2;
    const taken = jump.reduce((sum, { share }) => sum + share, 0);
    return Math.max(0, Math.min(asked, Math.round(asked * (trend - day - taken))));
  };

  for (const zone of places) for (let left = lent(zone, 0); left > 0; left--) start(zone, 0);
  for (let nowMs = MINUTE_MS; nowMs < endMs; nowMs += MINUTE_MS) {
    for (const zone of places) {
      zone.jump = zone.jump.filter(({ endsAtMs }) => endsAtMs > nowMs);
      if (chance.uniform() < JUMPS_PER_HOUR / 60) {
        zone.jump.push({ share: about(JUMP_SHARE_MEAN), endsAtMs: nowMs + about(JUMP_MS_MEAN) });
      }
      const able = lent(zone, nowMs);
      if (zone.live.length - able >= zone.asked * RECLAIM_SHARE_MIN) {
        zone.dryUntilMs = nowMs + about(DRY_MS_MEAN);
        while (zone.live.length > able) take(zone, Math.round(nowMs + chance.uniform() * RECLAIM_MS_MAX));
      }
      if (zone.live.length > 0 && chance.uniform() < zone.live.length / (LIFE_HOURS_MEAN * 60)) {
        take(zone, nowMs);
      }
      for (const atMs of zone.booting.filter((atMs) => atMs <= nowMs)) {
        if (zone.live.length < able) start(zone, atMs);
      }
      zone.booting = zone.booting.filter((atMs) => atMs > nowMs);
      if (nowMs < zone.dryUntilMs) continue;
      const room = Math.min(REFILLS_AT_ONCE, able - zone.live.length) - zone.booting.length;
      for (let asked = 0; asked < room; asked++) {
        zone.booting.push(Math.round(nowMs + REFILL_MS_MIN + about(REFILL_MS_MEAN - REFILL_MS_MIN)));
      }
    }
  }
  return sortedChurn(events.filter(({ atMs }) => atMs < endMs));
}
