/** The devices that the common suite runs over. */

import type { Device } from "../device.ts";
import { ReferenceDevice } from "../reference/device.ts";

/** A device that may be absent from this machine. */
export interface Candidate {
  readonly name: string;
  /** `undefined` where it is absent. */
  readonly open: (() => Device) | undefined;
}

/** Every device, absent ones included. */
export const DEVICES: readonly Candidate[] = [
  { name: "reference", open: () => new ReferenceDevice() },
  { name: "onnx", open: await findOnnx() },
];

async function findOnnx(): Promise<(() => Device) | undefined> {
  try {
    const { OnnxDevice } = await import("../onnx/device.ts");
    return () => new OnnxDevice();
  } catch {
    return undefined; // no native library for this platform
  }
}
