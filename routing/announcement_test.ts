import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { Encoder } from "cbor-x";
import fc from "fast-check";
import {
  type Announcement,
  ANNOUNCEMENT_BYTES_MAX,
  BadAnnouncement,
  CLOCK_SKEW_MS_MAX,
  readAnnouncement,
  signAnnouncement,
  type Signer,
  stageService,
  VALIDITY_MS_MAX,
  verifyAnnouncement,
} from "./announcement.ts";

const NOW_MS = 1_800_000_000_000;
const cbor = new Encoder({ useRecords: false, tagUint8Array: false });

/** A keyed hash instead of a signature; nobody here forges it. */
function signature(peer: string, bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash("sha256").update(peer).update(bytes).digest());
}

function signerOf(peer: string): Signer {
  return { peer, sign: (bytes) => signature(peer, bytes) };
}

function verify(peer: string, bytes: Uint8Array, claimed: Uint8Array): boolean {
  return signature(peer, bytes).toHex() === claimed.toHex();
}

const good: Announcement = {
  run: "ab".repeat(32),
  service: stageService(2),
  peer: "peer",
  step: 7,
  stateHash: "cd".repeat(32),
  addresses: ["/ip4/127.0.0.1/tcp/4001"],
  device: "onnx",
  load: 1.5,
  trains: true,
  sessionRoom: 64,
  sequence: 3,
  issuedAtMs: NOW_MS,
  expiresAtMs: NOW_MS + 30_000,
};

Deno.test("an announcement survives the way there and back", async () => {
  for (const announcement of [good, { ...good, stateHash: null, service: "coordinator", addresses: [] }]) {
    const bytes = await signAnnouncement(announcement, signerOf("peer"));
    assert.deepEqual(await verifyAnnouncement(bytes, NOW_MS, verify), announcement);
  }
});

Deno.test("a signer may take its time, and so may whoever verifies", async () => {
  const slow: Signer = { peer: "peer", sign: (bytes) => Promise.resolve(signature("peer", bytes)) };
  const bytes = await signAnnouncement(good, slow);
  await verifyAnnouncement(bytes, NOW_MS, (...args) => Promise.resolve(verify(...args)));
});

Deno.test("what is out of bounds is not signed", async () => {
  await assert.rejects(signAnnouncement(good, signerOf("other")), /it is of peer, the key of other/);
  for (const wrong of outOfBounds) {
    await assert.rejects(
      signAnnouncement({ ...good, ...wrong } as Announcement, signerOf("peer")),
      TypeError,
    );
  }
  const long = { ...good, addresses: new Array(16).fill("é".repeat(256)) };
  await assert.rejects(signAnnouncement(long, signerOf("peer")), /\d+ bytes, at most 8192/);
});

const outOfBounds: readonly Record<string, unknown>[] = [
  { run: "ab" },
  { service: "stage:-1" },
  { service: "stage:12345" },
  { service: "stage:1 or 2" },
  { peer: "p".repeat(200) },
  { step: -1 },
  { step: 1.5 },
  { stateHash: "CD".repeat(32) },
  { addresses: new Array(17).fill("/ip4/1.1.1.1") },
  { addresses: ["a".repeat(257)] },
  { device: "d".repeat(65) },
  { load: NaN },
  { load: -1 },
  { load: 1e9 },
  { sequence: 2 ** 60 },
  { issuedAtMs: "now" },
  { unknown: 1 },
];

/** As {@link signAnnouncement}, for what it refuses to sign. */
function signedAnyway(body: unknown, peer = "peer"): Uint8Array {
  const bytes = new Uint8Array(cbor.encode(body));
  const signed = new Uint8Array([...new TextEncoder().encode("murmuration announcement 1\n"), ...bytes]);
  return new Uint8Array(cbor.encode({ body: bytes, signature: signature(peer, signed) }));
}

Deno.test("what is out of bounds is not believed, even with a good signature", async () => {
  assert.deepEqual(await verifyAnnouncement(signedAnyway(good), NOW_MS, verify), good);
  const { load: _load, ...incomplete } = good;
  const bodies = [...outOfBounds.map((wrong) => ({ ...good, ...wrong })), incomplete, 5, null, [good]];
  for (const body of bodies) {
    await assert.rejects(verifyAnnouncement(signedAnyway(body), NOW_MS, verify), {
      name: "BadAnnouncement",
      message: /^Cannot read announcement: /,
    });
  }
});

Deno.test("times are checked against the reader's own clock", async () => {
  const cases: readonly (readonly [Partial<Announcement>, RegExp | undefined])[] = [
    [{ expiresAtMs: NOW_MS }, /it expired 0 ms ago/],
    [{ issuedAtMs: NOW_MS - 31_000, expiresAtMs: NOW_MS - 1000 }, /it expired 1000 ms ago/],
    [{ issuedAtMs: NOW_MS + CLOCK_SKEW_MS_MAX, expiresAtMs: NOW_MS + CLOCK_SKEW_MS_MAX + 1 }, undefined],
    [
      { issuedAtMs: NOW_MS + CLOCK_SKEW_MS_MAX + 1, expiresAtMs: NOW_MS + CLOCK_SKEW_MS_MAX + 2 },
      /issued 60001 ms from now/,
    ],
    [{ expiresAtMs: NOW_MS + VALIDITY_MS_MAX + 1 }, /valid for 600001 ms, at most 600000/],
    [{ issuedAtMs: NOW_MS + 10, expiresAtMs: NOW_MS + 5 }, /valid for -5 ms/],
  ];
  for (const [times, reason] of cases) {
    const bytes = await signAnnouncement({ ...good, ...times }, signerOf("peer"));
    if (reason === undefined) await verifyAnnouncement(bytes, NOW_MS, verify);
    else {await assert.rejects(verifyAnnouncement(bytes, NOW_MS, verify), {
        name: "BadAnnouncement",
        message: reason,
      });}
  }
});

Deno.test("another's signature, and a signature of something else, are not believed", async () => {
  const forged = signedAnyway(good, "other");
  await assert.rejects(verifyAnnouncement(forged, NOW_MS, verify), /the signature is not that peer's/);
  const body = new Uint8Array(cbor.encode(good));
  const bare = new Uint8Array(cbor.encode({ body, signature: signature("peer", body) }));
  await assert.rejects(verifyAnnouncement(bare, NOW_MS, verify), /the signature is not that peer's/);
});

Deno.test("one changed bit is never believed to say something else", async () => {
  const bytes = await signAnnouncement(good, signerOf("peer"));
  for (let bit = 0; bit < 8 * bytes.length; bit++) {
    const changed = bytes.slice();
    changed[bit >> 3]! ^= 1 << (bit & 7);
    try {
      // A bit that has no meaning may pass: of how a length is written, say.
      assert.deepEqual(await verifyAnnouncement(changed, NOW_MS, verify), good);
    } catch (error) {
      assert.ok(error instanceof BadAnnouncement, `bit ${bit}: ${error}`);
    }
  }
});

Deno.test("arbitrary bytes are turned away with a reason", () => {
  const hostile = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.anything().map((value) => {
      try {
        return new Uint8Array(new Encoder({ structuredClone: true }).encode(value));
      } catch {
        return new Uint8Array();
      }
    }),
    fc.uint8Array({ maxLength: 300 }).map((body) => new Uint8Array(cbor.encode({ body, signature: body }))),
    fc.constantFrom(0x81, 0xa1, 0xc1, 0xd8, 0x9f, 0xff).map((byte) =>
      new Uint8Array(ANNOUNCEMENT_BYTES_MAX).fill(byte)
    ),
  );
  fc.assert(
    fc.property(hostile, (bytes) => {
      assert.throws(() => readAnnouncement(bytes, NOW_MS), {
        name: "BadAnnouncement",
        message: /^Cannot read /,
      });
    }),
    { numRuns: 500 },
  );
  assert.throws(
    () => readAnnouncement(new Uint8Array(ANNOUNCEMENT_BYTES_MAX + 1), NOW_MS),
    /8193 bytes, at most 8192/,
  );
});
