/**
 * Opens stages on the devices that were settled for them: the best first, the
 * next one where that fails, and never again one that was lost. It says when
 * none is left, and ends nothing itself.
 */

import type { Logger } from "@logtape/logtape";
import type { DeviceLost, Stage, WorkerDevice } from "../stages/mod.ts";
import { Failure } from "./arguments.ts";
import type { StageDevices } from "./device_plan.ts";

/** Opens a stage on one device, and tells if that is lost later. */
export type OpenOn = (
  index: number,
  device: WorkerDevice,
  onLost: (error: DeviceLost) => void,
) => Promise<Stage>;

/** Where a host's stages come from. */
export class StageOpener {
  /** Rejects when a stage can be opened on no device any more: the host is of no use. */
  readonly exhausted: Promise<never>;
  readonly #reject: (failure: Failure) => void;
  readonly #devices: StageDevices;
  readonly #openOn: OpenOn;
  readonly #log: Pick<Logger, "info" | "warn">;
  /** Why each was lost. */
  readonly #lost = new Map<WorkerDevice["name"], string>();

  /** @param openOn see {@link OpenOn}. */
  constructor(devices: StageDevices, openOn: OpenOn, log: Pick<Logger, "info" | "warn">) {
    this.#devices = devices;
    this.#openOn = openOn;
    this.#log = log;
    const { promise, reject } = Promise.withResolvers<never>();
    // Whoever waits for it hears of it; nobody may be waiting yet.
    promise.catch(() => {});
    this.exhausted = promise;
    this.#reject = reject;
  }

  /**
   * Opens a stage.
   *
   * @throws {Failure} if no device is left that it can be opened on.
   */
  async open(index: number): Promise<Stage> {
    const reasons: string[] = [];
    for (const device of this.#devices[index]) {
      const { name } = device;
      try {
        const lost = this.#lost.get(name);
        if (lost !== undefined) throw new Error(`it was lost (${lost})`);
        const stage = await this.#openOn(index, device, (error) => {
          this.#lost.set(name, error.message);
          this.#log.warn(`Lost ${name}, and the stage with it`, { reason: error.message });
        });
        this.#log.info(`Computing stage ${index} on ${name}`);
        return stage;
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        reasons.push(`${name}: ${reason}`);
        if (!this.#lost.has(name)) this.#log.warn(`Cannot open stage ${index} on ${name}`, { reason });
      }
    }
    const failure = new Failure(
      `Cannot hold stage ${index} on any device of this machine: ${reasons.join("; ")}`,
    );
    this.#reject(failure);
    throw failure;
  }
}
