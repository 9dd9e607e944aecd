/** Log-probabilities as JSON can carry them. */

import type { TokenChance } from "./token_account.ts";

/** What OpenAI tells of a token that can't be drawn at all. */
const LEAST = -9999;

/** A token's log-probability, in nats, as a number that JSON knows. */
export function logProbability({ logProbability }: TokenChance): number {
  return Math.max(LEAST, logProbability);
}
