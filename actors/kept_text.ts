/**
 * What a role must not lose in a crash, as one text: read once, and written anew
 * after every change, one write at a time. What the text says is its role's business.
 */

import type { Jobs } from "./role.ts";

/** Where a text is kept. */
export interface TextKeeper {
  /** The last text that was kept; `undefined` before the first. */
  load(): Promise<string | undefined>;
  /** Returns once the text would survive a crash. One call at a time. */
  save(text: string): Promise<void>;
}

/** A text that follows its role's state. */
export class KeptText {
  readonly #jobs: Jobs;
  readonly #keeper: TextKeeper;
  readonly #contents: () => string;
  readonly #failed: (error: unknown) => void;
  /** Nothing is written before the old text was read. */
  #busy = true;
  #dirty = false;

  /**
   * @param contents the text as it is to be now.
   * @param failed told of each write that failed. The next change is written all the same.
   */
  constructor(jobs: Jobs, keeper: TextKeeper, contents: () => string, failed: (error: unknown) => void) {
    this.#jobs = jobs;
    this.#keeper = keeper;
    this.#contents = contents;
    this.#failed = failed;
  }

  /** Reads the text. If it can't be read its role crashes: better not to begin than to write over it. */
  load(loaded: (text: string | undefined) => void): void {
    this.#jobs.start({ kind: "load", amount: 1 }, () => this.#keeper.load(), (text) => {
      loaded(text);
      this.#busy = false;
      this.save();
    }, (error) => {
      throw error;
    });
  }

  /** The state has changed. */
  save(): void {
    this.#dirty = true;
    if (this.#busy) return;
    this.#busy = true;
    this.#dirty = false;
    const text = this.#contents();
    const over = () => {
      this.#busy = false;
      if (this.#dirty) this.save();
    };
    this.#jobs.start({ kind: "save", amount: 1 }, () => this.#keeper.save(text), over, (error) => {
      this.#failed(error);
      over();
    });
  }
}
