/**
 * Adds up the gradient sums of a stage's replicas: a butterfly all-reduce in
 * which each replica owns one slice. An owner adds the parts of its slice in the
 * order of the sorted peers, and sends the total to all, so that every replica
 * ends with the same bits. It knows no table and takes no step: the host asks,
 * and is told the total or why there is none.
 */

import { createHash } from "node:crypto";
import type { Context, Envelope, PeerId } from "./core/actor.ts";
import type { Timer } from "./core/clock.ts";
import { AVERAGE_CHUNK_FLOATS, EARLY_FLOATS_MAX, PHASE_TIMEOUT_MS } from "./limits.ts";
import type { Message, MessageOf, Tensor } from "./messages.ts";
import { behaviour, type Role } from "./role.ts";
import { squareSum } from "../stages/mod.ts";

/** One run of numbers that came before this replica was asked to average. */
interface Early {
  readonly from: PeerId;
  readonly message: MessageOf<"part"> | MessageOf<"total">;
}

interface Averaging {
  readonly term: number;
  readonly step: number;
  readonly round: number;
  readonly replicas: readonly PeerId[];
  readonly vector: Float32Array;
  readonly own: number;
  /** Parts of the own slice, by replica; the own part is a view of `vector`. */
  readonly parts: Float32Array[];
  /** The total, filled slice by slice. */
  readonly total: Float32Array;
  /** Floats still missing: of each replica's part, and of each slice's total. */
  readonly partMissing: number[];
  readonly totalMissing: number[];
  readonly deadline: Timer;
}

/** Where slice `index` of `count` begins in a vector of `length`. */
export function sliceStart(length: number, index: number, count: number): number {
  return Math.floor((length * index) / count);
}

class Averager implements Role {
  readonly #context: Context<Message>;
  #current: Averaging | undefined;
  /** The last round that was begun: what comes for it, or before it, afterwards is late. */
  #newest = { term: -1, step: -1, round: -1 };
  #early: Early[] = [];

  constructor(context: Context<Message>) {
    this.#context = context;
  }

  receive({ from, message }: Envelope<Message>): void {
    switch (message.kind) {
      case "average":
        return this.#begin(message);
      case "part":
      case "total":
        return this.#onRun(from, message);
      case "peerLost":
        if (this.#current?.replicas.includes(message.peer)) this.#fail(`replica ${message.peer} was lost`);
        return;
      case "timer":
        return this.#fail(`replicas were silent for ${PHASE_TIMEOUT_MS} ms`);
    }
  }

  stop(): void {
    this.#current?.deadline.cancel();
  }

  #begin({ term, step, round, replicas, vector }: MessageOf<"average">): void {
    this.#current?.deadline.cancel();
    this.#newest = { term, step, round };
    const own = replicas.indexOf(this.#context.peer);
    const length = (index: number) =>
      sliceStart(vector.length, index + 1, replicas.length) -
      sliceStart(vector.length, index, replicas.length);
    const ownStart = sliceStart(vector.length, own, replicas.length);
    const current: Averaging = this.#current = {
      term,
      step,
      round,
      replicas,
      vector,
      own,
      parts: replicas.map((_, index) =>
        index === own ? vector.subarray(ownStart, ownStart + length(own)) : new Float32Array(length(own))
      ),
      total: replicas.length === 1 ? vector : new Float32Array(vector.length),
      partMissing: replicas.map((_, index) => index === own ? 0 : length(own)),
      totalMissing: replicas.map((_, index) => length(index)),
      deadline: this.#context.after(PHASE_TIMEOUT_MS, {
        kind: "timer",
        name: "average",
        key: `${term}/${step}/${round}`,
      }),
    };
    replicas.forEach((peer, index) => {
      if (index === own) return;
      const start = sliceStart(vector.length, index, replicas.length);
      this.#sendRuns(peer, "part", vector.subarray(start, start + length(index)));
    });
    if (this.#current !== current) return;
    this.#addOwnSlice();
    const early = this.#early;
    this.#early = [];
    for (const { from, message } of early) this.#onRun(from, message);
  }

  #sendRuns(to: PeerId, kind: "part" | "total", values: Float32Array): void {
    const { term, step, round } = this.#current!;
    for (let offset = 0; offset < values.length; offset += AVERAGE_CHUNK_FLOATS) {
      const run = values.subarray(offset, offset + AVERAGE_CHUNK_FLOATS);
      const tensor: Tensor = { dataType: "f32", shape: [run.length], data: run };
      if (
        !this.#context.tell({ peer: to, actor: "averager" }, {
          kind,
          term,
          step,
          round,
          offset,
          values: tensor,
        })
      ) {
        return this.#fail(`replica ${to} can't be reached`);
      }
    }
  }

  #onRun(from: PeerId, message: MessageOf<"part"> | MessageOf<"total">): void {
    const current = this.#current;
    if (current === undefined || compareRounds(message, current) !== 0) {
      const late = compareRounds(message, this.#newest) <= 0;
      const waiting = this.#early.reduce((sum, early) => sum + early.message.values.data.length, 0);
      if (!late && waiting + message.values.data.length <= EARLY_FLOATS_MAX) {
        this.#early.push({ from, message });
      }
      return;
    }
    const sender = current.replicas.indexOf(from);
    if (sender < 0 || sender === current.own) return;
    const { values, offset } = message;
    const missing = message.kind === "part" ? current.partMissing : current.totalMissing;
    const start = message.kind === "part"
      ? 0
      : sliceStart(current.vector.length, sender, current.replicas.length);
    const end = message.kind === "part"
      ? current.parts[sender].length
      : sliceStart(current.vector.length, sender + 1, current.replicas.length);
    const into = message.kind === "part" ? current.parts[sender] : current.total;
    const data = values.data;
    if (!(data instanceof Float32Array)) {
      return this.#fail(`replica ${from} sent ${values.dataType}, expected f32`, from);
    }
    // Runs come in order on one stream; one that came before is a duplicate, anything else not this protocol.
    const expected = end - start - missing[sender];
    if (data.length > 0 && offset + data.length <= expected) return;
    if (offset !== expected || start + offset + data.length > end) {
      return this.#fail(
        `replica ${from} sent ${data.length} numbers at ${offset}, expected them at ${expected}`,
        from,
      );
    }
    if (!allFinite(data)) return this.#fail(`replica ${from} sent a number that is not finite`, from);
    into.set(data, start + offset);
    missing[sender] -= data.length;
    if (message.kind === "part") this.#addOwnSlice();
    else this.#finishIfWhole();
  }

  /** Once every part is there: the total of the own slice, in the order of the replicas. */
  #addOwnSlice(): void {
    const { own, parts, partMissing, total, totalMissing, replicas, vector } = this.#current!;
    if (partMissing.some((missing) => missing > 0) || (totalMissing[own] === 0 && parts[own].length > 0)) {
      return;
    }
    const start = sliceStart(vector.length, own, replicas.length);
    const slice = total.subarray(start, start + parts[own].length);
    if (replicas.length > 1) {
      slice.set(parts[0]);
      for (const part of parts.slice(1)) for (let i = 0; i < slice.length; i++) slice[i] += part[i];
    }
    totalMissing[own] = 0;
    const current = this.#current;
    for (const peer of replicas) {
      if (peer !== this.#context.peer && this.#current === current) this.#sendRuns(peer, "total", slice);
    }
    if (this.#current === current) this.#finishIfWhole();
  }

  #finishIfWhole(): void {
    const { term, step, round, total, totalMissing, deadline } = this.#current!;
    if (totalMissing.some((missing) => missing > 0)) return;
    deadline.cancel();
    this.#current = undefined;
    const bytes = new Uint8Array(total.buffer, total.byteOffset, total.byteLength);
    this.#context.tell({ actor: "host" }, {
      kind: "averaged",
      term,
      step,
      round,
      vector: total,
      hash: createHash("sha256").update(bytes).digest("hex"),
      squareSum: squareSum(total),
    });
  }

  #fail(reason: string, culprit: PeerId | null = null): void {
    const current = this.#current;
    if (current === undefined) return;
    current.deadline.cancel();
    this.#current = undefined;
    const { term, step, round } = current;
    this.#context.tell({ actor: "host" }, {
      kind: "averageFailed",
      term,
      step,
      round,
      culprit,
      reason: `Cannot average step ${step}: ${reason}`,
    });
  }
}

type Round = Pick<Averaging, "term" | "step" | "round">;

/** Below 0 if `a` came before `b`. A later term may go back to an earlier step. */
function compareRounds(a: Round, b: Round): number {
  return a.term - b.term || a.step - b.step || a.round - b.round;
}

function allFinite(values: Float32Array): boolean {
  for (let i = 0; i < values.length; i++) if (!Number.isFinite(values[i])) return false;
  return true;
}

/** The averaging role. */
export const averager = behaviour("averager", (context) => new Averager(context));
