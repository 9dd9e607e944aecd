import assert from "node:assert/strict";
import { parseManifest } from "../run/mod.ts";
import type { DeviceName } from "../stages/mod.ts";
import { Failure } from "./arguments.ts";
import type { AdapterFacts } from "./device_adapter.ts";
import { DeviceFigures } from "./device_figures.ts";
import { planDevices } from "./device_plan.ts";
import type { DeviceReport, ProbeRequest } from "./device_report.ts";

/** Four stages: the first, two of the same shapes, the last. */
const manifest = parseManifest(JSON.stringify({
  version: 1,
  name: "devices",
  model: { family: "llama", vocabulary: 256, width: 16, layers: 4, heads: 2, hidden: 24 },
  stages: 4,
  sequenceLength: 8,
  sequencesPerMicroBatch: 2,
  microBatchesPerStep: 2,
  steps: 3,
}));

/** A device of a machine: what it computes on, and how long each stage takes. */
interface Fake {
  readonly adapter?: Partial<AdapterFacts>;
  readonly seconds?: Readonly<Record<number, number>>;
}

const GPU: AdapterFacts = {
  name: "A GPU",
  software: false,
  f16: true,
  times: false,
  bufferBytesMax: 2 ** 31,
  tensorBytesMax: 2 ** 31,
  through: "dawn",
};

/** A machine that has these devices, and remembers what was measured there. */
class Machine implements AsyncDisposable {
  readonly requests: ProbeRequest[] = [];
  readonly measured: (readonly string[])[] = [];
  readonly #devices: Partial<Record<DeviceName, Fake>>;
  readonly #folder = Deno.makeTempDirSync({ prefix: "murmuration-plan-" });

  constructor(devices: Partial<Record<DeviceName, Fake>>) {
    this.#devices = devices;
  }

  async plan(choice: Parameters<typeof planDevices>[0], more: { stage?: number; threads?: number } = {}) {
    const { devices, reason } = await planDevices(choice, {
      manifest,
      ...more,
      probe: (request) => Promise.resolve(this.#report(request)),
      figures: new DeviceFigures(this.#folder),
      onMeasure: (names) => this.measured.push(names),
    });
    return { names: devices.map((stage) => stage.map(({ name }) => name).join(" ")), devices, reason };
  }

  #report(request: ProbeRequest): DeviceReport {
    this.requests.push(request);
    const { device, stages } = request;
    const fake = this.#devices[device.name];
    const indices = stages?.indices.filter((index) => fake?.seconds?.[index] !== undefined) ?? [];
    return {
      device,
      works: fake !== undefined,
      adapter: fake?.adapter && { ...GPU, ...fake.adapter },
      flopsPerSecond: undefined,
      stageSeconds: new Map(indices.map((index) => [index, fake!.seconds![index]])),
      trouble: fake === undefined ? `Cannot open ${device.name}: there is none` : undefined,
    };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Deno.remove(this.#folder, { recursive: true });
  }
}

Deno.test("auto takes for each stage what is fastest at its shapes, and says so with its figures", async () => {
  await using machine = new Machine({
    onnx: { seconds: { 0: 0.02, 1: 0.05, 3: 0.1 } },
    webgpu: { adapter: {}, seconds: { 0: 0.04, 1: 0.01, 3: 0.0123 } },
  });
  const { names, reason } = await machine.plan("auto");
  assert.deepEqual(names, ["onnx webgpu", "webgpu onnx", "webgpu onnx", "webgpu onnx"]);
  assert.equal(
    reason,
    "onnx for stage 0: 20 ms a micro-batch (webgpu 40 ms); " +
      "webgpu (A GPU) for stage 1: 10 ms a micro-batch (onnx 50 ms); " +
      "webgpu (A GPU) for stage 3: 12 ms a micro-batch (onnx 100 ms)",
  );
  assert.deepEqual(machine.measured, [["onnx", "webgpu"]]);
});

Deno.test("what was measured is not measured again, until the machine or the run is another", async () => {
  await using machine = new Machine({
    onnx: { seconds: { 0: 0.02, 1: 0.05, 3: 0.1 } },
    webgpu: { adapter: {}, seconds: { 0: 0.04, 1: 0.01, 3: 0.01 } },
  });
  const first = await machine.plan("auto");
  const second = await machine.plan("auto");
  assert.deepEqual(second.names, first.names);
  assert.equal(second.reason, `${first.reason}; as measured before`);
  assert.equal(machine.measured.length, 1);
  await machine.plan("auto", { threads: 2 });
  assert.equal(machine.measured.length, 2);
});

Deno.test("a host of one stage measures that stage alone", async () => {
  await using machine = new Machine({
    onnx: { seconds: { 2: 0.02 } },
    "onnx-cuda": { seconds: { 2: 0.01 } },
  });
  const { names, reason } = await machine.plan("auto", { stage: 2 });
  assert.equal(names[2], "onnx-cuda onnx");
  assert.equal(reason, "onnx-cuda for stage 2: 10 ms a micro-batch (onnx 20 ms)");
});

Deno.test("one that can't be measured is taken last", async () => {
  await using machine = new Machine({
    onnx: { seconds: { 0: 0.02 } },
    "onnx-webgpu": {},
    webgpu: { seconds: { 0: 0.01 } },
  });
  const { names, reason } = await machine.plan("auto", { stage: 0 });
  assert.equal(names[0], "webgpu onnx onnx-webgpu");
  assert.match(reason, /\(onnx 20 ms, onnx-webgpu not measured\)$/);
});

Deno.test("where there is nothing to choose from nothing is measured", async () => {
  await using machine = new Machine({ onnx: {}, webgpu: { adapter: { software: true, name: "llvmpipe" } } });
  const { names, reason } = await machine.plan("auto");
  assert.deepEqual(names, ["onnx", "onnx", "onnx", "onnx"]);
  assert.equal(
    reason,
    "onnx, the only one here (no onnx-cuda; no onnx-webgpu; webgpu would compute on the CPU, by llvmpipe)",
  );
  assert.deepEqual(machine.measured, []);
});

Deno.test("a CPU that plays a GPU is taken where nothing else works, and plain loops where not even that does", async () => {
  await using software = new Machine({ webgpu: { adapter: { software: true } } });
  assert.equal((await software.plan("auto")).names[0], "webgpu");
  await using bare = new Machine({});
  const { names, reason } = await bare.plan("auto");
  assert.equal(names[0], "reference");
  assert.match(reason, /^reference, which is slow: Cannot open onnx: there is none; /);
});

Deno.test("a device that was asked for by name is taken, or refused with what would help", async () => {
  await using machine = new Machine({ webgpu: { adapter: {} } });
  const { devices, reason } = await machine.plan("webgpu", { threads: 3 });
  assert.deepEqual(devices[3], [{ name: "webgpu", threads: 3 }]);
  assert.equal(reason, "webgpu (A GPU), as asked");
  await assert.rejects(
    machine.plan("onnx-cuda"),
    (error) => error instanceof Failure && error.message === "Cannot open onnx-cuda: there is none",
  );
  assert.equal((await machine.plan("reference")).names[0], "reference");
});
