import assert from "node:assert/strict";
import { silentTrace, teeTrace, type TraceEvent, TraceRing } from "./trace.ts";
import { TraceHash } from "./trace_hash.ts";

function event(atMs: number, fields: Record<string, unknown> = {}): TraceEvent {
  return { atMs, peer: "peer", actor: "actor", event: "event", fields };
}

Deno.test("a trace ring keeps the latest events, oldest first", () => {
  const ring = new TraceRing(3);
  for (let atMs = 0; atMs < 8; atMs++) {
    ring.sink(event(atMs));
    const kept = ring.events().map((kept) => kept.atMs);
    assert.deepEqual(kept, [atMs - 2, atMs - 1, atMs].filter((at) => at >= 0));
    assert.equal(ring.forgotten, Math.max(0, atMs - 2));
  }
  assert.throws(() => new TraceRing(0), RangeError);
});

Deno.test("a tee hands each event to all, in order", () => {
  const seen: string[] = [];
  const sink = teeTrace(() => seen.push("one"), silentTrace, () => seen.push("two"));
  sink(event(0));
  assert.deepEqual(seen, ["one", "two"]);
});

Deno.test("a trace hash tells order, numbers and fields apart", () => {
  const digest = (...events: TraceEvent[]) => {
    const hash = new TraceHash();
    for (const event of events) hash.sink(event);
    assert.equal(hash.events, events.length);
    return hash.digest();
  };
  assert.equal(digest(event(1), event(2)), digest(event(1), event(2)));
  const digests = [
    digest(),
    digest(event(1), event(2)),
    digest(event(2), event(1)),
    digest(event(1, { loss: NaN })),
    digest(event(1, { loss: Infinity })),
    digest(event(1, { loss: null })),
    digest(event(1, { loss: 3n })),
    digest(event(1, { error: new Error("one") })),
    digest(event(1, { error: new Error("two") })),
  ];
  assert.equal(new Set(digests).size, digests.length);
});
