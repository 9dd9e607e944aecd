/** The dispatch of kernels that work on each element by itself. */

import { elementCount } from "../shapes.ts";
import { workgroupsOf } from "./workgroups.ts";
import type { Dispatch, WgslLimits, WgslTensor } from "./writer.ts";

/** Elements of one workgroup: `@workgroup_size` of every elementwise file. */
const GROUP = 256;

/**
 * One invocation for each element of a tensor. The file finds its element at
 * `id.y * groups.x * 256u + id.x`, and does nothing from `COUNT` on.
 */
export function elementwise(
  limits: WgslLimits,
  over: WgslTensor,
  dispatch: Omit<Dispatch, "workgroups">,
): Dispatch {
  const count = elementCount(over.shape);
  return {
    ...dispatch,
    sizes: { COUNT: count, ...dispatch.sizes },
    workgroups: workgroupsOf(limits, Math.ceil(count / GROUP)),
  };
}
