import assert from "node:assert/strict";
import { RealClock } from "../actors/core/real_clock.ts";
import { connectChain } from "./chain.ts";
import { openDeployer, openLedger } from "./chain_ledger.ts";
import { CONTRACTS } from "./artifacts.ts";
import { deploy, escrowDomain, localTerms } from "./deployment.ts";
import { memoryJournal } from "./journal.ts";
import { findAnvil, LOCAL_CHAIN_ID, startLocalChain } from "./local_chain.ts";
import { Outbox } from "./outbox.ts";
import { digestSigner } from "./signing.ts";
import { Wallet } from "ethers";
import { hex, TypedData } from "./typed_data.ts";

const program = findAnvil();
const clock = new RealClock();
const KEY = new Uint8Array(32).fill(11);
const ONE_ETHER = "0xde0b6b3a7640000";

Deno.test({
  name: "a chain that goes away and comes back has lost nothing, and neither has who waited for it",
  ignore: program === undefined,
  fn: async () => {
    const folder = await Deno.makeTempDir();
    const me = digestSigner(KEY);
    const first = await startLocalChain({ clock, program: program!, folder });
    const port = Number(new URL(first.url).port);
    const connection = { key: KEY, clock, pollMs: 5, chain: first.url };
    const chain = connectChain(first.url, LOCAL_CHAIN_ID);
    await chain.ask("anvil_setBalance", [me.address, ONE_ETHER]);
    using deployer = openDeployer({ ...connection, journal: memoryJournal(), chainId: LOCAL_CHAIN_ID });
    const deployment = await deploy(deployer, localTerms(me.address));
    {
      const wallet = new Wallet(hex(KEY));
      const outbox = new Outbox({
        ...connection,
        chain,
        chainId: LOCAL_CHAIN_ID,
        wallet,
        journal: memoryJournal(),
      });
      const data = CONTRACTS.TestToken.interface.encodeFunctionData("mint", [me.address, 1_000n]);
      await outbox.send({ to: deployment.token, data });
    }
    using ledger = await openLedger({ ...connection, deployment, journal: memoryJournal() });
    const model = `0x${"c".repeat(64)}`;
    await ledger.deposit(me.address, model, 0, 500n);
    const voucher = {
      payer: me.address,
      host: me.address,
      model,
      stage: 0,
      expirySeconds: 4_000_000_000,
      cumulativeUnits: 100n,
    };
    const signature = me.sign(new TypedData(escrowDomain(deployment)).voucher(voucher));
    await ledger.redeemMany([{ ...voucher, signature }]);

    await first[Symbol.asyncDispose]();
    await assert.rejects(ledger.stakeOf(me.address), /Cannot eth_call/);
    const staking = ledger.deposit(me.address, model, 1, 200n);
    staking.catch(() => {});
    await using _second = await startLocalChain({ clock, program: program!, folder, port });
    // It had asked before the chain was back, or it had not; whoever asks again finds nothing paid twice.
    await staking.catch(() => ledger.deposit(me.address, model, 1, 200n));
    const lanes = await Promise.all(
      [0, 1].map((stage) => ledger.laneOf({ payer: me.address, host: me.address, model, stage })),
    );
    assert.deepEqual(lanes.map(({ depositUnits }) => depositUnits), [400n, 200n]);
    const { rows, servedUnits } = await ledger.earnings(me.address);
    assert.deepEqual(rows.map(({ inferenceUnits }) => inferenceUnits), [77n]);
    // The account has every office here, so the auditors' share is its own.
    assert.equal(servedUnits, 80n);
    chain.close();
    await Deno.remove(folder, { recursive: true });
  },
});
