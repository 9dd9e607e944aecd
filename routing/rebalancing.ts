/**
 * Which hosts should change their stage, and where a newcomer is needed most. A
 * pipeline is as fast as its slowest stage, so what counts is capacity:
 * micro-batches a second, from what each host measured of its own work.
 *
 * Pure: time, chance and measurements are arguments. It orders nobody: whoever
 * carries the moves out sees to it that they happen between steps.
 *
 * After SWARM's adaptive rebalancing (Ryabinin et al. 2023, algorithm 2), where
 * each period the least loaded peer of the least loaded stage moves to the most
 * loaded one. Here one place decides for all, so that peers can't all move at
 * once; it plans as many moves as pay off, and none that doesn't.
 */

/** A host, as far as balance goes. */
export interface BalancedHost {
  /** Its name. */
  readonly peer: string;
  /** That it serves, or is on its way to. */
  readonly stage: number;
  /** Takes work in; otherwise it is still on its way. */
  readonly serving: boolean;
  /** Whether it may be sent elsewhere: its owner may have asked for this very stage. */
  readonly movable: boolean;
  /** Seconds that it computes for one micro-batch of its stage, waiting not counted; `undefined` before the first. */
  readonly secondsPerMicroBatch: number | undefined;
}

/** What a plan has to respect. */
export interface BalanceRules {
  /** Work of one micro-batch at each stage, in any unit; as many as there are stages. */
  readonly work: readonly number[];
  /** Hosts that a stage must keep. */
  readonly floor: number;
  /** Hosts above which nobody more is sent to a stage. */
  readonly ceiling: number;
  /** Share by which the pipeline must become faster for a plan to be worth its transfers. */
  readonly hysteresis: number;
  /** Moves ordered at once. What is left of a plan comes with the next. */
  readonly movesMax: number;
}

/** A host that should leave one stage for another. */
export interface Move {
  /** Who moves. */
  readonly peer: string;
  /** The stage that it leaves. */
  readonly from: number;
  /** The stage that it takes. */
  readonly to: number;
}

/** Nobody is believed to be so many times as fast as the host in the middle: a boast must not empty other stages. */
const SPEED_TIMES_MEDIAN_MAX = 16;

/** Capacities that differ by less are equal: sums of the same numbers in another order. */
const ROUNDING = 1 + 1e-9;

/** The longest plan that is thought through; far above what is ordered at once. */
const PLANNED_MOVES_MAX = 1024;

/** One stage, as a plan changes it. */
interface Stage {
  readonly work: number;
  /** Work units per second of all its hosts, those on their way included, divided by `work`. */
  capacity: number;
  count: number;
  /** The same of the hosts that serve now. */
  servingCapacity: number;
  servingCount: number;
}

/** A host's speed, in work units per second. It goes with the host from stage to stage. */
type Speeds = ReadonlyMap<BalancedHost, number>;

/** The moves that are worth ordering now, most urgent first; none when all is well. */
export function planMoves(hosts: readonly BalancedHost[], rules: BalanceRules): Move[] {
  const speeds = speedsOf(hosts, rules.work).of;
  const stages = stagesOf(hosts, rules.work, speeds);
  const movable = hosts.filter(({ movable, serving }) => movable && serving)
    .sort((one, other) => one.peer < other.peer ? -1 : 1);
  /** Serving capacity never falls below what the pipeline has now. */
  const servingMin = Math.min(...stages.map(({ servingCapacity }) => servingCapacity));

  const before = capacityOf(stages);
  const moves: Move[] = [];
  /** Moves that raise a stage to its floor are worth it whatever they gain. */
  let needed = 0;
  let best = { capacity: before, moves: 0 };
  while (moves.length < PLANNED_MOVES_MAX) {
    const to = neediestOf(stages, rules);
    if (to === undefined) break;
    const belowFloor = stages[to].count < rules.floor;
    const host = bestHostFor(to, belowFloor);
    if (host === undefined) break;
    move(host, to);
    if (belowFloor) needed = moves.length;
    const capacity = capacityOf(stages);
    if (capacity > best.capacity * ROUNDING) best = { capacity, moves: moves.length };
  }
  const worthIt = best.capacity > before * (1 + rules.hysteresis);
  return moves.slice(0, Math.min(rules.movesMax, Math.max(needed, worthIt ? best.moves : 0)));

  /** Who can go there so that the poorer of the two stages ends richest. */
  function bestHostFor(to: number, belowFloor: boolean): BalancedHost | undefined {
    const needy = stages[to];
    let best: { host: BalancedHost; poorer: number; left: number } | undefined;
    for (const host of movable) {
      const from = stages[host.stage];
      if (host.stage === to || from.count <= rules.floor || from.servingCount <= Math.max(1, rules.floor)) {
        continue;
      }
      const speed = speeds.get(host)!;
      const left = from.capacity - speed / from.work;
      if (!belowFloor && left <= needy.capacity * ROUNDING) continue;
      if ((from.servingCapacity - speed / from.work) * ROUNDING < servingMin) continue;
      const poorer = Math.min(left, needy.capacity + speed / needy.work);
      if (
        best === undefined || poorer > best.poorer * ROUNDING ||
        (poorer * ROUNDING >= best.poorer && left > best.left * ROUNDING)
      ) best = { host, poorer, left };
    }
    return best?.host;
  }

  function move(host: BalancedHost, to: number): void {
    const speed = speeds.get(host)!;
    const from = stages[host.stage];
    from.capacity -= speed / from.work;
    from.servingCapacity -= speed / from.work;
    from.count--;
    from.servingCount--;
    stages[to].capacity += speed / stages[to].work;
    stages[to].count++;
    movable.splice(movable.indexOf(host), 1);
    moves.push({ peer: host.peer, from: host.stage, to });
  }
}

/** Where newcomers help most. Many may come at once: it counts in whom it has placed. */
export class Placement {
  readonly #rules: Pick<BalanceRules, "work" | "floor" | "ceiling">;
  readonly #stages: Stage[];
  readonly #speed: number;

  /**
   * Counts who is where.
   *
   * @param hosts those that are there, and those on their way.
   */
  constructor(hosts: readonly BalancedHost[], rules: Pick<BalanceRules, "work" | "floor" | "ceiling">) {
    const speeds = speedsOf(hosts, rules.work);
    this.#rules = rules;
    this.#stages = stagesOf(hosts, rules.work, speeds.of);
    this.#speed = speeds.middle;
  }

  /**
   * The stage for one more host of usual speed: the one with the least capacity that has room.
   *
   * @param preferred taken among stages of the same need.
   */
  next(preferred?: number): number {
    const { floor, ceiling } = this.#rules;
    const byNeed = order(this.#stages, floor);
    const neediest = byNeed.find((index) => this.#stages[index].count < ceiling) ?? byNeed[0];
    const isAsNeedy = preferred !== undefined && preferred < this.#stages.length &&
      compareNeed(this.#stages[preferred], this.#stages[neediest], floor) === 0;
    const index = isAsNeedy ? preferred : neediest;
    const stage = this.#stages[index];
    stage.capacity += this.#speed / stage.work;
    stage.count++;
    return index;
  }
}

/**
 * When to look again, in milliseconds: about a period, so that what happens to
 * keep time with it does not meet every look.
 *
 * @param uniform drawn from [0, 1).
 */
export function rebalanceDelayMs(periodMs: number, uniform: number): number {
  return periodMs * (0.9 + 0.2 * uniform);
}

/** Micro-batches a second of the whole pipeline, by what hosts serve now; 0 while a stage has none. */
export function pipelineCapacity(hosts: readonly BalancedHost[], work: readonly number[]): number {
  const stages = stagesOf(hosts, work, speedsOf(hosts, work).of);
  return Math.min(...stages.map(({ servingCapacity }) => servingCapacity));
}

/** The stage that a move should help; `undefined` when no move can. */
function neediestOf(stages: readonly Stage[], { floor, ceiling }: BalanceRules): number | undefined {
  const [first] = order(stages, floor);
  // Nobody there could hand its state over to whoever came.
  return stages[first].servingCount > 0 && stages[first].count < ceiling ? first : undefined;
}

/** Stages by need: first those below their floor, then by capacity. */
function order(stages: readonly Stage[], floor: number): number[] {
  return stages.map((_, index) => index).sort((one, other) =>
    compareNeed(stages[one], stages[other], floor) || one - other
  );
}

function compareNeed(one: Stage, other: Stage, floor: number): number {
  return Math.min(one.count, floor) - Math.min(other.count, floor) ||
    one.capacity - other.capacity || one.count - other.count;
}

function capacityOf(stages: readonly Stage[]): number {
  return Math.min(...stages.map(({ capacity }) => capacity));
}

function stagesOf(hosts: readonly BalancedHost[], work: readonly number[], speeds: Speeds): Stage[] {
  const stages = work.map((work): Stage => ({
    work,
    capacity: 0,
    count: 0,
    servingCapacity: 0,
    servingCount: 0,
  }));
  for (const host of hosts) {
    const stage = stages[host.stage];
    const rate = speeds.get(host)! / stage.work;
    stage.capacity += rate;
    stage.count++;
    if (!host.serving) continue;
    stage.servingCapacity += rate;
    stage.servingCount++;
  }
  return stages;
}

/** A host that has measured nothing yet, or tells what is no duration, counts as the one in the middle. */
function speedsOf(hosts: readonly BalancedHost[], work: readonly number[]): { of: Speeds; middle: number } {
  const measured = ({ stage, secondsPerMicroBatch = 0 }: BalancedHost) => {
    const speed = work[stage] / secondsPerMicroBatch;
    return speed > 0 && speed < Infinity ? speed : undefined;
  };
  const known = hosts.flatMap((host) => measured(host) ?? []).sort((one, other) => one - other);
  const middle = known[known.length >> 1] ?? 1;
  const most = middle * SPEED_TIMES_MEDIAN_MAX;
  return { of: new Map(hosts.map((host) => [host, Math.min(measured(host) ?? middle, most)])), middle };
}
