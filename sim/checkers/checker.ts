/** What a checker reports. Each checker is a file with one promise; it watches, and never acts on the world. */

/** A promise that was broken. */
export interface Violation {
  /** Name of the checker that saw it. */
  readonly checker: string;
  /** What was seen, in words. */
  readonly words: string;
}

/** Takes what a checker sees. */
export type Report = (violation: Violation) => void;
