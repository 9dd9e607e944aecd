/**
 * Which records a distributed table may hold for others: announcements, under the
 * name of the peer that signed them, until they expire. Of two the higher
 * sequence is better. It is not asked which run they are of: a table serves all.
 */

import { BadAnnouncement, readAnnouncement } from "./announcement.ts";
import { RECORD_NAMESPACE, recordKey } from "./directory.ts";

/** Rules in the form that a table takes. */
export interface RecordRules {
  /** Keys are `/<namespace>/…`. */
  readonly namespace: string;
  /**
   * Whether a value may stand under a key.
   *
   * @throws {BadAnnouncement} if the value must not.
   */
  validate(key: Uint8Array, value: Uint8Array): void;
  /** Index of the best of these values. One that is not valid (any more) is the worst. */
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
      const { announcement, signed, signature } = readAnnouncement(value, epochMs());
      const own = recordKey(announcement.peer);
      if (own.length !== key.length || !own.every((byte, index) => byte === key[index])) {
        throw new BadAnnouncement(
          `Cannot keep announcement of ${announcement.peer}: the key names another peer`,
        );
      }
      if (!verify(announcement.peer, signed, signature)) {
        throw new BadAnnouncement(
          `Cannot keep announcement of ${announcement.peer}: the signature is not that peer's`,
        );
      }
    },
    select(_key, values) {
      const nowMs = epochMs();
      const sequences = values.map((value) => sequenceOf(value, nowMs));
      return sequences.indexOf(Math.max(...sequences));
    },
  };
}

function sequenceOf(value: Uint8Array, epochMs: number): number {
  try {
    return readAnnouncement(value, epochMs).announcement.sequence;
  } catch (error) {
    if (!(error instanceof BadAnnouncement)) throw error;
    return -1;
  }
}
