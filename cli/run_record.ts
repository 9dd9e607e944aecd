/**
 * What a training run leaves behind: every event as a line of `metrics.jsonl`,
 * and the picture of its loss, `loss.svg`. Shows nothing itself.
 */

import { join } from "node:path";
import type { RunEvent } from "../actors/report.ts";
import { UsageError } from "./arguments.ts";
import * as format from "./format.ts";
import { History } from "./history.ts";
import { MetricsFile, readMetrics } from "./metrics.ts";
import { plotLoss } from "./plot.ts";

/** A run's files, open for more. */
export class RunRecord implements Disposable {
  /** All that happened, also before this process where the run resumes. */
  readonly history: History;
  readonly metricsPath: string;
  readonly plotPath: string;
  readonly #metrics: MetricsFile;
  readonly #name: string;

  private constructor(folder: string, name: string, resume: boolean, history: History) {
    this.history = history;
    this.metricsPath = join(folder, "metrics.jsonl");
    this.plotPath = join(folder, "loss.svg");
    this.#metrics = new MetricsFile(this.metricsPath, resume);
    this.#name = name;
  }

  /**
   * Opens the files in `folder`, which is made where there is none.
   *
   * @param resume whether what is there belongs to this run; else it is replaced.
   * @throws {UsageError} if they can't be written.
   */
  static async open(folder: string, name: string, resume: boolean): Promise<RunRecord> {
    const history = new History();
    try {
      await Deno.mkdir(folder, { recursive: true });
      if (resume) (await readMetrics(join(folder, "metrics.jsonl"))).forEach((event) => history.add(event));
      return new RunRecord(folder, name, resume, history);
    } catch (error) {
      if (error instanceof UsageError || !(error instanceof Error)) throw error;
      throw new UsageError(`Cannot record the run in ${folder}: ${error.message}`);
    }
  }

  /** Records one event. */
  add(event: RunEvent): void {
    this.#metrics.write(event);
    this.history.add(event);
  }

  /** Draws the picture anew. */
  async draw(): Promise<void> {
    const { history } = this;
    const subtitle = [
      `${format.rate(history.losses.at(-1)?.step ?? 0)} steps`,
      `${format.rate(history.tokensPerSecond)} tokens/s`,
      ...history.replays > 0 ? [`${format.rate(history.replays)} micro-batches replayed`] : [],
    ].join(" · ");
    await Deno.writeTextFile(this.plotPath, plotLoss(history, { title: this.#name, subtitle }));
  }

  [Symbol.dispose](): void {
    this.#metrics[Symbol.dispose]();
  }
}
