import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import fc from "fast-check";
import type { Signer, Verify } from "./announcement.ts";
import {
  PROOF_REPLICAS_MAX,
  PROOF_TEXT_LENGTH_MAX,
  proofText,
  proveState,
  quorumOf,
  readProof,
  signState,
  type StateClaim,
  type StateProof,
  UnprovedState,
} from "./state_proof.ts";

const CLAIM: StateClaim = { run: "1".repeat(64), stage: 2, step: 40, stateHash: "a".repeat(64) };

function signature(peer: string, bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash("sha256").update(peer).update(bytes).digest());
}

function signer(peer: string): Signer {
  return { peer, sign: (bytes) => signature(peer, bytes) };
}

let verified = 0;
const verify: Verify = (peer, bytes, given) => {
  verified++;
  return Buffer.from(signature(peer, bytes)).equals(given);
};

/** What these of the replicas have signed. */
async function signed(
  by: readonly string[],
  replicas: readonly string[],
  claim: Partial<StateClaim> = {},
): Promise<StateProof[]> {
  return await Promise.all(by.map((peer) => signState({ ...CLAIM, ...claim }, replicas, signer(peer))));
}

async function refused(proofs: readonly StateProof[], reason: RegExp): Promise<void> {
  await assert.rejects(proveState(CLAIM, proofs, verify), (error) => {
    assert.ok(error instanceof UnprovedState);
    assert.match(error.message, reason);
    return true;
  });
}

Deno.test("more than half of the replicas prove a state, whoever brings their signatures", async () => {
  const names = Array.from({ length: 8 }, (_, i) => `replica ${i}`);
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 8 }), fc.subarray(names), async (count, by) => {
      const replicas = names.slice(0, count);
      const voters = by.filter((peer) => replicas.includes(peer));
      const proofs = await signed(voters, [...replicas].reverse());
      if (2 * voters.length <= count) return await refused(proofs, /nobody has signed|replicas have signed/);
      const proof = await proveState(CLAIM, proofs, verify);
      assert.equal(proof.votes.length, quorumOf(count));
      assert.deepEqual(await proveState(CLAIM, [proof], verify), proof, "what is proved once proves itself");
    }),
  );
});

Deno.test("the one replica of a stage proves it alone, half of two don't", async () => {
  await proveState(CLAIM, await signed(["a"], ["a"]), verify);
  await refused(await signed(["a"], ["a", "b"]), /1 of its 2 replicas have signed it, needed are 2/);
  await refused([], /nobody has signed it/);
});

Deno.test("a signature that comes twice counts once", async () => {
  const [one] = await signed(["a"], ["a", "b", "c"]);
  await refused([one, one, { ...one, votes: [...one.votes, ...one.votes] }], /1 of its 3/);
});

Deno.test("a signature of somebody else, in somebody's name or of a stranger, is not counted", async () => {
  const [one] = await signed(["a"], ["a", "b", "c"]);
  const forged = { peer: "b", signature: one.votes[0].signature };
  const [foreign] = await signed(["x"], ["a", "b", "c", "x"]);
  await refused([{ ...one, votes: [...one.votes, forged, ...foreign.votes] }], /1 of its 3/);
});

Deno.test("a signature of another state, step, stage, run or company is not counted", async () => {
  const replicas = ["a", "b", "c"];
  const [own] = await signed(["a"], replicas);
  const others = [
    { stateHash: "b".repeat(64) },
    { step: 41 },
    { stage: 1 },
    { run: "2".repeat(64) },
  ];
  for (const other of others) {
    const [vote] = await signed(["b"], replicas, other);
    await refused([own, vote], /1 of its 3/);
  }
  const [elsewhere] = await signed(["b"], ["b", "c"]);
  await refused([own, { ...own, votes: elsewhere.votes }, elsewhere], /1 of its/);
});

Deno.test("a bad signature doesn't hide the good one of the same replica", async () => {
  const [one, two] = await signed(["a", "b"], ["a", "b", "c"]);
  const bad = { ...two, votes: [{ peer: "b", signature: "00" }] };
  assert.equal((await proveState(CLAIM, [bad, one, two], verify)).votes.length, 2);
});

Deno.test("replicas named twice or out of order prove nothing: they would change what half of them is", async () => {
  const [one] = await signed(["a"], ["a"]);
  await refused([{ ...one, replicas: ["a", "a"] }], /nobody has signed/);
  await refused([{ ...one, replicas: ["b", "a"] }], /nobody has signed/);
  await refused([{ ...one, replicas: [] }], /nobody has signed/);
});

Deno.test("who is not among the replicas doesn't sign, and nobody for too many", async () => {
  await assert.rejects(signState(CLAIM, ["a"], signer("b")), /b is not among its replicas/);
  const many = Array.from({ length: PROOF_REPLICAS_MAX + 1 }, (_, i) => `replica ${i}`);
  await assert.rejects(signState(CLAIM, many, signer(many[0])), /257 replicas, at most 256/);
});

Deno.test("the largest proof survives as text, and costs no more checks than a quorum needs", async () => {
  const replicas = Array.from({ length: PROOF_REPLICAS_MAX }, (_, i) => `${i}`.padEnd(128, "x"));
  const proofs = await signed(replicas, replicas);
  const whole = { replicas: proofs[0].replicas, votes: proofs.flatMap(({ votes }) => votes) };
  const text = proofText(whole);
  assert.ok(text.length < PROOF_TEXT_LENGTH_MAX);
  assert.deepEqual(readProof(text), whole);
  verified = 0;
  await proveState(CLAIM, [readProof(text)!], verify);
  assert.equal(verified, quorumOf(PROOF_REPLICAS_MAX));
});

Deno.test("text that is no proof is none, whatever it is", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (text) => assert.equal(readProof(text), undefined)),
  );
  assert.equal(readProof(" ".repeat(PROOF_TEXT_LENGTH_MAX + 1)), undefined);
  for (const signature of ["", "0", "zz", "00".repeat(513)]) {
    assert.equal(
      readProof(JSON.stringify({ replicas: ["a"], votes: [{ peer: "a", signature }] })),
      undefined,
    );
  }
});

Deno.test("a proof with any part of it changed proves nothing else", async () => {
  const [one, two] = await signed(["a", "b"], ["a", "b", "c"]);
  const text = proofText({ replicas: one.replicas, votes: [...one.votes, ...two.votes] });
  await fc.assert(
    fc.asyncProperty(fc.nat(text.length - 1), fc.integer({ min: 32, max: 126 }), async (at, code) => {
      const changed = text.slice(0, at) + String.fromCharCode(code) + text.slice(at + 1);
      const proof = readProof(changed);
      if (proof === undefined || changed === text) return;
      await refused([proof], /nobody has signed|have signed it, needed are/);
    }),
  );
});
