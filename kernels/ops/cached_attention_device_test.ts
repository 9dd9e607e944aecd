/**
 * Texts that are continued piece by piece, in runs that they share, on whatever
 * devices there are: they must come out as attention makes them in one go. What
 * is expected comes from the rows' own loops in float64.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import type { Device, DeviceTensor, Program } from "../device.ts";
import { type Graph, GraphBuilder } from "../graph.ts";
import { Scope } from "../scope.ts";
import { DEVICES } from "../testing/devices.ts";
import { drawFrom } from "../testing/draw.ts";
import { evaluate } from "../testing/evaluate.ts";
import { randomFrom } from "../testing/random.ts";
import { assertClose, type Tensor64 } from "../testing/tensor64.ts";
import type { AttentionAttributes } from "./attention.ts";

/** Blocks of the pool, of which each text has some, anywhere. */
const POOL = 64;

/** Positions of a block. */
const BLOCK = 8;

/** Texts, and how they are cut into pieces. */
interface Plan {
  readonly sizes: AttentionAttributes;
  /** Positions of each text. */
  readonly texts: readonly number[];
  /** Most positions of one piece. */
  readonly pieceMax: number;
  readonly scale: number;
  readonly seed: number;
}

const plans: fc.Arbitrary<Plan> = fc.record({
  sizes: fc.record({
    keyValueHeads: fc.integer({ min: 1, max: 2 }),
    group: fc.integer({ min: 1, max: 3 }),
    headWidth: fc.constantFrom(1, 3, 4, 8),
  }).map(({ keyValueHeads, group, headWidth }) => ({
    heads: keyValueHeads * group,
    keyValueHeads,
    headWidth,
  })),
  texts: fc.array(fc.integer({ min: 1, max: 80 }), { minLength: 1, maxLength: 4 }),
  pieceMax: fc.integer({ min: 1, max: 40 }),
  scale: fc.constantFrom(1e-6, 1, 8),
  seed: fc.integer(),
});

for (const { name, open } of DEVICES) {
  Deno.test({
    name: `${name}: texts in pieces come out as texts in one`,
    ignore: open === undefined,
    async fn() {
      const device = await open!();
      await fc.assert(fc.asyncProperty(plans, (plan) => check(device, plan)), { numRuns: 10 });
      assert.equal(device.bytesInUse(), 0, "bytes are left over");
      await device.close();
    },
  });
}

/** A text of which some is past. */
interface Text {
  /** Keys, values and queries: `[1, L, …]`. */
  readonly q: Tensor64;
  readonly k: Tensor64;
  readonly v: Tensor64;
  readonly length: number;
  /** Its blocks of the pool. */
  readonly blocks: readonly number[];
  past: number;
  readonly y: number[];
}

async function check(device: Device, { sizes, texts: lengths, pieceMax, scale, seed }: Plan): Promise<void> {
  const { heads, keyValueHeads, headWidth } = sizes;
  const draw = drawFrom(seed, scale);
  const random = randomFrom(seed);
  const free = shuffled(POOL, random);
  const texts: Text[] = lengths.map((length) => ({
    q: draw.floats(1, length, heads * headWidth),
    k: draw.floats(1, length, keyValueHeads * headWidth),
    v: draw.floats(1, length, keyValueHeads * headWidth),
    length,
    blocks: free.splice(0, Math.ceil(length / BLOCK)),
    past: 0,
    y: [],
  }));
  using scope = new Scope(device);
  const programs = {
    any: await device.compile(cached(sizes, "N")),
    // Every text by one position, for which devices may have a shorter way.
    single: await device.compile(cached(sizes, "B")),
  };
  const pool = () =>
    scope.adopt(device.upload({
      dataType: "f32",
      shape: [POOL, keyValueHeads, BLOCK, headWidth],
      data: new Float32Array(POOL * keyValueHeads * BLOCK * headWidth),
    }));
  const pools = { pastKeys: pool(), pastValues: pool() };
  for (;;) {
    const open = texts.filter(({ past, length }) => past < length);
    if (open.length === 0) break;
    const piece = 1 + Math.floor(random() * pieceMax);
    const fit = open.filter(({ past, length }) => past + piece <= length);
    if (fit.length === 0) {
      await extend(device, programs, sizes, pools, [open[0]], open[0].length - open[0].past);
    } else {
      const some = fit.filter(() => random() < 0.7);
      await extend(device, programs, sizes, pools, some.length > 0 ? some : [fit[0]], piece);
    }
  }
  for (const program of Object.values(programs)) await program.dispose();
  texts.forEach(({ q, k, v, y }, i) => {
    const whole = evaluate(attentionGraph(sizes), { q, k, v });
    assertClose({ shape: q.shape, data: y }, whole.y, 1e-4, `text ${i}`, scale);
  });
}

/** One run that continues these texts, each by `piece` positions, and keeps what it adds. */
async function extend(
  device: Device,
  programs: { readonly any: Program; readonly single: Program },
  sizes: AttentionAttributes,
  pools: { readonly pastKeys: DeviceTensor; readonly pastValues: DeviceTensor },
  texts: readonly Text[],
  piece: number,
): Promise<void> {
  using scope = new Scope(device);
  const upload = (dataType: "f32" | "i32", shape: readonly number[], numbers: readonly number[]) =>
    scope.adopt(
      device.upload({
        dataType,
        shape,
        data: dataType === "f32" ? Float32Array.from(numbers) : Int32Array.from(numbers),
      }),
    );
  const added = (which: "q" | "k" | "v") => {
    const width = texts[0][which].shape[2];
    const numbers = texts.flatMap((text) =>
      text[which].data.slice(text.past * width, (text.past + piece) * width)
    );
    return upload("f32", [1, texts.length * piece, width], numbers);
  };
  const given = { q: added("q"), k: added("k"), v: added("v") };
  const named = Math.ceil(Math.max(1, ...texts.map(({ past }) => past)) / BLOCK);
  const blocks = texts.flatMap(({ blocks, past }) =>
    Array.from({ length: named }, (_, s) => s * BLOCK < past ? blocks[s] : 0)
  );
  const { y } = await (piece === 1 ? programs.single : programs.any).run({
    ...given,
    ...pools,
    blocks: upload("i32", [texts.length, named], blocks),
    lengths: upload("i32", [texts.length], texts.map(({ past }) => past)),
  });
  const { keyValueHeads } = sizes;
  const places = Int32Array.from(
    texts.flatMap(({ blocks, past }) =>
      Array.from({ length: piece * keyValueHeads }, (_, i) => {
        const position = past + Math.floor(i / keyValueHeads);
        const block = blocks[Math.floor(position / BLOCK)];
        return (block * keyValueHeads + i % keyValueHeads) * BLOCK + position % BLOCK;
      })
    ),
  );
  await device.copyRows(given.k, pools.pastKeys, places);
  await device.copyRows(given.v, pools.pastValues, places);
  const { data, shape: [, , width] } = await device.download(scope.adopt(y));
  texts.forEach((text, b) => {
    text.y.push(...data.subarray(b * piece * width, (b + 1) * piece * width));
    text.past += piece;
  });
}

function cached(sizes: AttentionAttributes, positions: "N" | "B"): Graph {
  const { heads, keyValueHeads, headWidth } = sizes;
  const builder = new GraphBuilder();
  const [q, k, v] = ["q", "k", "v"].map((name) =>
    builder.input(name, "f32", [1, positions, (name === "q" ? heads : keyValueHeads) * headWidth])
  );
  const [keys, values] = ["pastKeys", "pastValues"].map((name) =>
    builder.input(name, "f32", ["P", keyValueHeads, BLOCK, headWidth])
  );
  const blocks = builder.input("blocks", "i32", ["B", "S"]);
  const lengths = builder.input("lengths", "i32", ["B"]);
  builder.output("y", builder.op("cachedAttention", [q, k, v, keys, values, blocks, lengths], sizes)[0]);
  return builder.build();
}

function attentionGraph(sizes: AttentionAttributes): Graph {
  const { heads, keyValueHeads, headWidth } = sizes;
  const builder = new GraphBuilder();
  const [q, k, v] = ["q", "k", "v"].map((name) =>
    builder.input(name, "f32", [1, "T", (name === "q" ? heads : keyValueHeads) * headWidth])
  );
  builder.output("y", builder.op("attention", [q, k, v], sizes)[0]);
  return builder.build();
}

/** 0 … count − 1 in any order. */
function shuffled(count: number, random: () => number): number[] {
  const keys = Array.from({ length: count }, random);
  return Array.from({ length: count }, (_, i) => i).sort((left, right) => keys[left] - keys[right]);
}
