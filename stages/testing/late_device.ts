/** A device whose read-backs arrive when a test says so, for what a stage does meanwhile. */

import type { DeviceTensor, Graph, HostTensor, Program } from "../../kernels/mod.ts";
import { FailingDevice } from "./failing_device.ts";

/** Plain loops, read back late. */
export class LateDevice extends FailingDevice {
  readonly inFlightMax = 2;
  /** Runs so far. */
  runs = 0;
  /** Downloads that were asked for. */
  downloads = 0;
  /** Whether what is read back next is not a number. */
  spoilsNext = false;
  /** Lets everything that is read back arrive, from now on too. */
  arrive: () => void = () => {};
  #arrived: Promise<void> = Promise.resolve();

  /** From now on nothing arrives until `arrive` is called. */
  hold(): void {
    this.#arrived = new Promise((resolve) => this.arrive = resolve);
  }

  override async download(tensor: DeviceTensor): Promise<HostTensor> {
    this.downloads++;
    const arrived = this.#arrived;
    const spoilt = this.spoilsNext;
    this.spoilsNext = false;
    const host = await super.download(tensor); // as it is when it is asked for
    await arrived;
    return spoilt ? { ...host, data: host.data.fill(NaN) } : host;
  }

  override async compile(graph: Graph): Promise<Program> {
    const program = await super.compile(graph);
    return {
      run: (inputs) => {
        this.runs++;
        return program.run(inputs);
      },
      dispose: () => program.dispose(),
    };
  }
}
