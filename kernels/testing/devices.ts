/** The devices that the common suite runs over. */

import type { Device } from "../device.ts";
import { ReferenceDevice } from "../reference/device.ts";
import { WebGpuDevice, type WebGpuDeviceOptions } from "../webgpu/device.ts";
import { gpuOf } from "../webgpu/open.ts";
import { driverFor, underDriver } from "./drivers.ts";

/** A device that may be absent from this machine. */
export interface Candidate {
  readonly name: string;
  /** `undefined` where it is absent. */
  readonly open: (() => Device | Promise<Device>) | undefined;
}

/**
 * Opens a device of our own kernels.
 *
 * @param through stands between the device and what finds adapters.
 */
export type OpenWgsl = (
  options?: Omit<WebGpuDeviceOptions, "gpu">,
  through?: (gpu: GPU) => GPU,
) => Promise<WebGpuDevice>;

/** Those that compute with our own kernels, absent ones included. */
export const WGSL_DEVICES: readonly { readonly name: string; readonly open: OpenWgsl | undefined }[] = [
  { name: "webgpu (navigator.gpu)", open: await findNavigator() },
  { name: "webgpu (dawn)", open: await findDawn() },
];

/** Every device, absent ones included. */
export const DEVICES: readonly Candidate[] = [
  { name: "reference", open: () => new ReferenceDevice() },
  { name: "onnx", open: await findOnnx() },
  { name: "onnx (WebGPU)", open: await findOnnxWebGpu() },
  ...WGSL_DEVICES.map(({ name, open }): Candidate => ({ name, open: open && (() => open()) })),
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

async function findNavigator(): Promise<OpenWgsl | undefined> {
  const open: OpenWgsl = async (options = {}, through = (gpu) => gpu) =>
    await WebGpuDevice.open({ ...options, gpu: through(await gpuOf("navigator")) });
  try {
    await (await open()).close();
    return open;
  } catch {
    return undefined; // no adapter
  }
}

async function findDawn(): Promise<OpenWgsl | undefined> {
  const driver = await driverFor(new URL("./dawn_probe.ts", import.meta.url));
  if (driver === undefined) return undefined;
  return (options = {}, through = (gpu) => gpu) =>
    underDriver(
      driver,
      async () => await WebGpuDevice.open({ ...options, gpu: through(await gpuOf("dawn")) }),
    );
}
