/** The devices that the common suite runs over. */

import type { Device } from "../device.ts";
import { ReferenceDevice } from "../reference/device.ts";
import { driverFor, underDriver } from "./drivers.ts";

/** A device that may be absent from this machine. */
export interface Candidate {
  readonly name: string;
  /** `undefined` where it is absent. */
  readonly open: (() => Device | Promise<Device>) | undefined;
}

/** Every device, absent ones included. */
export const DEVICES: readonly Candidate[] = [
  { name: "reference", open: () => new ReferenceDevice() },
  { name: "onnx", open: await findOnnx() },
  { name: "onnx (WebGPU)", open: await findOnnxWebGpu() },
];

async function findOnnx(): Promise<Candidate["open"]> {
  try {
    const { OnnxDevice } = await import("../onnx/device.ts");
    return () => new OnnxDevice();
  } catch {
    return undefined; // no native library for this platform
  }
}

async function findOnnxWebGpu(): Promise<Candidate["open"]> {
  const driver = await driverFor(new URL("./onnx_webgpu_probe.ts", import.meta.url));
  if (driver === undefined) return undefined;
  const { OnnxGpuDevice } = await import("../onnx/gpu_device.ts");
  return () => underDriver(driver, () => OnnxGpuDevice.open("webgpu"));
}
