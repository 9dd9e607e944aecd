/**
 * How long a GPU computes, by its own clock: it writes the time down as each
 * pass begins and ends. It measures passes, and nothing between them.
 */

/** Passes between two readings. */
const PASSES_MAX = 1024;

/** Bytes of one time: nanoseconds, in 64 bits. */
const TIME_BYTES = 8;

/** Flags of `GPUBufferUsage`. */
const RESOLVE = 0x200 | 0x04; // QUERY_RESOLVE | COPY_SRC
const READBACK = 0x01 | 0x08; // MAP_READ | COPY_DST

/** `GPUMapMode.READ` */
const MAP_READ = 1;

/** Times the passes of a device that has `timestamp-query`. */
export class PassTimer {
  readonly #device: GPUDevice;
  readonly #times: GPUQuerySet;
  readonly #resolved: GPUBuffer;
  readonly #readback: GPUBuffer;
  #passes = 0;

  constructor(device: GPUDevice) {
    this.#device = device;
    const size = 2 * PASSES_MAX * TIME_BYTES;
    this.#times = device.createQuerySet({ type: "timestamp", count: 2 * PASSES_MAX });
    this.#resolved = device.createBuffer({ size, usage: RESOLVE });
    this.#readback = device.createBuffer({ size, usage: READBACK });
  }

  /** What the next pass is to be begun with. */
  next(): GPUComputePassDescriptor {
    const pass = this.#passes++;
    if (pass >= PASSES_MAX) return {};
    return {
      timestampWrites: {
        querySet: this.#times,
        beginningOfPassWriteIndex: 2 * pass,
        endOfPassWriteIndex: 2 * pass + 1,
      },
    };
  }

  /**
   * Seconds of all passes since the last reading, which must have come back; it waits for their end.
   *
   * @returns `undefined` if there were more of them than are timed.
   */
  async read(): Promise<number | undefined> {
    const passes = this.#passes;
    this.#passes = 0;
    if (passes === 0) return 0;
    if (passes > PASSES_MAX) return undefined;
    const encoder = this.#device.createCommandEncoder();
    encoder.resolveQuerySet(this.#times, 0, 2 * passes, this.#resolved, 0);
    encoder.copyBufferToBuffer(this.#resolved, 0, this.#readback, 0, 2 * passes * TIME_BYTES);
    this.#device.queue.submit([encoder.finish()]);
    await this.#readback.mapAsync(MAP_READ);
    const times = new BigUint64Array(this.#readback.getMappedRange().slice(0, 2 * passes * TIME_BYTES));
    this.#readback.unmap();
    let nanoseconds = 0n;
    for (let pass = 0; pass < passes; pass++) {
      // A clock that was set back between the two says nothing.
      if (times[2 * pass + 1] > times[2 * pass]) nanoseconds += times[2 * pass + 1] - times[2 * pass];
    }
    return Number(nanoseconds) / 1e9;
  }
}
