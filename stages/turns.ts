/**
 * In which order a stage does what it is asked for: one thing after the other,
 * except that what is read back may arrive while the next is computed. It
 * computes nothing.
 */

/** What a turn has handed to the device, and waits for. */
export interface Arrival<Result> {
  readonly result: Promise<Result>;
  /** Called if it does not come. */
  readonly failed?: () => void;
}

/** Nothing is waited for. */
export const NOTHING: Arrival<undefined> = { result: Promise.resolve(undefined) };

/** The turns of one stage. */
export class Turns {
  #tail: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  /** Ends when what a subject's last turn reads back is here, or failed to come. */
  readonly #arriving = new Map<string, Promise<void>>();

  /** Whether nothing that was asked for waits for its turn, or has it. */
  get idle(): boolean {
    return this.#waiting === 0;
  }

  /** Whether something of this subject is still to arrive. */
  isArriving(subject: string): boolean {
    return this.#arriving.has(subject);
  }

  /** Runs work after all work that was asked for before, and with nothing on its way. */
  inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    return this.#take(async () => {
      await Promise.all(this.#arriving.values());
      return await work();
    });
  }

  /**
   * Runs work after all work that was asked for before. Its turn ends when it is handed to the device;
   * what it reads back may arrive during the turns of other subjects.
   */
  async overlapping<Result>(subject: string, work: () => Promise<Arrival<Result>>): Promise<Result> {
    const { result } = await this.#take(async () => {
      await this.#arriving.get(subject);
      const arrival = await work();
      const arrived = arrival.result.then(() => {}, arrival.failed ?? (() => {})).then(() => {
        if (this.#arriving.get(subject) === arrived) this.#arriving.delete(subject);
      });
      this.#arriving.set(subject, arrived);
      return arrival;
    });
    return await result;
  }

  #take<Result>(work: () => Promise<Result>): Promise<Result> {
    this.#waiting += 1;
    const result = this.#tail.then(work);
    const done = () => void (this.#waiting -= 1);
    // A failure belongs to its caller; for the order it only counts that the turn is over.
    this.#tail = result.then(done, done);
    return result;
  }
}
