/**
 * Who may offer a stage of a run that has a ledger: whoever is registered for it.
 * Trainers and whoever offers no stage need no place.
 */

import type { Logger } from "@logtape/logtape";
import { publicKeyOf } from "../actors/wire/identity.ts";
import type { LedgerClock } from "../contracts/clock.ts";
import { type Journal, memoryJournal } from "../contracts/journal.ts";
import { Places } from "../contracts/places.ts";
import { accountOf } from "../contracts/signing.ts";
import type { Admits } from "../routing/mod.ts";
import { createKey } from "./keystore.ts";
import { inWords, laterAccount, type LedgerPlace } from "./ledger.ts";

/** A view of who holds which stage, for as long as a peer lasts. */
export interface PlacesView extends Disposable {
  readonly places: Places;
}

/**
 * Opens the view.
 *
 * @param journal where what was known is kept, so that the peer starts even while the chain is down.
 * @throws {Failure} if the chain does not answer, and nothing was known.
 */
export async function openPlaces(
  at: LedgerPlace,
  clock: LedgerClock,
  log: Logger,
  journal?: Journal,
): Promise<PlacesView> {
  // To look takes no key of one's own.
  const ledger = laterAccount(at, createKey(), clock, memoryJournal());
  try {
    const places = await Places.open({
      ledger,
      model: at.model,
      clock,
      ...journal === undefined ? {} : { journal },
      onTrouble: (reason) =>
        log.warn("The ledger's chain does not answer; going on with what is known", { reason }),
    });
    return { places, [Symbol.dispose]: () => ledger[Symbol.dispose]() };
  } catch (error) {
    ledger[Symbol.dispose]();
    throw inWords(error);
  }
}

/** The rule for announcements: stages are offered by those who hold them. */
export function registeredOnly(places: Pick<Places, "ownerNow">): Admits {
  return async ({ peer, service }) => {
    const stage = /^(?:stage|sessions):(\d+)$/.exec(service)?.[1];
    if (stage === undefined) return true;
    const key = publicKeyOf(peer);
    return key !== undefined && await places.ownerNow(accountOf(key), Number(stage)) !== undefined;
  };
}
