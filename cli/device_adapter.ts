/** What WebGPU says of the adapter behind a device; how much memory it has is not among it. It opens no device. */

import { gpuOf, type WebGpuSource } from "../kernels/webgpu/open.ts";
import type { WorkerDevice } from "../stages/mod.ts";

/** An adapter, as a person knows it. */
export interface AdapterFacts {
  /** As its driver calls it. */
  readonly name: string;
  /** Whether the CPU plays the GPU. */
  readonly software: boolean;
  /** Whether it computes with 16-bit floats. */
  readonly f16: boolean;
  /** Whether it writes down how long it computes. */
  readonly times: boolean;
  /** Longest buffer, in bytes. */
  readonly bufferBytesMax: number;
  /** Most that one kernel can address as one tensor, in bytes. */
  readonly tensorBytesMax: number;
  /** Through whom it was found. */
  readonly through: WebGpuSource;
}

/** Names under which drivers that compute on the CPU are known; not all of them say so themselves. */
const SOFTWARE = /llvmpipe|swiftshader|lavapipe|softpipe|basic render/i;

/** The adapter that a device would compute on; `undefined` if it has none, or nobody can tell. */
export async function findAdapter(device: WorkerDevice): Promise<AdapterFacts | undefined> {
  for (const through of sourcesOf(device)) {
    try {
      const gpu = await gpuOf(through);
      const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
      if (adapter) return describe(adapter, through);
    } catch {
      // Opening the device says why.
    }
  }
  return undefined;
}

/** ONNX Runtime holds a Dawn of its own, which finds what ours finds; it tells nobody what that is. */
function sourcesOf({ name, sources = ["dawn", "navigator"] }: WorkerDevice): readonly WebGpuSource[] {
  if (name === "onnx-webgpu") return ["dawn"];
  return name === "webgpu" ? sources : [];
}

function describe(
  { info, features, limits }: GPUAdapter,
  through: WebGpuSource,
): AdapterFacts {
  const name = info.description || info.device || info.architecture || info.vendor ||
    "an adapter without a name";
  return {
    name,
    software: info.isFallbackAdapter || SOFTWARE.test(name),
    f16: features.has("shader-f16"),
    times: features.has("timestamp-query"),
    bufferBytesMax: limits.maxBufferSize,
    tensorBytesMax: Math.min(limits.maxBufferSize, limits.maxStorageBufferBindingSize),
    through,
  };
}
