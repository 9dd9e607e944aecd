/**
 * How a peer takes part in the network: the flags that say so, what they mean to
 * a node, and what a person is told when others can't reach it. A message about a
 * router says what to do about it, or it is no help.
 */

import { multiaddr } from "@multiformats/multiaddr";
import type { Logger } from "@logtape/logtape";
import { type Command, Option } from "commander";
import type { Libp2pNode, NodeOptions } from "../actors/wire/libp2p_node.ts";
import type { Reach } from "../actors/wire/reachability.ts";
import { loadSwarmKey } from "../actors/wire/swarm_key.ts";
import { UsageError } from "./arguments.ts";
import {
  bootstrapOption,
  leashOption,
  listenAddress,
  listenAddresses,
  type LogLevel,
  logLevelOption,
  peerAddresses,
  required,
  runOption,
  text,
} from "./options.ts";

/** The flags of {@link networkOptions}. */
export interface NetworkOptions {
  readonly bootstrap: readonly string[];
  readonly listen: string;
  readonly announce?: readonly string[];
  readonly relay?: readonly string[];
  readonly upnp?: boolean;
  readonly swarmKey?: string;
}

/** What every command that joins a run takes. */
export interface JoinOptions extends NetworkOptions {
  readonly run: string;
  readonly logLevel: LogLevel;
  /** Where the ledger's chain answers, if not where the manifest says. */
  readonly chain?: string;
  /** Whether to end when standard input does. */
  readonly leash?: boolean;
}

/** A port to propose to whoever left the choice to the machine. */
const PORT_PROPOSED = "4002";

/** What the flags are, unless they are given. */
export interface NetworkDefaults {
  readonly listen: string;
  /** What the flag is called where `--listen` is for others than peers. */
  readonly listenFlag?: string;
}

/** Adds the flags of {@link JoinOptions}. */
export function joinOptions(command: Command, defaults: NetworkDefaults): Command {
  return networkOptions(required(command, runOption()), defaults)
    .option("--chain <url>", "where the ledger's chain answers; without it: as the manifest says", text)
    .addOption(logLevelOption())
    .addOption(leashOption());
}

/** Adds `--bootstrap`, `--listen` and what makes a way through routers. */
export function networkOptions(command: Command, defaults: NetworkDefaults): Command {
  return command
    .addOption(bootstrapOption())
    .option(
      `${defaults.listenFlag ?? "--listen"} <multiaddr>`,
      "address to listen on; port 0 takes any free one",
      listenAddress,
      defaults.listen,
    )
    .addOption(
      new Option(
        "--announce <multiaddr...>",
        "addresses to tell others, instead of those found out: a forwarded port, a public name",
      ).argParser(listenAddresses),
    )
    .addOption(
      new Option(
        "--relay <multiaddr...>",
        "be reached through this peer, for want of a port that others can dial; any bootstrap node relays",
      ).argParser(peerAddresses).conflicts("announce"),
    )
    .option("--upnp", "ask the router to forward the port; does nothing where it does not answer")
    .option(
      "--swarm-key <file>",
      "take part in the private swarm of all who hold this file; deno task swarm-key makes one",
      text,
    );
}

/**
 * What the flags mean to a node.
 *
 * @throws {UsageError} if the swarm key can't be read.
 */
export async function nodeSettings(
  { bootstrap, listen, announce, relay, upnp, swarmKey }: NetworkOptions,
): Promise<Pick<NodeOptions, "listen" | "bootstrap" | "announce" | "relays" | "upnp" | "swarmKey">> {
  return {
    listen: [listen],
    bootstrap,
    ...announce === undefined ? {} : { announce },
    ...relay === undefined ? {} : { relays: relay },
    ...upnp === undefined ? {} : { upnp },
    ...swarmKey === undefined ? {} : { swarmKey: await readSwarmKey(swarmKey) },
  };
}

/** @throws {UsageError} if there is no such file, or it holds no key. */
export async function readSwarmKey(path: string): ReturnType<typeof loadSwarmKey> {
  try {
    return await loadSwarmKey(path);
  } catch (error) {
    if (error instanceof TypeError) throw new UsageError(error.message);
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new UsageError(
      `Cannot read swarm key ${path}: there is no such file; deno task swarm-key makes one`,
    );
  }
}

/** Tells a person how others reach this peer, and what to do if they can't. */
export function tellReach(
  log: Logger,
  options: NetworkOptions,
  reach: Reach,
  node: Pick<Libp2pNode, "addresses" | "seenAt">,
): void {
  const addresses = node.addresses();
  switch (reach) {
    case "direct":
      return log.debug("Others can dial this peer", { addresses });
    case "sought":
      return log.info("Finding out how others can reach this peer");
    case "relayed":
      return log.info("Others reach this peer through a relay, which is slower than a port of its own", {
        addresses,
        remedy: remedy(options, node.seenAt()),
      });
    case "none":
      return log.warn("Nobody can reach this peer, so it can serve nobody", {
        remedy: remedy(options, node.seenAt()),
      });
  }
}

/** What makes a peer behind a router reachable, with the flags to copy. */
export function remedy({ listen, upnp, relay }: NetworkOptions, seenAt: string | undefined): string {
  const listening = multiaddr(listen).getComponents().find(({ name }) => name === "tcp")?.value;
  const port = listening === undefined || listening === "0" ? PORT_PROPOSED : listening;
  const host = seenAt ?? "/ip4/<your public address>";
  const fixed = port === listening ? "" : `--listen /ip4/0.0.0.0/tcp/${port} `;
  return [
    `open TCP port ${port} on your router for this machine and start with ${fixed}--announce ${host}/tcp/${port}`,
    ...upnp ? [] : ["or let the router do it with --upnp"],
    ...relay === undefined ? ["or name a relay with --relay, as any bootstrap node is"] : [],
  ].join(", ");
}
