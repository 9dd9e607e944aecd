/**
 * A scenario that failed once, as a file: the scenario itself rather than its
 * seed, so that it stays the same when scenarios are drawn in another way.
 */

import { z } from "zod";
import { parseScenario, type Scenario } from "./scenario.ts";

/** What is kept of a failure. */
export interface SeedFile {
  /** What failed, and why, for people. */
  readonly cause: string;
  /** Whether it fails still: nobody has mended it yet. */
  readonly open: boolean;
  readonly scenario: Scenario;
}

const schema = z.strictObject({ cause: z.string().min(1), open: z.boolean(), scenario: z.unknown() });

/**
 * A failure from its file; a bare scenario is one as well.
 *
 * @throws {TypeError} if it is neither.
 */
export function parseSeedFile(text: string): SeedFile {
  const parsed = schema.safeParse(json(text));
  if (!parsed.success) return { cause: "", open: false, scenario: parseScenario(text) };
  return { ...parsed.data, scenario: parseScenario(JSON.stringify(parsed.data.scenario)) };
}

/** Text of a file. */
export function formatSeedFile(file: SeedFile): string {
  return `${JSON.stringify(file, null, 2)}\n`;
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new TypeError(`Cannot read seed file: ${error.message}`);
  }
}
