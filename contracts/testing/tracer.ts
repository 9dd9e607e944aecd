/**
 * What of the contracts was executed: the program counters, and where jumps went.
 * It only collects; `coverage.ts` knows the source.
 */

import type { Deployment } from "../deployment.ts";

/** Asks a chain. */
type Ask = <T>(method: string, params: readonly unknown[]) => Promise<T>;

/** Runs inside the chain: one entry for each pair of neighbouring instructions of one contract. */
const TRACER = `{
  seen: {}, last: {},
  step: function (log) {
    var depth = log.getDepth(), at = toHex(log.contract.getAddress()), pc = log.getPC();
    var last = this.last[depth];
    this.seen[at + " " + pc] = 1;
    if (last && last[0] === at) this.seen[at + " " + last[1] + " " + pc] = 1;
    this.last[depth] = log.op.toString() === "JUMPI" ? [at, pc] : null;
    this.last[depth + 1] = null;
  },
  fault: function () {},
  result: function () { return Object.keys(this.seen); }
}`;

/** Writes what one stand has executed into a folder. */
export class Tracer {
  readonly #ask: Ask;
  readonly #names: ReadonlyMap<string, string>;
  readonly #folder: string;
  readonly #seen = new Set<string>();

  private constructor(ask: Ask, names: ReadonlyMap<string, string>, folder: string) {
    this.#ask = ask;
    this.#names = names;
    this.#folder = folder;
  }

  /** One, if coverage is asked for. */
  static open(ask: Ask, deployment: Deployment): Tracer | undefined {
    const folder = Deno.env.get("CONTRACTS_COVERAGE");
    if (folder === undefined) return undefined;
    const names = new Map([
      [deployment.vault, "StakeVault"],
      [deployment.registry, "StageRegistry"],
      [deployment.rewards, "TrainingRewards"],
      [deployment.revenue, "ShardRevenue"],
      [deployment.escrow, "InferenceEscrow"],
    ].map(([address, name]) => [address.toLowerCase(), name]));
    return new Tracer(ask, names, folder);
  }

  async transaction(hash: string): Promise<void> {
    this.#note(await this.#ask<string[]>("debug_traceTransaction", [hash, { tracer: TRACER }]));
  }

  async call(request: unknown): Promise<void> {
    this.#note(await this.#ask<string[]>("debug_traceCall", [request, "latest", { tracer: TRACER }]));
  }

  #note(seen: readonly string[]): void {
    for (const entry of seen) {
      const [address, ...pcs] = entry.split(" ");
      const name = this.#names.get(address.toLowerCase());
      if (name !== undefined) this.#seen.add([name, ...pcs].join(" "));
    }
  }

  async write(): Promise<void> {
    const file = await Deno.makeTempFile({ dir: this.#folder, suffix: ".txt" });
    await Deno.writeTextFile(file, [...this.#seen].join("\n"));
  }
}
