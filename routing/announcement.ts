/**
 * What a peer says of itself to everybody: which service of which run it offers,
 * at which state, and where it can be reached. Signed and with an expiry. This
 * file believes nothing without a signature, and holds no keys: signing and
 * verifying are arguments.
 */

import { Encoder } from "cbor-x";
import { z } from "zod";

/** The service of a stage's hosts. */
export function stageService(stage: number): string {
  return `stage:${stage}`;
}

/** Longest time that an announcement may be valid. */
export const VALIDITY_MS_MAX = 10 * 60_000;

/** How far the clocks of two peers may differ. */
export const CLOCK_SKEW_MS_MAX = 60_000;

/** Bytes of an announcement with its envelope. */
export const ANNOUNCEMENT_BYTES_MAX = 8192;

/** A peer's word about itself. */
export interface Announcement {
  /** Hash of the run's manifest, hex. */
  readonly run: string;
  /** `stage:2`, see {@link stageService}, or `coordinator`. */
  readonly service: string;
  /** Who says it, and signs it. */
  readonly peer: string;
  /** Optimizer steps that the offered state has taken. */
  readonly step: number;
  /** Hash of the offered state, hex; `null` while there is none. */
  readonly stateHash: string | null;
  /** Multiaddrs. */
  readonly addresses: readonly string[];
  /** `onnx`, `reference`, … */
  readonly device: string;
  /** Seconds of work that wait. */
  readonly load: number;
  /** Whether it takes part in training: hosts serve sessions also without a trainer. */
  readonly trains: boolean;
  /** Tokens of sessions that it can still keep; 0 if it serves none. */
  readonly sessionRoom: number;
  /** What a token costs, in the smallest unit of the ledger's token; missing where it costs nothing. */
  readonly priceUnits?: string;
  /** Of two announcements of one peer the higher number holds. */
  readonly sequence: number;
  /** By the peer's clock, since the Unix epoch. */
  readonly issuedAtMs: number;
  /** Not to be believed from then on. */
  readonly expiresAtMs: number;
}

const schema: z.ZodType<Announcement> = z.strictObject({
  run: z.string().regex(/^[0-9a-f]{64}$/),
  service: z.string().regex(/^(coordinator|stage:\d{1,4})$/),
  peer: z.string().min(1).max(128),
  step: z.int().min(0),
  stateHash: z.string().regex(/^[0-9a-f]{64}$/).nullable(),
  addresses: z.array(z.string().max(256)).max(16),
  device: z.string().max(64),
  load: z.number().min(0).max(1e6),
  trains: z.boolean(),
  sessionRoom: z.int().min(0),
  priceUnits: z.string().regex(/^[1-9]\d{0,29}$/).optional(),
  sequence: z.int().min(0),
  issuedAtMs: z.int().min(0),
  expiresAtMs: z.int().min(0),
});

/** Signs as one peer. */
export interface Signer {
  /** Whose key it is. */
  readonly peer: string;
  /** Signature of exactly these bytes. */
  sign(bytes: Uint8Array): Uint8Array | Promise<Uint8Array>;
}

/** Whether `peer` signed exactly these bytes. */
export type Verify = (peer: string, bytes: Uint8Array, signature: Uint8Array) => boolean | Promise<boolean>;

/** An announcement that must not be believed; the message says why. */
export class BadAnnouncement extends Error {
  /** Tells it from a bug. */
  override name = "BadAnnouncement";
}

const envelope = z.strictObject({
  body: z.instanceof(Uint8Array),
  signature: z.instanceof(Uint8Array),
});

const cbor = new Encoder({ useRecords: false, tagUint8Array: false });

/** Goes before what is signed, so that no other statement of the same key can pass for an announcement. */
const SIGNED_PREFIX = new TextEncoder().encode("murmuration announcement 1\n");

function signedBytes(body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(SIGNED_PREFIX.length + body.length);
  bytes.set(SIGNED_PREFIX);
  bytes.set(body, SIGNED_PREFIX.length);
  return bytes;
}

/**
 * An announcement as it travels: its bytes, and the signature of exactly these.
 *
 * @throws {TypeError} if it is out of bounds, or the key is not that of the peer it names.
 */
export async function signAnnouncement(announcement: Announcement, signer: Signer): Promise<Uint8Array> {
  if (announcement.peer !== signer.peer) {
    throw new TypeError(`Cannot sign announcement: it is of ${announcement.peer}, the key of ${signer.peer}`);
  }
  const parsed = schema.safeParse(announcement);
  if (!parsed.success) throw new TypeError(`Cannot sign announcement: ${reasonOf(parsed.error)}`);
  const body = Uint8Array.from(cbor.encode(parsed.data));
  const signature = Uint8Array.from(await signer.sign(signedBytes(body)));
  const bytes = Uint8Array.from(cbor.encode({ body, signature }));
  if (bytes.length > ANNOUNCEMENT_BYTES_MAX) {
    throw new TypeError(
      `Cannot sign announcement: ${bytes.length} bytes, at most ${ANNOUNCEMENT_BYTES_MAX}`,
    );
  }
  return bytes;
}

/**
 * What an announcement's bytes say, without asking who signed them: shape, bounds
 * and times are checked. For rules that must answer at once; see `verifyAnnouncement`.
 *
 * @throws {BadAnnouncement}
 */
export function readAnnouncement(
  bytes: Uint8Array,
  epochMs: number,
): { readonly announcement: Announcement; readonly signed: Uint8Array; readonly signature: Uint8Array } {
  if (bytes.length > ANNOUNCEMENT_BYTES_MAX) {
    throw new BadAnnouncement(
      `Cannot read announcement: ${bytes.length} bytes, at most ${ANNOUNCEMENT_BYTES_MAX}`,
    );
  }
  const { body, signature } = parse(envelope, bytes, "envelope");
  const announcement = parse(schema, body, "announcement");
  const { issuedAtMs, expiresAtMs, peer } = announcement;
  if (expiresAtMs <= epochMs) {
    throw new BadAnnouncement(
      `Cannot believe announcement of ${peer}: it expired ${epochMs - expiresAtMs} ms ago`,
    );
  }
  if (issuedAtMs > epochMs + CLOCK_SKEW_MS_MAX) {
    throw new BadAnnouncement(
      `Cannot believe announcement of ${peer}: issued ${issuedAtMs - epochMs} ms from now`,
    );
  }
  if (expiresAtMs - issuedAtMs > VALIDITY_MS_MAX || expiresAtMs <= issuedAtMs) {
    throw new BadAnnouncement(
      `Cannot believe announcement of ${peer}: valid for ${
        expiresAtMs - issuedAtMs
      } ms, at most ${VALIDITY_MS_MAX}`,
    );
  }
  return { announcement, signed: signedBytes(body), signature };
}

/**
 * An announcement from its bytes.
 *
 * @throws {BadAnnouncement} if it is malformed, out of bounds, expired, or not signed by the peer it names.
 */
export async function verifyAnnouncement(
  bytes: Uint8Array,
  epochMs: number,
  verify: Verify,
): Promise<Announcement> {
  const { announcement, signed, signature } = readAnnouncement(bytes, epochMs);
  if (!await verify(announcement.peer, signed, signature)) {
    throw new BadAnnouncement(
      `Cannot believe announcement of ${announcement.peer}: the signature is not that peer's`,
    );
  }
  return announcement;
}

function parse<T>(shape: z.ZodType<T>, bytes: Uint8Array, what: string): T {
  let value: unknown;
  try {
    value = cbor.decode(bytes);
  } catch (error) {
    throw new BadAnnouncement(`Cannot read ${what}: ${error instanceof Error ? error.message : error}`);
  }
  const parsed = shape.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new BadAnnouncement(`Cannot read ${what}: ${reasonOf(parsed.error)}`);
}

/** The first thing that doesn't fit. */
function reasonOf({ issues: [issue] }: z.ZodError): string {
  return `${issue?.path.join(".") || "value"}: ${issue?.message}`;
}
