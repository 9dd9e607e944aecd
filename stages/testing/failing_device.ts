/** A device whose runs can be made to fail, for what a stage does then. */

import type { Device, DeviceTensor, Graph, HostTensor, Program } from "../../kernels/mod.ts";
import { ReferenceDevice } from "../../kernels/reference/device.ts";

/** Plain loops, with trouble on demand. */
export class FailingDevice implements Device {
  readonly name = "failing";
  /** Runs that still succeed; −1 for all. */
  runsLeft = -1;
  /** What the others are rejected with. */
  trouble: Error = new Error("out of memory");
  readonly #inner = new ReferenceDevice();

  upload(tensor: HostTensor): DeviceTensor {
    return this.#inner.upload(tensor);
  }
  download(tensor: DeviceTensor): Promise<HostTensor> {
    return this.#inner.download(tensor);
  }
  write(tensor: DeviceTensor, data: Float32Array | Int32Array): void {
    this.#inner.write(tensor, data);
  }
  copyRows(source: DeviceTensor, destination: DeviceTensor, rows: Int32Array): Promise<void> {
    return this.#inner.copyRows(source, destination, rows);
  }
  free(tensor: DeviceTensor): void {
    this.#inner.free(tensor);
  }
  async compile(graph: Graph): Promise<Program> {
    const program = await this.#inner.compile(graph);
    return {
      run: (inputs) => {
        if (this.runsLeft === 0) return Promise.reject(this.trouble);
        if (this.runsLeft > 0) this.runsLeft -= 1;
        return program.run(inputs);
      },
      dispose: () => program.dispose(),
    };
  }
  bytesInUse(): number {
    return this.#inner.bytesInUse();
  }
  close(): Promise<void> {
    return this.#inner.close();
  }
}
