/** Copies of rows on every device, beside a plain model, and what is turned away. */

import assert from "node:assert/strict";
import fc from "fast-check";
import type { Device, DeviceTensor } from "./device.ts";
import { type Graph, GraphBuilder } from "./graph.ts";
import { Scope } from "./scope.ts";
import { DEVICES } from "./testing/devices.ts";
import { drawFrom } from "./testing/draw.ts";
import { toHost } from "./testing/tensor64.ts";

/** Rows of the destination, and copies: how many rows, where to, and whether a run makes the source. */
const plans = fc.record({
  width: fc.integer({ min: 1, max: 9 }),
  /** Rows that stand in one of the source's. */
  beside: fc.integer({ min: 1, max: 3 }),
  places: fc.integer({ min: 1, max: 40 }),
  copies: fc.array(
    fc.record({ count: fc.nat(40), spare: fc.nat(2), made: fc.boolean(), seed: fc.integer() }),
    { minLength: 1, maxLength: 5 },
  ),
  seed: fc.integer(),
});

for (const { name, open } of DEVICES) {
  const test = (what: string, body: (device: Device) => Promise<void>) =>
    Deno.test({
      name: `${name}: ${what}`,
      ignore: open === undefined,
      async fn() {
        const device = await open!();
        await body(device);
        assert.equal(device.bytesInUse(), 0, "bytes are left over");
        await device.close();
      },
    });

  test("rows go where they are sent, and others stay", async (device) => {
    const program = await device.compile(doubling());
    await fc.assert(
      fc.asyncProperty(plans, async ({ width, beside, places, copies, seed }) => {
        using scope = new Scope(device);
        const start = drawFrom(seed, 1).floats(1, places, width);
        const expected = Float32Array.from(start.data);
        const destination = scope.adopt(device.upload(toHost(start)));
        for (const { count, spare, made, seed } of copies) {
          const draw = drawFrom(seed, 1);
          const rows = Int32Array.from(permutation(draw.floats(places).data).slice(0, count));
          const given = toHost(draw.floats(1, Math.ceil(rows.length / beside) + spare + 1, beside * width));
          let source = scope.adopt(device.upload(given));
          // What a run makes lies where the device computes.
          if (made) source = scope.adopt((await program.run({ x: source })).y);
          await device.copyRows(source, destination, rows);
          rows.forEach((row, i) => {
            for (let c = 0; c < width; c++) {
              expected[row * width + c] = given.data[i * width + c] * (made ? 2 : 1);
            }
          });
          // A tensor that runs read may move to where they read it.
          const { y } = await program.run({ x: destination });
          assert.deepEqual(
            (await device.download(scope.adopt(y))).data,
            expected.map((element) => 2 * element),
          );
        }
        assert.deepEqual((await device.download(destination)).data, expected);
      }),
      { numRuns: 20 },
    );
    await program.dispose();
  });

  test("copies of rows take their turn, without waiting", async (device) => {
    const program = await device.compile(doubling());
    using scope = new Scope(device);
    const pool = scope.adopt(device.upload(f32([1, 3, 2], 1, 2, 3, 4, 5, 6)));
    const source = device.upload(f32([1, 1, 2], 10, 20));
    const rows = Int32Array.of(2);
    const pending = [device.copyRows(source, pool, rows)];
    rows[0] = 0; // the caller's own again
    device.write(source, Float32Array.of(30, 40));
    const seen = device.download(pool);
    pending.push(device.copyRows(source, pool, rows));
    device.free(source);
    const run = program.run({ x: pool });
    scope.adopt(device.upload(f32([1, 1, 2], 7, 7)));
    device.write(pool, Float32Array.of(0, 0, 0, 0, 0, 0));
    await Promise.all(pending);
    assert.deepEqual([...(await seen).data], [1, 2, 3, 4, 10, 20]);
    const { y } = await run;
    assert.deepEqual([...(await device.download(scope.adopt(y))).data], [60, 80, 6, 8, 20, 40]);
    assert.deepEqual([...(await device.download(pool)).data], [0, 0, 0, 0, 0, 0]);
    await program.dispose();
  });

  test("rows that can't be copied are turned away, and nothing is written", async (device) => {
    using scope = new Scope(device);
    const pool = scope.adopt(device.upload(f32([4, 2], 1, 2, 3, 4, 5, 6, 7, 8)));
    const source = scope.adopt(device.upload(f32([1, 2, 2], 0, 0, 0, 0)));
    const odd = scope.adopt(device.upload(f32([2, 3], 0, 0, 0, 0, 0, 0)));
    const scalar = scope.adopt(device.upload(f32([], 0)));
    const integers = scope.adopt(
      device.upload({ dataType: "i32", shape: [1, 2], data: Int32Array.of(0, 0) }),
    );
    const freed = device.upload(f32([1, 2], 0, 0));
    device.free(freed);
    const stranger: DeviceTensor = { dataType: "f32", shape: [1, 2] };
    const refusals: [DeviceTensor, DeviceTensor, readonly number[], string][] = [
      [source, pool, [4], "Cannot copy rows: row is 4, expected 0 to 3"],
      [source, pool, [0, -1], "Cannot copy rows: row is -1, expected 0 to 3"],
      [source, pool, [-(2 ** 31)], "Cannot copy rows: row is -2147483648, expected 0 to 3"],
      [source, pool, [1, 1], "Cannot copy rows: row 1 is named twice"],
      [source, pool, [0, 1, 2], "Cannot copy rows: 3 are asked for, but source holds 2"],
      [pool, pool, [0], "Cannot copy rows: source and destination are one tensor"],
      [odd, pool, [0], "Cannot copy rows: source has shape [2, 3], destination [4, 2]"],
      [scalar, scope.adopt(device.upload(f32([], 0))), [0], "Cannot copy rows: source has shape []"],
      [integers, pool, [0], "Cannot copy rows: a tensor is i32, expected f32"],
      [source, integers, [0], "Cannot copy rows: a tensor is i32, expected f32"],
      [
        freed,
        pool,
        [0],
        `Cannot copy rows of tensor [1, 2]: ${device.name} does not hold it, or it was freed`,
      ],
      [source, freed, [0], `Cannot copy rows into tensor [1, 2]: ${device.name} does not hold it`],
      [stranger, pool, [0], "Cannot copy rows of tensor [1, 2]"],
      [source, stranger, [0], "Cannot copy rows into tensor [1, 2]"],
    ];
    for (const [from, to, rows, message] of refusals) {
      await assert.rejects(device.copyRows(from, to, Int32Array.from(rows)), (error) => {
        assert.ok(error instanceof TypeError && error.message.startsWith(message), `${error}`);
        return true;
      });
    }
    const numbers = [0] as unknown as Int32Array;
    await assert.rejects(
      device.copyRows(source, pool, numbers),
      new TypeError("Cannot copy rows: rows are no Int32Array"),
    );
    await device.copyRows(source, pool, new Int32Array());
    assert.deepEqual([...(await device.download(pool)).data], [1, 2, 3, 4, 5, 6, 7, 8]);
  });
}

/** y = 2 x */
function doubling(): Graph {
  const builder = new GraphBuilder();
  const x = builder.input("x", "f32", ["A", "B", "C"]);
  builder.output("y", builder.op("add", [x, x])[0]);
  return builder.build();
}

/** The indices of these numbers by their size. */
function permutation(keys: readonly number[]): number[] {
  return keys.map((_, i) => i).sort((left, right) => keys[left] - keys[right]);
}

function f32(shape: readonly number[], ...elements: readonly number[]) {
  return { dataType: "f32" as const, shape, data: Float32Array.from(elements) };
}
