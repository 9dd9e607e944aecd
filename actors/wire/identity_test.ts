import assert from "node:assert/strict";
import { join } from "node:path";
import fc from "fast-check";
import { createIdentity, loadIdentity, loadOrCreateIdentity, saveIdentity, verify } from "./identity.ts";

async function inFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await use(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("an identity comes back from its file, which only its owner may read", () =>
  inFolder(async (folder) => {
    const path = join(folder, "key");
    const made = await loadOrCreateIdentity(path);
    assert.equal((await Deno.stat(path)).mode! & 0o777, 0o600);
    assert.equal((await Deno.readFile(path)).byteLength, 32);
    assert.equal((await loadOrCreateIdentity(path)).peer, made.peer);
    assert.match(made.peer, /^16Uiu2/);
  }));

Deno.test("a key file is never overwritten, and a broken one is named", () =>
  inFolder(async (folder) => {
    const path = join(folder, "key");
    await saveIdentity(path, await createIdentity());
    await assert.rejects(async () => saveIdentity(path, await createIdentity()), Deno.errors.AlreadyExists);
    await Deno.writeFile(path, new Uint8Array(31));
    await assert.rejects(
      loadOrCreateIdentity(path),
      /Cannot load identity from .*: a key is 32 bytes, found 31/,
    );
    await Deno.writeFile(path, new Uint8Array(32));
    await assert.rejects(loadIdentity(path), /not a secp256k1 key/);
  }));

Deno.test("a signature holds for these bytes and this peer only", async () => {
  const [alice, bob] = [await createIdentity(), await createIdentity()];
  const bytes = new TextEncoder().encode("announcement");
  const signature = alice.sign(bytes);
  assert.equal(verify(alice.peer, bytes, signature), true);
  assert.equal(verify(bob.peer, bytes, signature), false);
  for (let at = 0; at < bytes.length; at++) {
    const changed = bytes.slice();
    changed[at] ^= 1;
    assert.equal(verify(alice.peer, changed, signature), false);
  }
});

Deno.test("verify answers false to whatever is malformed, and never throws", async () => {
  const alice = await createIdentity();
  const bytes = new Uint8Array([1, 2, 3]);
  const signature = alice.sign(bytes);
  fc.assert(fc.property(fc.string(), (peer) => verify(peer, bytes, signature) === false));
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (garbage) => verify(alice.peer, bytes, garbage) === false),
  );
  // An Ed25519 peer id is well-formed, but no peer of ours has one.
  assert.equal(verify("12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA", bytes, signature), false);
  assert.equal(verify(alice.peer.repeat(100_000), bytes, signature), false);
});
