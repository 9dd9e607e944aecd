import assert from "node:assert/strict";
import fc from "fast-check";
import type { Behaviour, Context, Envelope } from "./actor.ts";
import type { Failure } from "./cell.ts";
import type { Outcome, Performer } from "./performer.ts";
import { SeededEntropy } from "./seeded_entropy.ts";
import type { Scheduler } from "./scheduler.ts";
import { ActorSystem, type ActorSystemOptions } from "./system.ts";
import { TraceRing } from "./trace.ts";
import { VirtualClock } from "./virtual_clock.ts";

/** Turns, time and work, each moved by hand. */
class Bench {
  readonly clock = new VirtualClock();
  readonly trace = new TraceRing(1000);
  readonly turns: (() => void)[] = [];
  readonly work: { kind: string; run: () => Promise<unknown>; done: (outcome: Outcome<string>) => void }[] =
    [];
  readonly escalated: Failure[] = [];
  readonly system: ActorSystem<string>;

  constructor(options: Partial<ActorSystemOptions<string>> = {}) {
    const scheduler: Scheduler = (turn) => this.turns.push(turn);
    const performer: Performer = {
      perform: (work, run, done) => {
        this.work.push({ kind: work.kind, run, done: done as (outcome: Outcome<string>) => void });
      },
    };
    this.system = new ActorSystem<string>({
      peer: "home",
      clock: this.clock,
      entropy: new SeededEntropy(1),
      performer,
      scheduler,
      trace: this.trace.sink,
      escalate: (failure) => this.escalated.push(failure),
      supervision: { pauseMs: 10, pauseMsMax: 100, restartsMax: 3, windowMs: 1000 },
      ...options,
    });
  }

  /** Lets every message be handled. */
  settle(): void {
    for (let turn = this.turns.shift(); turn !== undefined; turn = this.turns.shift()) turn();
  }

  /** Moves time; messages are handled as timers fire. */
  advance(ms: number): void {
    const untilMs = this.clock.nowMs() + ms;
    for (this.settle(); (this.clock.nextAtMs() ?? Infinity) <= untilMs; this.settle()) this.clock.fireNext();
    this.clock.advanceTo(untilMs);
  }

  events(): string[] {
    return this.trace.events().map(({ actor, event }) => `${actor} ${event}`.trim());
  }
}

type Script = (message: string, context: Context<string>, envelope: Envelope<string>) => void;

/** An actor that notes what it hears (its state is how many) and then does as the script says. */
function scripted(name: string, log: string[], script: Script = () => {}): Behaviour<number, string> {
  return {
    name,
    start: () => 0,
    handle: (count, envelope, context) => {
      log.push(`${name} ${envelope.message}`);
      script(envelope.message, context, envelope);
      return count + 1;
    },
    stop: (count) => log.push(`${name} stops after ${count}`),
  };
}

Deno.test("a message is handled later, with its sender", () => {
  const bench = new Bench();
  const log: string[] = [];
  bench.system.spawn(scripted("echo", log, (_message, _context, { from }) => log.push(`from ${from}`)));
  assert.equal(bench.system.tell({ actor: "echo" }, "a"), true);
  assert.equal(bench.system.deliver("far", "echo", "b"), true);
  assert.equal(bench.system.tell({ peer: "home", actor: "echo" }, "c"), true);
  assert.deepEqual(log, []);
  bench.settle();
  assert.deepEqual(log, ["echo a", "from home", "echo b", "from far", "echo c", "from home"]);
  assert.equal(bench.system.tell({ actor: "nobody" }, "d"), false);
});

Deno.test("messages told while one is handled wait their turn", () => {
  const bench = new Bench();
  const log: string[] = [];
  bench.system.spawn(scripted("self", log, (message, context) => {
    if (message.length >= 3) return;
    context.tell({ actor: "self" }, message + "1");
    context.tell({ actor: "self" }, message + "2");
    log.push(`end of ${message}`);
  }));
  bench.system.tell({ actor: "self" }, "m");
  bench.settle();
  assert.deepEqual(log, [
    "self m",
    "end of m",
    "self m1",
    "end of m1",
    "self m2",
    "end of m2",
    "self m11",
    "self m12",
    "self m21",
    "self m22",
  ]);
});

Deno.test("a busy actor holds up neither another actor nor the scheduler", () => {
  const bench = new Bench();
  const log: string[] = [];
  bench.system.spawn(scripted("busy", [], (_message, context) => context.tell({ actor: "busy" }, "again")));
  bench.system.spawn(scripted("calm", log));
  bench.system.tell({ actor: "busy" }, "go");
  bench.system.tell({ actor: "calm" }, "hello");
  bench.turns.shift()!();
  assert.deepEqual(log, ["calm hello"]);
  assert.equal(bench.turns.length, 1, "the busy one goes on in another turn");
});

Deno.test("whatever is sent: each actor's order is kept, and no mailbox exceeds its bound", () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom("one", "two", "three") },
    { weight: 1, arbitrary: fc.constant("turn" as const) },
  );
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 20 }), fc.array(step, { maxLength: 300 }), (bound, steps) => {
      const bench = new Bench({ mailboxMessagesMax: bound });
      const names = ["one", "two", "three"];
      const heard = new Map(names.map((name) => [name, [] as string[]]));
      const admitted = new Map(names.map((name) => [name, [] as string[]]));
      for (const name of names) {
        bench.system.spawn(scripted(name, [], (message) => heard.get(name)!.push(message)));
      }
      steps.forEach((step, index) => {
        if (step === "turn") return bench.turns.shift()?.();
        const waiting = bench.system.waiting(step);
        const told = bench.system.tell({ actor: step }, `${index}`);
        assert.equal(told, waiting < bound);
        assert.ok(bench.system.waiting(step) <= bound);
        if (told) admitted.get(step)!.push(`${index}`);
      });
      bench.settle();
      assert.deepEqual(heard, admitted);
    }),
  );
});

Deno.test("messages to others go by the transport, and its answer comes back", () => {
  const sent: string[] = [];
  const bench = new Bench({
    transport: (peer, actor, message) => {
      sent.push(`${peer}/${actor} ${message}`);
      return peer === "near";
    },
  });
  assert.equal(bench.system.tell({ peer: "near", actor: "host" }, "hi"), true);
  assert.equal(bench.system.tell({ peer: "far", actor: "host" }, "hi"), false);
  assert.deepEqual(sent, ["near/host hi", "far/host hi"]);
  assert.equal(new Bench().system.tell({ peer: "near", actor: "host" }, "hi"), false, "no way to anybody");
});

Deno.test("timers and outcomes become messages, even past a full mailbox", async () => {
  const bench = new Bench({ mailboxMessagesMax: 1 });
  const log: string[] = [];
  bench.system.spawn(scripted("actor", log, (message, context) => {
    if (message !== "go") return;
    context.after(5, "timer");
    context.after(3, "called off").cancel();
    context.perform({ kind: "forward", amount: 1 }, () => Promise.resolve("done"));
    context.perform(
      { kind: "forward", amount: 1 },
      () => Promise.reject(new Error("no")),
      (error) => `${error}`,
    );
  }));
  bench.system.tell({ actor: "actor" }, "go");
  bench.settle();
  assert.equal(bench.system.tell({ actor: "actor" }, "fills the mailbox"), true);
  assert.equal(bench.system.tell({ actor: "actor" }, "too many"), false);
  assert.equal(await bench.work[0]!.run(), "done");
  bench.work[0]!.done({ ok: true, value: "done" });
  bench.work[1]!.done({ ok: false, error: new Error("no") });
  bench.advance(5);
  assert.deepEqual(log, [
    "actor go",
    "actor done",
    "actor Error: no",
    "actor fills the mailbox",
    "actor timer",
  ]);
  assert.deepEqual(bench.events(), ["actor start", "actor refuse"]);
});

Deno.test("an actor has a bounded number of timers and of work under way", () => {
  const bench = new Bench({ outstandingMax: 2 });
  bench.system.spawn(scripted("actor", [], (message, context) => {
    for (let index = 0; index < Number(message); index++) {
      context.after(1, "");
      context.perform({ kind: "lookup", amount: 1 }, () => Promise.resolve(""));
    }
  }));
  bench.system.tell({ actor: "actor" }, "2");
  bench.settle();
  assert.deepEqual(bench.events(), ["actor start"]);
  bench.system.tell({ actor: "actor" }, "1");
  bench.settle();
  assert.match(`${bench.trace.events().at(-1)!.fields.error}`, /Cannot set a timer: 2 of 2 wait already/);
});

Deno.test("a crash restarts the actor afresh after a pause; what waited is handled then", () => {
  const bench = new Bench();
  const log: string[] = [];
  bench.system.spawn(scripted("actor", log, (message, context) => {
    if (message === "arm") {
      context.after(5, "timer of the former life");
      context.perform({ kind: "forward", amount: 1 }, () => Promise.resolve("outcome of the former life"));
      context.clock.after(6, () => log.push("callback of the former life"));
    }
    if (message === "crash") throw new Error("bug");
  }));
  for (const message of ["arm", "crash", "waits"]) bench.system.tell({ actor: "actor" }, message);
  bench.settle();
  bench.system.tell({ actor: "actor" }, "waits too");
  bench.advance(9);
  bench.work[0]!.done({ ok: true, value: "outcome of the former life" });
  assert.deepEqual(log, ["actor arm", "actor crash"]);
  bench.advance(1);
  assert.deepEqual(log, ["actor arm", "actor crash", "actor waits", "actor waits too"]);
  assert.deepEqual(bench.events(), ["actor start", "actor crash", "actor orphan", "actor start"]);
  bench.system.stop();
  assert.equal(log.at(-1), "actor stops after 2", "the state began anew");
});

Deno.test("every way to throw is a crash", () => {
  const ways: Record<string, Script> = {
    handler: () => {
      throw new Error("bug");
    },
    callback: (_message, context) => {
      context.clock.after(0, () => {
        throw new Error("bug");
      });
    },
    outcome: (_message, context) => context.perform({ kind: "work", amount: 1 }, () => Promise.resolve("")),
    maker: (_message, context) =>
      context.perform({ kind: "work", amount: 1 }, () => Promise.resolve(""), () => {
        throw new Error("bug");
      }),
  };
  for (const [name, script] of Object.entries(ways)) {
    const bench = new Bench();
    bench.system.spawn(scripted(name, [], script));
    bench.system.tell({ actor: name }, "go");
    bench.advance(0);
    bench.work[0]?.done({ ok: false, error: new Error("bug") });
    const crash = bench.trace.events().at(-1)!;
    assert.deepEqual([crash.event, crash.fields], [
      "crash",
      { error: "Error: bug", kind: "restart", pauseMs: 10 },
    ]);
  }
});

Deno.test("an actor that cannot start is tried again ever later, then given up", () => {
  const bench = new Bench();
  const startsAtMs: number[] = [];
  bench.system.spawn({
    name: "broken",
    start: () => {
      startsAtMs.push(bench.clock.nowMs());
      throw new Error("no device");
    },
    handle: (state: undefined) => state,
  });
  assert.equal(bench.system.tell({ actor: "broken" }, "waits"), true);
  bench.advance(10_000);
  assert.deepEqual(startsAtMs, [0, 10, 30, 70]);
  assert.deepEqual(bench.escalated.map(({ actor, crashes, error }) => [actor, crashes, `${error}`]), [
    ["broken", 4, "Error: no device"],
  ]);
  assert.equal(bench.system.tell({ actor: "broken" }, "too late"), false);
  assert.equal(bench.system.waiting("broken"), 0);
});

Deno.test("stopping lets everybody say goodbye, the youngest first, and even if one throws", () => {
  const sent: string[] = [];
  const bench = new Bench({ transport: (_peer, _actor, message) => sent.push(message) > 0 });
  const log: string[] = [];
  bench.system.spawn({
    ...scripted("old", log),
    stop: (_state, context) => {
      log.push(`old stops; local ${context.tell({ actor: "young" }, "?")}`);
      context.tell({ peer: "far", actor: "host" }, "goodbye");
    },
  });
  bench.system.spawn({
    ...scripted("young", log),
    stop: () => {
      log.push("young stops");
      throw new Error("cannot let go");
    },
  });
  bench.system.tell({ actor: "old" }, "never handled");
  assert.throws(
    () => bench.system.stop(),
    (error) => error instanceof AggregateError && error.errors.length === 1,
  );
  bench.system.stop();
  bench.advance(100);
  assert.deepEqual(log, ["young stops", "old stops; local false"]);
  assert.deepEqual(sent, ["goodbye"]);
  assert.equal(bench.system.running, false);
  assert.equal(bench.system.tell({ peer: "far", actor: "host" }, "more"), false);
  assert.throws(() => bench.system.spawn(scripted("late", log)), /Cannot spawn late: home has stopped/);
});

Deno.test("a kill ends timers, work and messages, and asks nobody", () => {
  const bench = new Bench();
  const log: string[] = [];
  bench.system.spawn(scripted("actor", log, (_message, context) => {
    context.after(5, "timer");
    context.perform({ kind: "forward", amount: 1 }, () => Promise.resolve("outcome"));
  }));
  bench.system.spawn(scripted("crashed", log, () => {
    throw new Error("bug");
  }));
  bench.system.tell({ actor: "actor" }, "go");
  bench.system.tell({ actor: "crashed" }, "go");
  bench.settle();
  bench.system.tell({ actor: "actor" }, "never handled");
  bench.system.kill();
  bench.system.kill();
  assert.equal(bench.clock.pending, 0, "nothing is left of its timers, the restart included");
  bench.work[0]!.done({ ok: true, value: "outcome" });
  bench.advance(1000);
  assert.deepEqual(log, ["actor go", "crashed go"]);
  assert.equal(bench.events().filter((event) => event === "kill").length, 1);
});

Deno.test("work that has not begun when its actor ends never begins", async () => {
  const bench = new Bench();
  let begun = false;
  bench.system.spawn(
    scripted("actor", [], (_message, context) =>
      context.perform({ kind: "forward", amount: 1 }, () => {
        begun = true;
        return Promise.resolve("");
      })),
  );
  bench.system.tell({ actor: "actor" }, "go");
  bench.settle();
  bench.system.kill();
  await assert.rejects(bench.work[0]!.run(), /Cannot forward: its actor ended/);
  assert.equal(begun, false);
});

Deno.test("an actor of the same name replaces the former, even from within its own message", () => {
  const bench = new Bench();
  const log: string[] = [];
  bench.system.spawn(scripted("actor", log, () => {
    bench.system.spawn(scripted("actor", log, () => log.push("(second)")));
    log.push("first ends its message");
  }));
  bench.system.tell({ actor: "actor" }, "one");
  bench.system.tell({ actor: "actor" }, "dropped");
  bench.settle();
  bench.system.tell({ actor: "actor" }, "two");
  bench.settle();
  assert.deepEqual(log, [
    "actor one",
    "actor stops after 0",
    "first ends its message",
    "actor two",
    "(second)",
  ]);
  assert.deepEqual(bench.system.actors, ["actor"]);
});

Deno.test("each actor draws from its own stream, whoever else draws", () => {
  const draw = (names: readonly string[]) => {
    const bench = new Bench();
    const drawn = new Map<string, number>();
    for (const name of names) {
      bench.system.spawn({
        name,
        start: (context) => void drawn.set(name, context.entropy.uniform()),
        handle: () => {},
      });
    }
    return drawn;
  };
  assert.equal(draw(["a", "b"]).get("b"), draw(["b"]).get("b"));
  assert.notEqual(draw(["a", "b"]).get("a"), draw(["a", "b"]).get("b"));
});

Deno.test("one that throws in `escalate` doesn't keep the others from their turns", () => {
  const bench = new Bench({
    supervision: { pauseMs: 1, pauseMsMax: 1, restartsMax: 0, windowMs: 1 },
    escalate: ({ actor }) => {
      throw new Error(`gave up on ${actor}`);
    },
  });
  const log: string[] = [];
  bench.system.spawn(scripted("broken", [], () => {
    throw new Error("bug");
  }));
  bench.system.spawn(scripted("well", log));
  bench.system.tell({ actor: "broken" }, "go");
  bench.system.tell({ actor: "well" }, "go");
  assert.throws(() => bench.settle(), /gave up on broken/);
  bench.settle();
  assert.deepEqual(log, ["well go"]);
});
