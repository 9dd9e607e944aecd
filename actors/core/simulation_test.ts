import assert from "node:assert/strict";
import type { Behaviour } from "./actor.ts";
import { eventLoopScheduler } from "./scheduler.ts";
import { Simulation, type SimulationOptions } from "./simulation.ts";
import type { ActorSystem } from "./system.ts";
import { TraceHash } from "./trace_hash.ts";
import { TraceRing } from "./trace.ts";

const costs: SimulationOptions["costs"] = {
  durationMs: (_peer, work) => work.amount,
  lane: () => "compute",
};

/** Lets real time pass. */
function onePass(): Promise<void> {
  return new Promise(eventLoopScheduler);
}

interface Rumour {
  readonly hops: number;
}

/** Peers that pass rumours on to random others, after some work, until a rumour is old. */
class Town {
  readonly simulation: Simulation;
  readonly hash = new TraceHash();
  readonly systems = new Map<string, ActorSystem<Rumour>>();
  readonly names: string[];

  /** @param passes how many turns of the event loop each piece of work really takes. */
  constructor(seed: number, passes: () => number = () => 0, peers = 20) {
    this.simulation = new Simulation({ seed, costs, trace: this.hash.sink });
    this.names = Array.from({ length: peers }, (_, index) => `peer ${index}`);
    for (const peer of this.names) this.start(peer, passes);
  }

  start(peer: string, passes: () => number = () => 0): void {
    const { clock } = this.simulation;
    const system = this.simulation.system<Rumour>({
      peer,
      transport: (to, actor, message) => {
        clock.after(1 + message.hops % 3, () => this.systems.get(to)?.deliver(peer, actor, message));
        return true;
      },
    });
    const gossip: Behaviour<number, Rumour> = {
      name: "gossip",
      start: () => 0,
      handle: (heard, { message }, context) => {
        context.trace("hear", { heard, hops: message.hops });
        if (message.hops < 40) {
          context.perform({ kind: "think", amount: context.entropy.uniform() * 5 }, async () => {
            for (let left = passes(); left > 0; left--) await onePass();
            return { hops: 99 };
          });
          for (let copies = 0; copies < 2; copies++) {
            if (context.entropy.uniform() < 0.48) {
              const to = this.names[context.entropy.integer(this.names.length)]!;
              context.tell({ peer: to, actor: "gossip" }, { hops: message.hops + 1 });
            }
          }
        }
        return heard + 1;
      },
    };
    system.spawn(gossip);
    this.systems.set(peer, system);
  }

  seedRumours(): void {
    for (const peer of this.names) this.systems.get(peer)!.tell({ actor: "gossip" }, { hops: 0 });
  }
}

async function digestOf(seed: number, passes?: () => number): Promise<string> {
  const town = new Town(seed, passes);
  town.seedRumours();
  const result = await town.simulation.run({ eventsMax: 100_000 });
  assert.equal(result.ended, "idle");
  assert.ok(town.hash.events > 200, "something happened");
  return town.hash.digest();
}

Deno.test("the same seed gives the same trace, another seed another", async () => {
  const [first, again, other] = [await digestOf(1), await digestOf(1), await digestOf(2)];
  assert.equal(first, again);
  assert.notEqual(first, other);
});

Deno.test("how long work really takes leaves no mark", async () => {
  let call = 0;
  assert.equal(await digestOf(3), await digestOf(3, () => ++call % 4));
});

Deno.test("time stands still while work is under way, then its cost passes", async () => {
  const simulation = new Simulation({ seed: 1, costs });
  const log: string[] = [];
  const note = (text: string) => log.push(`${simulation.clock.nowMs()} ${text}`);
  const system = simulation.system<string>({ peer: "peer" });
  system.spawn({
    name: "actor",
    start: (context) => {
      context.after(1, "timer");
      for (const amount of [10, 20]) {
        context.perform({ kind: "forward", amount }, async () => {
          note(`begins ${amount}`);
          await onePass();
          note(`ends ${amount}`);
          return `outcome ${amount}`;
        });
      }
    },
    handle: (_state, { message }) => void note(message),
  });
  const result = await simulation.run();
  assert.deepEqual(log, [
    "0 begins 10",
    "0 ends 10",
    "0 begins 20",
    "0 ends 20",
    "1 timer",
    "10 outcome 10",
    "30 outcome 20",
  ]);
  assert.deepEqual(result, { ended: "idle", events: result.events, nowMs: 30 });
});

Deno.test("a run ends at a time, at a condition, after so many events, or when nothing is left", async () => {
  const simulation = new Simulation({ seed: 1, costs, epochStartMs: 5000 });
  const system = simulation.system<string>({ peer: "peer" });
  let ticks = 0;
  system.spawn({
    name: "clock",
    start: (context) => context.after(10, "tick"),
    handle: (_timer, _envelope, context) => {
      ticks++;
      return context.after(10, "tick");
    },
  });
  assert.equal((await simulation.run({ untilMs: 35 })).ended, "time");
  assert.deepEqual([ticks, simulation.clock.nowMs(), simulation.clock.epochMs()], [3, 35, 5035]);
  assert.equal((await simulation.run({ until: () => ticks === 7 })).ended, "until");
  assert.equal(simulation.clock.nowMs(), 70);
  assert.deepEqual(await simulation.run({ eventsMax: 10 }), { ended: "events", events: 10, nowMs: 120 });
  const first = simulation.run({ untilMs: 200 });
  await assert.rejects(simulation.run(), /Cannot run the simulation: it runs already/);
  await first;
  system.stop();
  assert.equal((await simulation.run()).ended, "idle");
});

Deno.test("a killed peer falls silent at once; a new life draws other numbers", async () => {
  const trace = new TraceRing(10_000);
  const simulation = new Simulation({ seed: 1, costs, trace: trace.sink });
  const lives: number[] = [];
  const live = () => {
    const system = simulation.system<string>({ peer: "peer" });
    system.spawn({
      name: "actor",
      start: (context) => {
        lives.push(context.entropy.uniform());
        context.perform({ kind: "forward", amount: 50 }, () => Promise.resolve("outcome"));
        context.after(60, "timer");
      },
      handle: (_state, { message }, context) => context.trace(message),
    });
    return system;
  };
  const first = live();
  await simulation.run({ untilMs: 20 });
  first.kill();
  live();
  await simulation.run();
  assert.deepEqual(
    trace.events().filter(({ event }) => event === "outcome" || event === "timer").map(({ event, atMs }) => [
      event,
      atMs,
    ]),
    [["outcome", 70], ["timer", 80]],
    "only the second life's, whose lane starts free",
  );
  assert.notEqual(lives[0], lives[1]);
});

Deno.test("an actor that crashes for good ends the run with what it threw", async () => {
  const simulation = new Simulation({ seed: 1, costs });
  const bug = new Error("bug");
  const crash = (escalate?: () => void) =>
    simulation.system<string>({
      peer: "peer",
      supervision: { pauseMs: 10, pauseMsMax: 10, restartsMax: 2, windowMs: 1000 },
      ...(escalate && { escalate }),
    }).spawn({
      name: "broken",
      start: () => {
        throw bug;
      },
      handle: (state: void) => state,
    });
  crash();
  await assert.rejects(simulation.run(), (error: Error) => {
    assert.match(
      error.message,
      /^Cannot go on with the simulation: broken of peer crashed 3 times: Error: bug/,
    );
    return error.cause === bug;
  });
  let escalated = 0;
  crash(() => escalated++);
  assert.equal((await simulation.run()).ended, "idle");
  assert.equal(escalated, 1);
});

Deno.test("a thousand peers run in one thread", async () => {
  const town = new Town(5, () => 0, 1000);
  town.seedRumours();
  const result = await town.simulation.run({ eventsMax: 200_000 });
  assert.equal(result.ended, "idle");
  assert.ok(town.hash.events > 10_000);
});
