/**
 * A stranger joins a running swarm and sends what it should not. Each time it is
 * told so, or is cut off with a reason; and the run ends as if it had not been there.
 */

import assert from "node:assert/strict";
import { fromFrame, type RemoteMessage, type Tensor, toFrame, type Walk } from "../actors/messages.ts";
import type { Frame, Wire } from "../actors/wire/wire.ts";
import { type Manifest, manifestHash } from "../run/mod.ts";
import { countingDataset, tinyManifest } from "./data.ts";
import { SimulatedSwarm } from "../sim/swarm.ts";
import { assertClose, soloRun } from "./solo.ts";

const manifest: Manifest = tinyManifest({ steps: 10 });
const run = manifestHash(manifest);
const { width } = manifest.model;

/** What the stranger heard in answer. */
interface Answers {
  readonly messages: RemoteMessage[];
  readonly losses: string[];
}

interface Case {
  readonly name: string;
  readonly to: string;
  readonly frames: (step: number) => readonly Frame[];
  readonly expect: (answers: Answers) => void;
}

function hidden(rows: number, fill: number, columns = width): Tensor {
  return {
    dataType: "f32",
    shape: [rows, manifest.sequenceLength, columns],
    data: new Float32Array(rows * manifest.sequenceLength * columns).fill(fill),
  };
}

function tokens(fill: number): Tensor {
  const shape = [manifest.sequencesPerMicroBatch, manifest.sequenceLength];
  return { dataType: "i32", shape, data: new Int32Array(shape[0] * shape[1]).fill(fill) };
}

function forward(step: number, stage: number, input: Tensor, change: Partial<Walk> = {}): RemoteMessage {
  return {
    kind: "forward",
    // Evaluation: a stranger's training walk would be refused for its coordinator.
    walk: { purpose: "evaluate", term: 1, step, round: 0, microBatch: 0, attempt: 77, ...change },
    stage,
    mask: [],
    corpus: null,
    trainer: "stranger",
    coordinator: "stranger",
    input,
    targets: tokens(1),
  };
}

function heard(answers: Answers, kind: RemoteMessage["kind"], reason: RegExp): void {
  const reasons = answers.messages.flatMap((message) =>
    message.kind === kind && "reason" in message ? [message.reason ?? ""] : []
  );
  assert.ok(reasons.some((one) => reason.test(one)), `expected ${kind} with ${reason}, heard ${reasons}`);
}

function cutOff(answers: Answers, reason: RegExp): void {
  assert.ok(
    answers.losses.some((one) => reason.test(one)),
    `expected a cut with ${reason}, heard ${answers.losses}`,
  );
}

const good = (step: number) => toFrame(run, forward(step, 1, hidden(2, 0.1)));

const CASES: Case[] = [
  {
    name: "a frame of another run",
    to: "host-1a",
    frames: (step) => [toFrame("f".repeat(64), forward(step, 1, hidden(2, 0)))],
    expect: (answers) => cutOff(answers, /it is of run f+/),
  },
  {
    name: "a message of no known kind",
    to: "host-1a",
    frames: () => [{ header: { run, kind: "obey" }, tensors: [] }],
    expect: (answers) => cutOff(answers, /obey/),
  },
  {
    name: "a shape that lies: another width",
    to: "host-1a",
    frames: (step) => [toFrame(run, forward(step, 1, hidden(2, 0, width + 1)))],
    expect: (answers) => heard(answers, "failed", /shape|width|\[/),
  },
  {
    name: "tokens where hidden states belong",
    to: "host-1a",
    frames: (step) => [toFrame(run, forward(step, 1, tokens(3)))],
    expect: (answers) => heard(answers, "failed", /i32|type|shape/),
  },
  {
    name: "NaN in an activation",
    to: "host-1a",
    frames: (step) => [toFrame(run, forward(step, 1, hidden(2, NaN)))],
    expect: (answers) => heard(answers, "failed", /NaN|finite/),
  },
  {
    name: "a token outside the vocabulary",
    to: "host-0a",
    frames: (step) => [toFrame(run, forward(step, 0, tokens(256)))],
    expect: (answers) => heard(answers, "failed", /256/),
  },
  {
    name: "a stage that the host does not serve",
    to: "host-1a",
    frames: (step) => [toFrame(run, forward(step, 2, hidden(2, 0)))],
    expect: (answers) => heard(answers, "refused", /serves stage 1/),
  },
  {
    name: "a step that is over",
    to: "host-1a",
    frames: (step) => [toFrame(run, forward(step - 1, 1, hidden(2, 0)))],
    expect: (answers) => heard(answers, "refused", /stands at step/),
  },
  {
    name: "a training walk for a coordinator that nobody elected",
    to: "host-1a",
    frames: (
      step,
    ) => [
      toFrame(run, { ...forward(step, 1, hidden(2, 0), { purpose: "train" }), mask: [1] } as RemoteMessage),
    ],
    expect: (answers) => heard(answers, "refused", /another coordinator/),
  },
  {
    name: "orders from a stranger",
    to: "host-1a",
    frames: (step) =>
      [
        { kind: "fence", term: 2 ** 50, step, round: 0 },
        { kind: "prepare", term: 2 ** 50, step, round: 0 },
        { kind: "apply", term: 2 ** 50, step, round: 0, scale: 1, learningRate: 1 },
      ].map((message) => toFrame(run, message as RemoteMessage)),
    expect: (answers) => assert.deepEqual(answers.messages, []),
  },
  {
    name: "reports from a stranger",
    to: "trainer",
    frames: (step) => [
      toFrame(run, {
        kind: "accumulated",
        walk: { purpose: "train", term: 1, step, round: 0, microBatch: 0, attempt: 1 },
        stage: 2,
        corpus: "0".repeat(64),
        lossSum: 1e9,
        tokens: 1,
      }),
      toFrame(run, {
        kind: "finished",
        walk: { purpose: "train", term: 1, step, round: 0, microBatch: 0, attempt: 1 },
      }),
    ],
    expect: (answers) => assert.deepEqual(answers.messages, []),
  },
  {
    name: "a gradient that nobody asked for",
    to: "host-1a",
    frames: (step) => [
      toFrame(run, {
        kind: "backward",
        walk: { purpose: "train", term: 1, step, round: 0, microBatch: 0, attempt: 1 },
        stage: 1,
        gradient: hidden(2, 1),
      }),
    ],
    expect: (answers) => assert.deepEqual(answers.messages, []),
  },
  {
    name: "the same micro-batch twice",
    to: "host-1a",
    frames: (step) => [good(step), good(step)],
    expect: ({ messages }) => assert.equal(messages.filter(({ kind }) => kind === "evaluated").length, 1),
  },
];

for (const { name, to, frames, expect } of CASES) {
  Deno.test(`${name} costs the swarm nothing`, async () => {
    const swarm = new SimulatedSwarm({ manifest, dataset: countingDataset(manifest), seed: 4 });
    for (const stage of [0, 1, 2]) swarm.startHost(`host-${stage}a`, stage);
    swarm.startTrainer("trainer");
    await swarm.until(() => swarm.steps().length === 3);

    const answers: Answers = { messages: [], losses: [] };
    const wire: Wire = swarm.hub.attach("stranger");
    wire.open({
      onFrame: (_, frame) => void answers.messages.push(fromFrame(run, frame)),
      onLost: (_, reason) => void answers.losses.push(reason),
    });
    for (const frame of frames(3)) wire.send(to, frame);
    await swarm.until(() => swarm.steps().length === 4);
    expect({ ...answers, messages: answers.messages.filter(({ kind }) => kind !== "admitted") });

    // The next good micro-batch of the same stranger is served.
    answers.messages.length = 0;
    wire.send("host-1a", toFrame(run, forward(4, 1, hidden(2, 0.5), { attempt: 78 })));
    await swarm.until(() => swarm.steps().length === 5);
    assert.ok(
      answers.messages.some((message) => message.kind === "evaluated"),
      "the next good one was not served",
    );

    assert.equal((await swarm.finish())?.kind, "done");
    assertClose(swarm.steps().map(({ loss }) => loss), (await soloRun(manifest)).losses, 1e-5);
    await swarm.close();
  });
}

Deno.test("every frame sent twice counts once", async () => {
  const swarm = new SimulatedSwarm({
    manifest,
    dataset: countingDataset(manifest),
    seed: 5,
    fault: () => ({ kind: "duplicate" }),
  });
  for (const stage of [0, 1, 2]) {
    for (const replica of ["a", "b"]) swarm.startHost(`host-${stage}${replica}`, stage);
  }
  swarm.startTrainer("trainer");
  assert.equal((await swarm.finish())?.kind, "done");
  assertClose(swarm.steps().map(({ loss }) => loss), (await soloRun(manifest)).losses, 1e-5);
  await swarm.close();
});
