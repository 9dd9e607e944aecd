/**
 * Reads many tensors of a device in their order. Where a download only waits,
 * the next are on their way meanwhile: a GPU's answer may take a tick of a clock,
 * however small it is. It never has more on its way than a bound.
 */

import { type Device, type DeviceTensor, elementCount, type HostTensor } from "../kernels/mod.ts";

/** Bytes that are on their way at once, unless one tensor alone is larger. */
const AHEAD_BYTES_MAX = 64 * 2 ** 20;

/** Contents of the tensors, one after the other, each as it is when it is asked for or later. */
export async function* readAhead(
  device: Device,
  tensors: readonly DeviceTensor[],
): AsyncGenerator<HostTensor> {
  const overlaps = (device.inFlightMax ?? 1) > 1;
  const underWay: Promise<HostTensor>[] = [];
  let bytes = 0;
  let next = 0;
  for (const tensor of tensors) {
    const fits = () =>
      underWay.length === 0 || (overlaps && bytes + bytesOf(tensors[next]) <= AHEAD_BYTES_MAX);
    for (; next < tensors.length && fits(); next++) {
      const download = device.download(tensors[next]);
      download.catch(() => {}); // whoever comes to it has the error
      underWay.push(download);
      bytes += bytesOf(tensors[next]);
    }
    yield await underWay.shift()!;
    bytes -= bytesOf(tensor);
  }
}

/** The next of several that are read. */
export async function following(contents: AsyncGenerator<HostTensor>): Promise<HostTensor> {
  const { value, done } = await contents.next();
  if (done) throw new RangeError("Cannot read on: all tensors were read");
  return value;
}

function bytesOf({ shape }: DeviceTensor): number {
  return elementCount(shape) * 4;
}
