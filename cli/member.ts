/**
 * A command's membership of a run: opens the parts of a peer, tells the log what
 * is worth telling, and gives all of it back at the end. What the peer does is
 * the command's to say.
 */

import type { Logger } from "@logtape/logtape";
import type { PeerParts } from "../actors/assemble.ts";
import { RealClock } from "../actors/core/real_clock.ts";
import type { Identity } from "../actors/wire/identity.ts";
import { fileJournal } from "../contracts/journal.ts";
import type { Places } from "../contracts/places.ts";
import type { Manifest } from "../run/mod.ts";
import { Failure } from "./arguments.ts";
import { ledgerOf, type LedgerPlace } from "./ledger.ts";
import { type NetworkOptions, nodeSettings, tellReach } from "./network.ts";
import { openPeer } from "./peer.ts";
import { openPlaces, registeredOnly } from "./places.ts";

/** A peer's parts, for as long as the command holds them. */
export interface Member extends AsyncDisposable {
  readonly parts: PeerParts;
  /** Rejects when the peer is of no use any more. */
  readonly broken: Promise<never>;
  /** The run's ledger, and who holds which stage; `undefined` without one. */
  readonly ledger: (LedgerPlace & { readonly places: Places }) | undefined;
  /** Where others can reach it. */
  addresses(): readonly string[];
}

/** Who joins, and how. */
export type MemberOptions = NetworkOptions & {
  readonly manifest: Manifest;
  readonly identity: Identity;
  readonly log: Logger;
  /** Where the ledger's chain answers, if not where the manifest says. */
  readonly chain?: string;
  /** Where to keep who held which stage. Default: nowhere. */
  readonly placesPath?: string;
};

/**
 * Joins.
 *
 * @throws {Failure} if it can't listen, or the chain of the run's ledger was never heard of.
 * @throws {UsageError} if its swarm key can't be read.
 */
export async function joinRun(options: MemberOptions): Promise<Member> {
  const { manifest, identity, log } = options;
  const broken = Promise.withResolvers<never>();
  // Whoever waits for it hears of it; nobody may be waiting yet.
  broken.promise.catch(() => {});
  const settings = await nodeSettings(options);
  if (settings.swarmKey) log.info(`In private swarm ${settings.swarmKey.fingerprint}`);
  const place = ledgerOf(manifest, options.chain);
  const journal = options.placesPath === undefined ? undefined : fileJournal(options.placesPath);
  const view = place === undefined ? undefined : await openPlaces(place, new RealClock(), log, journal);
  const peer = await openPeer({
    ...view === undefined ? {} : { admits: registeredOnly(view.places) },
    ...settings,
    manifest,
    identity,
    trace: ({ actor, event, fields }) => log.debug(`${actor} ${event}`, { ...fields }),
    onBootstrapFailure: complain(log),
    onReach: (reach, node) => tellReach(log, options, reach, node),
    onPath: (peer, path) =>
      log.info(
        path === "relayed" ? "Met a peer through a relay" : "Met it directly after all: hole punched",
        {
          peer,
        },
      ),
    escalate: ({ actor, error }) => {
      log.error("A role has crashed once too often", { actor, error: String(error) });
      broken.reject(error);
    },
  }).catch((error) => {
    view?.[Symbol.dispose]();
    return cannotListen(error);
  });
  if (options.bootstrap.length === 0) {
    log.warn("Without --bootstrap this peer meets only those that are told of it", {
      addresses: peer.node.addresses(),
    });
  }
  return {
    parts: peer.parts,
    broken: broken.promise,
    ledger: place === undefined ? undefined : { ...place, places: view!.places },
    addresses: () => peer.node.addresses(),
    [Symbol.asyncDispose]: async () => {
      await peer.close();
      view?.[Symbol.dispose]();
    },
  };
}

/** Tells of a bootstrap peer that does not answer: at once, then ever more rarely. */
export function complain(log: Logger): (address: string, reason: string, failures: number) => void {
  return (address, reason, failures) => {
    // 1, 2, 4, 8, …
    if ((failures & (failures - 1)) !== 0) return;
    log.warn("Cannot reach a bootstrap peer yet", { address, reason, failures });
  };
}

/** A port that is taken is the person's to choose anew, and no bug. */
export function cannotListen(error: unknown): never {
  if (error instanceof Error && error.message.startsWith("Cannot listen on")) {
    throw new Failure(error.message);
  }
  throw error;
}
