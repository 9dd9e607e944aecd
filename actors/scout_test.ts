import assert from "node:assert/strict";
import { Simulation } from "./core/simulation.ts";
import type { ActorSystem } from "./core/system.ts";
import {
  ANNOUNCE_PERIOD_MS,
  LOOK_PERIOD_MS_ALONE,
  LOOK_PERIOD_MS_MAX,
  LOOK_PERIOD_MS_MIN,
  LOOK_REST_FACTOR,
} from "./limits.ts";
import type { Message, MessageOf } from "./messages.ts";
import { behaviour } from "./role.ts";
import { type Offer, scout } from "./scout.ts";
import { announcementOf } from "./testing/announcement.ts";
import type { Announcement } from "../routing/mod.ts";

const WORK_MS = 10;

/** A scout, and a role that hears of what it finds. */
class Scouting {
  readonly simulation: Simulation;
  readonly system: ActorSystem<Message>;
  /** Who is there; an error is what looking rejects with. */
  there: readonly Announcement[] | Error = [];
  /** What announcing rejects with. */
  deaf: Error | undefined;
  readonly looksAtMs: number[] = [];
  readonly announced: { readonly offer: Offer; readonly atMs: number }[] = [];
  readonly found: { readonly by: string; readonly message: MessageOf<"found"> }[] = [];
  readonly learnt: string[] = [];
  readonly doubted: string[] = [];
  /** The address at which a bug strikes. */
  crashAt: number | undefined;

  constructor(seed = 1, lookMs = WORK_MS) {
    this.simulation = new Simulation({
      seed,
      costs: { durationMs: (_, { kind }) => kind === "lookup" ? lookMs : WORK_MS, lane: () => undefined },
    });
    this.system = this.simulation.system<Message>({ peer: "own" });
    const { clock } = this.simulation;
    this.system.spawn(scout({
      announce: (offer) => {
        this.announced.push({ offer, atMs: clock.nowMs() });
        return this.deaf === undefined ? Promise.resolve() : Promise.reject(this.deaf);
      },
      lookUp: () => {
        this.looksAtMs.push(clock.nowMs());
        return this.there instanceof Error ? Promise.reject(this.there) : Promise.resolve(this.there);
      },
      doubt: (peer) => this.doubted.push(peer),
      learnAddresses: (peer, addresses) => {
        if (this.learnt.push(`${peer} at ${addresses}`) === this.crashAt) throw new Error("a bug");
      },
    }));
    for (const name of ["host", "trainer"]) {
      this.system.spawn(behaviour(name, () => ({
        receive: ({ message }) => {
          if (message.kind === "found") this.found.push({ by: name, message });
        },
      })));
    }
  }

  tell(message: Message): void {
    this.system.tell({ actor: "scout" }, message);
  }

  watch(subscriber = "host"): void {
    this.tell({ kind: "watch", service: "stage:0", subscriber });
  }

  announce(service: string, step: number): void {
    this.tell({ kind: "announce", service, step, stateHash: null, load: 0, trains: true, sessionRoom: 0 });
  }

  async until(untilMs: number): Promise<void> {
    await this.simulation.run({ untilMs });
  }

  /** From the end of each look to the beginning of the next. */
  pausesMs(): number[] {
    return this.looksAtMs.slice(1).map((atMs, i) => atMs - this.looksAtMs[i] - WORK_MS);
  }
}

/** Pauses are spread by a quarter to both sides. */
function assertPauses(pausesMs: readonly number[], expectedMs: readonly number[]): void {
  assert.equal(pausesMs.length, expectedMs.length);
  pausesMs.forEach((pauseMs, i) => {
    const share = pauseMs / expectedMs[i];
    assert.ok(share >= 0.75 && share < 1.25, `pause ${i} is ${pauseMs} ms, expected some ${expectedMs[i]}`);
  });
}

async function looks(scouting: Scouting, count: number): Promise<void> {
  await scouting.simulation.run({ until: () => scouting.looksAtMs.length >= count, untilMs: 600_000 });
}

Deno.test("it looks at once, then ever more rarely; not so rarely while nobody is there", async () => {
  const alone = new Scouting();
  alone.watch();
  await looks(alone, 6);
  assert.equal(alone.looksAtMs[0], 0);
  const doubled = [LOOK_PERIOD_MS_MIN, 2 * LOOK_PERIOD_MS_MIN];
  assertPauses(alone.pausesMs(), [...doubled, ...new Array(3).fill(LOOK_PERIOD_MS_ALONE)]);

  const company = new Scouting();
  company.there = [announcementOf("a")];
  company.watch();
  await looks(company, 8);
  assertPauses(company.pausesMs(), [
    ...doubled,
    4 * LOOK_PERIOD_MS_MIN,
    8 * LOOK_PERIOD_MS_MIN,
    16 * LOOK_PERIOD_MS_MIN,
    ...new Array(2).fill(LOOK_PERIOD_MS_MAX),
  ]);
});

Deno.test("scouts that lost the same peer don't look at the same moment", async () => {
  const times = new Set<number>();
  for (const seed of [1, 2, 3, 4]) {
    const scouting = new Scouting(seed);
    scouting.watch();
    await looks(scouting, 2);
    times.add(scouting.looksAtMs[1]);
  }
  assert.equal(times.size, 4);
});

Deno.test("whoever watches hears of everybody but this peer, and of nobody too", async () => {
  const scouting = new Scouting();
  scouting.there = [announcementOf("a"), announcementOf("own"), announcementOf("b")];
  scouting.watch();
  await scouting.until(WORK_MS + 1);
  scouting.there = [];
  await looks(scouting, 2);
  await scouting.until(scouting.simulation.clock.nowMs() + WORK_MS);
  assert.deepEqual(
    scouting.found.map((
      { by, message },
    ) => [by, message.service, message.announcements.map((it) => it.peer)]),
    [["host", "stage:0", ["a", "b"]], ["host", "stage:0", []]],
  );
  assert.deepEqual(scouting.learnt, ["a at /memory/a", "b at /memory/b"]);
});

Deno.test("two roles that watch one service share each look", async () => {
  const scouting = new Scouting();
  scouting.watch("host");
  scouting.watch("trainer");
  await scouting.until(WORK_MS + 1);
  assert.equal(scouting.looksAtMs.length, 1);
  assert.deepEqual(scouting.found.map(({ by }) => by), ["host", "trainer"]);
  // Whoever comes later need not wait for the next look.
  scouting.watch("trainer");
  await scouting.until(3 * WORK_MS);
  assert.equal(scouting.looksAtMs.length, 2);
});

Deno.test("a look that fails finds nobody, and is not the last", async () => {
  const scouting = new Scouting();
  scouting.there = new Error("no route");
  scouting.watch();
  await looks(scouting, 3);
  scouting.there = [announcementOf("a")];
  await scouting.until(scouting.simulation.clock.nowMs() + 2 * LOOK_PERIOD_MS_ALONE);
  assert.deepEqual(scouting.found[0].message.announcements, []);
  assert.equal(scouting.found.at(-1)!.message.announcements.length, 1);
});

Deno.test("after a loss it looks soon, once", async () => {
  const scouting = new Scouting();
  scouting.there = [announcementOf("a")];
  scouting.watch();
  await looks(scouting, 8);
  const lostAtMs = scouting.simulation.clock.nowMs() + 100;
  await scouting.until(lostAtMs);
  for (const peer of ["a", "b", "c"]) scouting.tell({ kind: "peerLost", peer, reason: "gone" });
  await scouting.until(lostAtMs + 1.25 * LOOK_PERIOD_MS_MIN + WORK_MS);
  assert.equal(scouting.looksAtMs.length, 9);
  assert.deepEqual(scouting.doubted, ["a", "b", "c"]);
});

Deno.test("where looks take long it looks more rarely, unless it knows nobody", async () => {
  const lookMs = 2 * LOOK_PERIOD_MS_MAX;
  const startsAtMs = async (there: readonly Announcement[]) => {
    const scouting = new Scouting(1, lookMs);
    scouting.there = there;
    scouting.watch();
    await looks(scouting, 3);
    scouting.tell({ kind: "peerLost", peer: "b", reason: "gone" });
    await looks(scouting, 5);
    return scouting.looksAtMs;
  };
  const often = (1 + LOOK_REST_FACTOR) * lookMs;
  assert.deepEqual(await startsAtMs([announcementOf("a")]), [0, often, 2 * often, 3 * often, 4 * often]);
  assert.ok((await startsAtMs([])).at(-1)! < 4 * lookMs + 4 * 1.25 * LOOK_PERIOD_MS_ALONE);
});

Deno.test("what it was told last is announced at once, and again before it expires", async () => {
  const scouting = new Scouting();
  scouting.announce("stage:0", 1);
  await scouting.until(1000);
  scouting.announce("stage:0", 2);
  scouting.announce("stage:0", 3);
  await scouting.until(2 * ANNOUNCE_PERIOD_MS + 3 * WORK_MS);
  assert.deepEqual(
    scouting.announced.map(({ offer, atMs }) => [offer.step, atMs]),
    [[1, 0], [3, ANNOUNCE_PERIOD_MS + WORK_MS], [3, 2 * (ANNOUNCE_PERIOD_MS + WORK_MS)]],
  );
});

Deno.test("another service is announced at once, even while the first is being announced", async () => {
  const scouting = new Scouting();
  scouting.announce("stage:0", 1);
  await scouting.until(WORK_MS / 2);
  scouting.announce("stage:1", 1);
  await scouting.until(1000);
  scouting.announce("stage:2", 1);
  await scouting.until(2000);
  assert.deepEqual(scouting.announced.map(({ offer }) => offer.service), ["stage:0", "stage:1", "stage:2"]);
});

Deno.test("that a host begins to train, or to take in readers, is announced at once", async () => {
  const scouting = new Scouting();
  for (
    const [trains, sessionRoom] of [[false, 0], [false, 64], [false, 32], [true, 32], [true, 0]] as const
  ) {
    scouting.tell({
      kind: "announce",
      service: "stage:0",
      step: 1,
      stateHash: null,
      load: 0,
      trains,
      sessionRoom,
    });
    await scouting.until(scouting.simulation.clock.nowMs() + 100);
  }
  assert.deepEqual(
    scouting.announced.map(({ offer: { trains, sessionRoom } }) => [trains, sessionRoom]),
    [[false, 0], [false, 64], [true, 32], [true, 0]],
  );
});

Deno.test("whoever asks again expects news: looks are frequent once more", async () => {
  const scouting = new Scouting();
  scouting.watch();
  await scouting.until(60_000);
  const before = scouting.looksAtMs.length;
  scouting.watch();
  await scouting.until(64_000);
  assert.ok(scouting.looksAtMs.length - before >= 3, `${scouting.looksAtMs.slice(before)}`);
});

Deno.test("an announcement that fails is made again soon", async () => {
  const scouting = new Scouting();
  scouting.deaf = new Error("nobody is known yet");
  scouting.announce("stage:0", 1);
  await scouting.until(LOOK_PERIOD_MS_MIN + WORK_MS);
  assert.equal(scouting.announced.length, 2);
  scouting.deaf = undefined;
  await scouting.until(10 * LOOK_PERIOD_MS_MIN);
  assert.equal(scouting.announced.length, 3);
});

Deno.test("what is withdrawn is announced no more, not even if it was being announced", async () => {
  for (const withdrawnAtMs of [WORK_MS / 2, 1000]) {
    const scouting = new Scouting();
    scouting.announce("stage:0", 1);
    await scouting.until(withdrawnAtMs);
    scouting.tell({ kind: "withdraw" });
    await scouting.until(10 * ANNOUNCE_PERIOD_MS);
    assert.equal(scouting.announced.length, 1);
    scouting.announce("stage:0", 2);
    await scouting.until(10 * ANNOUNCE_PERIOD_MS + 1);
    assert.equal(scouting.announced.length, 2);
  }
});

Deno.test("a scout that crashed still knows what is wanted and what is offered", async () => {
  const scouting = new Scouting();
  scouting.there = [announcementOf("a")];
  scouting.crashAt = 1;
  scouting.watch();
  scouting.tell({
    kind: "announce",
    service: "stage:1",
    step: 3,
    stateHash: null,
    load: 0,
    trains: true,
    sessionRoom: 0,
  });
  await scouting.simulation.run({ untilMs: 2 * ANNOUNCE_PERIOD_MS });
  assert.ok(scouting.learnt.length > 1, "it looked again");
  assert.ok(scouting.found.length > 0, "it told what it found");
  assert.ok(scouting.announced.length > 1, "it announced again");
});

Deno.test("what nobody wants any more is not looked for", async () => {
  const scouting = new Scouting();
  scouting.watch("host");
  scouting.watch("trainer");
  const unwatch = (subscriber: string) => {
    scouting.tell({ kind: "unwatch", service: "stage:0", subscriber });
  };
  await scouting.until(5000);
  unwatch("host");
  const heard = scouting.found.length;
  await scouting.until(10_000);
  const more = scouting.found.slice(heard);
  assert.ok(more.length > 0 && more.every(({ by }) => by === "trainer"));
  unwatch("trainer");
  const looks = scouting.looksAtMs.length;
  await scouting.until(60_000);
  assert.ok(scouting.looksAtMs.length <= looks + 1, "a look that was under way may end");
  unwatch("trainer");
});
