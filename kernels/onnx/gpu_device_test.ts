import assert from "node:assert/strict";
import { OnnxGpuDevice } from "./gpu_device.ts";

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
