import assert from "node:assert/strict";
import { createIdentity, publicKeyOf } from "../actors/wire/identity.ts";
import { accountOf, digestSigner } from "../contracts/signing.ts";
import type { Announcement } from "../routing/mod.ts";
import { registeredOnly } from "./places.ts";

Deno.test("a peer's name carries the account that signs for it", async () => {
  const { peer, privateKey } = await createIdentity();
  assert.equal(accountOf(publicKeyOf(peer)!), digestSigner(privateKey.raw).address);
});

Deno.test("a stage is offered by its registered signers alone, all else by everybody", async () => {
  const { peer, privateKey } = await createIdentity();
  const { address } = digestSigner(privateKey.raw);
  const rule = registeredOnly({
    ownerNow: (signer, stage) => Promise.resolve(signer === address && stage === 2 ? "0xada" : undefined),
  });
  const says = (peer: string, service: string) => rule({ peer, service } as Announcement);
  const { peer: other } = await createIdentity();
  assert.equal(await says(peer, "stage:2"), true);
  assert.equal(await says(peer, "sessions:2"), true);
  assert.equal(await says(peer, "stage:1"), false);
  assert.equal(await says(other, "stage:2"), false);
  assert.equal(await says("not a name", "stage:2"), false);
  assert.equal(await says(other, "coordinator"), true);
});
