/** Settles which device a host's stage computes on. It opens none, and decides nothing but what `auto` means here. */

import type { Logger } from "@logtape/logtape";
import type { WorkerDevice } from "../stages/mod.ts";
import { Failure } from "./arguments.ts";
import type { DeviceChoice } from "./options.ts";

/**
 * @param threads of one run; without it: as the device sees fit.
 * @throws {Failure} if the device does not work on this machine.
 */
export async function chooseDevice(
  choice: DeviceChoice,
  threads: number | undefined,
  log: Logger,
): Promise<WorkerDevice> {
  if (choice === "reference") return { name: "reference" };
  try {
    // Only here, so that a machine without the native library can still take the other one.
    await import("../kernels/onnx/device.ts");
    return threads === undefined ? { name: "onnx" } : { name: "onnx", threads };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    if (choice === "onnx") throw new Failure(`Cannot compute with ONNX Runtime on this machine: ${reason}`);
    log.warn("ONNX Runtime does not load on this machine; computing with plain loops, which is slow", {
      reason,
    });
    return { name: "reference" };
  }
}
