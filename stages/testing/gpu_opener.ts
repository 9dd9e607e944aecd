/** A thread that opens our own kernels' device on each source of adapters, has it copy a number, and tells what came of it. */

import { openDevice } from "../open_device.ts";

const outcomes: Record<string, string> = {};
for (const source of ["dawn", "navigator"] as const) {
  try {
    const device = await openDevice({ name: "webgpu", sources: [source] });
    await device.download(device.upload({ dataType: "f32", shape: [1], data: Float32Array.of(1) }));
    await device.close();
    outcomes[source] = "worked";
  } catch (error) {
    outcomes[source] = String(error);
  }
}
(globalThis as unknown as { postMessage(outcomes: Record<string, string>): void }).postMessage(outcomes);
