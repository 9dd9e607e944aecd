/**
 * Owns device tensors and frees them together. It never frees what it was not
 * given.
 *
 * ```ts
 * using scope = new Scope(device);
 * const x = scope.adopt(device.upload(host));
 * const { y, ...saved } = scope.adoptAll(await program.run({ x }));
 * return scope.release(y); // lives on; everything else is freed here
 * ```
 */

import type { Device, DeviceTensor } from "./device.ts";

/** A group of tensors with one end. */
export class Scope implements Disposable {
  readonly #device: Device;
  readonly #tensors = new Set<DeviceTensor>();

  constructor(device: Device) {
    this.#device = device;
  }

  /** Takes a tensor over. */
  adopt<Tensor extends DeviceTensor>(tensor: Tensor): Tensor {
    this.#tensors.add(tensor);
    return tensor;
  }

  /** Takes a run's results over. */
  adoptAll<Tensors extends Readonly<Record<string, DeviceTensor>>>(tensors: Tensors): Tensors {
    for (const tensor of Object.values(tensors)) this.#tensors.add(tensor);
    return tensors;
  }

  /**
   * Hands a tensor back: its new owner frees it.
   *
   * @throws {TypeError} if this scope does not own it.
   */
  release<Tensor extends DeviceTensor>(tensor: Tensor): Tensor {
    if (!this.#tensors.delete(tensor)) {
      throw new TypeError("Cannot release tensor: this scope does not own it");
    }
    return tensor;
  }

  /** Frees what it owns. Afterwards it is empty and can be used again. */
  [Symbol.dispose](): void {
    const tensors = [...this.#tensors];
    this.#tensors.clear();
    for (const tensor of tensors) this.#device.free(tensor);
  }
}
