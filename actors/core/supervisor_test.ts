import assert from "node:assert/strict";
import fc from "fast-check";
import { Supervisor } from "./supervisor.ts";

const limits = { pauseMs: 10, pauseMsMax: 50, restartsMax: 4, windowMs: 1000 };

Deno.test("pauses double up to a bound, then the supervisor gives up", () => {
  const supervisor = new Supervisor(limits);
  const pauses = [0, 1, 2, 3].map((atMs) => supervisor.crashed(atMs));
  assert.deepEqual(
    pauses,
    [10, 20, 40, 50].map((pauseMs) => ({ kind: "restart", pauseMs })),
  );
  assert.deepEqual(supervisor.crashed(4), { kind: "escalate", crashes: 5 });
});

Deno.test("crashes outside the window are forgotten", () => {
  const supervisor = new Supervisor(limits);
  for (let index = 0; index < 50; index++) {
    const verdict = supervisor.crashed(index * 400);
    assert.equal(verdict.kind, "restart");
    assert.ok(verdict.kind === "restart" && verdict.pauseMs <= 40);
  }
});

Deno.test("never more restarts than allowed in any window", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 500 }), { maxLength: 60 }), (gapsMs) => {
      const supervisor = new Supervisor(limits);
      const restartsAtMs: number[] = [];
      let nowMs = 0;
      for (const gapMs of gapsMs) {
        nowMs += gapMs;
        const verdict = supervisor.crashed(nowMs);
        if (verdict.kind === "escalate") break;
        assert.ok(verdict.pauseMs >= limits.pauseMs && verdict.pauseMs <= limits.pauseMsMax);
        restartsAtMs.push(nowMs);
        const recent = restartsAtMs.filter((atMs) => nowMs - atMs < limits.windowMs);
        assert.ok(recent.length <= limits.restartsMax);
      }
    }),
  );
});
