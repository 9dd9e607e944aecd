/**
 * The lint plugin of this house: what a review would overlook. Each rule says
 * what to do instead. What the compiler or the stock rules find is not here.
 */

import { ambientChance, ambientTime } from "./ambient.ts";
import { roomDirection } from "./room_direction.ts";

const plugin: Deno.lint.Plugin = {
  name: "house",
  rules: {
    "room-direction": roomDirection,
    "ambient-time": ambientTime,
    "ambient-chance": ambientChance,
  },
};

export default plugin;
