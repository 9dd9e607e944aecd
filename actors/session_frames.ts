/**
 * Which sessions' parts travel in one frame: a text that begins brings along its path
 * and how it is drawn, and a frame's header has a bound. It sends nothing.
 */

import { FRAME_HEADER_BYTES_MAX, SESSION_PARTS_MAX } from "./limits.ts";
import type { SessionPart } from "./messages.ts";

/** What of a part has no size of its own. */
export type Sized = Pick<SessionPart, "opening" | "spentMs">;

/** Bytes of a header as CBOR, at most: beside its parts, of a part beside its lists, and of what these hold. */
const FRAME_BYTES = 1024;
const PART_BYTES = 512;
const NUMBER_BYTES = 9;
const BIAS_BYTES = 32;
const CHARACTER_BYTES = 3;

/**
 * Cuts parts up into frames, in their order: as many to one as are allowed, and as its header holds. One part
 * always fits.
 */
export function inFrames<Item>(items: readonly Item[], sizedOf: (item: Item) => Sized): Item[][] {
  const frames: Item[][] = [];
  let room = 0;
  for (const item of items) {
    const bytes = bytesOf(sizedOf(item));
    const last = frames.at(-1);
    if (last !== undefined && last.length < SESSION_PARTS_MAX && bytes <= room) last.push(item);
    else {
      frames.push([item]);
      room = FRAME_HEADER_BYTES_MAX - FRAME_BYTES;
    }
    room -= bytes;
  }
  return frames;
}

function bytesOf({ opening, spentMs }: Sized): number {
  const bytes = PART_BYTES + NUMBER_BYTES * spentMs.length;
  if (opening === null) return bytes;
  const { home, path, sampling } = opening;
  const names = [home, ...path].reduce((sum, name) => sum + NUMBER_BYTES + CHARACTER_BYTES * name.length, 0);
  return bytes + names + BIAS_BYTES * sampling.logitBias.length;
}
