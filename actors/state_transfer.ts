/**
 * How a stage's state gets from hosts that have it to one that needs it: cut
 * into pieces that are named by their content, asked for from several donors at
 * once. Every piece is checked against the manifest, and the manifest against
 * the hash that was asked for; no donor's word is believed. What has arrived
 * outlives a transfer that breaks. It holds one state in memory, or two while
 * pieces of an earlier transfer are looked through, and never more; or none, where
 * pieces go elsewhere as they come.
 */

import { createHash } from "node:crypto";
import type { Context, PeerId } from "./core/actor.ts";
import type { Timer } from "./core/clock.ts";
import {
  DONATION_LEASE_MS,
  DONOR_BYTES_PER_SECOND_MIN,
  DONOR_SILENCE_MS,
  PIECES_IN_FLIGHT_MAX,
} from "./limits.ts";
import { askerOf, type Message, type MessageOf, type StatePurpose } from "./messages.ts";
import { reasonOf } from "./role.ts";

/** What a state is made of, as its offer says it. */
type StateManifest = Omit<MessageOf<"stateOffer">, "kind" | "purpose">;

/** The name of the timers of a transfer, for the host that owns it. */
export const TRANSFER_TIMER = "transfer";
/** The name of the timer of a donation. */
export const DONATION_TIMER = "donation";

/** What has arrived of a state: pieces that are what their names say. */
export interface Remains {
  readonly manifest: StateManifest;
  /** As long as the state; only the arrived pieces mean something. */
  readonly bytes: Uint8Array;
  readonly arrived: ReadonlySet<number>;
}

/** Where pieces go, one by one, that are not to be held in memory. */
export interface PieceSink {
  /** How many are wanted: those from 0 up to, but not with, this. */
  readonly pieces: number;
  /** Takes one that is what its name says, and tells when there is room for another. */
  keep(piece: number, bytes: Uint8Array, kept: () => void): void;
}

/** A state on its way to this host. */
export class Transfer {
  readonly stateHash: string;
  readonly #context: Context<Message>;
  readonly #purpose: StatePurpose;
  readonly #sink: PieceSink | undefined;
  readonly #check: (manifest: StateManifest) => void;
  readonly #whole: (manifest: StateManifest, bytes: Uint8Array) => void;
  readonly #failed: (reason: string) => void;
  readonly #described: (manifest: StateManifest) => void;
  readonly #liars: Set<PeerId>;
  #remains: Remains | undefined;
  /** Donors that may still be asked, and those that have offered. */
  readonly #donors: Set<PeerId>;
  readonly #offered: PeerId[] = [];
  /** Piece number → who was asked for it. */
  readonly #asked = new Map<number, PeerId>();
  readonly #arrived = new Set<number>();
  #missing: number[] = [];
  /** Pieces that the sink has not kept yet. */
  #keeping = 0;
  #manifest: StateManifest | undefined;
  #bytes: Uint8Array = new Uint8Array(0);
  #turn = 0;
  #timer: Timer | undefined;
  #over = false;

  constructor(options: {
    readonly context: Context<Message>;
    readonly stateHash: string;
    readonly donors: readonly PeerId[];
    /** Throws unless the manifest is sound in itself and of this stage. */
    readonly check: (manifest: StateManifest) => void;
    /** With a sink the bytes are none. */
    readonly whole: (manifest: StateManifest, bytes: Uint8Array) => void;
    readonly failed: (reason: string) => void;
    /** The manifest is known: whoever has pieces of it already may hand them in, see {@link Transfer.reuse}. */
    readonly described?: (manifest: StateManifest) => void;
    /** What an earlier transfer left, of this state or of another. */
    readonly remains?: Remains;
    /** Who has lied in earlier transfers; whoever lies in this one is added. */
    readonly liars?: Set<PeerId>;
    /** Default: to hold the stage. */
    readonly purpose?: StatePurpose;
    /** Without it the state is held in memory. */
    readonly sink?: PieceSink;
  }) {
    this.#context = options.context;
    this.#purpose = options.purpose ?? "join";
    this.#sink = options.sink;
    this.stateHash = options.stateHash;
    this.#check = options.check;
    this.#whole = options.whole;
    this.#failed = options.failed;
    this.#described = options.described ?? (() => {});
    this.#remains = options.remains;
    this.#liars = options.liars ?? new Set();
    this.#donors = new Set(options.donors.filter((donor) => this.#mayBeAsked(donor)));
  }

  /** Asks every donor. */
  start(): void {
    for (const donor of [...this.#donors]) this.#request(donor);
    this.#touch();
    this.#failIfNobodyIsLeft();
  }

  /** Somebody else has it too, or somebody who was silent is worth another try. */
  addDonors(donors: readonly PeerId[]): void {
    for (const donor of donors) {
      if (this.#over || this.#donors.has(donor) || !this.#mayBeAsked(donor)) continue;
      this.#donors.add(donor);
      this.#request(donor);
    }
  }

  /** What has arrived so far; nothing while it isn't known what is to arrive. */
  get remains(): Remains | undefined {
    if (this.#manifest === undefined) return this.#remains;
    return { manifest: this.#manifest, bytes: this.#bytes, arrived: this.#arrived };
  }

  /** Pieces that were found elsewhere, by name. Those that are not what their name says are passed over. */
  reuse(found: ReadonlyMap<string, Uint8Array>): void {
    const manifest = this.#manifest;
    if (this.#over || manifest === undefined) return;
    const isHere = (piece: number) => {
      const bytes = found.get(manifest.pieces[piece]);
      return bytes !== undefined && this.#isPiece(manifest, piece, bytes);
    };
    const { true: here = [], false: missing = [] } = Object.groupBy(this.#missing, (it) => `${isHere(it)}`);
    this.#missing = missing;
    for (const piece of here) this.#keep(manifest, piece, found.get(manifest.pieces[piece])!);
    this.#endIfWhole();
  }

  /** A donor offers. */
  onOffer(from: PeerId, { kind: _, purpose: __, ...manifest }: MessageOf<"stateOffer">): void {
    if (manifest.stateHash !== this.stateHash || !this.#donors.has(from) || this.#offered.includes(from)) {
      return;
    }
    if (this.#manifest === undefined) {
      try {
        this.#check(manifest);
      } catch (error) {
        return this.#dropLiar(from, reasonOf(error));
      }
      this.#begin(manifest);
    }
    this.#offered.push(from);
    this.#touch();
    this.#endIfWhole();
    this.#ask();
  }

  /** A donor has not, or no longer, what was asked for. */
  onGone(from: PeerId, { stateHash, reason }: MessageOf<"stateGone">): void {
    if (stateHash === this.stateHash) this.drop(from, reason);
  }

  /** A piece. One that is not what its name says costs its donor the rest. */
  onPiece(from: PeerId, { stateHash, piece, bytes }: MessageOf<"piece">): void {
    if (stateHash !== this.stateHash || this.#asked.get(piece) !== from || this.#manifest === undefined) {
      return;
    }
    if (!this.#isPiece(this.#manifest, piece, bytes)) {
      return this.#dropLiar(from, `piece ${piece} is not what its hash says`);
    }
    this.#asked.delete(piece);
    this.#keep(this.#manifest, piece, bytes);
    this.#touch();
    this.#endIfWhole();
    this.#ask();
  }

  /** This donor is not asked again; what it owed is asked of others. */
  drop(donor: PeerId, reason: string): void {
    if (this.#over || !this.#donors.delete(donor)) return;
    this.#context.trace("donor dropped", { donor, reason });
    const index = this.#offered.indexOf(donor);
    if (index >= 0) this.#offered.splice(index, 1);
    for (const [piece, from] of [...this.#asked]) {
      if (from !== donor) continue;
      this.#asked.delete(piece);
      this.#missing.push(piece);
    }
    this.#ask();
    this.#failIfNobodyIsLeft();
  }

  /** Nothing came for a while: those that owe are dropped. Whoever has not offered owes that. */
  onTimer(): void {
    const owing = this.#asked.size === 0 ? [...this.#donors] : [...new Set(this.#asked.values())];
    this.#touch();
    // Nobody is asked for more than there is room for.
    if (this.#asked.size === 0 && this.#keeping > 0) return;
    for (const donor of owing) this.drop(donor, `it was silent for ${silenceMs(this.#manifest)} ms`);
  }

  /** Ends it without a word. */
  cancel(): void {
    this.#over = true;
    this.#timer?.cancel();
  }

  #mayBeAsked(donor: PeerId): boolean {
    return donor !== this.#context.peer && !this.#liars.has(donor);
  }

  #dropLiar(donor: PeerId, reason: string): void {
    this.#liars.add(donor);
    this.drop(donor, reason);
  }

  #request(donor: PeerId): void {
    const sent = this.#context.tell({ peer: donor, actor: "host" }, {
      kind: "stateRequest",
      purpose: this.#purpose,
      stateHash: this.stateHash,
    });
    if (!sent) this.drop(donor, "it can't be reached");
  }

  /** What is to arrive is known; some of it may be here. */
  #begin(manifest: StateManifest): void {
    const remains = this.#remains;
    this.#remains = undefined;
    this.#manifest = manifest;
    if (remains?.manifest.stateHash === manifest.stateHash) {
      this.#bytes = remains.bytes;
      for (const piece of remains.arrived) this.#arrived.add(piece);
    } else if (this.#sink === undefined) this.#bytes = new Uint8Array(manifest.bytes);
    const wanted = [...manifest.pieces.keys()].slice(0, this.#sink?.pieces);
    this.#missing = wanted.filter((piece) => !this.#arrived.has(piece)).reverse();
    if (remains !== undefined && remains.bytes !== this.#bytes) {
      this.reuse(
        new Map([...remains.arrived].map((piece) => {
          const start = piece * remains.manifest.pieceBytes;
          return [
            remains.manifest.pieces[piece],
            remains.bytes.subarray(start, start + remains.manifest.pieceBytes),
          ];
        })),
      );
    }
    if (!this.#over) this.#described(manifest);
  }

  #isPiece({ pieces, pieceBytes, bytes: length }: StateManifest, piece: number, bytes: Uint8Array): boolean {
    if (bytes.length !== Math.min(pieceBytes, length - piece * pieceBytes)) return false;
    return createHash("sha256").update(bytes).digest("hex") === pieces[piece];
  }

  /** Pieces of one name are one: moments of zero are most of a state that has taken no step. */
  #keep({ pieces, pieceBytes }: StateManifest, piece: number, bytes: Uint8Array): void {
    const same = this.#missing.filter((other) => pieces[other] === pieces[piece] && other !== piece);
    if (same.length > 0) this.#missing = this.#missing.filter((other) => !same.includes(other));
    for (const each of [piece, ...same]) {
      if (this.#sink !== undefined) {
        this.#keeping++;
        this.#sink.keep(each, bytes, () => this.#kept(each));
        continue;
      }
      this.#bytes.set(bytes, each * pieceBytes);
      this.#arrived.add(each);
    }
  }

  #kept(piece: number): void {
    this.#keeping--;
    this.#arrived.add(piece);
    if (this.#over) return;
    this.#touch();
    this.#endIfWhole();
    this.#ask();
  }

  #endIfWhole(): void {
    if (this.#over || this.#manifest === undefined) return;
    if (this.#arrived.size < (this.#sink?.pieces ?? this.#manifest.pieces.length)) return;
    this.cancel();
    this.#whole(this.#manifest, this.#bytes);
  }

  #ask(): void {
    while (
      !this.#over && this.#missing.length > 0 && this.#asked.size + this.#keeping < PIECES_IN_FLIGHT_MAX
    ) {
      const donor = this.#offered[this.#turn++ % Math.max(1, this.#offered.length)];
      if (donor === undefined) return;
      const piece = this.#missing.pop()!;
      this.#asked.set(piece, donor);
      const sent = this.#context.tell({ peer: donor, actor: "host" }, {
        kind: "pieceRequest",
        purpose: this.#purpose,
        stateHash: this.stateHash,
        piece,
      });
      if (!sent) this.drop(donor, "it can't be reached");
    }
  }

  #touch(): void {
    this.#timer?.cancel();
    if (this.#over) return;
    this.#timer = this.#context.after(silenceMs(this.#manifest), {
      kind: "timer",
      name: TRANSFER_TIMER,
      key: this.stateHash,
    });
  }

  #failIfNobodyIsLeft(): void {
    if (this.#over || this.#donors.size > 0) return;
    this.cancel();
    this.#failed(`Cannot fetch state ${this.stateHash.slice(0, 12)}: no donor is left`);
  }
}

/** How long nothing may come, as pieces of a state take their time. */
function silenceMs(manifest: StateManifest | undefined): number {
  const pieceMs = Math.round(1000 * (manifest?.pieceBytes ?? 0) / DONOR_BYTES_PER_SECOND_MIN);
  return Math.max(DONOR_SILENCE_MS, pieceMs);
}

/** A copy of this host's state, kept for others for as long as they ask for it. */
export class Donation {
  readonly #context: Context<Message>;
  #kept: { readonly manifest: StateManifest; readonly bytes: Uint8Array } | undefined;
  #timer: Timer | undefined;

  constructor(context: Context<Message>) {
    this.#context = context;
  }

  /** Whether the copy is of this state. */
  holds(stateHash: string): boolean {
    return this.#kept?.manifest.stateHash === stateHash;
  }

  /** Keeps a copy, in place of the one before. */
  keep(manifest: StateManifest, bytes: Uint8Array): void {
    this.#kept = { manifest, bytes };
    this.#extend();
  }

  /** Offers the copy. */
  offer(to: PeerId, purpose: StatePurpose): void {
    if (this.#kept === undefined) return;
    this.#extend();
    this.#context.tell({ peer: to, actor: askerOf(purpose) }, {
      kind: "stateOffer",
      purpose,
      ...this.#kept.manifest,
    });
  }

  /** Sends a piece, or says that it is gone. */
  onPieceRequest(from: PeerId, { purpose, stateHash, piece }: MessageOf<"pieceRequest">): void {
    const kept = this.#kept;
    const to = { peer: from, actor: askerOf(purpose) };
    if (kept?.manifest.stateHash !== stateHash || piece >= kept.manifest.pieces.length) {
      this.#context.tell(to, {
        kind: "stateGone",
        purpose,
        stateHash,
        reason: "this host keeps no copy of it",
      });
      return;
    }
    this.#extend();
    const start = piece * kept.manifest.pieceBytes;
    const bytes = kept.bytes.subarray(start, Math.min(start + kept.manifest.pieceBytes, kept.manifest.bytes));
    this.#context.tell(to, { kind: "piece", purpose, stateHash, piece, bytes });
  }

  /** Nobody asked for a while. */
  onTimer(): void {
    this.#kept = undefined;
  }

  #extend(): void {
    this.#timer?.cancel();
    // Whoever waits for a long piece asks for none meanwhile.
    const leaseMs = DONATION_LEASE_MS - DONOR_SILENCE_MS + silenceMs(this.#kept?.manifest);
    this.#timer = this.#context.after(leaseMs, { kind: "timer", name: DONATION_TIMER, key: "" });
  }
}
