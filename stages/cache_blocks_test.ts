import assert from "node:assert/strict";
import fc from "fast-check";
import {
  BLOCK_TOKENS,
  CacheBlocks,
  headRows,
  type KeptSession,
  roundedBlocks,
  SPARE_BLOCK,
} from "./cache_blocks.ts";
import { CacheFull } from "./sessions.ts";

const CAPACITY = 6;
const key = fc.constantFrom("a", "b", "c", "d");
const sequence = fc.record({ key, position: fc.integer({ min: 0, max: 5 * BLOCK_TOKENS }) });
const call = fc.oneof(
  fc.record({
    sequences: fc.array(sequence, { minLength: 1, maxLength: 4 }),
    tokens: fc.integer({ min: 1, max: 3 * BLOCK_TOKENS }),
    /** Positions are taken as they are, or cut to what the session keeps. */
    anywhere: fc.boolean(),
  }),
  fc.record({ end: key }),
  fc.constant("clear" as const),
);

const HEADS = 2;

/** Where the heads of its positions lie. */
function rowsOf(session: KeptSession): number[] {
  const rows = new Int32Array(session.tokens * HEADS);
  headRows(session, HEADS, 0, session.tokens, rows, 0);
  return [...rows];
}

Deno.test("whatever is called, no row is anybody's twice, what is kept stays where it is, and room is what is left", () => {
  let full = 0;
  fc.assert(
    fc.property(fc.array(call, { maxLength: 40 }), (calls) => {
      const blocks = new CacheBlocks(CAPACITY);
      /** What each session should keep, and the rows of that: HEADS for each position. */
      const expected = new Map<string, number[]>();
      const tokensOf = (key: string) => (expected.get(key)?.length ?? 0) / HEADS;
      for (const call of calls) {
        if (call === "clear") {
          blocks.clear();
          expected.clear();
        } else if ("end" in call) {
          blocks.end(call.end);
          expected.delete(call.end);
        } else {
          const sequences = call.sequences.map(({ key, position }) => ({
            key,
            position: call.anywhere ? position : Math.min(position, tokensOf(key)),
          }));
          const twice = new Set(sequences.map(({ key }) => key)).size < sequences.length;
          const lacking = sequences.some(({ key, position }) => position > tokensOf(key));
          const after = new Map([...expected.keys()].map((key) => [key, tokensOf(key)]));
          for (const { key, position } of sequences) after.set(key, position + call.tokens);
          const taken = [...after.values()].reduce(
            (sum, tokens) => sum + Math.ceil(tokens / BLOCK_TOKENS),
            0,
          );
          if (twice || lacking) {
            assert.throws(() => blocks.extend(sequences, call.tokens), TypeError);
          } else if (taken > CAPACITY) {
            full++;
            assert.throws(() => blocks.extend(sequences, call.tokens), CacheFull);
          } else {
            for (const session of blocks.extend(sequences, call.tokens).kept) {
              const rows = rowsOf(session);
              const { position } = sequences.find(({ key }) => key === session.key)!;
              assert.equal(rows.length, (position + call.tokens) * HEADS);
              assert.deepEqual(
                rows.slice(0, position * HEADS),
                (expected.get(session.key) ?? []).slice(0, position * HEADS),
              );
              expected.set(session.key, rows);
            }
          }
        }
        const rows = [...expected.values()].flat();
        assert.equal(new Set(rows).size, rows.length);
        const spared = (SPARE_BLOCK + 1) * HEADS * BLOCK_TOKENS;
        assert.ok(rows.every((row) => row >= spared && row < blocks.poolBlocks * HEADS * BLOCK_TOKENS));
        assert.ok(blocks.poolBlocks <= 1 + CAPACITY);
        const taken = [...expected.values()].reduce(
          (sum, { length }) => sum + Math.ceil(length / HEADS / BLOCK_TOKENS),
          0,
        );
        assert.equal(blocks.roomTokens, (CAPACITY - taken) * BLOCK_TOKENS);
        assert.equal(blocks.count, expected.size);
      }
    }),
    { numRuns: 500 },
  );
  assert.ok(full > 20, "the pool was full now and then");
});

Deno.test("a session that begins anew is not the one that ended", () => {
  const blocks = new CacheBlocks(2);
  const { kept: [first] } = blocks.extend([{ key: "a", position: 0 }], 40);
  const { kept: [second] } = blocks.extend([{ key: "a", position: 0 }], 3);
  blocks.endThis(first);
  assert.equal(blocks.count, 1);
  blocks.endThis(second);
  assert.equal(blocks.count, 0);
});

Deno.test("blocks that others have used are told, and no others", () => {
  const blocks = new CacheBlocks(3);
  const { kept: [first], used } = blocks.extend([{ key: "a", position: 0 }], 2 * BLOCK_TOKENS);
  assert.deepEqual(used, []);
  const taken = [...first.blocks];
  blocks.end("a");
  const second = blocks.extend([{ key: "b", position: 0 }], 3 * BLOCK_TOKENS);
  assert.deepEqual(second.used.toSorted(), taken.toSorted());
  assert.deepEqual(blocks.extend([{ key: "b", position: 5 }], 1).used, [], "its own");
});

Deno.test("errors say what is there", () => {
  const blocks = new CacheBlocks(2);
  blocks.extend([{ key: "a", position: 0 }], 40);
  assert.throws(() => blocks.extend([{ key: "a", position: 41 }], 1), {
    name: "TypeError",
    message: "Cannot continue session a at position 41: 40 tokens are kept",
  });
  assert.throws(() => blocks.extend([{ key: "b", position: 0 }], 40), {
    name: "CacheFull",
    message: "Cannot continue 1 sessions by 40 tokens: 2 blocks are missing, 0 of 2 are free",
  });
});

Deno.test("runs over texts of any length have few sizes, with little room to spare", () => {
  const sizes = Array.from({ length: 1024 }, (_, index) => roundedBlocks(index + 1));
  sizes.forEach((size, index) => {
    const blocks = index + 1;
    assert.ok(Number.isInteger(size) && size >= blocks && size < 1.25 * blocks, `${size} for ${blocks}`);
    if (blocks <= 8) assert.equal(size, blocks);
  });
  for (let power = 8; power <= 512; power *= 2) {
    assert.equal(new Set(sizes.slice(power, 2 * power)).size, 4);
  }
});
