import assert from "node:assert/strict";
import fc from "fast-check";
import { Signature, SigningKey, Wallet } from "ethers";
import { digestSigner, longSignature, NATIVE_CURVE, PORTABLE_CURVE, signerOf } from "./signing.ts";
import { bytesOf, hex } from "./typed_data.ts";

const key = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) =>
  Uint8Array.from(bytes, (byte) => byte >> 1 | 1)
);
const digest = fc.uint8Array({ minLength: 32, maxLength: 32 });
const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;

for (const [name, curve] of [["native", NATIVE_CURVE], ["portable", PORTABLE_CURVE]] as const) {
  Deno.test(
    { name: `${name}: signatures are those that a wallet makes`, ignore: curve === undefined },
    () => {
      fc.assert(
        fc.property(key, digest, (key, digest) => {
          const signer = digestSigner(key, curve);
          assert.equal(signer.address, new Wallet(hex(key)).address.toLowerCase());
          const signature = signer.sign(digest);
          assert.equal(signature, new SigningKey(key).sign(digest).compactSerialized);
          assert.equal(signerOf(digest, signature, curve), signer.address);
          assert.equal(longSignature(signature), new SigningKey(key).sign(digest).serialized);
        }),
        { numRuns: 30 },
      );
    },
  );

  Deno.test({
    name: `${name}: hostile signatures name nobody, or somebody else`,
    ignore: curve === undefined,
  }, () => {
    const signer = digestSigner(new Uint8Array(32).fill(5), curve);
    const message = new Uint8Array(32).fill(6);
    const good = signer.sign(message);
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 64, maxLength: 64 }), (bytes) => {
        assert.notEqual(signerOf(message, hex(bytes), curve), signer.address);
      }),
      { numRuns: 50 },
    );
    fc.assert(
      fc.property(fc.nat(511), (bit) => {
        const bytes = bytesOf(good);
        bytes[bit >> 3] ^= 1 << (bit & 7);
        assert.notEqual(signerOf(message, hex(bytes), curve), signer.address);
      }),
      { numRuns: 50 },
    );
    for (const length of [0, 1, 63, 65, 1000]) {
      assert.equal(signerOf(message, `0x${"11".repeat(length)}`, curve), undefined);
    }
    assert.equal(signerOf(message, `0x${"00".repeat(64)}`, curve), undefined);
  });

  Deno.test(
    { name: `${name}: the other form of a signature is refused`, ignore: curve === undefined },
    () => {
      // A greater s that still leaves room for the parity: nobody can make such a signature at will, so it is
      // only shown that the check comes before the curve is asked.
      const s = (ORDER >> 1n) + 1n;
      const bytes = bytesOf(`0x${"11".repeat(32)}${s.toString(16).padStart(64, "0")}`);
      assert.equal(signerOf(new Uint8Array(32).fill(1), hex(bytes), curve), undefined);
      const least = (ORDER >> 1n).toString(16).padStart(64, "0");
      assert.doesNotThrow(() => Signature.from({ r: `0x${"11".repeat(32)}`, s: `0x${least}`, yParity: 0 }));
    },
  );
}

Deno.test("what is no key signs nothing", () => {
  for (const curve of [NATIVE_CURVE, PORTABLE_CURVE]) {
    if (curve === undefined) continue;
    assert.throws(() => digestSigner(new Uint8Array(32), curve));
    assert.throws(() => digestSigner(new Uint8Array(31), curve));
  }
});
