import assert from "node:assert/strict";
import { asText, type Entry } from "./devices.ts";
import { summarise } from "./device_report.ts";

const cpu: Entry = { name: "onnx", what: "ONNX Runtime, CPU", device: { name: "onnx" } };
const gpu: Entry = {
  name: "webgpu",
  what: "our WGSL, by Dawn",
  device: { name: "webgpu", sources: ["dawn"] },
};

Deno.test("what works is listed with its figure, what does not with its reason", () => {
  const works = summarise(
    cpu.device,
    [{ kind: "opened" }, { kind: "product", flopsPerSecond: 75.61e9 }],
    undefined,
  );
  const crashed = summarise(gpu.device, [], "its process ended with SIGSEGV");
  const text = asText([{ entry: cpu, report: works }, { entry: gpu, report: crashed }], "2 cores");
  assert.equal(
    text,
    `--device   what                matrix product   adapter
onnx       ONNX Runtime, CPU   75.6 GFLOP/s     2 cores

webgpu (our WGSL, by Dawn) is not here. its process ended with SIGSEGV
`,
  );
});

Deno.test("an adapter says what it is; its driver's words do not steer the terminal", () => {
  const adapter = {
    name: "A GPU\u001b[31m",
    software: true,
    f16: true,
    times: true,
    bufferBytesMax: 2 ** 31,
    tensorBytesMax: 2 ** 27,
    through: "dawn",
  } as const;
  const report = summarise(gpu.device, [{ kind: "adapter", adapter }, { kind: "opened" }], undefined);
  const text = asText([{ entry: gpu, report }], "2 cores");
  assert.match(
    text,
    /not measured\s+A GPU\?\[31m \(software\); f16; its own clock; tensors up to 128 MB; buffers up to 2\.0 GB/,
  );
});
