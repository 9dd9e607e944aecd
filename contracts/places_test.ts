import assert from "node:assert/strict";
import fc from "fast-check";
import { memoryJournal } from "./journal.ts";
import { LedgerError, type PlaceEvent } from "./ledger.ts";
import { Places } from "./places.ts";

const name = (digit: number) => `0x${digit.toString(16).padStart(40, "0")}`;
const [ADA, BEN, KEY, NEW] = [1, 2, 17, 18].map(name);

/** A registry that logs, can be down, and can be reorganised. */
class Registry {
  events: PlaceEvent[] = [];
  head = 0;
  isDown = false;
  asked: number[] = [];

  log(event: Omit<PlaceEvent, "block">): void {
    this.events.push({ block: ++this.head, ...event });
  }

  placesSince = (_model: string, block: number) => {
    this.asked.push(block);
    return this.isDown
      ? Promise.reject(new LedgerError("down", "Cannot ask: it is down"))
      : Promise.resolve({ events: this.events.filter((it) => it.block >= block), head: this.head });
  };
}

function clockAt(now: { ms: number }) {
  return { epochMs: () => now.ms, after: () => ({ cancel() {} }) };
}

const assigned = (owner: string, signer: string, stage: number) =>
  ({ kind: "assigned", owner, signer, stage }) as const;

Deno.test("a place is held from its assignment until somebody leaves, and then it was held", async () => {
  const registry = new Registry();
  const now = { ms: 1e12 };
  registry.log(assigned(ADA, KEY, 1));
  const places = await Places.open({ ledger: registry, model: "m", clock: clockAt(now) });
  assert.equal(await places.ownerNow(KEY, 1), ADA);
  assert.equal(await places.ownerNow(KEY, 0), undefined, "another stage");
  registry.log({ kind: "rotated", owner: ADA, signer: NEW });
  now.ms += 10_000;
  assert.equal(await places.ownerNow(NEW, 1), ADA, "a signer that is not known is looked for");
  assert.equal(await places.ownerNow(KEY, 1), undefined);
  assert.equal(places.ownerEver(KEY, 1), ADA);
  registry.log({ kind: "left", owner: ADA });
  registry.log(assigned(BEN, NEW, 0));
  await places.refresh();
  assert.equal(await places.ownerNow(NEW, 1), undefined);
  assert.deepEqual(places.placeNow(NEW, 0), { owner: BEN, model: "m", stage: 0 });
  assert.equal(places.ownerEver(NEW, 1), ADA);
});

Deno.test("a chain that is down is asked again, but not more often than now and then; what was known stays", async () => {
  const registry = new Registry();
  const now = { ms: 1e12 };
  const troubles: string[] = [];
  registry.log(assigned(ADA, KEY, 1));
  const places = await Places.open({
    ledger: registry,
    model: "m",
    clock: clockAt(now),
    onTrouble: (reason) => troubles.push(reason),
  });
  registry.isDown = true;
  now.ms += 10_000;
  for (let time = 0; time < 5; time++) assert.equal(await places.ownerNow(NEW, 1), undefined);
  assert.equal(await places.ownerNow(KEY, 1), ADA);
  assert.equal(registry.asked.length, 2, "strangers don't make it ask");
  assert.deepEqual(troubles, ["Cannot ask: it is down"]);
  await assert.rejects(Places.open({ ledger: registry, model: "m", clock: clockAt(now) }), LedgerError);
});

Deno.test("what was settled is known after a restart, even without a chain", async () => {
  const registry = new Registry();
  const journal = memoryJournal();
  const options = { ledger: registry, model: "m", clock: clockAt({ ms: 1e12 }), journal };
  registry.log(assigned(ADA, KEY, 1));
  registry.head += 1_000;
  registry.log(assigned(BEN, NEW, 0));
  await Places.open(options);
  registry.isDown = true;
  const again = await Places.open(options);
  assert.equal(await again.ownerNow(KEY, 1), ADA);
  assert.equal(again.ownerEver(KEY, 1), ADA);
  assert.equal(await again.ownerNow(NEW, 0), undefined, "it could still be reorganised");
});

Deno.test("however often the last blocks are replaced, the view is that of the chain at the end", async () => {
  const event = fc.record({
    kind: fc.constantFrom("assigned", "rotated", "left"),
    owner: fc.integer({ min: 1, max: 3 }),
    signer: fc.integer({ min: 16, max: 19 }),
    stage: fc.integer({ min: 0, max: 2 }),
    skip: fc.integer({ min: 0, max: 40 }),
    undo: fc.integer({ min: 0, max: 3 }),
  });
  await fc.assert(fc.asyncProperty(fc.array(event, { maxLength: 40 }), async (story) => {
    const registry = new Registry();
    const open = () => Places.open({ ledger: registry, model: "m", clock: clockAt({ ms: 0 }) });
    const places = await open();
    for (const { kind, owner, signer, stage, skip, undo } of story) {
      const gone = registry.events.splice(Math.max(0, registry.events.length - undo));
      // No more than what may be reorganised.
      registry.events.push(...gone.filter(({ block }) => block <= registry.head - 64));
      registry.head += skip;
      registry.log({
        kind,
        owner: name(owner),
        ...kind === "left" ? {} : { signer: name(signer) },
        ...kind === "rotated" ? {} : { stage },
      });
      await places.refresh();
    }
    const fresh = await open();
    for (let signer = 16; signer < 20; signer++) {
      for (let stage = 0; stage < 3; stage++) {
        assert.equal(await places.ownerNow(name(signer), stage), await fresh.ownerNow(name(signer), stage));
        assert.equal(places.ownerEver(name(signer), stage), fresh.ownerEver(name(signer), stage));
      }
    }
  }));
});
