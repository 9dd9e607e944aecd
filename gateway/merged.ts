/** Several sequences as one, in the order in which their items come. It holds one item of each, and no more. */

/** An item, and which sequence it is of. */
export interface Merged<Item> {
  readonly index: number;
  readonly item: Item;
}

/**
 * Merges; whoever breaks off, or a sequence that throws, ends all of them.
 *
 * @param end called once, at the end: what the sequences wait for is to end as well.
 */
export async function* merged<Item>(
  sequences: readonly AsyncGenerator<Item, void, void>[],
  end: () => void,
): AsyncGenerator<Merged<Item>, void, void> {
  type Next = { readonly index: number; readonly result: IteratorResult<Item, void> };
  const next = async (index: number): Promise<Next> => ({ index, result: await sequences[index].next() });
  const pending = new Map(sequences.map((_, index) => [index, next(index)]));
  try {
    while (pending.size > 0) {
      const { index, result } = await Promise.race(pending.values());
      if (result.done) {
        pending.delete(index);
        continue;
      }
      yield { index, item: result.value };
      pending.set(index, next(index));
    }
  } finally {
    end();
    // One has failed, or nobody listens any more: what the others still say, they say to nobody.
    for (const promise of pending.values()) promise.catch(() => {});
    await Promise.allSettled(sequences.map((sequence) => sequence.return()));
  }
}
