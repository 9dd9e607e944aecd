/**
 * Where contracts are tried out: a chain of its own with all of them on it, and
 * accounts that need no keys. Time moves one second a block, and more when told.
 * It checks nothing itself.
 *
 * `CONTRACTS_COVERAGE` names a folder into which each stand writes what was
 * executed; `CONTRACTS_ARTIFACTS` one with other artifacts to try.
 */

import { getAddress, type Interface, type Result } from "ethers";
import { type Contract, CONTRACTS, type Contracts, readContracts } from "../artifacts.ts";
import type { LedgerClock } from "../clock.ts";
import { deploy, type Deployer, type Deployment, localTerms, type Terms } from "../deployment.ts";
import { findAnvil, LOCAL_CHAIN_ID, type LocalChain, startLocalChain } from "../local_chain.ts";
import { Tracer } from "./tracer.ts";

/** Where anvil is; tests that need it are skipped without it. */
export const ANVIL: string | undefined = findAnvil();

/** A call that the chain refused, with the contract's own error. */
export class Reverted extends Error {
  /** Tells it from a bug. */
  override name = "Reverted";
  /** The error's name as the contract spells it; `""` if it has none. */
  readonly error: string;
  readonly values: readonly unknown[];

  constructor(call: string, error: string, values: readonly unknown[]) {
    super(`${call}: ${error || "no reason"}(${values.map(String).join(", ")})`);
    this.error = error;
    this.values = values;
  }
}

/** What a transaction did. */
export interface Done {
  readonly gasUsed: number;
  readonly logs: readonly { readonly address: string; readonly topics: string[]; readonly data: string }[];
}

/** A contract at its address. */
export interface Placed {
  readonly at: string;
  readonly interface: Interface;
}

type Name = "token" | "vault" | "registry" | "rewards" | "revenue" | "escrow";

const GAS = 8_000_000;

/** Terms of the stand: each office an account of its own. */
export const TERMS = {
  unbondingSeconds: 1_000,
  drawDelayBlocks: 1,
  epochSeconds: 100,
  bondUnits: 1_000n,
  windowSeconds: 200,
  rulingSeconds: 300,
  thawSeconds: 400,
} as const satisfies Partial<Terms>;

/** A chain with the contracts on it. */
export class Stand implements AsyncDisposable {
  readonly deployment: Deployment;
  readonly contracts: Readonly<Record<Name, Placed>>;
  /** Accounts with gas and nothing else; the last four have the offices. */
  readonly accounts: readonly string[];
  readonly offices: Pick<Terms, "guardian" | "arbiter" | "insurance" | "auditors">;
  readonly adversaries: Readonly<Record<string, Contract>>;
  readonly chain: LocalChain;
  readonly #rpc: Rpc;
  readonly #tracer: Tracer | undefined;

  private constructor(
    chain: LocalChain,
    rpc: Rpc,
    deployment: Deployment,
    accounts: readonly string[],
    offices: Stand["offices"],
    { ours, adversaries }: { ours: Contracts; adversaries: Stand["adversaries"] },
    token: Interface,
    tracer: Tracer | undefined,
  ) {
    this.chain = chain;
    this.#rpc = rpc;
    this.deployment = deployment;
    this.accounts = accounts;
    this.offices = offices;
    this.adversaries = adversaries;
    this.#tracer = tracer;
    const { vault, registry, rewards, revenue, escrow } = deployment;
    this.contracts = {
      token: { at: deployment.token, interface: token },
      vault: { at: vault, interface: ours.StakeVault.interface },
      registry: { at: registry, interface: ours.StageRegistry.interface },
      rewards: { at: rewards, interface: ours.TrainingRewards.interface },
      revenue: { at: revenue, interface: ours.ShardRevenue.interface },
      escrow: { at: escrow, interface: ours.InferenceEscrow.interface },
    };
  }

  /** Opens one; `token` may be an adversary. */
  static async open(clock: LedgerClock, token = "TestToken"): Promise<Stand> {
    const chain = await startLocalChain({ clock, program: ANVIL! });
    try {
      const rpc = new Rpc(chain.url);
      const found = await artifacts();
      const all = await rpc.ask<string[]>("eth_accounts");
      const [guardian, arbiter, insurance, auditors] = all.slice(-4);
      const offices = { guardian, arbiter, insurance, auditors };
      await rpc.ask("anvil_setBlockTimestampInterval", [1]);
      await rpc.ask("anvil_autoImpersonateAccount", [true]);
      const deployer: Deployer = {
        address: guardian,
        chainId: LOCAL_CHAIN_ID,
        nonce: async () => Number(await rpc.ask("eth_getTransactionCount", [guardian, "latest"])),
        create: async (code) => {
          const receipt = await rpc.transact({ from: guardian, data: code });
          if (receipt.status !== "0x1") throw new Error("Cannot deploy: it was reverted");
          return Number(receipt.blockNumber);
        },
      };
      const terms = { ...localTerms(guardian), ...TERMS, ...offices };
      const contract = token === "TestToken" ? found.ours.TestToken : found.adversaries[token];
      const tokenAt = token === "TestToken" ? undefined : await place(rpc, guardian, contract, []);
      const deployment = await deploy(deployer, terms, tokenAt, found.ours);
      const tracer = Tracer.open((method, params) => rpc.ask(method, params), deployment);
      const accounts = all.slice(0, -4);
      return new Stand(chain, rpc, deployment, accounts, offices, found, contract.interface, tracer);
    } catch (error) {
      await chain[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Deploys one of the adversaries, or anything else. */
  async place(contract: Contract, values: readonly unknown[] = []): Promise<Placed> {
    return {
      at: await place(this.#rpc, this.accounts[0], contract, values),
      interface: contract.interface,
    };
  }

  /** An address as errors and events spell it. */
  spelled(address: string): string {
    return getAddress(address);
  }

  /** One JSON-RPC call. */
  ask<T>(method: string, params: readonly unknown[] = []): Promise<T> {
    return this.#rpc.ask(method, params);
  }

  /**
   * Sends a transaction and returns what it did.
   *
   * @throws {Reverted} if the chain refused it.
   */
  async send(from: string, to: Name | Placed, call: string, ...values: readonly unknown[]): Promise<Done> {
    const { at, interface: face } = typeof to === "string" ? this.contracts[to] : to;
    const data = face.encodeFunctionData(call, values);
    const receipt = await this.#rpc.transact({ from, to: at, data, gas: `0x${GAS.toString(16)}` });
    const hash = receipt.transactionHash;
    await this.#tracer?.transaction(hash);
    if (receipt.status === "0x1") return { gasUsed: Number(receipt.gasUsed), logs: receipt.logs };
    const trace = await this.#rpc.ask<{ output?: string }>("debug_traceTransaction", [hash, {
      tracer: "callTracer",
      tracerConfig: { onlyTopCall: true },
    }]);
    throw this.#reverted(call, trace.output ?? "0x");
  }

  /** Calls without a transaction. */
  async call(to: Name | Placed, call: string, ...values: readonly unknown[]): Promise<Result> {
    const [result] = await this.calls([[to, call, ...values]]);
    return result;
  }

  /** Many calls in one request. */
  async calls(list: readonly (readonly [Name | Placed, string, ...unknown[]])[]): Promise<Result[]> {
    const requests = list.map(([to, call, ...values]) => {
      const { at, interface: face } = typeof to === "string" ? this.contracts[to] : to;
      return { to: at, data: face.encodeFunctionData(call, values) };
    });
    for (const request of requests) await this.#tracer?.call(request);
    const answers = await this.#rpc.askAll<string>("eth_call", requests.map((it) => [it, "latest"]));
    return list.map(([to, call], index) => {
      const face = typeof to === "string" ? this.contracts[to].interface : to.interface;
      return face.decodeFunctionResult(call, answers[index]);
    });
  }

  /** The time of the latest block, seconds. */
  async nowSeconds(): Promise<number> {
    const block = await this.#rpc.ask<{ timestamp: string }>("eth_getBlockByNumber", ["latest", false]);
    return Number(block.timestamp);
  }

  /** Lets time pass, and mines a block. */
  async pass(seconds: number): Promise<void> {
    await this.#rpc.ask("anvil_setNextBlockTimestamp", [await this.nowSeconds() + seconds]);
    await this.#rpc.ask("evm_mine");
  }

  /** Mines blocks. */
  async mine(blocks: number): Promise<void> {
    for (let block = 0; block < blocks; block++) await this.#rpc.ask("evm_mine");
  }

  /** Lets an account pay for transactions; a contract's, too. */
  async giveGas(account: string): Promise<void> {
    await this.#rpc.ask("anvil_setBalance", [account, "0xde0b6b3a7640000"]);
  }

  /** Gives an account tokens, and every contract the right to take them. */
  async enrich(account: string, units: bigint): Promise<void> {
    await this.send(account, "token", "mint", account, units);
    for (const name of ["vault", "rewards", "escrow"] as const) {
      await this.send(account, "token", "approve", this.contracts[name].at, (1n << 256n) - 1n);
    }
  }

  /** Runs something and then forgets all that it did to the chain. */
  async undone<T>(work: () => Promise<T>): Promise<T> {
    const snapshot = await this.#rpc.ask<string>("evm_snapshot");
    try {
      return await work();
    } finally {
      await this.#rpc.ask("evm_revert", [snapshot]);
      // What waits for a block is no part of a snapshot.
      await this.#rpc.ask("anvil_dropAllTransactions");
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#tracer?.write();
    await this.chain[Symbol.asyncDispose]();
  }

  #reverted(call: string, output: string): Reverted {
    const faces = [...Object.values(this.contracts), ...Object.values(this.adversaries)].map((it) =>
      it.interface
    );
    for (const face of faces) {
      const parsed = output === "0x" ? null : face.parseError(output);
      if (parsed !== null) return new Reverted(call, parsed.name, [...parsed.args]);
    }
    return new Reverted(call, "", [output]);
  }
}

interface RawReceipt {
  readonly transactionHash: string;
  readonly status: string;
  readonly gasUsed: string;
  readonly blockNumber: string;
  readonly contractAddress: string | null;
  readonly logs: Done["logs"];
}

async function place(
  rpc: Rpc,
  from: string,
  contract: Contract,
  values: readonly unknown[],
): Promise<string> {
  const data = contract.bytecode + contract.interface.encodeDeploy(values).slice(2);
  const receipt = await rpc.transact({ from, data });
  return receipt.contractAddress!;
}

async function artifacts(): Promise<{ ours: Contracts; adversaries: Stand["adversaries"] }> {
  const folder = Deno.env.get("CONTRACTS_ARTIFACTS");
  const read = async (path: string) =>
    readContracts(JSON.parse(
      await Deno.readTextFile(
        folder === undefined ? new URL(`../${path}`, import.meta.url) : `${folder}/${path}`,
      ),
    ));
  return {
    ours: folder === undefined ? CONTRACTS : await read("artifacts.json") as Contracts,
    adversaries: await read("testing/adversaries.json"),
  };
}

/** Plain JSON-RPC over HTTP. */
class Rpc {
  readonly #url: string;

  constructor(url: string) {
    this.#url = url;
  }

  async ask<T>(method: string, params: readonly unknown[] = []): Promise<T> {
    return (await this.askAll<T>(method, [params]))[0];
  }

  /** Sends a transaction and waits for its block. */
  transact(transaction: Readonly<Record<string, string>>): Promise<RawReceipt> {
    return this.ask("eth_sendTransactionSync", [transaction]);
  }

  async askAll<T>(method: string, list: readonly (readonly unknown[])[]): Promise<T[]> {
    if (list.length === 0) return [];
    const body = list.map((params, id) => ({ jsonrpc: "2.0", id, method, params }));
    const answer = await fetch(this.#url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body.length === 1 ? body[0] : body),
    });
    const json = await answer.json();
    const results = (body.length === 1 ? [json] : json) as {
      id: number;
      result?: T;
      error?: { message: string };
    }[];
    results.sort((left, right) => left.id - right.id);
    return results.map(({ result, error }) => {
      if (error !== undefined) throw new Error(`Cannot ${method}: ${error.message}`);
      return result as T;
    });
  }
}
