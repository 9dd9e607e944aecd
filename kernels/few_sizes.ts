/** Sizes of which there are few, so that what is made for one serves many. */

/**
 * The least of those sizes that holds so much: from each power of two to the next there are `perDoubling`, at
 * equal distances. So no more than one part in `perDoubling` is left empty.
 *
 * @param size what has to fit; whole, not negative.
 * @param perDoubling a power of two.
 * @param step sizes are multiples of it; a power of two.
 */
export function roundedUp(size: number, perDoubling: number, step = 1): number {
  const distance = Math.max(step, 2 ** Math.floor(Math.log2(size)) / perDoubling);
  return Math.ceil(size / distance) * distance;
}
