import assert from "node:assert/strict";
import fc from "fast-check";
import { cheapPath, type PricedHost, SLOWER_MAX } from "./cheap_path.ts";

const host = (peer: string, stepMs: number, priceUnits: number): PricedHost => ({ peer, stepMs, priceUnits });
const near = () => 1;
const names = (path: readonly PricedHost[]) => path.map(({ peer }) => peer).join(" ");

Deno.test("where all cost the same, or nothing, the quickest is taken", () => {
  assert.equal(names(cheapPath([[host("a", 9, 5), host("b", 3, 5)], [host("c", 1, 0)]], near)), "b c");
});

Deno.test("a cheaper host is taken where it is hardly slower, and not where it is much slower", () => {
  const dear = host("dear", 10, 100);
  assert.equal(names(cheapPath([[dear, host("cheap", 12, 10)]], near)), "cheap");
  assert.equal(names(cheapPath([[dear, host("slow", 30, 10)]], near)), "dear");
});

Deno.test("no path is slower than its bound or dearer than the quickest", () => {
  const hosts = fc.array(
    fc.record({
      peer: fc.uuid(),
      stepMs: fc.integer({ min: 1, max: 50 }),
      priceUnits: fc.integer({ min: 0, max: 9 }),
    }),
    { minLength: 1, maxLength: 4 },
  );
  fc.assert(fc.property(fc.array(hosts, { minLength: 1, maxLength: 4 }), (stages) => {
    const ms = (path: readonly PricedHost[]) => path.reduce((sum, it) => sum + 1 + it.stepMs, 1);
    const price = (path: readonly PricedHost[]) => path.reduce((sum, it) => sum + it.priceUnits, 0);
    const quickest = stages.map((all) => all.reduce((one, it) => it.stepMs < one.stepMs ? it : one));
    const path = cheapPath(stages, near);
    assert.ok(ms(path) <= SLOWER_MAX * ms(quickest) && price(path) <= price(quickest));
  }));
});
