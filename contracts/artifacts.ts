/**
 * What was compiled, for TypeScript: each contract's interface and the code that
 * deploys it. It knows no addresses.
 */

import { Interface } from "ethers";
import built from "./artifacts.json" with { type: "json" };

/** A contract as it is deployed and spoken to. */
export interface Contract {
  readonly interface: Interface;
  /** `0x…`, without the constructor's arguments. */
  readonly bytecode: string;
}

/** Our contracts by name. */
export type ContractName = keyof typeof built;

/** All of them. */
export type Contracts = Readonly<Record<ContractName, Contract>>;

/** Contracts from the text of a file of artifacts. */
export function readContracts(
  file: Readonly<Record<string, { readonly abi: readonly string[]; readonly bytecode: string }>>,
): Readonly<Record<string, Contract>> {
  return Object.fromEntries(
    Object.entries(file).map(([name, { abi, bytecode }]) => [
      name,
      { interface: new Interface(abi), bytecode },
    ]),
  );
}

/** Those that are checked in. */
export const CONTRACTS: Contracts = readContracts(built) as Contracts;
