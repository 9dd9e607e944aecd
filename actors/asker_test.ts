import assert from "node:assert/strict";
import { Simulation } from "./core/simulation.ts";
import type { ActorSystem } from "./core/system.ts";
import { READ_ATTEMPTS_MAX, READS_MAX, WALK_TIMEOUT_MS_MIN } from "./limits.ts";
import { type Message, type MessageOf, type RemoteMessage, type Tensor, walkKey } from "./messages.ts";
import { asker } from "./asker.ts";
import { behaviour } from "./role.ts";
import { announcementOf } from "./testing/announcement.ts";

const LOGITS: Tensor = { dataType: "f32", shape: [1, 2], data: new Float32Array([0.25, 0.75]) };

/** A reader, and one host that answers each walk with what the test says. */
class Reading {
  readonly simulation = new Simulation({
    seed: 1,
    costs: { durationMs: () => 0, lane: () => undefined },
  });
  readonly system: ActorSystem<Message>;
  readonly watched: MessageOf<"watch">[] = [];
  readonly walks: MessageOf<"forward">[] = [];
  /** Walks that the first hop was told to let go of. */
  readonly givenUp: string[] = [];
  readonly answers: (readonly [request: number, answer: Tensor | string])[] = [];

  constructor(answer: (forward: MessageOf<"forward">, attempt: number) => readonly RemoteMessage[]) {
    this.system = this.simulation.system<Message>({
      peer: "reader",
      transport: (to, _actor, message) => {
        if (message.kind === "givenUp") this.givenUp.push(walkKey(message.walk));
        if (message.kind !== "forward") return true;
        const forward = message;
        this.walks.push(forward);
        this.simulation.clock.after(1, () => {
          for (const one of answer(forward, forward.walk.attempt)) this.system.deliver(to, "asker", one);
        });
        return true;
      },
    });
    this.system.spawn(behaviour("scout", () => ({
      receive: ({ message }) => void this.watched.push(message as MessageOf<"watch">),
    })));
    this.system.spawn(asker({
      onLogits: (request, logits) => this.answers.push([request, logits]),
      onFailed: (request, reason) => this.answers.push([request, reason]),
    }));
    this.tell({ kind: "found", service: "stage:0", announcements: [announcementOf("host")] });
  }

  tell(message: Message): void {
    this.system.tell({ actor: "asker" }, message);
  }

  read(request: number): void {
    this.tell({ kind: "read", request, tokens: new Int32Array([1, 2, 3]) });
  }

  async run(untilMs = 10 * WALK_TIMEOUT_MS_MIN): Promise<void> {
    await this.simulation.run({ untilMs });
  }
}

function processed({ walk, stage }: MessageOf<"forward">): RemoteMessage {
  return { kind: "processed", walk, stage };
}

function logits({ walk }: MessageOf<"forward">): RemoteMessage {
  return { kind: "logits", walk, logits: LOGITS };
}

function failed({ walk, stage }: MessageOf<"forward">): RemoteMessage {
  return { kind: "failed", walk, stage, reason: "numbers have outgrown f32" };
}

Deno.test("a question goes to the first stage, without targets, and is answered once", async () => {
  const reading = new Reading((forward) => [processed(forward), logits(forward), logits(forward)]);
  reading.read(7);
  await reading.run();
  assert.deepEqual(reading.watched.map(({ service, subscriber }) => [service, subscriber]), [[
    "stage:0",
    "asker",
  ]]);
  assert.deepEqual(reading.answers, [[7, LOGITS]]);
  const [{ input, targets, mask, walk, stage }] = reading.walks;
  assert.deepEqual(input, { dataType: "i32", shape: [1, 3], data: new Int32Array([1, 2, 3]) });
  assert.deepEqual([targets, mask, stage, walk.purpose], [undefined, [], 0, "generate"]);
  assert.equal(reading.walks.length, 1);
});

Deno.test("the answer may overtake the word that the first stage is done", async () => {
  const reading = new Reading((forward) => [logits(forward), processed(forward)]);
  reading.read(1);
  await reading.run();
  assert.deepEqual(reading.answers, [[1, LOGITS]]);
  assert.equal(reading.walks.length, 1);
});

Deno.test("a walk that breaks is tried again under another name", async () => {
  const reading = new Reading((forward, attempt) => [
    processed(forward),
    attempt < 3 ? failed(forward) : logits(forward),
  ]);
  reading.read(1);
  await reading.run();
  assert.deepEqual(reading.answers, [[1, LOGITS]]);
  assert.equal(new Set(reading.walks.map(({ walk }) => JSON.stringify(walk))).size, 3);
});

Deno.test("after so many walks the question has failed, with the last reason", async () => {
  const reading = new Reading((forward) => [processed(forward), failed(forward)]);
  reading.read(1);
  await reading.run();
  assert.deepEqual(reading.answers, [[1, "Cannot read: stage 0: numbers have outgrown f32"]]);
  assert.equal(reading.walks.length, READ_ATTEMPTS_MAX);
});

Deno.test("a walk that nothing is heard of costs its time; its answer is too late then", async () => {
  const first: MessageOf<"forward">[] = [];
  const reading = new Reading((forward, attempt) => {
    if (attempt === 1) {
      first.push(forward);
      return [processed(forward)];
    }
    return [processed(forward), logits(first[0]), failed(first[0])];
  });
  reading.read(1);
  await reading.run(WALK_TIMEOUT_MS_MIN + 100);
  assert.equal(reading.walks.length, 2);
  assert.deepEqual(reading.givenUp, [walkKey(reading.walks[0].walk)], "the host keeps nothing for nobody");
  assert.deepEqual(reading.answers, []);
  await reading.run(READ_ATTEMPTS_MAX * WALK_TIMEOUT_MS_MIN + 100);
  assert.deepEqual(reading.answers, [[1, `Cannot read: nothing was heard for ${WALK_TIMEOUT_MS_MIN} ms`]]);
});

Deno.test("a host that has no room is asked again", async () => {
  let asked = 0;
  const reading = new Reading((forward) => {
    const { walk, stage } = forward;
    if (++asked === 1) return [{ kind: "refused", walk, stage, retryAfterMs: 50, reason: "full" }];
    return [processed(forward), logits(forward)];
  });
  reading.read(1);
  await reading.run(1000);
  assert.deepEqual(reading.answers, [[1, LOGITS]]);
});

Deno.test("a host that is lost before it has computed costs no time-out", async () => {
  let asked = 0;
  const reading = new Reading((forward) => ++asked === 1 ? [] : [processed(forward), logits(forward)]);
  reading.read(1);
  await reading.run(10);
  reading.tell({ kind: "peerLost", peer: "host", reason: "the connection broke" });
  await reading.run(2000);
  assert.deepEqual(reading.answers, [[1, LOGITS]]);
});

Deno.test("a host that is lost after it has computed costs no time-out either", async () => {
  let asked = 0;
  const reading = new Reading((forward) => [processed(forward), ...++asked === 1 ? [] : [logits(forward)]]);
  reading.read(1);
  await reading.run(10);
  reading.tell({ kind: "peerLost", peer: "host", reason: "the connection broke" });
  await reading.run(2000);
  assert.deepEqual(reading.answers, [[1, LOGITS]]);
});

Deno.test("questions beyond the bound are turned away at once; the others are answered", async () => {
  const reading = new Reading((forward) => [processed(forward), logits(forward)]);
  for (let request = 0; request <= READS_MAX; request++) reading.read(request);
  await reading.run(0);
  assert.deepEqual(reading.answers, [[
    READS_MAX,
    `Cannot read: ${READS_MAX} of ${READS_MAX} are under way`,
  ]]);
  await reading.run();
  assert.equal(reading.answers.filter(([, answer]) => answer === LOGITS).length, READS_MAX);
});
