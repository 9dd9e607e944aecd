/**
 * Opens a device by its name. Each is loaded only when it is asked for, so that
 * a machine without one's native library can still take another. It chooses
 * nothing: a device that does not work here is an error with its remedy.
 */

import type { Device } from "../kernels/mod.ts";
import { ReferenceDevice } from "../kernels/mod.ts";
import { openWebGpu, type WebGpuSource } from "../kernels/webgpu/open.ts";

/** Devices that a stage can compute on. */
export const DEVICE_NAMES = ["onnx", "onnx-cuda", "onnx-webgpu", "reference", "webgpu"] as const;
/** See {@link DEVICE_NAMES}. */
export type DeviceName = (typeof DEVICE_NAMES)[number];

/** Which device to open, and how. */
export interface WorkerDevice {
  /** As `--device` calls it. */
  readonly name: DeviceName;
  /** Threads of one run, on the CPU; without it: as the device sees fit. */
  readonly threads?: number;
  /** Bytes of GPU memory that our own kernels may take; without it: as much as there is. */
  readonly memoryMax?: number;
  /** Whose adapters our own kernels run on, the first that has one; without it: Dawn's, then `navigator.gpu`'s. */
  readonly sources?: readonly WebGpuSource[];
}

/**
 * Opens a device.
 *
 * @throws {Error} if it does not work on this machine; the message says what would help.
 */
export async function openDevice({ name, threads, ...gpu }: WorkerDevice): Promise<Device> {
  switch (name) {
    case "reference":
      return new ReferenceDevice();
    case "onnx": {
      const { OnnxDevice } = await import("../kernels/onnx/device.ts");
      return new OnnxDevice(threads === undefined ? {} : { threads });
    }
    case "onnx-cuda":
    case "onnx-webgpu": {
      const { OnnxGpuDevice } = await import("../kernels/onnx/gpu_device.ts");
      return await OnnxGpuDevice.open(name === "onnx-cuda" ? "cuda" : "webgpu");
    }
    case "webgpu":
      return await openWebGpu(gpu);
    default:
      throw new TypeError(`Cannot open device ${name satisfies never}: there is none of that name`);
  }
}
