import assert from "node:assert/strict";
import * as ort from "onnxruntime-node";
import { DeviceLost, type DeviceTensor } from "../device.ts";
import { GraphBuilder } from "../graph.ts";
import { OnnxGpuDevice } from "./gpu_device.ts";

/** A device whose sessions run on the CPU, and fail where `failing` says so of the number of a session. */
async function withFailing(
  body: (
    device: OnnxGpuDevice,
    sessions: { readonly opened: number; failing: (session: number) => boolean },
  ) => Promise<void>,
): Promise<void> {
  const sessions = { opened: 0, failing: (_session: number) => false };
  const create = ort.InferenceSession.create;
  const failing = async (model: Uint8Array) => {
    const own = sessions.opened++;
    const session = await create(model, { executionProviders: ["cpu"] });
    return {
      run: (feeds: ort.InferenceSession.FeedsType) =>
        sessions.failing(own) ? Promise.reject(new Error("words of a driver")) : session.run(feeds),
      release: () => session.release(),
    };
  };
  Object.assign(ort.InferenceSession, { create: failing });
  try {
    const device = await OnnxGpuDevice.open("webgpu");
    sessions.opened = 0;
    await body(device, sessions);
    await device.close();
  } finally {
    Object.assign(ort.InferenceSession, { create });
  }
}

async function adding(device: OnnxGpuDevice): Promise<() => Promise<Record<string, DeviceTensor>>> {
  const builder = new GraphBuilder();
  const x = builder.input("x", "f32", ["N"]);
  builder.output("y", builder.op("add", [x, x])[0]);
  const program = await device.compile(builder.build());
  const given = device.upload({ dataType: "f32", shape: [2], data: Float32Array.of(1, 2) });
  return () => program.run({ x: given });
}

Deno.test("a run that fails on a device that goes on is an error, and no more", async () => {
  await withFailing(async (device, sessions) => {
    const run = await adding(device);
    sessions.failing = (session) => session === 0;
    await assert.rejects(run(), new Error("words of a driver"));
    sessions.failing = () => false;
    const { y } = await run();
    assert.deepEqual([...(await device.download(y)).data], [2, 4]);
  });
});

Deno.test("a device that can't even copy a number after an error is lost, whatever the words", async () => {
  await withFailing(async (device, sessions) => {
    const run = await adding(device);
    sessions.failing = () => true;
    const lost = (error: unknown) => {
      assert.ok(error instanceof DeviceLost, `${error}`);
      assert.equal(error.message, "Cannot go on with onnx-webgpu: words of a driver");
      return true;
    };
    await assert.rejects(run(), lost);
    sessions.failing = () => false;
    await assert.rejects(run(), lost, "it stays lost");
  });
});

Deno.test("a provider that does not work here says what it takes", async () => {
  try {
    const device = await OnnxGpuDevice.open("cuda");
    await device.close();
  } catch (error) {
    assert.match(
      (error as Error).message,
      /^Cannot compute with ONNX Runtime's cuda provider: it takes .*CUDA 12/,
    );
  }
});
