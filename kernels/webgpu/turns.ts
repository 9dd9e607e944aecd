/** Does things in the order in which they were asked for, and at once where nothing is in the way. */

/** A queue of work of which each piece may take time. */
export class Turns {
  #tail: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  /** Whether work would begin at once. */
  get idle(): boolean {
    return this.#waiting === 0;
  }

  /** Does a piece of work after all that was asked for before it. */
  take<Result>(work: () => Result | Promise<Result>): Result | Promise<Result> {
    const result = this.#waiting === 0 ? work() : this.#tail.then(work);
    if (!(result instanceof Promise)) return result;
    this.#waiting += 1;
    const done = () => void (this.#waiting -= 1);
    this.#tail = result.then(done, done); // its caller has the error
    return result;
  }
}
