/** What `deno task generate --json` tells, a line each. */

import type { GenerationFact } from "../actors/generation.ts";

/** A token, or what happened to the text on its way. */
export type GenerateEvent =
  | {
    readonly kind: "token";
    readonly token: number;
    /** That it completes, often none. */
    readonly text: string;
    readonly logProbability: number;
  }
  | Exclude<GenerationFact, { readonly kind: "token" }>;
