/**
 * A run, as it goes, for whoever sits before it: a bar on a terminal, a line
 * every so often elsewhere. It shows events and keeps no record of them.
 */

import cliProgress from "cli-progress";
import type { RunEvent } from "../actors/report.ts";
import type { Output } from "./arguments.ts";
import * as format from "./format.ts";
import { toLine } from "./metrics.ts";

/** Shows a run's events. */
export interface Progress {
  show(event: RunEvent): void;
  /** Writes text that is no event (whole lines, their ends included) without harm to the bar. */
  note(text: string): void;
  /** Leaves the screen in order. Nothing is shown after it. */
  stop(): void;
}

/** What a run is, as far as progress goes. */
export interface ProgressOptions {
  /** Steps at which the run is done. */
  readonly steps: number;
  /** Step from which it starts: above 0 if it resumes. */
  readonly from: number;
}

/** Steps over which speed is averaged: short enough to show that a host is gone. */
const SPEED_STEPS = 20;
/** Lines that a whole run writes where there is no terminal. */
const LINES = 40;

/** A bar that stays at the foot of a terminal, under lines that say who came and went. */
export function progressBar(options: ProgressOptions, stream: NodeJS.WriteStream): Progress {
  const pace = new Pace();
  let stopped = false;
  const bars = new cliProgress.MultiBar({
    stream,
    format: "{bar} {value}/{total} · {detail}",
    barsize: 20,
    hideCursor: true,
    gracefulExit: false,
    linewrap: false,
    autopadding: true,
  }, cliProgress.Presets.shades_classic);
  const bar = bars.create(options.steps, options.from, { detail: "waiting for the first step" });
  return {
    show(event) {
      if (event.kind === "step") {
        bar.update(event.step, { detail: stepDetail(event, pace.add(event), options.steps) });
      } else if (event.kind === "done") bar.update(event.step);
      const words = describe(event);
      if (words !== undefined) bars.log(`${words}\n`);
    },
    note: (text) => stopped ? void stream.write(text) : bars.log(text),
    stop() {
      stopped = true;
      bars.stop();
    },
  };
}

/** One line for what happens, and for some of the steps. */
export function progressLines(options: ProgressOptions, output: Output): Progress {
  const pace = new Pace();
  const every = Math.max(1, Math.ceil((options.steps - options.from) / LINES));
  const write = (line: string) => output.err(`${line}\n`);
  return {
    show(event) {
      if (event.kind === "step") {
        const speed = pace.add(event);
        if (event.step % every !== 0 && event.step !== options.steps && event.step !== options.from + 1) {
          return;
        }
        write(`step ${event.step}/${options.steps} · ${stepDetail(event, speed, options.steps)}`);
        return;
      }
      const words = describe(event);
      if (words !== undefined) write(words);
    },
    note: output.err,
    stop() {},
  };
}

/** Every event as a JSON line on standard output, for a program. */
export function eventLines(output: Output): Progress {
  return { show: (event) => output.out(toLine(event)), note: output.err, stop() {} };
}

/** What an event means, in a line; `undefined` for those that only move the bar. */
export function describe(event: RunEvent): string | undefined {
  switch (event.kind) {
    case "waiting":
      return `waiting at step ${event.step}: nobody serves stage ${event.stage} (${
        format.printable(event.reason)
      })`;
    case "leading":
      return event.term === 1 ? undefined : `this trainer coordinates the run from step ${event.step} on`;
    case "following":
      return `trainer …${format.shortPeer(event.leader)} coordinates the run; this one feeds its share`;
    case "joined":
      return `+ host …${format.shortPeer(event.peer)} serves stage ${event.stage} from step ${event.step}`;
    case "lost":
      return `− host …${
        format.shortPeer(event.peer)
      } of stage ${event.stage} is lost at step ${event.step} (${format.printable(event.reason)})`;
    case "moved":
      return `· host …${
        format.shortPeer(event.peer)
      } goes from stage ${event.from} to stage ${event.to} after step ${event.step}`;
    case "validation":
      return `validation loss ${format.loss(event.loss)} at step ${event.step}`;
    case "failed":
      return `failed at step ${event.step}: ${format.printable(event.reason)}`;
    case "step":
    case "done":
      return undefined;
    default:
      return event satisfies never;
  }
}

type Step = Extract<RunEvent, { kind: "step" }>;

function stepDetail(event: Step, speed: Speed, steps: number): string {
  const left = (steps - event.step) * speed.secondsPerStep;
  return [
    `loss ${format.loss(event.loss)}`,
    `rate ${format.learningRate(event.learningRate)}`,
    `${format.rate(speed.tokensPerSecond)} tokens/s`,
    `hosts ${event.hosts.join("·")}`,
    ...event.replays > 0 ? [`${event.replays} replayed`] : [],
    ...left > 0 ? [`${format.duration(left)} left`] : [],
  ].join(" · ");
}

interface Speed {
  readonly tokensPerSecond: number;
  readonly secondsPerStep: number;
}

/** Speed over the last few steps. */
class Pace {
  readonly #steps: Step[] = [];

  add(step: Step): Speed {
    this.#steps.push(step);
    if (this.#steps.length > SPEED_STEPS) this.#steps.shift();
    const seconds = this.#steps.reduce((sum, { seconds }) => sum + seconds, 0);
    const tokens = this.#steps.reduce((sum, { tokens }) => sum + tokens, 0);
    return {
      tokensPerSecond: seconds === 0 ? 0 : tokens / seconds,
      secondsPerStep: seconds / this.#steps.length,
    };
  }
}
