/** The box of a host: which program, and what it may read. It starts nothing. */

import { resolve } from "node:path";
import type { Box } from "./box.ts";
import type { StageDevices } from "./device_plan.ts";
import type { WalletOptions } from "./ledger.ts";
import type { JoinOptions } from "./network.ts";
import type { DeviceChoice } from "./options.ts";

/** The flags of a host. */
export interface HostOptions extends JoinOptions, WalletOptions {
  readonly stake?: bigint;
  /** For 1,000 tokens of text, in units. */
  readonly price?: bigint;
  readonly stage?: number;
  readonly dataDir: string;
  readonly threads?: number;
  readonly cacheMb?: number;
  readonly device: DeviceChoice;
  readonly json?: boolean;
  /** Whether the stage's state is given to those who say that they export it. Default: it is. */
  readonly export?: boolean;
}

/** What is settled before the boxed program starts: only outside of the box can a device be tried out. */
export interface BoxedOptions
  extends Omit<HostOptions, "device" | "stake" | "price" | "wallet" | "passwordFile"> {
  readonly devices: StageDevices;
  /** For a token of text, in units. */
  readonly priceUnits?: string;
}

/**
 * The box of a host; its data folder must be there. The program reads the options with {@link fromBox}.
 *
 * @param files of weights that the run begins with.
 */
export function hostBox(options: BoxedOptions, files: readonly string[]): Box {
  const run = resolve(options.run);
  const swarmKey = options.swarmKey === undefined ? {} : { swarmKey: resolve(options.swarmKey) };
  return {
    program: new URL("./boxed_host.ts", import.meta.url),
    args: [JSON.stringify({ ...options, run, ...swarmKey })],
    dataDirectory: options.dataDir,
    readable: [run, ...Object.values(swarmKey), ...files],
  };
}

/** The options as the boxed program finds them. Whoever leads it has checked them. */
export function fromBox(args: readonly string[]): BoxedOptions {
  return JSON.parse(args[0]!);
}
