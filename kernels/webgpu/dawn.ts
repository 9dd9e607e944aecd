/**
 * WebGPU by Dawn, from the `webgpu` package: a native library, so this file is
 * imported only where one may be loaded, and only when it is asked for.
 */

import { create } from "webgpu";

/**
 * Where Vulkan is asked to clear the memory of a workgroup, SwiftShader writes one store for each element
 * into the kernel, and compiles a tile's for seconds. Without it, Dawn clears that memory by a loop.
 */
const WITHOUT_ZEROES = "use_vulkan_zero_initialize_workgroup_memory_extension";

/** Dawn rounds the GPU's times off, so that web pages learn less by them. */
const WITHOUT_ROUNDING = "timestamp_quantization";

/** Dawn's way to adapters. Never let go of: devices do not keep alive what they came from. */
export const DAWN: GPU = create([`disable-dawn-features=${WITHOUT_ZEROES},${WITHOUT_ROUNDING}`]);
