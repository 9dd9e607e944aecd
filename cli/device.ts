/** Opens the device that a person asked for. It decides nothing but what `auto` means here. */

import type { Logger } from "@logtape/logtape";
import { type Device, ReferenceDevice } from "../kernels/mod.ts";
import { Failure } from "./arguments.ts";
import type { DeviceChoice } from "./options.ts";

/**
 * @param threads of one run; without it: as the device sees fit.
 * @throws {Failure} if the device does not work on this machine.
 */
export async function openDevice(
  choice: DeviceChoice,
  threads: number | undefined,
  log: Logger,
): Promise<Device> {
  if (choice === "reference") return new ReferenceDevice();
  try {
    // Only here, so that a machine without the native library can still take the other one.
    const { OnnxDevice } = await import("../kernels/onnx/device.ts");
    return new OnnxDevice(threads === undefined ? {} : { threads });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    if (choice === "onnx") throw new Failure(`Cannot compute with ONNX Runtime on this machine: ${reason}`);
    log.warn("ONNX Runtime does not load on this machine; computing with plain loops, which is slow", {
      reason,
    });
    return new ReferenceDevice();
  }
}
