/**
 * The demo's ledger: an operator for each host, a wallet for the trainer, and at the
 * end a table of who earned what. Without anvil there is none.
 */

import { join } from "node:path";
import type { Clock } from "../actors/core/clock.ts";
import { UNITS_PER_TOKEN } from "../contracts/deployment.ts";
import { findAnvil } from "../contracts/local_chain.ts";
import { withdrawAll } from "./earnings.ts";
import * as format from "./format.ts";
import { inTokens } from "./ledger.ts";
import { LocalOperators } from "./local_operators.ts";
import type { LocalHost, LocalSwarmOptions } from "./local_swarm.ts";

/** What an epoch brings. */
const EMISSION_UNITS = 300n * UNITS_PER_TOKEN;
/** So short that a demo sees several epochs become final. */
const TERMS = { windowSeconds: 3, epochSeconds: 8 };
const TRAINER_UNITS = 100n * UNITS_PER_TOKEN;

/** Who is on it, by the numbers of their hosts. */
interface Enrolled {
  readonly stage: number;
  isKilled: boolean;
}

/** A ledger for one demo. */
export class DemoLedger implements AsyncDisposable {
  readonly #operators: LocalOperators;
  readonly #enrolled = new Map<number, Enrolled>();

  private constructor(operators: LocalOperators) {
    this.#operators = operators;
  }

  /** Opens one, if there is anvil. The run's manifest gets its address. */
  static async open(
    { run, folder, clock }: { readonly run: string; readonly folder: string; readonly clock: Clock },
  ): Promise<DemoLedger | undefined> {
    const program = findAnvil();
    if (program === undefined) return undefined;
    const own = join(folder, "ledger");
    await Deno.mkdir(own);
    const options = { run, folder: own, program, clock, emissionUnits: EMISSION_UNITS, terms: TERMS };
    return new DemoLedger(await LocalOperators.open(options));
  }

  /** What a swarm needs to know of it. */
  get swarmOptions(): Pick<LocalSwarmOptions, "enrol"> {
    return {
      enrol: async (number, dataDir) => {
        const stage = await this.#operators.enrol(number, dataDir);
        this.#enrolled.set(number, { stage, isKilled: false });
        return stage;
      },
    };
  }

  /** With which a trainer proposes what hosts have earned. */
  async trainerFlags(): Promise<readonly string[]> {
    return (await this.#operators.wallet("trainer", TRAINER_UNITS)).flags;
  }

  /** A host is gone for good: its operator gives its place up, and keeps what it has earned. */
  async buried({ number }: Pick<LocalHost, "number">): Promise<void> {
    this.#enrolled.get(number)!.isKilled = true;
    using ledger = await this.#operators.open(number);
    await ledger.resign(this.#operators.at.model);
  }

  /**
   * Has every operator claim and withdraw.
   *
   * @param epochs folder of the trainer's documents.
   * @returns a table for a person.
   */
  async withdrawAll(epochs: string): Promise<string> {
    const { at } = this.#operators;
    const lines: string[] = [];
    let all = 0n;
    for (const [number, { stage, isKilled }] of [...this.#enrolled].sort(([a], [b]) => a - b)) {
      const account = this.#operators.operatorOf(number);
      using ledger = await this.#operators.open(number);
      await withdrawAll(ledger, at, account, [epochs]);
      const { withdrawnUnits } = await ledger.earnings(account);
      all += withdrawnUnits;
      const amount = format.rate(Number(inTokens(withdrawnUnits)));
      const remark = isKilled ? "   killed; it earned for what it had done" : "";
      lines.push(
        `    ${account.slice(0, 8)}…  host ${number} of stage ${stage}  ${
          amount.padStart(8)
        } tokens${remark}`,
      );
    }
    const { finalEpoch } = await this.#epoch();
    const total = format.rate(Number(inTokens(all)));
    return `${lines.join("\n")}\n\n    ${total} tokens in ${finalEpoch} epochs of ${
      inTokens(EMISSION_UNITS)
    }`;
  }

  async #epoch(): Promise<{ readonly finalEpoch: number }> {
    const [[number]] = [...this.#enrolled];
    using ledger = await this.#operators.open(number);
    return await ledger.epochOf(this.#operators.at.model);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#operators[Symbol.asyncDispose]();
  }
}
