/** A run in a screenful, once it is over: its curve, its figures, who did the work. It computes nothing new. */

import { chart } from "./chart.ts";
import * as format from "./format.ts";
import type { History, Worker } from "./history.ts";

/** Columns that fit every terminal. */
const COLUMNS = 78;
const ROWS = 14;

/** The curve of the training loss, the figures, and a table of the hosts; lines without a last line break. */
export function summarise(history: History): string {
  return [chart(history.losses, { columns: COLUMNS, rows: ROWS }), figures(history), workers(history)]
    .filter((part) => part !== "").join("\n\n");
}

function figures(history: History): string {
  const [last, validation] = [history.losses.at(-1), history.validations.at(-1)];
  return [
    ...last === undefined ? [] : [["training loss", `${format.loss(last.loss)} at step ${last.step}`]],
    ...validation === undefined ? [] : [[
      "validation loss",
      `${format.loss(validation.loss)} at step ${validation.step}, on text never trained on`,
    ]],
    ["tokens per second", format.rate(history.tokensPerSecond)],
    [
      "micro-batches replayed",
      history.replays === 0 ? "none" : `${format.rate(history.replays)}, each counted once all the same`,
    ],
  ].map(([what, value]) => `${what!.padEnd(24)}${value}`).join("\n");
}

function workers(history: History): string {
  if (history.workers.length === 0) return "";
  return format.table(
    ["stage", "host", "micro-batches", ""],
    history.workers.map((worker) => [
      worker.stage === undefined ? "?" : String(worker.stage),
      `…${format.shortPeer(worker.peer)}`,
      worker.microBatches,
      fate(worker, history),
    ]),
  );
}

/** `joined at step 80, lost at step 160`; nothing for those who were there all the time. */
function fate(worker: Worker, history: History): string {
  return history.marks
    .filter((mark) => mark.peer === worker.peer && (mark.kind === "lost" || mark.step > 0))
    .map((mark) => `${mark.kind} at step ${mark.step}`).join(", ");
}
