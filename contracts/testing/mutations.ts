/**
 * Whether the tests notice when a rule is missing: breaks each rule in a copy of
 * the sources and runs the tests against that.
 * `deno run -A contracts/testing/mutations.ts [part of a mutation's name …]`.
 * A mutation that no test notices is a rule without a test, and fails the run.
 */

import { fileURLToPath } from "node:url";
import { artifactTexts } from "../build.ts";
import { readSources } from "../compile.ts";

const CONTRACTS_FOLDER = fileURLToPath(new URL("../", import.meta.url));

/** A rule, broken: the first text becomes the second, at its only place in the file. */
interface Mutation {
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

const mutate = (file: string, list: readonly (readonly [from: string, to: string])[]): Mutation[] =>
  list.map(([from, to]) => ({ file: `${file}.sol`, from, to }));

const MUTATIONS: readonly Mutation[] = [
  ...mutate("Guarded", [
    ["if (msg.sender != guardian) revert NotGuardian(msg.sender);", ""],
  ]),
  ...mutate("StakeVault", [
    ["function stake(uint128 amount) external whenNotPaused", "function stake(uint128 amount) external"],
    ["whenNotPaused nonReentrant {\n        if (amount == 0)", "whenNotPaused {\n        if (amount == 0)"],
    [
      "function requestUnstake(uint128 amount) external nonReentrant {",
      "function requestUnstake(uint128 amount) external {",
    ],
    [
      "function requestUnstake(uint128 amount) external nonReentrant {",
      "function requestUnstake(uint128 amount) external whenNotPaused nonReentrant {",
    ],
    ["_takeFree(account, msg.sender, amount);", ""],
    ["account.staked -= amount;", ""],
    ["account.readyAt = uint64(block.timestamp) + unbondingSeconds;", ""],
    ["if (block.timestamp < account.readyAt) revert NotReady(account.readyAt);", ""],
    ["        account.unbonding = 0;\n", ""],
    ["function withdraw(address owner) external nonReentrant", "function withdraw(address owner) external"],
    ["owed[account] = 0;", ""],
    ["_takeFree(account, owner, amount);", ""],
    ["account.locked += amount;", ""],
    ["if (amount > held) revert LockTooSmall(owner, held, amount);", "if (amount > held) held = amount;"],
    ["_unlock(owner, held, uint128(Math.min(held, amount)));", ""],
    ["account.staked -= fromStake;", ""],
    ["account.unbonding -= fromUnbonding;", ""],
    ["taken = fromStake + fromUnbonding;", "taken = amount;"],
    ["CHALLENGER_BPS = 4_000", "CHALLENGER_BPS = 6_000"],
    ["owed[insurance] += taken - toChallenger - burned;", "owed[insurance] += taken - toChallenger;"],
    ["if (!isLocker[msg.sender]) revert NotLocker(msg.sender);", ""],
    [
      "return account.staked > account.locked ? account.staked - account.locked : 0;",
      "return account.staked;",
    ],
  ]),
  ...mutate("StageRegistry", [
    ["if (models[model].owner != address(0)) revert ModelExists(model);", ""],
    ["bool bad = terms.length > STAGES_MAX;", "bool bad = false;"],
    ["if (term.weightBps == 0 || term.maxReplicas == 0) bad = true;", ""],
    ["if (bad || weightBps != WHOLE_BPS)", "if (bad)"],
    ["if (models[model].owner != msg.sender) revert NotModelOwner(msg.sender);", ""],
    ["if (!models[model].active) revert ModelNotActive(model);", ""],
    ["revert RequestPending(request.drawBlock);", "request.drawBlock;"],
    ["if (block.number <= request.drawBlock) revert DrawNotReady(request.drawBlock);", ""],
    [
      "if (block.number > request.drawBlock + HASHES_KNOWN) revert DrawTooLate(request.drawBlock);",
      "",
    ],
    ["if (taken != address(0) && taken != owner) revert SignerTaken(request.signer);", ""],
    ["if (taken != address(0) && taken != msg.sender) revert SignerTaken(signer);", ""],
    ["delete requests[model][owner];", ""],
    ["if (hosts[model][owner].active) _remove(model, owner);", ""],
    ["        stages[model][stage].replicas += 1;\n", ""],
    ["        vault.lock(owner, minStake);\n", ""],
    ["delete ownerOfSigner[model][host.signer];\n        host.signer", "host.signer"],
    [
      "        delete ownerOfSigner[model][host.signer];\n        delete hosts",
      "        delete hosts",
    ],
    ["if (staked >= host.locked) revert StakeSuffices(owner);", ""],
    ["if (!host.active) revert NotHost(owner);", ""],
    ["if (recovered == address(0) || recovered != signer) revert NoConsent(signer);", ""],
    ["recovered == address(0) || ", ""],
    ["if (stage.replicas >= stage.maxReplicas) continue;", ""],
    ["if (ties > 0 && left > right) continue;", ""],
    ["uint256 left = stage.replicas * weight;", "uint256 left = stage.replicas * uint256(stage.weightBps);"],
    ["stages[model][host.stage].replicas -= 1;", ""],
    ["        vault.unlock(owner, host.locked);\n", ""],
    ["CONSENT_TYPEHASH, msg.sender, model", "CONSENT_TYPEHASH, signer, model"],
  ]),
  ...mutate("TrainingRewards", [
    ["if (owner != msg.sender) revert NotModelOwner(msg.sender);", ""],
    ["if (root == 0) revert EmptyRoot();", ""],
    ["if (proposal.proposer != address(0)) revert ProposalPending(proposal.proposer);", ""],
    ["if (epoch != program.epoch + 1) revert WrongEpoch(program.epoch + 1);", ""],
    ["if (block.timestamp < program.nextAt) revert TooEarly(program.nextAt);", ""],
    [
      "        emit Proposed(model, epoch, msg.sender, root, leavesHash);\n        vault.lock(msg.sender, bond);",
      "        emit Proposed(model, epoch, msg.sender, root, leavesHash);",
    ],
    ["if (proposal.root != root) revert NoProposal();", ""],
    [
      "        uint64 until = proposal.proposedAt + windowSeconds;\n        if (block.timestamp >= until) revert TooLate(until);\n",
      "",
    ],
    [
      "msg.sender);\n        vault.lock(msg.sender, bond);\n    }\n\n    /// The arbiter",
      "msg.sender);\n    }\n\n    /// The arbiter",
    ],
    ["if (msg.sender != arbiter) revert NotArbiter(msg.sender);", ""],
    [
      "vault.slash(proposal.challenger, bond, proposal.proposer);",
      "vault.unlock(proposal.challenger, bond);",
    ],
    ["vault.slash(proposal.proposer, bond, proposal.challenger);", "vault.unlock(proposal.proposer, bond);"],
    [
      "        uint64 until = proposal.challengedAt + rulingSeconds;\n        if (block.timestamp >= until) revert TooLate(until);\n",
      "",
    ],
    [
      "        uint64 since = proposal.challengedAt + rulingSeconds;\n        if (block.timestamp < since) revert TooEarly(since);\n",
      "",
    ],
    [
      "        uint64 since = proposal.proposedAt + windowSeconds;\n        if (block.timestamp < since) revert TooEarly(since);\n",
      "",
    ],
    [
      "        Proposal memory proposal = _pending(model);\n        if (proposal.challenger != address(0)) revert AlreadyChallenged(proposal.challenger);",
      "        Proposal memory proposal = _pending(model);",
    ],
    [
      "if (!proven(model, stage, account, epoch, cumReward, cumCredit, proof)) revert NotProven();",
      "",
    ],
    ["uint128 due = cumReward - before;", "uint128 due = cumReward;"],
    ["if (due > left) revert OverEmission(left, due);", ""],
    ["budget.claimed += due;", ""],
    ["claimed[model][stage][account] = cumReward;", ""],
    ["abi.encode(block.chainid, address(this), model", "abi.encode(uint256(31337), address(this), model"],
    ["program.nextAt = proposal.proposedAt + epochSeconds;", ""],
    ["uint128(Math.min(program.emission, program.pool))", "program.emission"],
    ["(uint256(emission) * weightBps) / WHOLE_BPS", "emission"],
    ["program.pool -= emitted;", ""],
  ]),
  ...mutate("ShardRevenue", [
    ["if (msg.sender != escrow) revert NotEscrow(msg.sender);", ""],
    [
      "if (!rewards.proven(model, stage, account, epoch, cumReward, cumCredit, proof)) revert NotProven();",
      "",
    ],
    ["if (cumCredit <= share.credit) revert CreditNotRising(share.credit);", ""],
    ["        _settle(pool, share);\n        pool.totalCredit", "        pool.totalCredit"],
    [
      "        _distribute(pool);\n        _settle(pool, share);\n        pool.totalCredit",
      "        _settle(pool, share);\n        pool.totalCredit",
    ],
    ["pool.totalCredit += cumCredit - share.credit;", "pool.totalCredit += cumCredit;"],
    ["share.owed = 0;", ""],
    ["share.settledAt = pool.accPerCredit;", ""],
    ["pool.carry -= spent;", ""],
    ["if (totalCredit == 0) return (0, 0);", "if (totalCredit == 0) return (0, carry);"],
    ["Math.Rounding.Ceil", "Math.Rounding.Floor"],
  ]),
  ...mutate("InferenceEscrow", [
    ["if (host == address(0)) revert NoHost();\n        _deposit", "_deposit"],
    ["if (amount > reserve.deposit) revert DepositTooSmall(reserve.deposit, amount);", ""],
    ["        reserve.deposit -= amount;\n", ""],
    ["if (amount > available) revert DepositTooSmall(available, amount);", ""],
    ["uint64 readyAt = uint64(block.timestamp) + thawSeconds;", "uint64 readyAt = uint64(block.timestamp);"],
    ["if (block.timestamp < thawing.readyAt) revert NotReady(thawing.readyAt);", ""],
    ["uint128(Math.min(thawing.amount, lane.deposit))", "thawing.amount"],
    ["delete thaws[id];", ""],
    ["        lane.deposit -= amount;\n", ""],
    ["if (reason == Refusal.None) total += paid;", "total += paid; if (reason == Refusal.None) total += 1;"],
    [
      "if (!MerkleProof.verifyCalldata(proof, path.root, keccak256(abi.encode(inner)))) revert NotProven();",
      "",
    ],
    ["earned[account] = 0;", ""],
    ["if (block.timestamp > expiry) return Refusal.Expired;", ""],
    [
      "return signer == address(0) || signer != payer ? Refusal.Forged : Refusal.None;",
      "signer; payer; return Refusal.None;",
    ],
    ["signer == address(0) || ", ""],
    [
      "if (cumulative <= lane.redeemed) return (0, Refusal.Spent);",
      "if (cumulative <= lane.redeemed) return (0, Refusal.None);",
    ],
    ["uint128 due = cumulative - lane.redeemed;", "uint128 due = cumulative;"],
    ["lane.redeemed += paid;", ""],
    ["lane.deposit -= paid;", ""],
    ["if (more > 0) reserve.deposit -= more;", ""],
    ["paid = uint128(Math.min(due, lane.deposit));", "paid = due;"],
    ["uint128 toHost = paid - toShard - toAuditors;", "uint128 toHost = paid - toShard;"],
    ["ROYALTY_BPS = 2_000", "ROYALTY_BPS = 1_000"],
    ["earned[auditors] += toAuditors;", ""],
    [
      "VOUCHER_TYPEHASH,\n                voucher.payer,\n                host,\n                model,\n                stage,",
      "VOUCHER_TYPEHASH,\n                voucher.payer,\n                host,\n                model,\n                uint32(3),",
    ],
    [
      "function withdraw(address account) external nonReentrant",
      "function withdraw(address account) external whenNotPaused nonReentrant",
    ],
    [
      "function refund(address payer, address host, bytes32 model, uint32 stage) external nonReentrant",
      "function refund(address payer, address host, bytes32 model, uint32 stage) external",
    ],
  ]),
];

const UNIT_TESTS = ["stake_vault", "stage_registry", "training_rewards", "shard_revenue", "inference_escrow"];

/** The first that fails ends the matter, so the mutated contract's own test comes first. */
function testsOf(file: string): readonly (readonly string[])[] {
  const own = file.replace(".sol", "").replace(/(?<=.)[A-Z]/g, "_$&").toLowerCase();
  return [
    ...UNIT_TESTS.includes(own) ? [[own]] : [],
    UNIT_TESTS.filter((name) => name !== own),
    ["adversaries"],
    ["invariants"],
  ];
}

/** Which tests fail on these artifacts, the first of them. */
async function noticedBy(artifacts: string, file: string): Promise<string | undefined> {
  for (const names of testsOf(file)) {
    const { code } = await new Deno.Command(Deno.execPath(), {
      args: [
        ...["test", "-A", "--no-check", "--fail-fast"],
        ...names.map((name) => `${CONTRACTS_FOLDER}${name}_test.ts`),
      ],
      env: { CONTRACTS_ARTIFACTS: artifacts },
      stdout: "null",
      stderr: "null",
    }).output();
    if (code !== 0) return names.join(", ");
  }
  return undefined;
}

if (import.meta.main) {
  const sources = readSources({ adversaries: true });
  const chosen = MUTATIONS.filter(({ file, from }) =>
    Deno.args.length === 0 || Deno.args.some((part) => `${file} ${from}`.includes(part))
  );
  const folder = await Deno.makeTempDir();
  await Deno.mkdir(`${folder}/testing`);
  let missed = 0;
  try {
    for (const { file, from, to } of chosen) {
      const title = `${file}: ${from.trim().replace(/\s+/g, " ").slice(0, 80)}`;
      if (sources[file].split(from).length !== 2) throw new Error(`Cannot mutate ${title}: not found once`);
      const mutant = { ...sources, [file]: sources[file].replace(from, () => to) };
      for (const [path, text] of Object.entries(artifactTexts(mutant, { lenient: true, optimize: false }))) {
        await Deno.writeTextFile(`${folder}/${path}`, text);
      }
      const by = await noticedBy(folder, file);
      if (by === undefined) missed++;
      console.log(`${by === undefined ? "MISSED" : "noticed"} ${by ?? ""} ${title}`);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
  console.log(`${chosen.length - missed} of ${chosen.length} mutations noticed`);
  if (missed > 0) Deno.exit(1);
}
