/**
 * Finds a GPU: by Dawn where it has an adapter, as its read-backs take no tick
 * of a clock; else by `navigator.gpu`. It judges no adapter.
 */

import { WebGpuDevice, type WebGpuDeviceOptions } from "./device.ts";

/** Who finds adapters. */
export type WebGpuSource = "dawn" | "navigator";

/** How to open a GPU. */
export interface OpenWebGpuOptions extends Omit<WebGpuDeviceOptions, "gpu"> {
  /** Who is asked, in this order. Default: Dawn, then `navigator.gpu`. */
  readonly sources?: readonly WebGpuSource[];
}

/**
 * Opens the first GPU that is found.
 *
 * @throws {Error} if there is none; the message says what each source answered.
 */
export async function openWebGpu(
  { sources = ["dawn", "navigator"], ...options }: OpenWebGpuOptions = {},
): Promise<WebGpuDevice> {
  const reasons: string[] = [];
  for (const source of sources) {
    try {
      return await WebGpuDevice.open({ ...options, gpu: await gpuOf(source) });
    } catch (error) {
      reasons.push(`${source}: ${error instanceof Error ? error.message : error}`);
    }
  }
  throw new Error(`Cannot open webgpu: ${reasons.join("; ")}`);
}

/**
 * A source's way to adapters.
 *
 * @throws {Error} if this machine does not have it.
 */
export async function gpuOf(source: WebGpuSource): Promise<GPU> {
  if (source === "dawn") return (await import("./dawn.ts")).DAWN;
  const { gpu } = globalThis.navigator ?? {};
  if (!gpu) throw new Error("navigator.gpu is missing");
  return gpu;
}
