/**
 * A network of machines that are far from each other, for processes of this
 * one: each machine is a network namespace with one device, and a process in
 * the middle delays, loses and cuts (see `router_process.ts`). It stands in for
 * `tc netem`, which many kernels are built without, and can be cut as a whole.
 *
 * The processes, their TCP and their congestion control are real. All of it is
 * gone when it is disposed of, and when the process that opened it ends.
 */

import { join } from "node:path";
import type { Clock } from "../../actors/core/clock.ts";
import { Child } from "../../cli/child.ts";
import type { Place } from "../../cli/local_swarm.ts";
import type { Impairment } from "./between.ts";
import { Namespace, runProgram } from "./namespace.ts";
import { addressOf, type RouterTask } from "./router_process.ts";

/**
 * How TCP answers loss: `reno`, which every kernel has, takes it for a full line and halves its pace, and so
 * does `cubic`, the usual default; `bbr` measures the line.
 */
export type CongestionControl = "reno" | "bbr";

/** Those that a namespace may choose here. */
export async function congestionControls(): Promise<CongestionControl[]> {
  const allowed = await Deno.readTextFile("/proc/sys/net/ipv4/tcp_allowed_congestion_control");
  return (["reno", "bbr"] as const).filter((name) => allowed.trim().split(/\s+/).includes(name));
}

/** What the network is like. */
export interface BadNetworkOptions {
  readonly machines: number;
  readonly impairment: Impairment;
  /** Without it: as this machine has it. */
  readonly congestionControl?: CongestionControl;
  /** For logs. */
  readonly folder: string;
  readonly clock: Clock;
}

/** See the top of this file. */
export class BadNetwork implements AsyncDisposable {
  readonly #namespaces: readonly Namespace[];
  readonly #router: Child;

  private constructor(namespaces: readonly Namespace[], router: Child) {
    this.#namespaces = namespaces;
    this.#router = router;
  }

  /**
   * Why there can't be one here; `undefined` where it can. It has a look: nothing of it stays.
   */
  static async obstacle(): Promise<string | undefined> {
    if (Deno.build.os !== "linux") return "network namespaces are Linux's";
    try {
      await using namespace = await Namespace.open();
      await runProgram([...namespace.through, "ip", "link", "set", "lo", "up"]);
      await Deno.stat("/dev/net/tun");
      return undefined;
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      return error.message;
    }
  }

  /** @throws {Error} where it can't be had; see {@link BadNetwork.obstacle}. */
  static async open(options: BadNetworkOptions): Promise<BadNetwork> {
    const { machines, impairment, congestionControl, folder, clock } = options;
    await using opened = new AsyncDisposableStack();
    const namespaces: Namespace[] = [];
    for (let machine = 0; machine < machines; machine++) {
      namespaces.push(opened.use(await Namespace.open()));
    }
    // A rate without a limit is no JSON, and is left out by it.
    const { bitsPerSecond, ...rest } = impairment;
    const task: RouterTask = {
      ...rest,
      ...Number.isFinite(bitsPerSecond) ? { bitsPerSecond } : {},
      machines,
      seed: 1,
    };
    const log = join(folder, "router.log");
    const program = new URL("./router_process.ts", import.meta.url);
    const router = opened.use(Child.start(program, [JSON.stringify(task)], log, clock));
    const { value: names } = await router.lines().next();
    if (names === undefined) {
      throw new Error(`Cannot open a network: ${(await Deno.readTextFile(log)).trim()}`);
    }
    for (const [machine, name] of (JSON.parse(names) as string[]).entries()) {
      const { pid, through } = namespaces[machine]!;
      await runProgram(["ip", "link", "set", name, "netns", String(pid)]);
      await runProgram([...through, "ip", "link", "set", "lo", "up"]);
      await runProgram([...through, "ip", "address", "add", `${addressOf(machine)}/24`, "dev", name]);
      await runProgram([...through, "ip", "link", "set", name, "up"]);
      if (congestionControl === undefined) continue;
      const setting = `/proc/sys/net/ipv4/tcp_congestion_control`;
      await runProgram([...through, "sh", "-c", `echo ${congestionControl} > ${setting}`]);
    }
    opened.move();
    return new BadNetwork(namespaces, router);
  }

  /** Where processes of a machine run. */
  place(machine: number): Place {
    return { ip: addressOf(machine), through: this.#namespaces[machine]!.through };
  }

  /** Cuts it into groups: packets pass only within one. @param groups of each machine, one number. */
  async cut(groups: readonly number[]): Promise<void> {
    await this.#router.tell(JSON.stringify(groups));
  }

  /** Undoes all cuts. */
  async heal(): Promise<void> {
    await this.cut(this.#namespaces.map(() => 0));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#router[Symbol.asyncDispose]();
    await Promise.all(this.#namespaces.map((namespace) => namespace[Symbol.asyncDispose]()));
  }
}
