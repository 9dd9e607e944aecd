/** What contracts have logged, page by page: many nodes look through no more blocks at once. It interprets nothing. */

/** A log as a node gives it. */
export interface EventLog {
  readonly topics: readonly string[];
  readonly data: string;
  readonly blockNumber: string;
  readonly logIndex: string;
}

/** Asks a chain. */
export type Ask = <T>(method: string, params: readonly unknown[]) => Promise<T>;

/** Blocks of one question. */
const PAGE_BLOCKS = 5_000;

/**
 * Logs of one contract in order, from a block to another, both included.
 *
 * @param topics of which each may be a choice, or `null` for any.
 */
export async function* eventLogs(
  ask: Ask,
  address: string,
  topics: readonly (string | readonly string[] | null)[],
  fromBlock: number,
  head: number,
): AsyncGenerator<EventLog, void, void> {
  for (let from = fromBlock; from <= head; from += PAGE_BLOCKS) {
    const [first, last] = [from, Math.min(from + PAGE_BLOCKS - 1, head)].map((block) =>
      `0x${block.toString(16)}`
    );
    yield* await ask<EventLog[]>("eth_getLogs", [{ address, topics, fromBlock: first, toBlock: last }]);
  }
}
