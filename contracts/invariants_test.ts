/**
 * What holds whatever anybody calls in whatever order: drawn sequences of calls,
 * honest and not, paused and not, and after each of them every invariant.
 * `CONTRACTS_RUNS` draws more of them.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { RealClock } from "../actors/core/real_clock.ts";
import { type RewardTree, rewardTree } from "./reward_tree.ts";
import type { DigestSigner } from "./signing.ts";
import {
  consent,
  createModel,
  evenStages,
  join,
  NEVER_SECONDS,
  person,
  voucherArgument,
  word,
} from "./testing/scene.ts";
import { Reverted, type Stand, TERMS } from "./testing/stand.ts";
import { trials } from "./testing/trial.ts";

const RUNS = Number(Deno.env.get("CONTRACTS_RUNS") ?? 10);
const CALLS_MAX = 50;
const STAGES = [0, 1];
const BURNED = "0x000000000000000000000000000000000000dEaD";
const NOBODY = `0x${"0".repeat(40)}`;
const ZERO = `0x${"0".repeat(64)}`;
const PAUSABLE = ["vault", "registry", "rewards", "escrow"] as const;

interface Cast {
  readonly people: readonly DigestSigner[];
  readonly keys: readonly DigestSigner[];
  readonly model: string;
}

async function prepare(stand: Stand): Promise<Cast> {
  const people = [], keys = [];
  for (const name of ["anna", "boris", "clara"]) {
    people.push(await person(stand, name));
    keys.push(await person(stand, `${name}'s key`));
  }
  const model = await createModel(stand, people[0].address, evenStages(STAGES.length, 2));
  for (const { address } of people) {
    await stand.send(address, "vault", "stake", 1_600n);
    for (const stage of STAGES) {
      await stand.send(address, "escrow", "deposit", people[1].address, model, stage, 300n);
    }
  }
  for (const who of [0, 1]) await join(stand, people[who].address, model, keys[who]);
  await stand.send(people[0].address, "rewards", "setEmission", model, 1_000n);
  await stand.send(people[0].address, "rewards", "fund", model, 3_500n);
  return { people, keys, model };
}

/** One call of somebody; what its numbers mean depends on the call. */
interface Act {
  readonly call: string;
  readonly who: number;
  readonly whom: number;
  readonly stage: number;
  readonly units: bigint;
  readonly flag: boolean;
}

/** What the calls so far have led to, and the chain can't be asked for. */
interface Memory {
  readonly trees: RewardTree[];
  /** Trees by epoch, once final. */
  readonly epochs: Map<number, RewardTree>;
  /** By person: when what it last sent on its way out may leave. */
  readonly leaves: number[];
  readonly deposited: bigint[];
  readonly refunded: bigint[];
  emitted: bigint;
  claimed: bigint;
  funded: bigint;
  /** By stage and person: what claims have paid. */
  readonly paid: Map<string, bigint>;
  redeemed: Map<string, bigint>;
  rises: Map<number, bigint>;
}

type Play = (stand: Stand, cast: Cast, memory: Memory, act: Act) => Promise<unknown>;

const at = (cast: Cast, index: number) => cast.people[index].address;

const balanceOf = async (stand: Stand, who: string) =>
  (await stand.call("token", "balanceOf", who))[0] as bigint;

/** An exit that the state allows must succeed, paused or not. */
async function must(doing: Promise<unknown>, allowed: boolean): Promise<void> {
  if (allowed) await doing;
  else await assert.rejects(doing, Reverted);
}

const voucher = (stand: Stand, cast: Cast, { who, whom, stage, units }: Act, change = {}) =>
  voucherArgument(stand, cast.people[who], {
    host: at(cast, whom),
    model: cast.model,
    stage,
    expirySeconds: NEVER_SECONDS,
    cumulativeUnits: units,
    ...change,
  });

const CALLS: Readonly<Record<string, Play>> = {
  stake: (stand, cast, _, { who, units }) => stand.send(at(cast, who), "vault", "stake", units),
  requestUnstake: async (stand, cast, memory, { who, units }) => {
    await stand.send(at(cast, who), "vault", "requestUnstake", units);
    memory.leaves[who] = await stand.nowSeconds() + TERMS.unbondingSeconds;
  },
  withdrawStake: async (stand, cast, memory, { who }) => {
    const { unbonding } = await stand.call("vault", "accounts", at(cast, who));
    const ready = await stand.nowSeconds() + 1 >= memory.leaves[who];
    await must(stand.send(at(cast, who), "vault", "withdraw", at(cast, who)), unbonding > 0n && ready);
  },
  lock: (stand, cast, _, { who, units }) =>
    stand.send(stand.offices.arbiter, "vault", "lock", at(cast, who), units),
  unlock: (stand, cast, _, { who, units }) =>
    stand.send(stand.offices.arbiter, "vault", "unlock", at(cast, who), units),
  slash: async (stand, cast, _, { who, whom, units }) => {
    const of = async () =>
      (await stand.calls(
        [at(cast, whom), BURNED, stand.offices.insurance].map((it) => ["vault", "owed", it]),
      )).map(([owed]) => owed as bigint);
    const before = await of();
    await stand.send(stand.offices.arbiter, "vault", "slash", at(cast, who), units, at(cast, whom));
    const [challenger, burned, insurance] = (await of()).map((owed, index) => owed - before[index]);
    const taken = challenger + burned + insurance;
    assert.ok(taken <= units && challenger * 10n <= taken * 4n, "a challenger of oneself would gain");
  },
  collect: async (stand, cast, _, { who }) => {
    const [owed] = await stand.call("vault", "owed", at(cast, who));
    await must(stand.send(at(cast, who), "vault", "collect", at(cast, who)), owed > 0n);
  },
  ask: (stand, cast, _, { who, whom }) => {
    const agreed = consent(stand, cast.keys[whom], at(cast, who), cast.model);
    const { address } = cast.keys[whom];
    return stand.send(at(cast, who), "registry", "requestJoin", cast.model, address, word("peer"), agreed);
  },
  assign: (stand, cast, _, { who, whom }) =>
    stand.send(at(cast, whom), "registry", "assign", cast.model, at(cast, who)),
  rotate: (stand, cast, _, { who, whom }) => {
    const agreed = consent(stand, cast.keys[whom], at(cast, who), cast.model);
    const { address } = cast.keys[whom];
    return stand.send(at(cast, who), "registry", "rotateSigner", cast.model, address, word("peer"), agreed);
  },
  resign: async (stand, cast, _, { who }) => {
    const { active } = await stand.call("registry", "hosts", cast.model, at(cast, who));
    await must(stand.send(at(cast, who), "registry", "resign", cast.model), active);
  },
  evict: (stand, cast, _, { who, whom }) =>
    stand.send(at(cast, whom), "registry", "evict", cast.model, at(cast, who)),
  fund: async (stand, cast, memory, { who, units }) => {
    await stand.send(at(cast, who), "rewards", "fund", cast.model, units);
    memory.funded += units;
  },
  propose: async (stand, cast, memory, { who, whom, stage, units, flag }) => {
    const { epoch } = await stand.call("rewards", "programs", cast.model);
    // Now and then somebody claims more than there is.
    const cumulativeRewardUnits = flag ? units : units * 4n;
    const leaf = { model: cast.model, cumulativeRewardUnits, cumulativeCredit: units };
    const leaves = [{ ...leaf, stage, account: at(cast, whom) }, {
      ...leaf,
      stage: 1 - stage,
      account: at(cast, who),
    }];
    const tree = rewardTree(stand.deployment, leaves);
    await stand.send(at(cast, who), "rewards", "propose", cast.model, epoch + 1n, tree.root, tree.leavesHash);
    memory.trees.push(tree);
  },
  challenge: async (stand, cast, _, { who }) => {
    const { root } = await stand.call("rewards", "proposals", cast.model);
    await stand.send(at(cast, who), "rewards", "challenge", cast.model, root);
  },
  rule: async (stand, cast, memory, { flag }) => {
    await stand.send(stand.offices.arbiter, "rewards", "rule", cast.model, flag);
    if (flag) await noteFinal(stand, cast, memory);
  },
  expire: (stand, cast, _, { who }) => stand.send(at(cast, who), "rewards", "expire", cast.model),
  finalize: async (stand, cast, memory, { who }) => {
    const { proposer, challenger, proposedAt } = await stand.call("rewards", "proposals", cast.model);
    const over = await stand.nowSeconds() + 1 >= Number(proposedAt) + TERMS.windowSeconds;
    const open = proposer !== NOBODY && challenger === NOBODY && over;
    await must(stand.send(at(cast, who), "rewards", "finalize", cast.model), open);
    if (open) await noteFinal(stand, cast, memory);
  },
  claim: async (stand, cast, memory, { who, whom, stage }) => {
    const proof = newest(memory, cast, stage, at(cast, whom));
    if (proof === undefined) return;
    const before = await balanceOf(stand, at(cast, whom));
    await stand.send(at(cast, who), "rewards", "claim", ...proof);
    const paid = await balanceOf(stand, at(cast, whom)) - before;
    memory.claimed += paid;
    const name = `${stage} ${whom}`;
    memory.paid.set(name, (memory.paid.get(name) ?? 0n) + paid);
    assert.equal(memory.paid.get(name), proof[4], "an account got more than its leaf says");
  },
  claimEarly: async (stand, cast, memory, { who, whom, stage }) => {
    // A root that is proposed, and not final: as if it were.
    const tree = memory.trees.at(-1);
    const leaf = tree?.proofOf(cast.model, stage, at(cast, whom), memory.epochs.size + 1);
    if (leaf === undefined) return;
    const values = [leaf.cumulativeRewardUnits, leaf.cumulativeCredit, leaf.proof];
    const call = [cast.model, stage, at(cast, whom), leaf.epoch, ...values];
    await assert.rejects(stand.send(at(cast, who), "rewards", "claim", ...call), Reverted);
  },
  syncCredit: async (stand, cast, memory, { who, whom, stage }) => {
    const proof = newest(memory, cast, stage, at(cast, whom));
    if (proof !== undefined) await stand.send(at(cast, who), "revenue", "syncCredit", ...proof);
  },
  withdrawRevenue: async (stand, cast, _, { who, whom, stage }) => {
    const [due] = await stand.call("revenue", "withdrawable", cast.model, stage, at(cast, whom));
    const before = await balanceOf(stand, at(cast, whom));
    await must(stand.send(at(cast, who), "revenue", "withdraw", cast.model, stage, at(cast, whom)), due > 0n);
    assert.equal(await balanceOf(stand, at(cast, whom)), before + due);
  },
  deposit: async (stand, cast, memory, { who, whom, stage, units }) => {
    await stand.send(at(cast, who), "escrow", "deposit", at(cast, whom), cast.model, stage, units);
    memory.deposited[who] += units;
  },
  depositReserve: async (stand, cast, memory, { who, units }) => {
    await stand.send(at(cast, who), "escrow", "depositReserve", units);
    memory.deposited[who] += units;
  },
  allocate: (stand, cast, _, { who, whom, stage, units }) =>
    stand.send(at(cast, who), "escrow", "allocate", at(cast, whom), cast.model, stage, units),
  thaw: (stand, cast, _, { who, whom, stage, units, flag }) => {
    const lane = flag ? [at(cast, whom), cast.model, stage] : [NOBODY, ZERO, 0];
    return stand.send(at(cast, who), "escrow", "thaw", ...lane, units);
  },
  refund: async (stand, cast, memory, { who, whom, stage, flag }) => {
    const payer = at(cast, who);
    const lane = flag ? [at(cast, whom), cast.model, stage] : [NOBODY, ZERO, 0];
    const [id] = await stand.call("escrow", "laneOf", payer, ...lane);
    const { amount, readyAt } = await stand.call("escrow", "thaws", id);
    const { deposit } = await stand.call("escrow", "lanes", id);
    const allowed = amount > 0n && deposit > 0n && await stand.nowSeconds() + 1 >= readyAt;
    const before = await balanceOf(stand, payer);
    await must(stand.send(at(cast, whom), "escrow", "refund", payer, ...lane), allowed);
    memory.refunded[who] += await balanceOf(stand, payer) - before;
  },
  redeem: (stand, cast, _, act) =>
    stand.send(
      at(cast, act.whom),
      "escrow",
      "redeem",
      at(cast, act.whom),
      cast.model,
      act.stage,
      voucher(stand, cast, act),
    ),
  redeemMany: (stand, cast, _, act) => {
    const { whom, stage, units } = act;
    // Of several payers, one twice, one of them smaller than before.
    const list = cast.people.flatMap((_, who) =>
      [units, units, units / 2n].map((units) => voucher(stand, cast, { ...act, who, units }))
    );
    return stand.send(at(cast, whom), "escrow", "redeemMany", at(cast, whom), cast.model, stage, list);
  },
  redeemForged: async (stand, cast, _, act) => {
    const { who, whom, stage, units, flag } = act;
    const forged = flag
      ? voucherArgument({ deployment: { ...stand.deployment, chainId: 1 } }, cast.people[who], {
        host: at(cast, whom),
        model: cast.model,
        stage,
        expirySeconds: NEVER_SECONDS,
        cumulativeUnits: units,
      })
      : { ...voucher(stand, cast, act), cumulative: units + 1n };
    await assert.rejects(
      stand.send(at(cast, whom), "escrow", "redeem", at(cast, whom), cast.model, stage, forged),
      Reverted,
    );
    const late = voucher(stand, cast, act, { expirySeconds: 1 });
    await assert.rejects(
      stand.send(at(cast, whom), "escrow", "redeem", at(cast, whom), cast.model, stage, late),
      Reverted,
    );
  },
  withdrawEarned: async (stand, cast, _, { who }) => {
    const [earned] = await stand.call("escrow", "earned", at(cast, who));
    await must(stand.send(at(cast, who), "escrow", "withdraw", at(cast, who)), earned > 0n);
  },
  wait: (stand, _, __, { units }) => stand.pass(Number(units)),
  pause: (stand, _, __, { who, flag }) =>
    stand.send(stand.offices.guardian, PAUSABLE[who], flag ? "pause" : "unpause"),
};

async function noteFinal(stand: Stand, cast: Cast, memory: Memory): Promise<void> {
  const { epoch } = await stand.call("rewards", "programs", cast.model);
  const [root] = await stand.call("rewards", "roots", cast.model, epoch);
  memory.epochs.set(Number(epoch), memory.trees.find((tree) => tree.root === root)!);
  memory.emitted += 1_000n;
}

/** What proves the account's latest leaf in a final epoch. */
function newest(memory: Memory, cast: Cast, stage: number, account: string): unknown[] | undefined {
  for (const [epoch, tree] of [...memory.epochs].reverse()) {
    const leaf = tree.proofOf(cast.model, stage, account, epoch);
    if (leaf === undefined) continue;
    const values = [leaf.cumulativeRewardUnits, leaf.cumulativeCredit, leaf.proof];
    return [cast.model, stage, account, epoch, ...values];
  }
  return undefined;
}

type Question = readonly [Parameters<Stand["call"]>[0], string, ...unknown[]];

/** Asks the chain about everything at once, and checks it. */
async function checkAll(stand: Stand, cast: Cast, memory: Memory): Promise<void> {
  const { people, model } = cast;
  const { registry, rewards } = stand.deployment;
  const { arbiter, insurance, auditors } = stand.offices;
  const owners = people.map(({ address }) => address);
  const owing = [...owners, BURNED, insurance];
  const triples = owners.flatMap((payer, who) =>
    owners.flatMap((host) => STAGES.map((stage) => ({ who, payer, host, model, stage })))
  );
  const reserves = owners.map((payer, who) => ({ who, payer, host: NOBODY, model: ZERO, stage: 0 }));
  const ids = (await stand.calls(
    [...triples, ...reserves].map((
      { payer, host, model, stage },
    ) => ["escrow", "laneOf", payer, host, model, stage]),
  )).map(([id]) => id as string);
  const groups: Record<string, readonly Question[]> = {
    balances: (["vault", "rewards", "revenue", "escrow"] as const).map((it) => [
      "token",
      "balanceOf",
      stand.contracts[it].at,
    ]),
    accounts: owners.map((owner) => ["vault", "accounts", owner]),
    locks: owners.flatMap((owner) =>
      [registry, rewards, arbiter].map((locker): Question => ["vault", "lockedBy", locker, owner])
    ),
    owed: owing.map((owner) => ["vault", "owed", owner]),
    hosts: owners.map((owner) => ["registry", "hosts", model, owner]),
    stages: STAGES.map((stage) => ["registry", "stages", model, stage]),
    signers: cast.keys.map((key) => ["registry", "hostOfSigner", model, key.address]),
    program: [["rewards", "programs", model]],
    budgets: STAGES.map((stage) => ["rewards", "budgets", model, stage]),
    pools: STAGES.map((stage) => ["revenue", "pools", model, stage]),
    shares: STAGES.flatMap((stage) =>
      owners.map((owner): Question => ["revenue", "withdrawable", model, stage, owner])
    ),
    lanes: ids.map((id) => ["escrow", "lanes", id]),
    earned: [...owners, auditors].map((who) => ["escrow", "earned", who]),
  };
  const answers = await stand.calls(Object.values(groups).flat());
  const of = (name: string) => {
    const names = Object.keys(groups);
    const start = names.slice(0, names.indexOf(name)).reduce((sum, it) => sum + groups[it].length, 0);
    return answers.slice(start, start + groups[name].length);
  };
  const sum = (list: readonly bigint[]) => list.reduce((total, it) => total + it, 0n);
  const [vault, inRewards, inRevenue, inEscrow] = of("balances").map(([balance]) => balance as bigint);

  // 1. The vault holds what is staked, what is unbonding, and what slashes have left.
  const stakes = of("accounts").map(({ staked, unbonding }) => staked + unbonding);
  assert.equal(vault, sum(stakes) + sum(of("owed").map(([owed]) => owed)), "the vault's balance");

  // 2. What was redeemed only rises; nobody pays more than it has deposited.
  const lanes = of("lanes");
  for (const [index, { redeemed }] of lanes.entries()) {
    assert.ok(redeemed >= (memory.redeemed.get(ids[index]) ?? 0n), "redeemed has fallen");
    memory.redeemed.set(ids[index], redeemed);
  }
  for (const who of people.keys()) {
    const own = lanes.filter((_, index) => [...triples, ...reserves][index].who === who);
    const paid = sum(own.map(({ redeemed }) => redeemed));
    const left = sum(own.map(({ deposit }) => deposit));
    assert.equal(paid + left + memory.refunded[who], memory.deposited[who], "a payer's money");
  }
  const earned = sum(of("earned").map(([units]) => units));
  assert.equal(inEscrow, sum(lanes.map(({ deposit }) => deposit)) + earned, "the escrow's balance");

  // 3. What is locked is what its lockers say.
  for (const [index, { locked }] of of("accounts").entries()) {
    assert.equal(locked, sum(of("locks").slice(3 * index, 3 * index + 3).map(([units]) => units)), "locks");
  }

  // 4. No more is claimed than was emitted, stage by stage, and every token is somewhere.
  const budgets = of("budgets");
  for (const { emitted, claimed } of budgets) assert.ok(claimed <= emitted, "claimed more than emitted");
  const emitted = sum(budgets.map(({ emitted }) => emitted));
  assert.ok(emitted <= memory.emitted, "emitted more than the epochs bring");
  assert.equal(sum(budgets.map(({ claimed }) => claimed)), memory.claimed, "claims");
  const [program] = of("program");
  assert.equal(program.pool + emitted, memory.funded, "the pool");
  assert.equal(inRewards, memory.funded - memory.claimed, "the rewards' balance");
  assert.equal(Number(program.epoch), memory.epochs.size, "epochs");

  // 5. Revenue per credit only rises, and what is promised is there.
  for (const [stage, { accPerCredit }] of of("pools").entries()) {
    assert.ok(accPerCredit >= (memory.rises.get(stage) ?? 0n), "accPerCredit has fallen");
    memory.rises.set(stage, accPerCredit);
  }
  // `withdrawable` counts the carry in where somebody holds credit.
  const carried = of("pools").filter(({ totalCredit }) => totalCredit === 0n).map(({ carry }) => carry);
  assert.ok(sum(of("shares").map(([units]) => units)) + sum(carried) <= inRevenue, "the revenue's balance");

  // 8. One operator, one stage; one signer, one operator; and its stake is bound.
  const hosts = of("hosts");
  for (const [stage, { replicas, maxReplicas }] of of("stages").entries()) {
    const here = hosts.filter((host) => host.active && Number(host.stage) === stage);
    assert.equal(Number(replicas), here.length, "replicas");
    assert.ok(replicas <= maxReplicas, "a stage is overfull");
  }
  for (const [index, host] of hosts.entries()) {
    const [bound] = of("locks")[3 * index];
    // A slash may have undone some of it.
    assert.ok(host.active ? bound <= host.locked : bound === 0n, "a place's stake");
    if (!host.active) continue;
    const key = cast.keys.findIndex(({ address }) => stand.spelled(address) === host.signer);
    assert.equal(of("signers")[key].owner, stand.spelled(owners[index]), "a host's signer");
  }
  const taken = of("signers").filter(({ owner }) => owner !== NOBODY);
  assert.equal(taken.length, hosts.filter(({ active }) => active).length, "signers");
}

const act: fc.Arbitrary<Act> = fc.record({
  call: fc.constantFrom(...Object.keys(CALLS)),
  who: fc.nat(2),
  whom: fc.nat(2),
  stage: fc.nat(1),
  units: fc.oneof(fc.bigInt({ min: 0n, max: 40n }), fc.bigInt({ min: 0n, max: 1_500n })),
  flag: fc.boolean(),
});

trials("invariants", new RealClock(), prepare, {
  "hold whatever is called in whatever order": async (stand, cast) => {
    const succeeded = new Map<string, number>();
    await fc.assert(
      fc.asyncProperty(
        fc.array(act, { minLength: CALLS_MAX / 2, maxLength: CALLS_MAX, size: "max" }),
        (acts) =>
          stand.undone(async () => {
            const opening = BigInt(STAGES.length) * 300n;
            const memory: Memory = {
              trees: [],
              epochs: new Map(),
              leaves: [0, 0, 0],
              deposited: cast.people.map(() => opening),
              refunded: cast.people.map(() => 0n),
              emitted: 0n,
              claimed: 0n,
              funded: 3_500n,
              paid: new Map(),
              redeemed: new Map(),
              rises: new Map(),
            };
            for (const it of acts) {
              try {
                await CALLS[it.call](stand, cast, memory, it);
                succeeded.set(it.call, (succeeded.get(it.call) ?? 0) + 1);
              } catch (error) {
                // The chain may refuse; whatever else goes wrong is what is looked for.
                if (!(error instanceof Reverted)) throw error;
              }
              await checkAll(stand, cast, memory);
            }
          }),
      ),
      { numRuns: RUNS, endOnFailure: true },
    );
    // A call that never succeeds tests nothing.
    if (RUNS >= 100) assert.deepEqual(Object.keys(CALLS).filter((call) => !succeeded.has(call)), []);
  },
});
