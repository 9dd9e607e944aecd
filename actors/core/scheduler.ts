/**
 * When a system that has something to do gets its turn. An argument, so that a
 * simulation can decide the order of turns among thousands of systems.
 */

import { setImmediate } from "node:timers";

/** Runs `turn` once, soon, and never before it returns. Turns run in the order of the calls. */
export type Scheduler = (turn: () => void) => void;

/**
 * Gives each turn a pass of the event loop, so that sockets and timers get
 * theirs however busy the actors are. A pass takes about 2 µs; microtasks
 * would starve them.
 */
export const eventLoopScheduler: Scheduler = (turn) => {
  setImmediate(turn);
};
