/**
 * One suite for all devices: what every op computes, and what a device promises.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { adamwScalars } from "./adamw_scalars.ts";
import type { Device, DeviceTensor, HostTensor } from "./device.ts";
import { differentiate } from "./gradient.ts";
import { type Graph, GraphBuilder, type Value } from "./graph.ts";
import { type OpName, OPS } from "./ops.ts";
import type { OpRow } from "./op.ts";
import { Scope } from "./scope.ts";
import { decoder, SMALL } from "./testing/decoder.ts";
import { DEVICES } from "./testing/devices.ts";
import { drawFrom, sizes } from "./testing/draw.ts";
import { evaluate } from "./testing/evaluate.ts";
import { LEAST_SIZES, OP_CASES, type OpInstance, type Sizes } from "./testing/op_cases.ts";
import { assertClose, fromHost, type Tensor64, toHost } from "./testing/tensor64.ts";

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

  for (const op of Object.keys(OPS) as OpName[]) {
    test(`${op} computes its formula`, async (device) => {
      const { instance, formula, magnitudes, scales = [1e-6, 1, 1e4], tolerance = 2e-5 } = OP_CASES[op];
      const check = async (sizes: Sizes, scale: number, seed: number) => {
        const made = instance(sizes, drawFrom(seed, scale));
        const attributes = made.attributes as Record<string, number>;
        const expected = formula(made.inputs, attributes);
        const magnitude = magnitudes?.(made.inputs, attributes) ?? [];
        const found = await runOp(device, op, made);
        found.forEach((tensor, i) =>
          assertClose(tensor, expected[i], tolerance, `output ${i}`, magnitude[i])
        );
      };
      for (const edge of OP_CASES[op].edges ?? []) await check({ ...LEAST_SIZES, ...edge }, 1, 1);
      await fc.assert(
        fc.asyncProperty(sizes, fc.constantFrom(...scales), fc.integer(), check),
        { numRuns: 12 },
      );
    });
  }

  test("a decoder's loss and gradients agree with float64", async (device) => {
    const graph = decoder(SMALL);
    const names = parameterNames(graph);
    const { forward, backward } = differentiate(graph, { outputs: ["loss"], accumulate: names });
    const forwardProgram = await device.compile(forward);
    const backwardProgram = await device.compile(backward);
    // One program for every batch and length.
    for (const [batch, length] of [[1, 1], [2, 7], [3, 5], [1, 33]]) {
      const inputs = decoderInputs(graph, batch, length, batch * 100 + length);
      const one: Tensor64 = { shape: [1], data: [1] };
      const sums = Object.fromEntries(names.map((name) => [`${name}.gradientSum`, inputs[name]]));
      const expectedForward = evaluate(forward, inputs);
      const expected = evaluate(backward, {
        ...inputs,
        ...sums,
        ...expectedForward,
        "loss.gradient": one,
      });
      using scope = new Scope(device);
      const given: Record<string, DeviceTensor> = upload(device, scope, {
        ...inputs,
        ...sums,
        "loss.gradient": one,
      });
      const kept = scope.adoptAll(await forwardProgram.run(given));
      const { loss, count } = expectedForward;
      assertClose(await device.download(kept.loss), loss, 2e-5, "loss");
      assertClose(await device.download(kept.count), count, 0, "count");
      assert.deepEqual(await backwardProgram.run({ ...given, ...kept }), {});
      for (const name of names) {
        const sum = `${name}.gradientSum`;
        assertClose(await device.download(given[sum]), expected[sum], 1e-4, sum);
      }
    }
    await forwardProgram.dispose();
    await backwardProgram.dispose();
  });

  test("repeated runs give the same bits", async (device) => {
    const graph = decoder(SMALL);
    const { forward, backward } = differentiate(graph, {
      outputs: ["loss"],
      withRespectTo: parameterNames(graph),
    });
    const inputs = decoderInputs(graph, 2, 9, 5);
    const run = async () => {
      using scope = new Scope(device);
      const given = upload(device, scope, { ...inputs, "loss.gradient": { shape: [1], data: [1] } });
      const kept = scope.adoptAll(await (await device.compile(forward)).run(given));
      const gradients = scope.adoptAll(
        await (await device.compile(backward)).run({ ...given, ...kept }),
      );
      return await downloadAll(device, { ...kept, ...gradients });
    };
    assert.deepEqual(await run(), await run());
  });

  test(
    "AdamW walks like its formula in float64, and like the reference to the bit",
    async (device) => {
      const count = 1000;
      const hyper = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1 };
      const program = await device.compile(adamwGraph(hyper));
      const draw = drawFrom(7, 1);
      let state = [draw.floats(count), zeros(count), zeros(count)];
      using scope = new Scope(device);
      const given: Record<string, DeviceTensor> = upload(device, scope, {
        parameter: state[0],
        m: state[1],
        v: state[2],
        gradientSum: zeros(count),
      });
      for (let step = 1; step <= 5; step++) {
        const scalars = adamwScalars({ step, scale: 0.25, learningRate: 0.01, ...hyper });
        const gradientSum = draw.floats(count);
        device.write(given.gradientSum, toHost(gradientSum).data);
        const small = Object.entries(scalars).map(([name, host]) =>
          [name, scope.adopt(device.upload(host))] as const
        );
        const before = await downloadAll(device, given);
        const inputs = { ...given, ...Object.fromEntries(small) };
        assert.deepEqual(await program.run(inputs), {});
        // The row's loops round every operation as the device must.
        const exact = evaluate(adamwGraph(hyper), {
          ...mapValues(before, fromHost),
          ...mapValues(scalars, fromHost),
        });
        const after = await downloadAll(device, given);
        for (const name of ["parameter", "m", "v"]) {
          assert.deepEqual(Array.from(after[name].data), exact[name].data, `${name} at ${step}`);
        }
        state = adamwStep(state, gradientSum, step, hyper);
        assertClose(after.parameter, state[0], 1e-5, `parameter at ${step}`);
      }
      await program.dispose();
    },
  );

  test(
    "an update is written in place, whoever else reads its input",
    async (device) => {
      // y = x w is asked for besides w ← w + g, and both readers of w see it as it was.
      const builder = new GraphBuilder();
      const x = builder.input("x", "f32", ["B", 3]);
      const w = builder.input("w", "f32", [2, 3]);
      const g = builder.input("g", "f32", [2, 3]);
      builder.update("w", builder.op("accumulate", [w, g])[0]);
      builder.output("y", builder.op("linear", [x, w])[0]);
      builder.update("g", builder.op("zeros", [g])[0]);
      const program = await device.compile(builder.build());
      using scope = new Scope(device);
      const given = upload(device, scope, {
        x: { shape: [1, 3], data: [1, 10, 100] },
        w: { shape: [2, 3], data: [1, 2, 3, 4, 5, 6] },
        g: { shape: [2, 3], data: [1, 1, 1, 2, 2, 2] },
      });
      const results = scope.adoptAll(await program.run(given));
      assert.deepEqual(Object.keys(results), ["y"]);
      assert.deepEqual(await values(device, results.y), [321, 654]);
      assert.deepEqual(await values(device, given.w), [2, 3, 4, 6, 7, 8]);
      assert.deepEqual(await values(device, given.g), [0, 0, 0, 0, 0, 0]);
      await program.dispose();
    },
  );

  test("two inputs can swap their contents", async (device) => {
    const builder = new GraphBuilder();
    const left = builder.input("left", "f32", ["N"]);
    const right = builder.input("right", "f32", ["N"]);
    builder.update("left", right);
    builder.update("right", left);
    const program = await device.compile(builder.build());
    using scope = new Scope(device);
    const given = upload(device, scope, {
      left: { shape: [2], data: [1, 2] },
      right: { shape: [2], data: [3, 4] },
    });
    await program.run(given);
    assert.deepEqual(await values(device, given.left), [3, 4]);
    assert.deepEqual(await values(device, given.right), [1, 2]);
    await program.dispose();
  });

  test("a graph's own names never meet those that a device gives", async (device) => {
    // As values, nodes and constants are called somewhere on the way, and what stands before those of others.
    const names = ["n0", "n1", "n1.1", "c0", "c1", "add#0", "rmsNorm#1", "in:n0", "out:n0", "y", "x"];
    const builder = new GraphBuilder();
    let sum = builder.input("start", "f32", ["N", 2]);
    const gain = builder.input("n", "f32", [2]);
    for (const name of names) {
      [sum] = builder.op("add", [builder.input(name, "f32", ["N", 2]), sum]);
      builder.output(name, sum);
    }
    // Needs constants of its own.
    builder.output("normed", builder.op("rmsNorm", [sum, gain], { epsilon: 1e-6 })[0]);
    builder.update("n0", sum);
    const graph = builder.build();
    const program = await device.compile(graph);
    using scope = new Scope(device);
    const inputs: Record<string, Tensor64> = { n: { shape: [2], data: [1, 2] } };
    for (const [index, name] of ["start", ...names].entries()) {
      inputs[name] = { shape: [1, 2], data: [2 ** index, -(2 ** index)] };
    }
    const given = upload(device, scope, inputs);
    const results = scope.adoptAll(await program.run(given));
    const expected = evaluate(graph, inputs);
    assert.deepEqual(Object.keys(results).sort(), [...names, "normed"].sort());
    for (const name of names) {
      const total = 2 ** (names.indexOf(name) + 2) - 1;
      assert.deepEqual(await values(device, results[name]), [total, -total], name);
    }
    assertClose(await device.download(results.normed), expected.normed, 1e-5, "normed");
    assert.deepEqual(await values(device, given.n0), await values(device, results.x));
    await program.dispose();
  });

  test("outputs may share a value, or be an input, and are tensors of their own", async (device) => {
    const builder = new GraphBuilder();
    const x = builder.input("x", "f32", ["N"]);
    const tokens = builder.input("tokens", "i32", ["N"]);
    const [twice] = builder.op("add", [x, x]);
    builder.output("first", twice);
    builder.output("second", twice);
    builder.output("x", x);
    builder.output("ids", tokens);
    const program = await device.compile(builder.build());
    using scope = new Scope(device);
    const given = {
      x: scope.adopt(device.upload(f32([2], 1, 2))),
      tokens: scope.adopt(device.upload({ dataType: "i32", shape: [2], data: Int32Array.of(7, 8) })),
    };
    const results = scope.adoptAll(await program.run(given));
    device.write(results.first, Float32Array.of(0, 0));
    device.write(given.x, Float32Array.of(0, 0));
    assert.deepEqual(await values(device, results.second), [2, 4]);
    assert.deepEqual(await values(device, results.x), [1, 2]);
    assert.deepEqual(await values(device, results.ids), [7, 8]);
    await program.dispose();
  });

  test("calls take effect in their order, without waiting", async (device) => {
    const program = await device.compile(accumulateGraph());
    using scope = new Scope(device);
    const sum = scope.adopt(device.upload(f32([1], 0)));
    const gradient = scope.adopt(device.upload(f32([1], 1)));
    const pending: Promise<unknown>[] = [];
    pending.push(program.run({ sum, gradient }));
    device.write(gradient, Float32Array.of(10));
    pending.push(program.run({ sum, gradient }));
    const seen = device.download(sum);
    device.write(sum, Float32Array.of(100));
    pending.push(program.run({ sum, gradient }));
    await Promise.all(pending);
    assert.deepEqual([...(await seen).data], [11]);
    assert.deepEqual(await values(device, sum), [110]);
    await program.dispose();
  });

  test("tensors freed while a run is pending are not written over", async (device) => {
    const program = await device.compile(accumulateGraph());
    using scope = new Scope(device);
    const sum = scope.adopt(device.upload(f32([3], 1, 2, 3)));
    const gradient = device.upload(f32([3], 1, 1, 1));
    const run = program.run({ sum, gradient });
    device.free(gradient);
    scope.adopt(device.upload(f32([3], 9, 9, 9)));
    await run;
    assert.deepEqual(await values(device, sum), [2, 3, 4]);
    await program.dispose();
  });

  test(
    "what does not fit is turned away, and nothing is left behind",
    async (device) => {
      const builder = new GraphBuilder();
      const tokens = builder.input("tokens", "i32", ["B", "T"]);
      const table = builder.input("table", "f32", [5, 3]);
      const other = builder.input("other", "f32", ["B", "T", 3]);
      const [hidden] = builder.op("embedding", [tokens, table]);
      builder.output("y", builder.op("add", [hidden, other])[0]);
      const program = await device.compile(builder.build());
      const good: Record<string, HostTensor> = {
        tokens: { dataType: "i32", shape: [1, 2], data: Int32Array.of(0, 4) },
        table: f32([5, 3], ...new Array(15).fill(1)),
        other: f32([1, 2, 3], 0, 0, 0, 0, 0, 0),
      };
      const refusals: [Record<string, HostTensor | undefined>, string][] = [
        [{ other: undefined }, "Cannot run graph: input other is missing"],
        [{ table: f32([3], 1, 1, 1) }, "input table has shape [3], expected [5, 3]"],
        [{ table: f32([1, 3], 1, 1, 1) }, "input table has shape [1, 3], expected [5, 3]"],
        [{ tokens: f32([1, 2], 0, 0) }, "input tokens is f32, expected i32"],
        [
          { other: f32([2, 2, 3], ...new Array(12).fill(1)) },
          "input other has shape [2, 2, 3], expected [B, T, 3], but B is 1",
        ],
        [
          { tokens: { dataType: "i32", shape: [1, 2], data: Int32Array.of(0, 5) } },
          "input tokens holds 5, expected 0 to 4",
        ],
        [
          { tokens: { dataType: "i32", shape: [1, 2], data: Int32Array.of(-1, 0) } },
          "input tokens holds -1, expected 0 to 4",
        ],
      ];
      for (const [bad, message] of refusals) {
        using scope = new Scope(device);
        const given: Record<string, DeviceTensor> = {};
        for (const [key, host] of Object.entries({ ...good, ...bad })) {
          if (host) given[key] = scope.adopt(device.upload(host));
        }
        const before = device.bytesInUse();
        await assert.rejects(program.run(given), refusal(message));
        assert.equal(device.bytesInUse(), before);
      }
      await program.dispose();
    },
  );

  test("what only a run can know about shapes is checked by the run", async (device) => {
    const builder = new GraphBuilder();
    const q = builder.input("q", "f32", ["B", "T", 2]);
    const k = builder.input("k", "f32", ["B", "S", 2]);
    const sizes = { heads: 1, keyValueHeads: 1, headWidth: 2 };
    builder.output("y", builder.op("attention", [q, k, k], sizes)[0]);
    const program = await device.compile(builder.build());
    using scope = new Scope(device);
    const given = upload(device, scope, {
      q: { shape: [1, 2, 2], data: [1, 2, 3, 4] },
      k: { shape: [1, 1, 2], data: [1, 2] },
    });
    await assert.rejects(
      program.run(given),
      refusal("Cannot run attention: 1 keys are fewer than 2 queries"),
    );
    await program.dispose();
  });

  test("misshaped uploads and writes are turned away", async (device) => {
    for (
      const [tensor, message] of [
        [f32([2, 2], 1, 2, 3), "Cannot upload tensor: data holds 3 elements, but its shape is [2, 2]"],
        [f32([0]), "Cannot upload tensor: shape is [0], expected positive integers"],
        [f32([-1, -1], 1), "Cannot upload tensor: shape is [-1, -1], expected positive integers"],
        [f32([1.5], 1), "Cannot upload tensor: shape is [1.5], expected positive integers"],
        [
          { dataType: "i32" as const, shape: [1], data: Float32Array.of(1) },
          "Cannot upload tensor: data is Float32Array, expected i32",
        ],
      ] as const
    ) {
      assert.throws(() => device.upload(tensor), refusal(message));
    }
    using scope = new Scope(device);
    const tensor = scope.adopt(device.upload(f32([2], 1, 2)));
    assert.throws(
      () => device.write(tensor, Float32Array.of(1)),
      refusal("Cannot write tensor: data holds 1 elements, but its shape is [2]"),
    );
    assert.throws(
      () => device.write(tensor, Int32Array.of(1, 2)),
      refusal("Cannot write tensor: data is Int32Array, expected f32"),
    );
    assert.deepEqual(await values(device, tensor), [1, 2]);
  });

  test("a freed tensor, or another device's, is refused", async (device) => {
    const program = await device.compile(accumulateGraph());
    const freed = device.upload(f32([1], 1));
    device.free(freed);
    const stranger: DeviceTensor = { dataType: "f32", shape: [1] };
    using scope = new Scope(device);
    const gradient = scope.adopt(device.upload(f32([1], 1)));
    for (const tensor of [freed, stranger]) {
      const refused = refusal(`${device.name} does not hold it, or it was freed`);
      assert.throws(() => device.free(tensor), refused);
      assert.throws(() => device.write(tensor, Float32Array.of(1)), refused);
      await assert.rejects(device.download(tensor), refused);
      await assert.rejects(program.run({ sum: tensor, gradient }), refused);
    }
    await program.dispose();
  });

  test("an updated tensor can't be another input too", async (device) => {
    const program = await device.compile(accumulateGraph());
    using scope = new Scope(device);
    const sum = scope.adopt(device.upload(f32([1], 1)));
    await assert.rejects(
      program.run({ sum, gradient: sum }),
      refusal("Cannot run graph: sum is updated and also another input"),
    );
    await program.dispose();
  });

  test("a download is the caller's own", async (device) => {
    using scope = new Scope(device);
    const data = Float32Array.of(1, 2);
    const tensor = scope.adopt(device.upload({ dataType: "f32", shape: [2], data }));
    data[0] = 5;
    const host = await device.download(tensor);
    device.write(tensor, Float32Array.of(7, 7));
    assert.deepEqual([...host.data], [1, 2]);
    host.data[0] = 9;
    assert.deepEqual(await values(device, tensor), [7, 7]);
  });

  test("bytesInUse counts what lives", async (device) => {
    const program = await device.compile(accumulateGraph(false));
    const sum = device.upload(f32([5], 1, 2, 3, 4, 5));
    const gradient = device.upload(f32([5], 1, 2, 3, 4, 5));
    assert.equal(device.bytesInUse(), 40);
    const { result } = await program.run({ sum, gradient });
    assert.equal(device.bytesInUse(), 60);
    for (const tensor of [sum, gradient, result]) device.free(tensor);
    assert.equal(device.bytesInUse(), 0);
    await program.dispose();
  });

  test("a disposed program does not run", async (device) => {
    const program = await device.compile(accumulateGraph());
    using scope = new Scope(device);
    const given = upload(device, scope, { sum: zeros(1), gradient: zeros(1) });
    await program.dispose();
    await program.dispose();
    await assert.rejects(program.run(given), refusal("Cannot run graph: its program was disposed"));
  });
}

/** Runs one op in a graph of its own, with symbols for sizes. */
async function runOp(device: Device, op: OpName, made: OpInstance): Promise<HostTensor[]> {
  const row: OpRow = OPS[op];
  const builder = new GraphBuilder();
  const inputs = made.inputs.map((tensor, i) => {
    const { name, dataType } = row.inputs[i];
    return builder.input(name, dataType, tensor.shape);
  });
  const outputs = builder.append(op, inputs, made.attributes);
  outputs.forEach((value, i) => builder.output(`${i}`, value));
  const program = await device.compile(builder.build());
  using scope = new Scope(device);
  const given: Record<string, DeviceTensor> = {};
  inputs.forEach(({ name, dataType }, i) => {
    given[name] = scope.adopt(device.upload(toHost(made.inputs[i], dataType)));
  });
  const results = scope.adoptAll(await program.run(given));
  const found: HostTensor[] = [];
  for (const i of outputs.keys()) found.push(await device.download(results[i]));
  await program.dispose();
  return found;
}

function upload<Name extends string>(
  device: Device,
  scope: Scope,
  tensors: Readonly<Record<Name, Tensor64>>,
): Record<Name, DeviceTensor> {
  const integers = ["tokens", "targets", "positions"];
  return Object.fromEntries(
    Object.entries<Tensor64>(tensors).map(([name, tensor]) => {
      const host = toHost(tensor, integers.includes(name) ? "i32" : "f32");
      return [name, scope.adopt(device.upload(host))];
    }),
  ) as Record<Name, DeviceTensor>;
}

async function downloadAll(
  device: Device,
  tensors: Readonly<Record<string, DeviceTensor>>,
): Promise<Record<string, HostTensor>> {
  const found: Record<string, HostTensor> = {};
  for (const [name, tensor] of Object.entries(tensors)) found[name] = await device.download(tensor);
  return found;
}

async function values(device: Device, tensor: DeviceTensor): Promise<number[]> {
  return Array.from((await device.download(tensor)).data);
}

function decoderInputs(
  graph: Graph,
  batch: number,
  length: number,
  seed: number,
): Record<string, Tensor64> {
  const draw = drawFrom(seed, 0.5);
  const { vocabulary } = SMALL;
  const make = ({ name, shape }: Value): Tensor64 => {
    if (name === "positions") return { shape: [length], data: Array.from({ length }, (_, i) => i) };
    if (name === "tokens") return draw.integers(0, vocabulary - 1, batch, length);
    if (name === "targets") return draw.integers(-1, vocabulary - 1, batch, length);
    return draw.floats(...shape as number[]);
  };
  return Object.fromEntries(graph.inputs.map((value) => [value.name, make(value)]));
}

function parameterNames(graph: Graph): string[] {
  return graph.inputs.filter(({ dataType }) => dataType === "f32").map(({ name }) => name);
}

function accumulateGraph(inPlace = true): Graph {
  const builder = new GraphBuilder();
  const sum = builder.input("sum", "f32", ["N"]);
  const gradient = builder.input("gradient", "f32", ["N"]);
  const [result] = builder.op("accumulate", [sum, gradient]);
  if (inPlace) builder.update("sum", result);
  else builder.output("result", result);
  return builder.build();
}

interface Hyper {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
}

function adamwGraph(hyper: Hyper): Graph {
  const builder = new GraphBuilder();
  const big = (name: string) => builder.input(name, "f32", ["N"]);
  const small = (name: string) => builder.input(name, "f32", [1]);
  const [parameter, m, v] = builder.op("adamw", [
    big("parameter"),
    big("gradientSum"),
    big("m"),
    big("v"),
    small("scale"),
    small("rate"),
    small("correction1"),
    small("correction2"),
  ], hyper);
  builder.update("parameter", parameter);
  builder.update("m", m);
  builder.update("v", v);
  return builder.build();
}

/** The textbook's step, in float64. */
function adamwStep(
  [parameter, m, v]: readonly Tensor64[],
  gradientSum: Tensor64,
  step: number,
  { beta1, beta2, epsilon, weightDecay }: Hyper,
): Tensor64[] {
  const [scale, rate] = [0.25, 0.01];
  const g = gradientSum.data.map((element) => element * scale);
  const mean = m.data.map((element, i) => beta1 * element + (1 - beta1) * g[i]);
  const square = v.data.map((element, i) => beta2 * element + (1 - beta2) * g[i] ** 2);
  const moved = parameter.data.map((element, i) => {
    const [unbiased, spread] = [mean[i] / (1 - beta1 ** step), square[i] / (1 - beta2 ** step)];
    return element - rate * (unbiased / (Math.sqrt(spread) + epsilon) + weightDecay * element);
  });
  return [moved, mean, square].map((data) => ({ shape: parameter.shape, data }));
}

function zeros(count: number): Tensor64 {
  return { shape: [count], data: new Array(count).fill(0) };
}

function f32(shape: readonly number[], ...data: number[]): HostTensor {
  return { dataType: "f32", shape, data: Float32Array.from(data) };
}

function refusal(message: string): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof TypeError, `${error}`);
    assert.ok(error.message.includes(message), error.message);
    return true;
  };
}

function mapValues<From, To>(
  record: Readonly<Record<string, From>>,
  map: (value: From) => To,
): Record<string, To> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, map(value)]));
}
