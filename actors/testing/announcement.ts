/** An announcement for tests of what is done with it; nobody has signed it. */

import type { Announcement } from "../../routing/mod.ts";

/** That a peer serves the first stage. */
export function announcementOf(peer: string): Announcement {
  return {
    run: "0".repeat(64),
    service: "stage:0",
    peer,
    step: 1,
    stateHash: null,
    addresses: [`/memory/${peer}`],
    device: "reference",
    load: 0,
    trains: true,
    sessionRoom: 0,
    sequence: 1,
    issuedAtMs: 0,
    expiresAtMs: 60_000,
  };
}
