/**
 * Homes behind routers, for tests: an internet, and homes whose routers translate
 * addresses and let nobody in. All of it is network namespaces of this machine,
 * gone when it is disposed of. Every home has the same private addresses, as
 * homes do.
 */

import { Namespace, runProgram } from "../bench/network/namespace.ts";
import type { Place } from "../cli/local_swarm.ts";

/** No documentation addresses: to libp2p those are private. No packet leaves the machine. */
const PUBLIC_IP = "11.0.0.1";
const ROUTER_IP = "192.168.1.1";
const HOME_IP = "192.168.1.2";

/** See the top of this file. */
export class Homes implements AsyncDisposable {
  readonly #internet: Namespace;
  readonly #homes: readonly Namespace[];
  readonly #opened: AsyncDisposableStack;

  private constructor(internet: Namespace, homes: readonly Namespace[], opened: AsyncDisposableStack) {
    this.#internet = internet;
    this.#homes = homes;
    this.#opened = opened;
  }

  /** Why there can't be any here; `undefined` where there can. */
  static async obstacle(): Promise<string | undefined> {
    if (Deno.build.os !== "linux") return "network namespaces are Linux's";
    try {
      await runProgram(["nft", "--version"]);
      await using _homes = await Homes.open(1);
      return undefined;
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      if (error instanceof Deno.errors.NotFound) return "there is no nft, or no ip, unshare and nsenter";
      return error.message;
    }
  }

  /** @throws {Error} where they can't be had. */
  static async open(count: number): Promise<Homes> {
    await using opened = new AsyncDisposableStack();
    const internet = opened.use(await Namespace.open());
    await ip(internet, "link", "set", "lo", "up");
    await ip(internet, "address", "add", `${PUBLIC_IP}/32`, "dev", "lo");
    await forward(internet);
    const homes: Namespace[] = [];
    for (let at = 0; at < count; at++) {
      const router = opened.use(await Namespace.open());
      const home = opened.use(await Namespace.open());
      await join(internet, `wan${at}`, `11.0.${at + 1}.1`, router, "wan", `11.0.${at + 1}.2`);
      await join(router, "lan", ROUTER_IP, home, "lan", HOME_IP);
      await ip(router, "route", "add", "default", "via", `11.0.${at + 1}.1`);
      await ip(home, "route", "add", "default", "via", ROUTER_IP);
      await forward(router);
      await translate(router);
      homes.push(home);
    }
    return new Homes(internet, homes, opened.move());
  }

  /** Where a process is that anybody can dial. */
  get internet(): Place {
    return { ip: PUBLIC_IP, through: this.#internet.through };
  }

  /** Where a process is that nobody outside of its home can dial. */
  home(at: number): Place {
    return { ip: HOME_IP, through: this.#homes[at]!.through };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#opened.disposeAsync();
  }
}

async function ip({ through }: Namespace, ...args: string[]): Promise<void> {
  await runProgram([...through, "ip", ...args]);
}

/** A cable between two. */
async function join(
  near: Namespace,
  nearDevice: string,
  nearIp: string,
  far: Namespace,
  farDevice: string,
  farIp: string,
): Promise<void> {
  await ip(
    near,
    "link",
    "add",
    nearDevice,
    "type",
    "veth",
    "peer",
    "name",
    farDevice,
    "netns",
    String(far.pid),
  );
  for (const [namespace, device, address] of [[near, nearDevice, nearIp], [far, farDevice, farIp]] as const) {
    await ip(namespace, "address", "add", `${address}/24`, "dev", device);
    await ip(namespace, "link", "set", "lo", "up");
    await ip(namespace, "link", "set", device, "up");
  }
}

async function forward({ through }: Namespace): Promise<void> {
  await runProgram([...through, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]);
}

/** Outgoing connections come from the router's address; incoming ones find nobody, without a word. */
async function translate({ through }: Namespace): Promise<void> {
  const rules = [
    "add table ip home",
    "add chain ip home out { type nat hook postrouting priority 100 ; }",
    'add rule ip home out oifname "wan" masquerade',
    "add chain ip home in { type filter hook input priority 0 ; }",
    'add rule ip home in iifname "wan" ct state new drop',
    "add chain ip home over { type filter hook forward priority 0 ; }",
    'add rule ip home over iifname "wan" ct state new drop',
  ];
  await runProgram([...through, "nft", rules.join("; ")]);
}
