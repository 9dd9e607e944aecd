import assert from "node:assert/strict";
import { Simulation } from "../core/simulation.ts";
import type { Message } from "../messages.ts";
import { behaviour } from "../role.ts";
import { WORK_TIMER, WorkQueue } from "./work_queue.ts";

const WORK_MS = 10;

/** A host whose work takes its time and does nothing, and what was begun and done of it, in order. */
class Worker {
  readonly simulation = new Simulation({
    seed: 1,
    costs: { durationMs: () => WORK_MS, lane: () => undefined },
  });
  readonly log: string[] = [];
  queue!: WorkQueue;
  inFlightMax = 1;
  readers = 0;
  failure: unknown;

  constructor() {
    const system = this.simulation.system<Message>({ peer: "own", transport: () => true });
    system.spawn(behaviour("host", (context) => {
      this.queue = new WorkQueue(context, {
        inFlightMax: () => this.inFlightMax,
        readersWait: () => this.readers > 0,
        runReaders: () => {
          this.log.push(`run for ${this.readers} readers`);
          this.readers = 0;
          this.start("readers");
        },
        failed: (error) => this.failure = error,
      });
      return {
        receive: ({ message }) => {
          if (message.kind === "performed") this.queue.onPerformed(message);
          if (message.kind === "timer" && message.name === WORK_TIMER) this.queue.onTimer();
        },
      };
    }));
  }

  start(name: string): void {
    this.queue.start({ kind: name, amount: 1 }, ...this.#job(name));
  }

  alone(name: string): void {
    this.queue.perform({ kind: name, amount: 1 }, ...this.#job(name));
  }

  pass(half: "forward" | "backward", microBatch: number): void {
    const pass = { walk: { microBatch } };
    const work = { kind: half, amount: 1 };
    this.queue.awaitTurn(
      half,
      pass,
      () => this.queue.startPass(pass, work, ...this.#job(`${half} ${microBatch}`)),
    );
  }

  async finish(): Promise<string[]> {
    await this.simulation.run({ untilMs: this.simulation.clock.nowMs() + 100 * WORK_MS });
    return this.log.splice(0);
  }

  #job(name: string) {
    const run = () => {
      this.log.push(name);
      return name === "bad" ? Promise.reject(new Error("bad")) : Promise.resolve(name);
    };
    return [
      run,
      (done: string) => void this.log.push(`${done} done`),
      () => void this.log.push(`${name} failed`),
    ] as const;
  }
}

Deno.test("orders come first, then readers, then walks back, then walks there; what is under way ends before", async () => {
  const worker = new Worker();
  worker.pass("forward", 0);
  worker.pass("forward", 1);
  worker.pass("backward", 2);
  worker.readers = 3;
  worker.alone("order");
  assert.deepEqual([worker.queue.waiting("forward"), worker.queue.waiting("backward")], [1, 1]);
  const began = (await worker.finish()).filter((line) => !line.endsWith("done"));
  assert.deepEqual(began, [
    "forward 0",
    "order",
    "run for 3 readers",
    "readers",
    "backward 2",
    "forward 1",
  ]);
});

Deno.test("readers that come while nothing is under way share a run", async () => {
  const worker = new Worker();
  worker.readers = 1;
  worker.queue.advance();
  worker.readers = 2;
  worker.queue.advance();
  assert.deepEqual(await worker.finish(), ["run for 2 readers", "readers", "readers done"]);
});

Deno.test("passes overlap as far as the stage likes, but those of one micro-batch", async () => {
  const worker = new Worker();
  worker.inFlightMax = 3;
  for (const microBatch of [0, 0, 1, 2]) worker.pass("forward", microBatch);
  worker.alone("order");
  assert.deepEqual(await worker.finish(), [
    "forward 0",
    "forward 0 done",
    "order",
    "order done",
    "forward 0",
    "forward 1",
    "forward 2",
    "forward 0 done",
    "forward 1 done",
    "forward 2 done",
  ]);
});

Deno.test("who waits for nothing to be under way waits for what follows from it, too", async () => {
  const worker = new Worker();
  worker.alone("first");
  worker.queue.alone(() => worker.alone("second"));
  worker.queue.whenIdle(() => worker.log.push("idle"));
  assert.deepEqual(await worker.finish(), ["first", "first done", "second", "second done", "idle"]);
});

Deno.test("work that fails is told to the host first, and keeps nobody waiting", async () => {
  const worker = new Worker();
  worker.alone("bad");
  worker.alone("next");
  assert.deepEqual(await worker.finish(), ["bad", "bad failed", "next", "next done"]);
  assert.match(String(worker.failure), /bad/);
});
