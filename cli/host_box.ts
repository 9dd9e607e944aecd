/** The box of a host: which program, and what it may read. It starts nothing. */

import { resolve } from "node:path";
import type { Box } from "./box.ts";
import type { JoinOptions } from "./network.ts";
import type { DeviceChoice } from "./options.ts";

/** The flags of a host. */
export interface HostOptions extends JoinOptions {
  readonly stage?: number;
  readonly dataDir: string;
  readonly threads?: number;
  readonly device: DeviceChoice;
  readonly json?: boolean;
}

/** The box of a host with these flags; its data folder must be there. The program reads them with {@link fromBox}. */
export function hostBox(options: HostOptions): Box {
  const run = resolve(options.run);
  const swarmKey = options.swarmKey === undefined ? {} : { swarmKey: resolve(options.swarmKey) };
  return {
    program: new URL("./boxed_host.ts", import.meta.url),
    args: [JSON.stringify({ ...options, run, ...swarmKey })],
    dataDirectory: options.dataDir,
    readable: [run, ...Object.values(swarmKey)],
  };
}

/** The flags as the boxed program finds them. Whoever leads it has checked them. */
export function fromBox(args: readonly string[]): HostOptions {
  return JSON.parse(args[0]!);
}
