/**
 * The ledger that is on a chain: turns what the house asks for into transactions
 * and calls, and the contracts' refusals into words. Calls that a crash may repeat
 * look first whether they have happened.
 */

import { type Interface, type Result, Wallet } from "ethers";
import { CONTRACTS } from "./artifacts.ts";
import { type Chain, ChainError, connectChain } from "./chain.ts";
import { type LedgerClock, pause } from "./clock.ts";
import { type Deployer, type Deployment, registryDomain } from "./deployment.ts";
import { readEarnings } from "./earnings.ts";
import { eventLogs } from "./event_logs.ts";
import type { Journal } from "./journal.ts";
import {
  type Earnings,
  type Emission,
  type EpochState,
  type Lane,
  type LaneName,
  type Ledger,
  LedgerError,
  type Place,
  type PlaceEvent,
  type SignedVoucher,
  type Stake,
} from "./ledger.ts";
import { Outbox } from "./outbox.ts";
import type { RewardProof, RewardTree } from "./reward_tree.ts";
import { type DigestSigner, longSignature } from "./signing.ts";
import { hex, TypedData } from "./typed_data.ts";

/** What a ledger on a chain is made of. */
export interface ChainLedgerOptions {
  /** Where the chain answers JSON-RPC; or the chain itself. */
  readonly chain: string | Chain;
  readonly deployment: Deployment;
  /** 32 bytes: the account's. */
  readonly key: Uint8Array;
  /** Holds the transaction that is under way. One ledger each. */
  readonly journal: Journal;
  readonly clock: LedgerClock;
  /** See `OutboxOptions`. */
  readonly confirmations?: number;
  /** See `OutboxOptions`. */
  readonly patienceMs?: number;
  /** See `OutboxOptions`. */
  readonly pollMs?: number;
}

/** A model as its owner describes it to the registry. */
export interface ModelOffer {
  /** SHA-256 of its manifest, 32 bytes, hex. */
  readonly manifestHash: string;
  readonly stages: readonly StageOffer[];
}

/** A stage of it. */
export interface StageOffer {
  /** Its share of the work, in 1/10,000 of the model's. */
  readonly weightBps: number;
  readonly maxReplicas: number;
  /** What a host of it has to stake. */
  readonly minStakeUnits: bigint;
}

/** A ledger on a chain, which somebody has to close, and what only the owner of a model or a purse asks of it. */
export interface ChainLedger extends Ledger, Disposable {
  readonly kind: "chain";
  readonly account: string;
  /** Tokens that an account has, and what it can pay for gas with, in wei. */
  balancesOf(account: string): Promise<{ readonly tokenUnits: bigint; readonly gasWei: bigint }>;
  /** Puts a model into the registry, unless it is there, and returns what it is called. */
  createModel(offer: ModelOffer): Promise<string>;
  /** Says what an epoch brings, and adds to what is there to be emitted. */
  fundTraining(model: string, units: bigint, emissionUnits: bigint): Promise<void>;
  /** What whoever proposes or challenges an epoch binds of its stake. */
  bondUnits(): Promise<bigint>;
  /** Gives the account tokens, if the token is the one for trials. */
  mint(units: bigint): Promise<void>;
}

/** An account that deploys contracts through the same outbox. */
export interface ChainDeployer extends Deployer, Disposable {}

type Name = "token" | "vault" | "registry" | "rewards" | "revenue" | "escrow";

const FACES: Readonly<Record<Name, Interface>> = {
  token: CONTRACTS.TestToken.interface,
  vault: CONTRACTS.StakeVault.interface,
  registry: CONTRACTS.StageRegistry.interface,
  rewards: CONTRACTS.TrainingRewards.interface,
  revenue: CONTRACTS.ShardRevenue.interface,
  escrow: CONTRACTS.InferenceEscrow.interface,
};

const PLACE_EVENTS = { HostAssigned: "assigned", SignerRotated: "rotated", HostLeft: "left" } as const;

const NOBODY = `0x${"0".repeat(40)}`;
const ZERO_WORD = `0x${"0".repeat(64)}`;
const ALL_UNITS = (1n << 256n) - 1n;
/** How often a chain is asked whether a block has come. */
const BLOCK_POLL_MS = 200;
/** A chain without a block for so long is down. */
const BLOCK_PATIENCE_MS = 300_000;

/**
 * Opens the ledger of an account.
 *
 * @throws {LedgerError} `down`, or `wrong chain` if another chain answers there.
 */
export async function openLedger(options: ChainLedgerOptions): Promise<ChainLedger> {
  const ledger = new EthersLedger(options);
  try {
    await ledger.checkChain();
    return ledger;
  } catch (error) {
    ledger[Symbol.dispose]();
    throw error;
  }
}

/** Opens the ledger of an account without asking whether its chain is there. */
export function openLedgerUnchecked(options: ChainLedgerOptions): ChainLedger {
  return new EthersLedger(options);
}

/** An account as one that deploys, see `deploy`. */
export function openDeployer(
  options: Omit<ChainLedgerOptions, "deployment"> & { readonly chainId: number },
): ChainDeployer {
  const chain = typeof options.chain === "string"
    ? connectChain(options.chain, options.chainId)
    : options.chain;
  const stop = new AbortController();
  const wallet = new Wallet(hex(options.key));
  const outbox = new Outbox({ ...options, chain, wallet, signal: stop.signal });
  return {
    address: outbox.address,
    chainId: options.chainId,
    nonce: () => outbox.nonce(),
    create: async (data) => (await outbox.send({ data })).block,
    [Symbol.dispose]() {
      stop.abort(new LedgerError("down", "Cannot wait any longer: the deployer was closed"));
      chain.close();
    },
  };
}

class EthersLedger implements ChainLedger {
  readonly kind = "chain";
  readonly account: string;
  readonly #chain: Chain;
  readonly #at: Deployment;
  readonly #outbox: Outbox;
  readonly #clock: LedgerClock;
  readonly #stop = new AbortController();
  /** Contracts that may take the account's tokens. */
  readonly #approved = new Set<Name>();

  constructor(options: ChainLedgerOptions) {
    const { chainId } = options.deployment;
    this.#at = options.deployment;
    this.#chain = typeof options.chain === "string" ? connectChain(options.chain, chainId) : options.chain;
    this.#clock = options.clock;
    const wallet = new Wallet(hex(options.key));
    this.account = wallet.address.toLowerCase();
    this.#outbox = new Outbox({
      ...options,
      chain: this.#chain,
      chainId,
      wallet,
      signal: this.#stop.signal,
    });
  }

  async checkChain(): Promise<void> {
    const { chainId } = this.#at;
    const found = Number(await this.#ask<string>("eth_chainId", []));
    if (found !== chainId) {
      throw new LedgerError(
        "wrong chain",
        `Cannot open the ledger of chain ${chainId}: chain ${found} answers`,
      );
    }
    const code = await this.#ask<string>("eth_getCode", [this.#at.escrow, "latest"]);
    if (code === "0x") {
      throw new LedgerError("wrong chain", `Cannot open the ledger: no contract lies at ${this.#at.escrow}`);
    }
  }

  [Symbol.dispose](): void {
    this.#stop.abort(new LedgerError("down", "Cannot wait any longer: the ledger was closed"));
    this.#chain.close();
  }

  async placeOf(model: string, signer: string): Promise<Place | undefined> {
    const { owner, stage } = await this.#call("registry", "hostOfSigner", model, signer);
    return owner === NOBODY ? undefined : { owner: owner.toLowerCase(), model, stage: Number(stage) };
  }

  async placesSince(model: string, block: number): Promise<{ events: PlaceEvent[]; head: number }> {
    const face = FACES.registry;
    const head = Number(await this.#ask<string>("eth_blockNumber", []));
    const topics = [Object.keys(PLACE_EVENTS).map((name) => face.getEvent(name)!.topicHash), model];
    const ask = <T>(method: string, params: readonly unknown[]) => this.#ask<T>(method, params);
    const events: PlaceEvent[] = [];
    const from = Math.max(block, this.#at.block);
    for await (const log of eventLogs(ask, this.#at.registry, topics, from, head)) {
      const { name, args } = face.parseLog(log)!;
      const { owner, signer, stage } = args.toObject();
      events.push({
        block: Number(log.blockNumber),
        kind: PLACE_EVENTS[name as keyof typeof PLACE_EVENTS],
        owner: owner.toLowerCase(),
        ...signer === undefined ? {} : { signer: signer.toLowerCase() },
        ...stage === undefined ? {} : { stage: Number(stage) },
      });
    }
    return { events, head };
  }

  async register(model: string, signer: DigestSigner, peerIdHash: string): Promise<Place> {
    const held = await this.placeOf(model, signer.address);
    if (held?.owner === this.account) return held;
    let { drawBlock } = await this.#call("registry", "requests", model, this.account);
    const known = BigInt(await this.#ask<string>("eth_blockNumber", [])) <= drawBlock + 250n;
    if (drawBlock === 0n || !known) {
      const owner = this.account;
      const digest = new TypedData(registryDomain(this.#at)).consent({ owner, model, peerIdHash });
      const consent = longSignature(signer.sign(digest));
      await this.#send("registry", "requestJoin", model, signer.address, peerIdHash, consent);
      ({ drawBlock } = await this.#call("registry", "requests", model, this.account));
    }
    await this.#untilBlock(drawBlock);
    await this.#send("registry", "assign", model, this.account);
    const { stage } = await this.#call("registry", "hosts", model, this.account);
    return { owner: this.account, model, stage: Number(stage) };
  }

  async balancesOf(account: string): Promise<{ tokenUnits: bigint; gasWei: bigint }> {
    const [[tokenUnits], gas] = await Promise.all([
      this.#call("token", "balanceOf", account),
      this.#ask<string>("eth_getBalance", [account, "latest"]),
    ]);
    return { tokenUnits, gasWei: BigInt(gas) };
  }

  async createModel({ manifestHash, stages }: ModelOffer): Promise<string> {
    const [model] = await this.#call("registry", "modelOf", this.account, manifestHash);
    const { owner } = await this.#call("registry", "models", model);
    if (owner !== NOBODY) return model;
    const terms = stages.map(({ weightBps, maxReplicas, minStakeUnits }) => ({
      weightBps,
      maxReplicas,
      minStake: minStakeUnits,
    }));
    // The root of its graph is for a game of disputes, which is to come.
    await this.#send("registry", "createModel", manifestHash, ZERO_WORD, terms);
    return model;
  }

  async fundTraining(model: string, units: bigint, emissionUnits: bigint): Promise<void> {
    await this.#send("rewards", "setEmission", model, emissionUnits);
    await this.#approve("rewards", units);
    await this.#send("rewards", "fund", model, units);
  }

  async bondUnits(): Promise<bigint> {
    const [units] = await this.#call("rewards", "bond");
    return units;
  }

  async mint(units: bigint): Promise<void> {
    await this.#send("token", "mint", this.account, units);
  }

  async resign(model: string): Promise<void> {
    const { active } = await this.#call("registry", "hosts", model, this.account);
    if (active) await this.#send("registry", "resign", model);
  }

  async stake(units: bigint): Promise<void> {
    await this.#pay("vault", "stake", units);
  }

  async requestUnstake(units: bigint): Promise<void> {
    await this.#send("vault", "requestUnstake", units);
  }

  async withdrawStake(): Promise<void> {
    const { unbondingUnits } = await this.stakeOf(this.account);
    if (unbondingUnits > 0n) await this.#send("vault", "withdraw", this.account);
  }

  async stakeOf(account: string): Promise<Stake> {
    const it = await this.#call("vault", "accounts", account);
    return {
      stakedUnits: it.staked,
      lockedUnits: it.locked,
      unbondingUnits: it.unbonding,
      readySeconds: Number(it.readyAt),
    };
  }

  async proposeEpoch(
    model: string,
    epoch: number,
    { root, leavesHash }: Pick<RewardTree, "root" | "leavesHash">,
  ): Promise<void> {
    const state = await this.epochOf(model);
    if (state.finalEpoch === epoch - 1 && state.proposedRoot === root) return;
    await this.#send("rewards", "propose", model, epoch, root, leavesHash);
  }

  async challengeEpoch(model: string, root: string): Promise<void> {
    await this.#send("rewards", "challenge", model, root);
  }

  async finalizeEpoch(model: string): Promise<void> {
    await this.#send("rewards", "finalize", model);
  }

  async epochOf(model: string): Promise<EpochState> {
    const [program, proposal, window] = await Promise.all([
      this.#call("rewards", "programs", model),
      this.#call("rewards", "proposals", model),
      this.#call("rewards", "windowSeconds"),
    ]);
    const proposed = proposal.proposer !== NOBODY;
    return {
      finalEpoch: Number(program.epoch),
      proposedRoot: proposed ? proposal.root : undefined,
      challenged: proposal.challenger !== NOBODY,
      finalSeconds: proposed ? Number(proposal.proposedAt + window[0]) : 0,
      nextSeconds: Number(program.nextAt),
    };
  }

  async emissionOf(model: string): Promise<Emission> {
    const [{ emission, pool }, { stages }] = await Promise.all([
      this.#call("rewards", "programs", model),
      this.#call("registry", "models", model),
    ]);
    const units: bigint = emission < pool ? emission : pool;
    const terms = await Promise.all(
      Array.from({ length: Number(stages) }, (_, stage) => this.#call("registry", "stages", model, stage)),
    );
    const stageUnits = terms.map(({ weightBps }) => units * (weightBps as bigint) / 10_000n);
    return { poolUnits: pool, stageUnits };
  }

  async proposalOf(
    model: string,
    epoch: number,
  ): Promise<Pick<RewardTree, "root" | "leavesHash"> | undefined> {
    const face = FACES.rewards;
    const head = Number(await this.#ask<string>("eth_blockNumber", []));
    const topics = [face.getEvent("Proposed")!.topicHash, model, `0x${epoch.toString(16).padStart(64, "0")}`];
    const ask = <T>(method: string, params: readonly unknown[]) => this.#ask<T>(method, params);
    let last: Result | undefined;
    for await (const log of eventLogs(ask, this.#at.rewards, topics, this.#at.block, head)) {
      last = face.parseLog(log)!.args;
    }
    return last === undefined ? undefined : { root: last.root, leavesHash: last.leavesHash };
  }

  async claimedOf(model: string, stage: number, account: string): Promise<bigint> {
    const [units] = await this.#call("rewards", "claimed", model, stage, account);
    return units;
  }

  async claim(proof: RewardProof): Promise<void> {
    const paid = await this.claimedOf(proof.model, proof.stage, proof.account);
    if (paid < proof.cumulativeRewardUnits) await this.#send("rewards", "claim", ...proofValues(proof));
  }

  async syncCredit(proof: RewardProof): Promise<void> {
    const { credit } = await this.#call("revenue", "shares", proof.model, proof.stage, proof.account);
    if (credit < proof.cumulativeCredit) await this.#send("revenue", "syncCredit", ...proofValues(proof));
  }

  async deposit(host: string, model: string, stage: number, units: bigint): Promise<void> {
    await this.#approve("escrow", units);
    await this.#send("escrow", "deposit", host, model, stage, units);
  }

  async depositReserve(units: bigint): Promise<void> {
    await this.#pay("escrow", "depositReserve", units);
  }

  async thaw(host: string | undefined, model: string, stage: number, units: bigint): Promise<void> {
    await this.#send("escrow", "thaw", ...laneValues(host, model, stage), units);
  }

  async refund(host: string | undefined, model: string, stage: number): Promise<void> {
    await this.#send("escrow", "refund", this.account, ...laneValues(host, model, stage));
  }

  async laneOf({ payer, host, model, stage }: LaneName): Promise<Lane> {
    const [id] = await this.#call("escrow", "laneOf", payer, host, model, stage);
    const [lane, thaw] = await Promise.all([
      this.#call("escrow", "lanes", id),
      this.#call("escrow", "thaws", id),
    ]);
    return {
      depositUnits: lane.deposit,
      redeemedUnits: lane.redeemed,
      thawingUnits: thaw.amount < lane.deposit ? thaw.amount : lane.deposit,
      readySeconds: Number(thaw.readyAt),
    };
  }

  async redeemMany(vouchers: readonly SignedVoucher[]): Promise<void> {
    if (vouchers.length === 0) return;
    const [{ host, model, stage }] = vouchers;
    if (vouchers.some((it) => it.host !== host || it.model !== model || it.stage !== stage)) {
      throw new TypeError("Cannot redeem vouchers: they are of several hosts or stages");
    }
    const list = vouchers.map(({ payer, expirySeconds, cumulativeUnits, signature }) => ({
      payer,
      expiry: expirySeconds,
      cumulative: cumulativeUnits,
      r: signature.slice(0, 66),
      vs: `0x${signature.slice(66)}`,
    }));
    await this.#send("escrow", "redeemMany", host, model, stage, list);
  }

  async withdrawServed(account = this.account): Promise<void> {
    const [units] = await this.#call("escrow", "earned", account);
    if (units > 0n) await this.#send("escrow", "withdraw", account);
  }

  async withdrawRoyalty(model: string, stage: number, account = this.account): Promise<void> {
    const [units] = await this.#call("revenue", "withdrawable", model, stage, account);
    if (units > 0n) await this.#send("revenue", "withdraw", model, stage, account);
  }

  earnings(account: string): Promise<Earnings> {
    return readEarnings(account, this.#at, {
      ask: (method, params) => this.#ask(method, params),
      call: (name, call, ...values) => this.#call(name, call, ...values),
    });
  }

  /** Lets a contract take the account's tokens, once and for ever: it can't be changed behind one's back. */
  async #approve(name: Name, units: bigint): Promise<void> {
    if (this.#approved.has(name)) return;
    const [allowed] = await this.#call("token", "allowance", this.account, this.#at[name]);
    if (allowed < units) await this.#send("token", "approve", this.#at[name], ALL_UNITS);
    if (allowed >= ALL_UNITS >> 1n) this.#approved.add(name);
  }

  async #pay(name: Name, call: string, units: bigint): Promise<void> {
    await this.#approve(name, units);
    await this.#send(name, call, units);
  }

  async #send(name: Name, call: string, ...values: readonly unknown[]): Promise<void> {
    const data = FACES[name].encodeFunctionData(call, values);
    try {
      await this.#outbox.send({ to: this.#at[name], data });
    } catch (error) {
      throw plainer(call, error);
    }
  }

  async #call(name: Name, call: string, ...values: readonly unknown[]): Promise<Result> {
    const data = FACES[name].encodeFunctionData(call, values);
    const answer = await this.#ask<string>("eth_call", [{ to: this.#at[name], data }, "latest"]);
    return FACES[name].decodeFunctionResult(call, answer);
  }

  async #ask<T>(method: string, params: readonly unknown[]): Promise<T> {
    try {
      return await this.#chain.ask<T>(method, params);
    } catch (error) {
      throw plainer(method, error);
    }
  }

  async #untilBlock(block: bigint): Promise<void> {
    for (let waitedMs = 0; waitedMs < BLOCK_PATIENCE_MS; waitedMs += BLOCK_POLL_MS) {
      // The next transaction is in the block after the latest.
      if (BigInt(await this.#ask<string>("eth_blockNumber", [])) >= block) return;
      await pause(this.#clock, BLOCK_POLL_MS, this.#stop.signal);
    }
    throw new LedgerError("down", `Cannot wait for block ${block}: none came for ${BLOCK_PATIENCE_MS} ms`);
  }
}

function laneValues(host: string | undefined, model: string, stage: number): readonly unknown[] {
  return host === undefined ? [NOBODY, ZERO_WORD, 0] : [host, model, stage];
}

function proofValues(it: RewardProof): readonly unknown[] {
  return [
    it.model,
    it.stage,
    it.account,
    it.epoch,
    it.cumulativeRewardUnits,
    it.cumulativeCredit,
    it.proof,
  ];
}

/** What a chain has against something, in the ledger's words. */
function plainer(what: string, error: unknown): unknown {
  if (!(error instanceof ChainError)) return error;
  if (error.trouble === "unfunded") return new LedgerError("unfunded", error.message);
  if (error.trouble !== "reverted") return new LedgerError("down", error.message);
  for (const face of Object.values(FACES)) {
    const parsed = error.data === "0x" ? null : face.parseError(error.data);
    if (parsed === null) continue;
    const values = parsed.args.map(String).join(", ");
    return new LedgerError("refused", `Cannot ${what}: ${parsed.name}(${values})`, parsed.name);
  }
  return new LedgerError("refused", `Cannot ${what}: ${error.message}`);
}
