/**
 * The sessions of a stage on a device: a pool of keys and one of values for each
 * layer, that grow as sessions take room, up to a bound. It owns no parameters
 * and ends no session for another's sake: that is its caller's choice.
 */

import {
  type Device,
  type DeviceTensor,
  type Graph,
  type HostTensor,
  type Program,
  Scope,
} from "../kernels/mod.ts";
import type { Manifest, Slice } from "../run/mod.ts";
import {
  BLOCK_TOKENS,
  blocksOf,
  CacheBlocks,
  headRows,
  type KeptSession,
  roundedBlocks,
} from "./cache_blocks.ts";
import { checkFinite, checkRange, checkTensor, mustLeaveFinite } from "./checks.ts";
import { cacheNames, Port, sessionGraph, SessionPort } from "./decoder.ts";
import { drawToken } from "./draw.ts";
import type { Draw, SessionResult, SessionRun, Sessions } from "./sessions.ts";
import { NOTHING, type Turns } from "./turns.ts";

/** Sessions of one run: a bound on what one call allocates, above what pays. */
const SEQUENCES_MAX = 1024;
/** New tokens of one run, over all its sessions. */
const RUN_TOKENS_MAX = 16_384;
/** Bytes of keys and values that a stage keeps, where nobody says how many. */
export const CACHE_BYTES = 256 * 2 ** 20;
/** Blocks that a pool begins with. It doubles when they are taken. */
const POOL_BLOCKS = 1 + 16;

/** What sessions share with their stage. */
export interface CompiledSessionsOptions {
  readonly device: Device;
  readonly manifest: Manifest;
  readonly slice: Slice;
  /** Bytes of keys and values. */
  readonly cacheBytes: number;
  /** The slice's parameters, by name. */
  readonly parameters: Readonly<Record<string, DeviceTensor>>;
  /** Compiles a program when it is asked for first. */
  readonly program: (name: string, graph: () => Graph) => Promise<Program>;
  readonly turns: Turns;
  /** Throws if the parameters can't be used now. */
  readonly mustBeWhole: (action: string) => void;
}

/** Keys and values of all layers, by their names in the graph. */
interface Pools {
  readonly tensors: Readonly<Record<string, DeviceTensor>>;
  readonly blocks: number;
}

/** A run whose arguments fit. */
interface CheckedRun extends SessionRun {
  /** B */
  readonly count: number;
  /** T */
  readonly tokens: number;
}

/** A stage's sessions. */
export class CompiledSessions implements Sessions {
  readonly #options: CompiledSessionsOptions;
  readonly #blocks: CacheBlocks;
  readonly #layers: readonly ReturnType<typeof cacheNames>[];
  #pools: Pools | undefined;
  #runs = 0;

  constructor(options: CompiledSessionsOptions) {
    this.#options = options;
    const { slice: { firstLayer, endLayer }, manifest: { model }, cacheBytes } = options;
    const { keyValueHeads, headWidth } = model;
    this.#layers = Array.from(
      { length: endLayer - firstLayer },
      (_, place) => cacheNames(firstLayer + place),
    );
    const tokenBytes = this.#layers.length * 2 * keyValueHeads * headWidth * 4;
    this.#blocks = new CacheBlocks(Math.floor(cacheBytes / (tokenBytes * BLOCK_TOKENS)));
  }

  get capacityTokens(): number {
    return this.#blocks.capacityTokens;
  }

  get roomTokens(): number {
    return this.#blocks.roomTokens;
  }

  get count(): number {
    return this.#blocks.count;
  }

  /** See {@link Sessions.extend}. The input must not change until the promise settles. */
  extend(run: SessionRun): Promise<SessionResult> {
    // Nobody waits for another's results: they follow from what the device does, and that in order.
    return this.#options.turns.overlapping(`sessions ${++this.#runs}`, async () => {
      const action = `Cannot continue ${run.sequences.length} sessions`;
      this.#options.mustBeWhole(action);
      const checked = this.#check(action, run);
      const { kept, used } = this.#blocks.extend(run.sequences, checked.tokens);
      const failed = () => kept.forEach((session) => this.#blocks.endThis(session));
      try {
        const { arrives } = await this.#compute(action, checked, kept, used);
        return { result: arrives, failed };
      } catch (error) {
        failed();
        throw error;
      }
    });
  }

  end(key: string): void {
    const { turns } = this.#options;
    // An extension of it may still wait; ending keeps its place in the order.
    if (turns.idle) this.#blocks.end(key);
    else {
      void turns.overlapping(`end of ${key}`, () => {
        this.#blocks.end(key);
        return Promise.resolve(NOTHING);
      });
    }
  }

  /** Ends all sessions, in the turn of whoever calls. */
  clear(): void {
    this.#blocks.clear();
  }

  /** Frees everything, in the turn of whoever calls. */
  close(): void {
    this.clear();
    for (const tensor of Object.values(this.#pools?.tensors ?? {})) this.#options.device.free(tensor);
    this.#pools = undefined;
  }

  async #compute(
    action: string,
    run: CheckedRun,
    kept: readonly KeptSession[],
    used: readonly number[],
  ): Promise<{ readonly arrives: Promise<SessionResult> }> {
    const { device, manifest: { model }, slice, parameters } = this.#options;
    const pools = await this.#poolsOf(this.#blocks.poolBlocks);
    const wanted = run.sequences.flatMap(({ draw }, place) => draw ? [{ place, draw }] : []);
    const shape = { wanted: wanted.length > 0, single: run.tokens === 1 };
    const program = await this.#options.program(
      `sessions ${JSON.stringify(slice.head ? shape : shape.single)}`,
      () => sessionGraph(model, slice, shape),
    );
    using scope = new Scope(device);
    const cleared = this.#clearBlocks(scope, pools, used);
    const given = this.#upload(scope, run, kept, wanted.map(({ place }) => place));
    const yielded = scope.adoptAll(await program.run({ ...parameters, ...pools.tensors, ...given }));

    const rows = newRows(run, kept, model.keyValueHeads);
    const copied = this.#layers.flatMap((names) => [
      device.copyRows(yielded[names.keys], pools.tensors[names.pastKeys], rows),
      device.copyRows(yielded[names.values], pools.tensors[names.pastValues], rows),
    ]);
    const result = this.#result(action, run, yielded, wanted);
    // Wrapped, as the turn ends before it arrives.
    return { arrives: Promise.all([result, ...cleared, ...copied]).then(([result]) => result) };
  }

  /** Whatever was kept there, finite or not, is nothing that another session may meet. */
  #clearBlocks(scope: Scope, { tensors }: Pools, used: readonly number[]): Promise<void>[] {
    if (used.length === 0) return [];
    const { device, manifest: { model: { keyValueHeads, headWidth } } } = this.#options;
    const positions = used.length * BLOCK_TOKENS;
    const rows = new Int32Array(positions * keyValueHeads);
    headRows({ blocks: used }, keyValueHeads, 0, positions, rows, 0);
    const zeros = scope.adopt(device.upload({
      dataType: "f32",
      shape: [rows.length, headWidth],
      data: new Float32Array(rows.length * headWidth),
    }));
    return Object.values(tensors).map((pool) => device.copyRows(zeros, pool, rows));
  }

  async #result(
    action: string,
    { sequences, count, tokens }: CheckedRun,
    yielded: Readonly<Record<string, DeviceTensor>>,
    wanted: readonly { readonly place: number; readonly draw: Draw }[],
  ): Promise<SessionResult> {
    const { device, slice, manifest: { model } } = this.#options;
    if (!slice.head) {
      const { dataType, data } = await device.download(yielded[Port.activation]);
      mustLeaveFinite(`${action}: activation`, data);
      return {
        kind: "activation",
        activation: { dataType, shape: [count, tokens, model.width], data },
      };
    }
    const drawn = new Array(sequences.length).fill(undefined);
    if (wanted.length > 0) {
      const { data } = await device.download(yielded[Port.logits]);
      mustLeaveFinite(`${action}: logits`, data);
      wanted.forEach(({ place, draw }, row) => {
        const logits = (data as Float32Array).subarray(row * model.vocabulary, (row + 1) * model.vocabulary);
        drawn[place] = drawToken(logits, draw);
      });
    }
    return { kind: "drawn", drawn };
  }

  #upload(
    scope: Scope,
    { sequences, input, count, tokens }: CheckedRun,
    kept: readonly KeptSession[],
    wanted: readonly number[],
  ): Record<string, DeviceTensor> {
    const { device, slice, manifest: { model } } = this.#options;
    const longest = sequences.reduce((longest, { position }) => Math.max(longest, position), 1);
    const named = roundedBlocks(blocksOf(longest));
    const positions = new Int32Array(count * tokens);
    const blocks = new Int32Array(count * named); // SPARE_BLOCK where nothing is
    sequences.forEach(({ position }, place) => {
      blocks.set(kept[place].blocks.slice(0, blocksOf(position)), place * named);
      for (let token = 0; token < tokens; token++) positions[place * tokens + token] = position + token;
    });
    const integers = (shape: readonly number[], data: Int32Array) =>
      scope.adopt(device.upload({ dataType: "i32", shape, data }));
    const shape = slice.embedding ? [1, count * tokens] : [1, count * tokens, model.width];
    return {
      [slice.embedding ? Port.tokens : Port.hidden]: scope.adopt(device.upload({ ...input, shape })),
      [Port.positions]: integers([count * tokens], positions),
      [SessionPort.blocks]: integers([count, named], blocks),
      [SessionPort.lengths]: integers([count], Int32Array.from(sequences, ({ position }) => position)),
      ...(wanted.length > 0 && {
        [SessionPort.at]: integers(
          [wanted.length],
          Int32Array.from(wanted, (place) => (place + 1) * tokens - 1),
        ),
      }),
    };
  }

  /** Pools of at least so many blocks, with all that is kept. */
  async #poolsOf(blocks: number): Promise<Pools> {
    const old = this.#pools;
    if (old && old.blocks >= blocks) return old;
    const { device, manifest: { model: { keyValueHeads, headWidth } } } = this.#options;
    const grown = Math.min(
      Math.max(POOL_BLOCKS, blocks, 2 * (old?.blocks ?? 0)),
      1 + this.capacityTokens / BLOCK_TOKENS,
    );
    const shape = [grown, keyValueHeads, BLOCK_TOKENS, headWidth];
    const zeros: HostTensor = {
      dataType: "f32",
      shape,
      data: new Float32Array(shape.reduce((product, size) => product * size)),
    };
    using scope = new Scope(device);
    const names = this.#layers.flatMap(({ pastKeys, pastValues }) => [pastKeys, pastValues]);
    const tensors = Object.fromEntries(names.map((name) => [name, scope.adopt(device.upload(zeros))]));
    if (old) {
      const rows = old.blocks * keyValueHeads * BLOCK_TOKENS;
      const all = Int32Array.from({ length: rows }, (_, row) => row);
      await Promise.all(names.map((name) => device.copyRows(old.tensors[name], tensors[name], all)));
      for (const tensor of Object.values(old.tensors)) device.free(tensor);
    }
    for (const tensor of Object.values(tensors)) scope.release(tensor);
    this.#pools = { tensors, blocks: grown };
    return this.#pools;
  }

  #check(action: string, run: SessionRun): CheckedRun {
    const { slice, manifest: { model, sequenceLength } } = this.#options;
    const { sequences, input } = run;
    const [count, tokens] = input.shape;
    const fits = [count, tokens].every((size) => Number.isSafeInteger(size) && size > 0) &&
      count <= SEQUENCES_MAX && count * tokens <= RUN_TOKENS_MAX;
    if (!fits) {
      throw new TypeError(
        `${action}: input is [${input.shape.join(", ")}], allowed are ${SEQUENCES_MAX} sessions ` +
          `and ${RUN_TOKENS_MAX} tokens in all`,
      );
    }
    if (sequences.length !== count) {
      throw new TypeError(`${action}: input is [${input.shape.join(", ")}]`);
    }
    if (slice.embedding) {
      checkTensor(action, "input", input, "i32", [count, tokens]);
      checkRange(action, "token", input.data, 0, model.vocabulary - 1);
    } else {
      checkTensor(action, "input", input, "f32", [count, tokens, model.width]);
      checkFinite(action, "input", input.data);
    }
    for (const { key, position, draw } of sequences) {
      const session = `Cannot continue session ${key}`;
      if (!Number.isSafeInteger(position) || position < 0 || position + tokens > sequenceLength) {
        throw new TypeError(
          `${session} at position ${position} by ${tokens} tokens: the run's sequences have ${sequenceLength}`,
        );
      }
      if (!draw) continue;
      if (!slice.head) throw new TypeError(`${session}: only the last stage draws`);
      if (!(draw.uniform >= 0 && draw.uniform < 1)) {
        throw new TypeError(`${session}: the draw is ${draw.uniform}, expected a number from 0, below 1`);
      }
    }
    return { ...run, count, tokens };
  }
}

/** Where the heads of a run's new tokens go in a pool, one session after the other. */
function newRows({ sequences, tokens }: CheckedRun, kept: readonly KeptSession[], heads: number): Int32Array {
  const rows = new Int32Array(sequences.length * tokens * heads);
  sequences.forEach(({ position }, place) =>
    headRows(kept[place], heads, position, position + tokens, rows, place * tokens * heads)
  );
  return rows;
}
