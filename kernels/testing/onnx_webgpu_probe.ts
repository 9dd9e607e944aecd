/** Ends well if ONNX Runtime's WebGPU provider works here. Run by `drivers.ts`; tests import it for nothing. */

import { OnnxGpuDevice } from "../onnx/gpu_device.ts";

await (await OnnxGpuDevice.open("webgpu")).close();
Deno.exit(0);
