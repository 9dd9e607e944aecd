/** Contracts that are nowhere, for tests that ask no chain. */

import type { Deployment } from "../deployment.ts";

/** An address of one digit. */
export function address(digit: string): string {
  return `0x${digit.repeat(40)}`;
}

/** Where they would be. */
export const NOWHERE: Deployment = {
  chainId: 31_337,
  block: 0,
  token: address("1"),
  vault: address("2"),
  registry: address("3"),
  rewards: address("4"),
  revenue: address("5"),
  escrow: address("6"),
};
