import assert from "node:assert/strict";
import fc from "fast-check";
import { Wallet } from "ethers";
import { RealClock } from "../actors/core/real_clock.ts";
import { type Chain, ChainError, connectChain } from "./chain.ts";
import type { LedgerClock } from "./clock.ts";
import { type Journal, memoryJournal } from "./journal.ts";
import { LedgerError } from "./ledger.ts";
import { LOCAL_CHAIN_ID } from "./local_chain.ts";
import { Outbox, type OutboxOptions } from "./outbox.ts";
import { type Fate, faultyChain } from "./testing/faulty_chain.ts";
import type { Stand } from "./testing/stand.ts";
import { trials } from "./testing/trial.ts";

/** Waiting takes no time: the chain is asked again at once. */
const hasty: LedgerClock = {
  epochMs: () => 0,
  after(_, fire) {
    let off = false;
    queueMicrotask(() => off || fire());
    return { cancel: () => off = true };
  },
};

const KEY = `0x${"5a".repeat(32)}`;
const TO = `0x${"77".repeat(20)}`;

function open(stand: Stand, options: Partial<OutboxOptions> = {}): Outbox & Disposable {
  const chain = options.chain ?? connectChain(stand.chain.url, LOCAL_CHAIN_ID);
  const outbox = new Outbox({
    chainId: LOCAL_CHAIN_ID,
    wallet: new Wallet(KEY),
    journal: memoryJournal(),
    clock: hasty,
    ...options,
    chain,
  });
  return Object.assign(outbox, { [Symbol.dispose]: () => chain.close() });
}

/** A call whose repetition would show. */
function mint(stand: Stand, units: bigint) {
  const { at, interface: face } = stand.contracts.token;
  return { to: at, data: face.encodeFunctionData("mint", [TO, units]) };
}

const minted = async (stand: Stand) => (await stand.call("token", "balanceOf", TO))[0] as bigint;

async function prepare(stand: Stand): Promise<void> {
  await stand.giveGas(new Wallet(KEY).address);
}

/** A chain with a journal that crashes: from the given moment on nothing is heard or kept. */
class Crash extends Error {}

function mortal(chain: Chain, journal: Journal, steps: number): { chain: Chain; journal: Journal } {
  let left = steps;
  const step = () => {
    if (left-- <= 0) throw new Crash();
  };
  return {
    chain: {
      async ask<T>(method: string, params: readonly unknown[]): Promise<T> {
        step();
        const answer = await chain.ask<T>(method, params);
        step();
        return answer;
      },
      close: () => {},
    },
    journal: {
      load: () => journal.load(),
      async save(text) {
        step();
        await journal.save(text);
        step();
      },
    },
  };
}

trials("outbox", new RealClock(), prepare, {
  "sends what it is given, in order": async (stand) => {
    using outbox = open(stand);
    const blocks = await Promise.all([1n, 10n, 100n].map((units) => outbox.send(mint(stand, units))));
    assert.equal(await minted(stand), 111n);
    assert.deepEqual(blocks.map(({ block }) => block), blocks.map(({ block }) => block).toSorted());
    assert.equal(await outbox.nonce(), 3);
  },
  "what the contract refuses is told, and stands in nobody's way": async (stand) => {
    using outbox = open(stand);
    const { at, interface: face } = stand.contracts.vault;
    const call = { to: at, data: face.encodeFunctionData("requestUnstake", [5n]) };
    await assert.rejects(outbox.send(call), (error) => {
      assert.ok(error instanceof ChainError);
      assert.equal(error.trouble, "reverted");
      assert.equal(face.parseError(error.data)!.name, "FreeStakeTooSmall");
      return true;
    });
    await outbox.send(mint(stand, 1n));
    assert.equal(await minted(stand), 1n);
  },
  "who can't pay is told, and pays later": async (stand) => {
    const poor = new Wallet(`0x${"6b".repeat(32)}`);
    using outbox = open(stand, { wallet: poor });
    await assert.rejects(
      outbox.send(mint(stand, 1n)),
      (error) =>
        error instanceof LedgerError && error.trouble === "unfunded" ||
        error instanceof ChainError && error.trouble === "unfunded",
    );
    await stand.giveGas(poor.address);
    await outbox.send(mint(stand, 1n));
    assert.equal(await minted(stand), 1n);
  },
  "a chain that is gone is given up after a while, and nothing is lost": async (stand) => {
    const journal = memoryJournal();
    const real = connectChain(stand.chain.url, LOCAL_CHAIN_ID);
    let down = false;
    const chain = faultyChain(real, (method) => {
      if (method === "eth_sendRawTransaction") down = true;
      return down ? "before" : "heard";
    });
    using outbox = open(stand, { chain, journal });
    const gone = (error: unknown) => error instanceof LedgerError && error.trouble === "down";
    await assert.rejects(outbox.send(mint(stand, 1n)), gone);
    assert.equal(await minted(stand), 0n);
    assert.match((await journal.load())!, /"pending"/);
    // The same call again is the one that was under way.
    using later = open(stand, { journal });
    await later.send(mint(stand, 1n));
    assert.equal(await minted(stand), 1n);
    assert.equal(await later.nonce(), 1);
  },
  "lost questions and answers change nothing": async (stand) => {
    const fates = fc.infiniteStream(fc.constantFrom<Fate>("heard", "heard", "before", "after"));
    await fc.assert(
      fc.asyncProperty(fates, fc.integer({ min: 1, max: 3 }), (fates, calls) =>
        stand.undone(async () => {
          const real = connectChain(stand.chain.url, LOCAL_CHAIN_ID);
          using outbox = open(stand, { chain: faultyChain(real, () => fates.next().value) });
          for (let call = 0; call < calls; call++) await outbox.send(mint(stand, 10n ** BigInt(call)));
          assert.equal(await minted(stand), BigInt("1".repeat(calls)));
        })),
      { numRuns: 15 },
    );
  },
  "a crash at any moment leads to the same transaction, and to one alone": async (stand) => {
    const steps = fc.array(fc.nat(22), { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(steps, (crashes) =>
        stand.undone(async () => {
          const journal = memoryJournal();
          const real = connectChain(stand.chain.url, LOCAL_CHAIN_ID);
          // What was final when the crash came is out of the outbox's hands: see its first words.
          const isOver = async () =>
            await minted(stand) > 0n && !(await journal.load())?.includes('"pending"');
          for (const at of crashes) {
            using outbox = open(stand, mortal(real, journal, at));
            await outbox.send(mint(stand, 1n)).catch((error) => {
              if (!(error instanceof Crash)) throw error;
            });
            if (await isOver()) break;
          }
          using outbox = open(stand, { journal });
          if (!await isOver()) await outbox.send(mint(stand, 1n));
          assert.equal(await minted(stand), 1n);
          assert.equal(await outbox.nonce(), 1);
          real.close();
        })),
      { numRuns: 30 },
    );
  },
  "another call after a crash waits for the one that was under way": async (stand) => {
    const journal = memoryJournal();
    const real = connectChain(stand.chain.url, LOCAL_CHAIN_ID);
    {
      const chain = faultyChain(real, (method) => method === "eth_sendRawTransaction" ? "before" : "heard");
      using outbox = open(stand, { chain, journal, patienceMs: 0 });
      await assert.rejects(outbox.send(mint(stand, 1n)), LedgerError);
    }
    using outbox = open(stand, { journal });
    await outbox.send(mint(stand, 10n));
    assert.equal(await minted(stand), 11n);
  },
  "a place that another transaction has taken costs a new signature, not a second payment": async (stand) => {
    const real = connectChain(stand.chain.url, LOCAL_CHAIN_ID);
    const wallet = new Wallet(KEY);
    let once = true;
    const chain: Chain = {
      async ask<T>(method: string, params: readonly unknown[]): Promise<T> {
        if (method === "eth_sendRawTransaction" && once) {
          once = false;
          // Somebody else with the same key is quicker.
          const raw = await wallet.signTransaction({
            ...mint(stand, 1_000n),
            chainId: LOCAL_CHAIN_ID,
            nonce: 0,
            gasLimit: 100_000,
            maxFeePerGas: 10n ** 10n,
            maxPriorityFeePerGas: 10n ** 9n,
          });
          await real.ask("eth_sendRawTransaction", [raw]);
          while (Number(await real.ask("eth_getTransactionCount", [wallet.address, "latest"])) === 0);
        }
        return await real.ask<T>(method, params);
      },
      close: () => real.close(),
    };
    using outbox = open(stand, { chain });
    await outbox.send(mint(stand, 1n));
    assert.equal(await minted(stand), 1_001n);
    assert.equal(await outbox.nonce(), 2);
  },
  "a block that is taken back does not take the transaction with it": async (stand) => {
    using outbox = open(stand, { confirmations: 3, pollMs: 1 });
    let over = false;
    const sending = outbox.send(mint(stand, 1n)).finally(() => over = true);
    while (!over && await minted(stand) === 0n);
    await stand.ask("anvil_reorg", [1, []]);
    assert.equal(await minted(stand), 0n);
    while (!over) await stand.mine(1);
    await sending;
    assert.equal(await minted(stand), 1n);
  },
  "a place that was taken in a block that is gone is free again": async (stand) => {
    const real = connectChain(stand.chain.url, LOCAL_CHAIN_ID);
    let isGone = false;
    const chain: Chain = {
      async ask<T>(method: string, params: readonly unknown[]): Promise<T> {
        const answer = await real.ask<T>(method, params);
        // Between this answer and the next question.
        if (!isGone && method === "eth_getTransactionCount" && await minted(stand) > 0n) {
          isGone = true;
          await stand.ask("anvil_reorg", [1, []]);
        }
        return answer;
      },
      close: () => real.close(),
    };
    using outbox = open(stand, { chain, confirmations: 3, pollMs: 1, patienceMs: 2_000 });
    let over = false;
    const sending = outbox.send(mint(stand, 1n)).finally(() => over = true);
    while (!over) await stand.mine(1);
    await sending;
    assert.ok(isGone);
    assert.equal(await minted(stand), 1n);
    assert.equal(await outbox.nonce(), 1);
  },
  "what no block wants to take pays more": async (stand) => {
    await stand.ask("evm_setAutomine", [false]);
    const journal = memoryJournal();
    const real = connectChain(stand.chain.url, LOCAL_CHAIN_ID);
    let sent = 0;
    const chain: Chain = {
      async ask<T>(method: string, params: readonly unknown[]): Promise<T> {
        const answer = real.ask<T>(method, params);
        // The first form is never taken; once a second is there, a block comes.
        if (method === "eth_sendRawTransaction" && ++sent >= 6) {
          await answer.catch(() => {});
          await stand.mine(1);
        }
        return await answer;
      },
      close: () => real.close(),
    };
    using outbox = open(stand, { chain, journal, patienceMs: 10 ** 9 });
    await outbox.send(mint(stand, 1n));
    assert.equal(await minted(stand), 1n);
    assert.equal(await outbox.nonce(), 1);
    await stand.ask("evm_setAutomine", [true]);
  },
  "a journal that can't be read is no empty one": async (stand) => {
    for (const text of ["", "{", "{}", '{"recent":[],"more":1}', '{"recent":["x"]}']) {
      using outbox = open(stand, { journal: memoryJournal(text) });
      await assert.rejects(outbox.send(mint(stand, 1n)));
    }
    assert.equal(await minted(stand), 0n);
  },
  "waiting ends when the owner is closed": async (stand) => {
    await stand.ask("evm_setAutomine", [false]);
    const stop = new AbortController();
    using outbox = open(stand, { clock: new RealClock(), signal: stop.signal, pollMs: 1 });
    const sending = outbox.send(mint(stand, 1n));
    stop.abort(new Error("closed"));
    await assert.rejects(sending, /closed/);
    await stand.ask("evm_setAutomine", [true]);
  },
});
