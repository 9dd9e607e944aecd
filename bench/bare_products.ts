/**
 * How much faster a runtime multiplies many rows by a model's weights than one:
 * nothing that continues many texts at once gets more out of it than that, and
 * what it spends besides.
 */

import { type Device, GraphBuilder, Scope } from "../kernels/mod.ts";
import { type Manifest, partition } from "../run/mod.ts";
import { EMBEDDING, stageLayout } from "../stages/parameters.ts";
import { type BenchContext, type BenchRow, median } from "./row.ts";

/** Every matrix of the model times one row, and times `rows` of them. */
export async function bareProductsRow(
  { clock, signal }: BenchContext,
  device: Device,
  manifest: Manifest,
  { rows, rounds }: { readonly rows: number; readonly rounds: number },
): Promise<BenchRow> {
  const matrices = partition(manifest)
    .flatMap((slice) => stageLayout(manifest.model, slice).parameters)
    .filter(({ name, shape }) => shape.length === 2 && name !== EMBEDDING);
  const builder = new GraphBuilder();
  for (const { name, shape } of matrices) {
    const input = builder.input(`input of ${name}`, "f32", ["B", shape[1]]);
    builder.output(name, builder.op("linear", [input, builder.input(name, "f32", shape)])[0]);
  }
  const program = await device.compile(builder.build());
  using scope = new Scope(device);
  const filled = (shape: readonly number[]) => {
    const data = new Float32Array(shape.reduce((product, size) => product * size)).fill(0.01);
    return scope.adopt(device.upload({ dataType: "f32", shape, data }));
  };
  const weights = matrices.map(({ name, shape }) => [name, filled(shape)] as const);
  const batches = [1, rows].map((count) => ({
    inputs: Object.fromEntries([
      ...weights,
      ...matrices.map(({ name, shape }) => [`input of ${name}`, filled([count, shape[1]])] as const),
    ]),
    times: [] as number[],
  }));
  for (let round = 0; round <= rounds; round++) {
    signal.throwIfAborted();
    for (const { inputs, times } of batches) {
      const begin = clock.nowMs();
      const yielded = await program.run(inputs);
      if (round > 0) times.push(clock.nowMs() - begin);
      for (const tensor of Object.values(yielded)) device.free(tensor);
    }
  }
  await program.dispose();
  const [one, many] = batches.map(({ times }) => median(times));
  return {
    name: `serving: the model's bare products for ${rows} rows`,
    value: rows / many * 1000,
    unit: "rows/s",
    ratio: rows * one / many,
    to: "one row: what bounds the ratio of 16 sessions to one",
  };
}
