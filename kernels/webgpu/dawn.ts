/**
 * WebGPU by Dawn, from the `webgpu` package: a native library, so this file is
 * imported only where one may be loaded, and only when it is asked for.
 */

import { create } from "webgpu";

/** Dawn's way to adapters. Never let go of: devices do not keep alive what they came from. */
export const DAWN: GPU = create([]);
