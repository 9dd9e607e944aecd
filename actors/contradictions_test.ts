import assert from "node:assert/strict";
import fc from "fast-check";
import { Contradictions } from "./contradictions.ts";

const about = "numbers";

Deno.test("once is a mishap, however often it is said in one round; in the second round it is not", () => {
  const contradictions = new Contradictions();
  assert.equal(contradictions.add({ accused: "c", accuser: "a", about, round: 0 }, 2), undefined);
  assert.equal(contradictions.add({ accused: "c", accuser: "a", about, round: 0 }, 2), undefined);
  assert.equal(contradictions.add({ accused: "c", accuser: "b", about, round: 0 }, 2), undefined);
  assert.equal(contradictions.add({ accused: "c", accuser: "c", about: "table", round: 1 }, 2), undefined);
  assert.equal(contradictions.add({ accused: "c", accuser: "b", about, round: 1 }, 2), "c");
});

Deno.test("another step begins without what was said in the one before", () => {
  const contradictions = new Contradictions();
  contradictions.add({ accused: "c", accuser: "a", about, round: 0 }, 2);
  contradictions.clear();
  assert.equal(contradictions.add({ accused: "c", accuser: "a", about, round: 1 }, 2), undefined);
});

Deno.test("who accuses falsely costs one other its place, and with the second its own, also in later steps", () => {
  const contradictions = new Contradictions();
  const accuse = (accused: string, accuser: string) => {
    contradictions.clear();
    contradictions.add({ accused, accuser, about, round: 0 }, 2);
    return contradictions.add({ accused, accuser, about, round: 1 }, 2);
  };
  assert.equal(accuse("honest-1", "liar"), "honest-1");
  assert.equal(accuse("honest-2", "liar"), "liar");
  assert.equal(accuse("honest-1", "liar"), "liar");
  assert.equal(accuse("liar", "honest-3"), "liar");
});

Deno.test("whomever one host accuses, and however often, it costs one other its place at most", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 0, max: 6 }), fc.boolean())),
      (accusations) => {
        const contradictions = new Contradictions();
        const out = new Set<string>();
        for (const [accused, round, next] of accusations) {
          if (next) contradictions.clear();
          const loser = contradictions.add({ accused: `host-${accused}`, accuser: "liar", about, round }, 2);
          if (loser !== undefined && loser !== "liar") out.add(loser);
        }
        assert.ok(out.size <= 1, [...out].join());
      },
    ),
  );
});
