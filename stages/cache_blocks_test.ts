import assert from "node:assert/strict";
import fc from "fast-check";
import { BLOCK_TOKENS, CacheBlocks, type KeptSession, sessionRows, SPARE_ROW } from "./cache_blocks.ts";
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

function rowsOf(session: KeptSession): number[] {
  const rows = new Int32Array(session.tokens);
  sessionRows(session, 0, session.tokens, rows, 0);
  return [...rows];
}

Deno.test("whatever is called, no row is anybody's twice, what is kept stays where it is, and room is what is left", () => {
  let full = 0;
  fc.assert(
    fc.property(fc.array(call, { maxLength: 40 }), (calls) => {
      const blocks = new CacheBlocks(CAPACITY);
      /** What each session should keep, and the rows of that. */
      const expected = new Map<string, number[]>();
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
            position: call.anywhere ? position : Math.min(position, expected.get(key)?.length ?? 0),
          }));
          const twice = new Set(sequences.map(({ key }) => key)).size < sequences.length;
          const lacking = sequences.some(({ key, position }) => position > (expected.get(key)?.length ?? 0));
          const after = new Map([...expected].map(([key, { length }]) => [key, length]));
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
            for (const session of blocks.extend(sequences, call.tokens)) {
              const rows = rowsOf(session);
              const { position } = sequences.find(({ key }) => key === session.key)!;
              assert.equal(rows.length, position + call.tokens);
              assert.deepEqual(
                rows.slice(0, position),
                (expected.get(session.key) ?? []).slice(0, position),
              );
              expected.set(session.key, rows);
            }
          }
        }
        const rows = [...expected.values()].flat();
        assert.equal(new Set(rows).size, rows.length);
        assert.ok(rows.every((row) => row !== SPARE_ROW && row > 0 && row < blocks.rows));
        assert.ok(blocks.rows <= 1 + blocks.capacityTokens);
        const taken = [...expected.values()].reduce(
          (sum, { length }) => sum + Math.ceil(length / BLOCK_TOKENS),
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
  const [first] = blocks.extend([{ key: "a", position: 0 }], 40);
  const [second] = blocks.extend([{ key: "a", position: 0 }], 3);
  blocks.endThis(first);
  assert.equal(blocks.count, 1);
  blocks.endThis(second);
  assert.equal(blocks.count, 0);
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
