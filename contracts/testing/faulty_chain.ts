/**
 * A chain whose answers get lost, as networks and nodes lose them: before it has
 * heard, or after it has done what was asked. It decides nothing itself.
 */

import { type Chain, ChainError } from "../chain.ts";

/** What becomes of a question: `before` the chain hears it or `after` it has answered it is lost. */
export type Fate = "heard" | "before" | "after";

/** Asks `fate` what becomes of each question. */
export function faultyChain(chain: Chain, fate: (method: string) => Fate): Chain {
  const lost = (method: string) => new ChainError("down", `Cannot ${method}: the answer was lost`);
  return {
    async ask<T>(method: string, params: readonly unknown[]): Promise<T> {
      const it = fate(method);
      if (it === "before") throw lost(method);
      const answer = await chain.ask<T>(method, params);
      if (it === "after") throw lost(method);
      return answer;
    },
    close: () => chain.close(),
  };
}
