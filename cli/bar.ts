/**
 * How far a piece of work has come, for whoever sits before it: a bar on a
 * terminal, a line every so often elsewhere. It knows nothing of runs; theirs is
 * `progress.ts`.
 */

import process from "node:process";
import cliProgress from "cli-progress";
import { PROCESS_OUTPUT } from "./arguments.ts";

/** Shows how far something has come. */
export interface Bar {
  /** @param detail a few words to stand beside it. */
  update(value: number, detail: string): void;
  /** Writes whole lines without harm to the bar. */
  note(text: string): void;
  /** Leaves the screen in order. */
  stop(): void;
}

/** Lines that are written where there is no terminal. */
const LINES = 20;

/** A bar on standard error, as suits what that is. */
export function openBar(total: number): Bar {
  return Deno.stderr.isTerminal() ? terminalBar(total, process.stderr) : lineBar(total, PROCESS_OUTPUT.err);
}

/** A bar at the foot of a terminal. */
export function terminalBar(total: number, stream: NodeJS.WriteStream): Bar {
  const bars = new cliProgress.MultiBar({
    stream,
    format: "{bar} {percentage} % · {detail}",
    barsize: 20,
    hideCursor: true,
    gracefulExit: false,
    linewrap: false,
  }, cliProgress.Presets.shades_classic);
  const bar = bars.create(total, 0, { detail: "" });
  return {
    update: (value, detail) => bar.update(Math.min(value, total), { detail }),
    note: (text) => bars.log(text),
    stop: () => bars.stop(),
  };
}

/** A line for every twentieth of the way. */
export function lineBar(total: number, write: (text: string) => void): Bar {
  let told = 0;
  return {
    update(value, detail) {
      const reached = Math.floor(LINES * value / total);
      if (reached <= told) return;
      told = reached;
      write(`${Math.floor(100 * value / total)} % · ${detail}\n`);
    },
    note: write,
    stop() {},
  };
}
