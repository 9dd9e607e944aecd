/** How many workgroups there are, in dimensions that the device allows. */

import type { Dispatch, WgslLimits } from "./writer.ts";

/**
 * Workgroups that lie in a plane, where one dimension does not hold them all. The file finds its own at
 * `group.y * groups.x + group.x`; some at the end may be too many.
 */
export function workgroupsOf(limits: WgslLimits, count: number): Dispatch["workgroups"] {
  const y = Math.ceil(count / limits.workgroupsPerDimension);
  return [Math.ceil(count / y), y, 1];
}
