/**
 * Texts for money, with real processes and a real chain: a reader pays three stages
 * for a thousand tokens, a host is killed in the middle, and what is redeemed is what
 * was computed, to the unit.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { VOUCHERS_FILE } from "../cli/accounts.ts";
import { RealClock } from "../actors/core/real_clock.ts";
import { redeemVouchers, withdrawAll } from "../cli/earnings.ts";
import { LocalOperators } from "../cli/local_operators.ts";
import { type LocalHost, LocalSwarm } from "../cli/local_swarm.ts";
import { UNITS_PER_TOKEN } from "../contracts/deployment.ts";
import { findAnvil } from "../contracts/local_chain.ts";
import { partition } from "../run/mod.ts";
import { tinyManifest } from "./data.ts";

const program = findAnvil();
const TOKENS = 1_000;
const PROMPT = "one two three";
const manifest = tinyManifest({ sequenceLength: TOKENS + 100, replicas: { floor: 1, ceiling: 2 } });
const stages = partition(manifest).length;
const PRICE = 1_003n;
const DEPOSIT = 10n * UNITS_PER_TOKEN;

/** What a home has promised to each lane, from its disk. */
async function promisesIn(
  folder: string,
  { chainId, escrow }: { readonly chainId: number; readonly escrow: string },
): Promise<Map<string, bigint>> {
  const rows: [string, string][] = JSON.parse(
    await Deno.readTextFile(join(folder, `${chainId}-${escrow}.json`)),
  );
  return new Map(rows.map(([lane, units]) => [lane, BigInt(units)]));
}

Deno.test({
  name: "a thousand tokens are paid through three stages, to the unit, though a host dies in the middle",
  ignore: program === undefined,
  fn: async () => {
    const folder = await Deno.makeTempDir({ prefix: "murmuration-test-" });
    const clock = new RealClock();
    try {
      const run = join(folder, "run.json");
      await Deno.writeTextFile(run, JSON.stringify(manifest));
      await using operators = await LocalOperators.open({
        run,
        folder,
        program: program!,
        clock,
        emissionUnits: 1n,
        terms: { thawSeconds: 0 },
      });
      const { at } = operators;
      const payer = await operators.wallet("payer", 100n * UNITS_PER_TOKEN);
      const hosts: LocalHost[] = [];
      /** Tokens that each host has computed of texts that went on. */
      const computed = new Map<string, bigint>();
      let victim: LocalHost | undefined;
      {
        await using swarm = await LocalSwarm.start({
          run,
          folder,
          device: "onnx",
          threads: 1,
          clock,
          priceUnits: PRICE,
          enrol: (number, dataDir) => operators.enrol(number, dataDir),
        });
        hosts.push(...await Promise.all(Array.from({ length: 2 * stages }, () => swarm.startHost())));
        let path: readonly string[] = [];
        let length = PROMPT.length;
        let pending = length;
        let count = 0;
        const flags = [
          "--tokens",
          `${TOKENS}`,
          "--temperature",
          "0",
          ...payer.flags,
          "--payments-dir",
          join(folder, "payments"),
        ];
        for await (const event of swarm.generateTokens(PROMPT, flags)) {
          if (event.kind === "placed") path = event.path;
          if (event.kind === "repaired") [path, pending] = [event.path, length];
          if (event.kind !== "token") continue;
          for (const peer of path) computed.set(peer, (computed.get(peer) ?? 0n) + BigInt(pending));
          length++;
          pending = 1;
          if (++count < TOKENS / 2 || victim !== undefined) continue;
          victim = hosts.find(({ peer }) => peer === path[1])!;
          await victim.kill();
        }
        assert.equal(count, TOKENS);
      }

      const laneOf = ({ stage }: LocalHost, host: string) => ({
        payer: payer.address,
        host,
        model: at.model,
        stage: stage!,
      });
      const promises = await promisesIn(join(folder, "payments"), at.deployment);
      let paid = 0n;
      for (const host of hosts) {
        const account = operators.operatorOf(host.number);
        using own = await operators.open(host.number);
        const vouchers = join(folder, `host-${host.number}`, VOUCHERS_FILE);
        await redeemVouchers(own, at, account, [vouchers]);
        await redeemVouchers(own, at, account, [vouchers]);
        const { redeemedUnits, depositUnits } = await own.laneOf(laneOf(host, account));
        assert.ok(depositUnits >= 0n);
        paid += redeemedUnits;
        const owed = (computed.get(host.peer) ?? 0n) * PRICE;
        // The last stage is told of nothing that did not come back; what went out to the first before the
        // second died was computed there.
        const promised = promises.get(`${account} ${at.model} ${host.stage}`) ?? 0n;
        const figures = `host ${host.number} of stage ${host.stage}${host === victim ? ", killed" : ""}: ` +
          [redeemedUnits, promised, owed].map((units) => `${Number(units) / Number(PRICE)}`).join(", ");
        // What a home that is gone has promised is what those of its hosts have that live.
        if (host === victim) assert.ok(redeemedUnits > 0n && redeemedUnits <= promised, figures);
        else assert.equal(redeemedUnits, promised, figures);
        if (host.stage === stages - 1) assert.equal(promised, owed, figures);
        else if (host !== victim) assert.ok(promised >= owed, figures);
        await withdrawAll(own, at, account, [folder]);
        const { servedUnits, withdrawnUnits } = await own.earnings(account);
        assert.equal(servedUnits, 0n);
        // 20 % wait for those who train the shard, 3 % go to the auditors.
        const kept = redeemedUnits - redeemedUnits * 2_000n / 10_000n - redeemedUnits * 300n / 10_000n;
        assert.equal(withdrawnUnits, kept);
      }

      // Total paid is total deposited less what is refunded.
      const key = await operators.openWallet("payer");
      const before = (await key.balancesOf(payer.address)).tokenUnits;
      let refunded = 0n;
      for (const host of hosts) {
        const account = operators.operatorOf(host.number);
        const { depositUnits } = await key.laneOf(laneOf(host, account));
        if (depositUnits === 0n) continue;
        await key.thaw(account, at.model, host.stage!, depositUnits);
        await key.refund(account, at.model, host.stage!);
        refunded += depositUnits;
      }
      const after = (await key.balancesOf(payer.address)).tokenUnits;
      assert.equal(after - before, refunded);
      assert.equal(100n * UNITS_PER_TOKEN - after, paid);
      assert.equal((paid + refunded) % DEPOSIT, 0n);
      key[Symbol.dispose]();
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
