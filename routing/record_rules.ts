/**
 * Which records a distributed table may hold for others: announcements, under the
 * name of the peer that signed them, until they expire. Of two the higher
 * sequence is better. It is not asked which run they are of: a table serves all.
 */

import { BadAnnouncement, readAnnouncement } from "./announcement.ts";
import { RECORD_NAMESPACE, recordKey } from "./directory.ts";

/** Rules in the form that a table takes. */
export interface RecordRules {
  readonly namespace: string;
  /** @throws {BadAnnouncement} if the value must not stand under the key. */
  validate(key: Uint8Array, value: Uint8Array): void;
  /** Index of the best of these values, all of them valid. */
  select(key: Uint8Array, values: readonly Uint8Array[]): number;
}

/** The rules for announcements. `verify` must answer at once. */
export function announcementRules(options: {
  readonly epochMs: () => number;
  readonly verify: (peer: string, bytes: Uint8Array, signature: Uint8Array) => boolean;
}): RecordRules {
  const { epochMs, verify } = options;
  return {
    namespace: RECORD_NAMESPACE,
    validate(key, value) {
      const { announcement, body, signature } = readAnnouncement(value, epochMs());
      const own = recordKey(announcement.peer);
      if (own.length !== key.length || !own.every((byte, index) => byte === key[index])) {
        throw new BadAnnouncement(`Cannot keep announcement of ${announcement.peer}: the key names another peer`);
      }
      if (!verify(announcement.peer, body, signature)) {
        throw new BadAnnouncement(`Cannot keep announcement of ${announcement.peer}: the signature is not that peer's`);
      }
    },
    select(_key, values) {
      let best = 0;
      let highest = -1;
      values.forEach((value, index) => {
        const { announcement } = readAnnouncement(value, epochMs());
        if (announcement.sequence <= highest) return;
        highest = announcement.sequence;
        best = index;
      });
      return best;
    },
  };
}
