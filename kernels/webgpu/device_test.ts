/** What the WebGPU device promises beyond what `kernels/device_test.ts` asks of every device. */

import assert from "node:assert/strict";
import { DeviceLost, type DeviceTensor, type HostTensor } from "../device.ts";
import { differentiate } from "../gradient.ts";
import { type Graph, GraphBuilder } from "../graph.ts";
import { Scope } from "../scope.ts";
import type { WebGpuDevice } from "./device.ts";
import { elementCount } from "../shapes.ts";
import { decoder, SMALL } from "../testing/decoder.ts";
import { type OpenWgsl, WGSL_DEVICES } from "../testing/devices.ts";
import { drawFrom } from "../testing/draw.ts";
import { evaluate } from "../testing/evaluate.ts";
import { assertClose, type Tensor64, toHost } from "../testing/tensor64.ts";

for (const { name, open } of WGSL_DEVICES) {
  const test = (what: string, body: (open: OpenWgsl) => Promise<void>) =>
    Deno.test({ name: `${name}: ${what}`, ignore: open === undefined, fn: () => body(open!) });

  test("a thousand runs of changing sizes take no more memory than the first", async (open) => {
    const device = await open();
    const program = await device.compile(stepGraph(6));
    const sizes = [64, 1, 1000, 17];
    const round = async (look: boolean) => {
      for (const size of sizes) {
        using scope = new Scope(device);
        const given = {
          total: scope.adopt(device.upload(floats(size, 0))),
          x: scope.adopt(device.upload(floats(size, 1))),
        };
        const { y } = scope.adoptAll(await program.run(given));
        if (look) assert.equal((await device.download(y)).data[size - 1], 7);
      }
    };
    await round(true);
    await round(true);
    const before = device.memory();
    assert.ok(before.arena > 0);
    for (let i = 0; i < 250; i++) await round(i % 50 === 0);
    assert.deepEqual(device.memory(), before);
    await device.close();
    assert.equal(device.memory().held, 0);
  });

  test("runs that overlap give the bits of runs that wait for each other", async (open) => {
    const device = await open();
    const program = await device.compile(stepGraph(5));
    const play = async (wait: (done: Promise<unknown>) => Promise<unknown>) => {
      using scope = new Scope(device);
      const total = scope.adopt(device.upload(floats(300, 0)));
      const found: Promise<HostTensor>[] = [];
      for (let i = 0; i < 20; i++) {
        using inner = new Scope(device);
        const x = inner.adopt(device.upload(floats(300, Math.fround(i / 7))));
        const run = program.run({ total, x });
        const { y } = inner.adoptAll(await run);
        found.push(device.download(y), device.download(total));
        await wait(Promise.all(found));
      }
      return (await Promise.all(found)).map(({ data }) => [...data]);
    };
    assert.deepEqual(await play(() => Promise.resolve()), await play((done) => done));
    await device.close();
  });

  test("memory beyond the bound is refused, and what was there lives on", async (open) => {
    const device = await open({ memoryMax: 10_000, name: "gpu" });
    const program = await device.compile(stepGraph(3));
    using scope = new Scope(device);
    const x = scope.adopt(device.upload(floats(500, 2)));
    const total = scope.adopt(device.upload(floats(500, 0)));
    assert.throws(() => device.upload(floats(2000, 0)), {
      name: "RangeError",
      message: "Cannot allocate 8000 bytes on gpu: 4000 of 10000 are in use",
    });
    // Two slots and two results of 2000 bytes each don't fit beside the two inputs.
    await assert.rejects(program.run({ x, total }), {
      name: "RangeError",
      message: /^Cannot allocate 2000 bytes on gpu: \d+ of 10000 are in use$/,
    });
    assert.equal(device.bytesInUse(), 4000);
    assert.deepEqual((await device.download(x)).data, floats(500, 2).data);
    // What is smaller fits, as unused buffers make room.
    using small = new Scope(device);
    const given = {
      x: small.adopt(device.upload(floats(100, 2))),
      total: small.adopt(device.upload(floats(100, 0))),
    };
    const { y } = small.adoptAll(await program.run(given));
    assert.equal((await device.download(y)).data[99], 8);
    assert.ok(device.memory().held <= 10_000);
    small[Symbol.dispose]();
    scope[Symbol.dispose]();
    assert.equal(device.bytesInUse(), 0);
    await device.close();
  });

  test("a device that is lost says so, to every call and to its owner", async (open) => {
    let gone: GPUDevice | undefined;
    const device = await open({ name: "gpu" }, (gpu) => overriding(gpu, (device) => gone = device));
    const program = await device.compile(stepGraph(2));
    const scope = new Scope(device);
    const x = scope.adopt(device.upload(floats(4, 1)));
    const total = scope.adopt(device.upload(floats(4, 0)));
    scope.adoptAll(await program.run({ x, total }));
    const pending = device.download(x).catch((error) => error);
    gone!.destroy();
    await device.lost;
    const lost = (error: unknown) => {
      assert.ok(error instanceof DeviceLost, `${error}`);
      assert.match(error.message, /^Cannot .*: gpu is gone: ./);
      return true;
    };
    const answer = await pending;
    if (answer instanceof Error) lost(answer); // it may have arrived before
    await assert.rejects(program.run({ x, total }), lost);
    await assert.rejects(device.download(x), lost);
    await assert.rejects(device.compile(stepGraph(1)), lost);
    assert.throws(() => device.upload(floats(1, 1)), lost);
    assert.throws(() => device.write(x, Float32Array.of(1, 2, 3, 4)), lost);
    scope[Symbol.dispose]();
    assert.equal(device.bytesInUse(), 0);
    await device.close();
    assert.equal(device.memory().held, 0);
  });

  test("closing ends every call", async (open) => {
    const device = await open({ name: "gpu" });
    device.upload(floats(4, 1));
    await device.close();
    await device.close();
    assert.equal(await device.lost, "it was closed");
    assert.equal(device.bytesInUse(), 0);
    assert.throws(() => device.upload(floats(1, 1)), /Cannot upload tensor: gpu is gone: it was closed/);
  });

  test("a program compiled for 16 bits rounds within a run, and sees each change of its weights", async (open) => {
    const device = await open();
    const builder = new GraphBuilder();
    const x = builder.input("x", "f32", ["N", 3]);
    const weight = builder.input("weight", "f32", [1, 3]);
    const [twice] = builder.op("add", [x, x]);
    builder.output("y", builder.op("add", [twice, x])[0]);
    const [doubled] = builder.op("add", [weight, weight]);
    builder.output("weights", doubled);
    const graph = builder.build();
    const saving: Graph = {
      ...graph,
      outputs: [...graph.outputs, { name: "saved", value: twice, saved: true }],
    };
    const program = await device.compile(saving, { precision: "f16" });
    using scope = new Scope(device);
    const exact = [1 + 2 ** -12, 1, 3];
    const given = {
      x: scope.adopt(device.upload(of([1, 3], exact))),
      weight: scope.adopt(device.upload(of([1, 3], exact))),
    };
    const run = async (): Promise<Record<string, readonly number[]>> => {
      using inner = new Scope(device);
      const found = inner.adoptAll(await program.run(given));
      return Object.fromEntries(
        await Promise.all(
          Object.entries(found).map(async ([name, tensor]) =>
            [name, [...(await device.download(tensor)).data]] as const
          ),
        ),
      );
    };
    const rounds = device.halves;
    const half = (element: number) => rounds ? new Float16Array([element])[0] : element;
    for (let i = 0; i < 2; i++) {
      const { y, weights, saved } = await run();
      assert.deepEqual(saved, exact.map((element) => half(2 * element)));
      assert.deepEqual(y, exact.map((element) => Math.fround(half(2 * element) + element)));
      assert.deepEqual(weights, exact.map((element) => Math.fround(2 * half(element))));
    }
    device.write(given.weight, Float32Array.of(5, 6, 7));
    assert.deepEqual((await run()).weights, [10, 12, 14]);
    scope[Symbol.dispose]();
    await device.close();
  });

  test("what 16 bits can't hold stays finite, and so do loss and gradients", async (open) => {
    const device = await open();
    const builder = new GraphBuilder();
    const [twice] = (() => {
      const x = builder.input("x", "f32", ["N"]);
      return builder.op("add", [x, x]);
    })();
    builder.output("y", twice);
    const outputs = [{ name: "saved", value: twice, saved: true }] as const;
    const program = await device.compile({ ...builder.build(), outputs }, { precision: "f16" });
    const given = [40_000, -1e30, 7, 32_753];
    const x = device.upload(of([4], given));
    const { saved } = await program.run({ x });
    const most = device.halves ? 65_504 : Infinity;
    const held = given.map((element) => Math.max(-most, Math.min(most, 2 * Math.fround(element))));
    assert.deepEqual([...(await device.download(saved)).data], held);
    if (device.halves) {
      device.write(saved, Float32Array.of(1e6, -1e6, Infinity, 2));
      assert.deepEqual([...(await device.download(saved)).data], [65_504, -65_504, 65_504, 2]);
    }
    for (const tensor of [x, saved]) device.free(tensor);

    // Weights of 300 take activations far past the greatest number.
    const graph = decoder(SMALL);
    const names = graph.inputs.filter(({ dataType }) => dataType === "f32").map(({ name }) => name);
    const { forward, backward } = differentiate(graph, { outputs: ["loss"], withRespectTo: names });
    const compile = (graph: Graph) => device.compile(graph, { precision: "f16" });
    const [there, back] = await Promise.all([forward, backward].map(compile));
    const scope = new Scope(device);
    const inputs: Record<string, DeviceTensor> = {
      tokens: scope.adopt(device.upload({ dataType: "i32", shape: [1, 9], data: new Int32Array(9).fill(1) })),
      targets: scope.adopt(
        device.upload({ dataType: "i32", shape: [1, 9], data: new Int32Array(9).fill(2) }),
      ),
      positions: scope.adopt(device.upload({ dataType: "i32", shape: [9], data: new Int32Array(9) })),
      "loss.gradient": scope.adopt(device.upload(floats(1, 1))),
    };
    const draw = drawFrom(3, 300);
    for (const { name, shape } of graph.inputs.filter(({ name }) => names.includes(name))) {
      inputs[name] = scope.adopt(device.upload(toHost(draw.floats(...shape as number[]))));
    }
    const kept = scope.adoptAll(await there.run(inputs));
    const gradients = scope.adoptAll(await back.run({ ...inputs, ...kept }));
    let greatest = 0;
    for (const [name, tensor] of Object.entries({ ...kept, ...gradients })) {
      for (const element of (await device.download(tensor)).data) {
        assert.ok(Number.isFinite(element), `${name} holds ${element}`);
        if (name in kept) greatest = Math.max(greatest, Math.abs(element));
      }
    }
    assert.ok(greatest >= 65_504, `${greatest}`);
    scope[Symbol.dispose]();
    await device.close();
  });

  test("saved tensors are written and read as floats, whatever they are kept in", async (open) => {
    const device = await open();
    const builder = new GraphBuilder();
    const [twice] = (() => {
      const x = builder.input("x", "f32", ["N"]);
      return builder.op("add", [x, x]);
    })();
    builder.output("y", twice);
    const graph = builder.build();
    const outputs = [{ name: "saved", value: twice, saved: true }] as const;
    const program = await device.compile({ ...graph, outputs }, { precision: "f16" });
    const x = device.upload(of([3], [1, 2, 3]));
    const { saved } = await program.run({ x });
    assert.deepEqual([...(await device.download(saved)).data], [2, 4, 6]);
    assert.equal(device.bytesInUse(), 12 + (device.halves ? 6 : 12));
    device.write(saved, Float32Array.of(7, 8, 9));
    assert.deepEqual([...(await device.download(saved)).data], [7, 8, 9]);
    for (const tensor of [x, saved]) device.free(tensor);
    assert.equal(device.bytesInUse(), 0);
    await device.close();
  });

  test("a decoder in 16 bits comes near its loss and gradients in float64", async (open) => {
    const device = await open();
    const graph = decoder(SMALL);
    const names = graph.inputs.filter(({ dataType }) => dataType === "f32").map(({ name }) => name);
    const { forward, backward } = differentiate(graph, { outputs: ["loss"], accumulate: names });
    const [batch, length] = [3, 17];
    const draw = drawFrom(11, 0.5);
    const inputs: Record<string, Tensor64> = {
      tokens: draw.integers(0, SMALL.vocabulary - 1, batch, length),
      targets: draw.integers(-1, SMALL.vocabulary - 1, batch, length),
      positions: { shape: [length], data: Array.from({ length }, (_, position) => position) },
      "loss.gradient": { shape: [1], data: [1] },
    };
    for (const { name, shape } of graph.inputs.filter(({ name }) => names.includes(name))) {
      inputs[name] = draw.floats(...shape as number[]);
      inputs[`${name}.gradientSum`] = { shape: inputs[name].shape, data: inputs[name].data.map(() => 0) };
    }
    const expected = evaluate(forward, inputs);
    const sums = evaluate(backward, { ...inputs, ...expected });

    const programs = [forward, backward].map((graph) => device.compile(graph, { precision: "f16" }));
    const [there, back] = await Promise.all(programs);
    const scope = new Scope(device);
    const given: Record<string, DeviceTensor> = {};
    for (const [name, tensor] of Object.entries(inputs)) {
      const dataType = ["tokens", "targets", "positions"].includes(name) ? "i32" : "f32";
      given[name] = scope.adopt(device.upload(toHost(tensor, dataType)));
    }
    const kept = scope.adoptAll(await there.run(given));
    assertClose(await device.download(kept.loss), expected.loss, 5e-3, "loss");
    await back.run({ ...given, ...kept });
    for (const name of names.map((name) => `${name}.gradientSum`)) {
      assertClose(await device.download(given[name]), sums[name], 2e-2, name);
    }
    scope[Symbol.dispose]();
    assert.equal(device.bytesInUse(), 0);
    await device.close();
  });

  test("a timed device says how long it computed, and no other does", async (open) => {
    const program = async (device: WebGpuDevice) => {
      const compiled = await device.compile(stepGraph(3));
      const given = { x: device.upload(floats(5000, 1)), total: device.upload(floats(5000, 0)) };
      return async (runs: number) => {
        for (let run = 0; run < runs; run++) device.free((await compiled.run(given)).y);
      };
    };
    const untimed = await open();
    await (await program(untimed))(1);
    assert.equal(await untimed.computedSeconds(), undefined);
    await untimed.close();

    let times = false;
    const device = await open({ timed: true }, (gpu) =>
      overriding(gpu, (device) => {
        times = device.features.has("timestamp-query");
        return device;
      }));
    const run = await program(device);
    if (times) {
      assert.equal(await device.computedSeconds(), 0);
      await run(20);
      assert.ok((await device.computedSeconds())! > 0);
      assert.equal(await device.computedSeconds(), 0);
      await run(1025);
      assert.equal(await device.computedSeconds(), undefined, "not all of them were timed");
      await run(1);
      assert.ok((await device.computedSeconds())! > 0);
    }
    await device.close();
    await assert.rejects(device.computedSeconds(), DeviceLost);
  });

  test("micro-batches of other sizes compile no kernel anew", async (open) => {
    let compiled = 0;
    const counting = (device: GPUDevice) =>
      changed(device, {
        createComputePipeline(descriptor: GPUComputePipelineDescriptor) {
          compiled++;
          return device.createComputePipeline(descriptor);
        },
      });
    const device = await open({}, (gpu) => overriding(gpu, counting));
    const graph = decoder(SMALL);
    const names = graph.inputs.filter(({ dataType }) => dataType === "f32").map(({ name }) => name);
    const { forward, backward } = differentiate(graph, { outputs: ["loss"], withRespectTo: names });
    const [there, back] = await Promise.all([forward, backward].map((graph) => device.compile(graph)));
    const step = async (batch: number, length: number) => {
      using scope = new Scope(device);
      const ones = (...shape: number[]) =>
        scope.adopt(
          device.upload({ dataType: "i32", shape, data: new Int32Array(shape[0] * (shape[1] ?? 1)).fill(1) }),
        );
      const given: Record<string, DeviceTensor> = {
        tokens: ones(batch, length),
        targets: ones(batch, length),
        positions: ones(length),
        "loss.gradient": scope.adopt(device.upload(floats(1, 1))),
      };
      for (const { name, shape } of graph.inputs.filter(({ name }) => names.includes(name))) {
        const sizes = shape as readonly number[];
        const data = new Float32Array(elementCount(sizes)).fill(0.1);
        given[name] = scope.adopt(device.upload({ dataType: "f32", shape: sizes, data }));
      }
      const kept = scope.adoptAll(await there.run(given));
      scope.adoptAll(await back.run({ ...given, ...kept }));
    };
    await step(2, 20);
    const first = compiled;
    assert.ok(first > 0);
    for (const [batch, length] of [[2, 33], [3, 20], [1, 47], [5, 41]] as const) await step(batch, length);
    assert.equal(compiled, first);
    await device.close();
  });

  test("a dispatch of more workgroups than fit in a row goes on in the next", async (open) => {
    const limits = { maxComputeWorkgroupsPerDimension: 3 };
    const device = await open({}, (gpu) => overriding(gpu, (device) => changed(device, { limits })));
    const size = 256 * 7 + 5;
    const builder = new GraphBuilder();
    const x = builder.input("x", "f32", ["N"]);
    builder.output("y", builder.op("add", [x, x])[0]);
    const program = await device.compile(builder.build());
    const given: Record<string, DeviceTensor> = { x: device.upload(floats(size, 3)) };
    const { y } = await program.run(given);
    const { data } = await device.download(y);
    assert.ok(data.every((element) => element === 6));
    await device.close();
  });
}

/** total ← total + x, and y = x · (steps + 1) by additions. */
function stepGraph(steps: number): Graph {
  const builder = new GraphBuilder();
  const x = builder.input("x", "f32", ["N"]);
  const total = builder.input("total", "f32", ["N"]);
  let sum = x;
  for (let i = 0; i < steps; i++) [sum] = builder.op("add", [sum, x]);
  builder.update("total", builder.op("accumulate", [total, x])[0]);
  builder.output("y", sum);
  return builder.build();
}

/** Hands out another device than the one that is opened. */
function overriding(gpu: GPU, other: (device: GPUDevice) => GPUDevice): GPU {
  return changed(gpu, {
    async requestAdapter(options?: GPURequestAdapterOptions) {
      const adapter = await gpu.requestAdapter(options);
      return adapter && changed(adapter, {
        requestDevice: async (descriptor?: GPUDeviceDescriptor) =>
          other(await adapter.requestDevice(descriptor)),
      });
    },
  });
}

/** The same object, but for some properties, and some of theirs. */
function changed<Original extends object>(original: Original, changes: object): Original {
  return new Proxy(original, {
    get(target, name) {
      const value = Reflect.get(target, name);
      const change = Reflect.get(changes, name);
      if (typeof change === "object") return changed(value as object, change);
      return change ?? (typeof value === "function" ? value.bind(target) : value);
    },
  });
}

function floats(size: number, element: number): HostTensor {
  return { dataType: "f32", shape: [size], data: new Float32Array(size).fill(element) };
}

function of(shape: readonly number[], data: readonly number[]): HostTensor {
  return { dataType: "f32", shape, data: Float32Array.from(data) };
}
