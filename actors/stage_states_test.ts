import assert from "node:assert/strict";
import type { Hello } from "./coordination_events.ts";
import type { MessageOf } from "./messages.ts";
import { StageStates } from "./stage_states.ts";
import type { StateProof } from "../routing/mod.ts";

const A = "a".repeat(64);
const B = "b".repeat(64);

function applied(peer: string, stage: number, stateHash: string) {
  const report = { kind: "applied", term: 1, step: 1, stateHash, signature: "00", certify: true } as const;
  return { peer, stage, report: report satisfies MessageOf<"applied"> };
}

function votesOf(...peers: string[]): StateProof["votes"] {
  return peers.map((peer) => ({ peer, signature: "00" }));
}

/** What a host says that is not served from. */
function hello(stateHash: string, proof: StateProof): Hello {
  return {
    stage: 0,
    step: 1,
    stateHash,
    snapshots: [],
    incarnation: 0,
    secondsPerMicroBatch: null,
    movable: false,
    missed: 0,
    leaving: false,
    term: 0,
    leader: null,
    latest: null,
    electorates: [],
    report: { held: [], losses: [], total: null, applied: null, proof },
  };
}

Deno.test("a state is signed by those that stand at it, of all that took the step", () => {
  const states = new StageStates();
  const replicas = [["w", "x", "y"], ["z"]];
  const agreeing = states.take([A, B], replicas, [
    applied("x", 0, A),
    applied("y", 0, B),
    applied("z", 1, B),
  ]);
  assert.deepEqual(agreeing.map(({ peer }) => peer), ["x", "z"]);
  assert.deepEqual(states.proofOf(0), { replicas: ["w", "x", "y"], votes: votesOf("x") });
  assert.deepEqual(states.proofOf(1), { replicas: ["z"], votes: votesOf("z") });
  assert.deepEqual([states.isAt(0, A), states.isAt(0, B), states.isAt(0, null)], [true, false, false]);
});

Deno.test("what hosts know of signatures adds up, for the state that is agreed on, until a quorum has signed", () => {
  const states = new StageStates();
  const replicas = ["w", "x", "y"];
  states.begin([A]);
  assert.equal(states.proofOf(0), null);
  states.learn(0, hello(B, { replicas, votes: votesOf("w") }));
  assert.equal(states.proofOf(0), null);
  states.learn(0, hello(A, { replicas, votes: votesOf("x") }));
  states.learn(0, hello(A, { replicas, votes: votesOf("y") }));
  assert.deepEqual(states.proofOf(0), { replicas, votes: votesOf("x", "y") });
  states.learn(0, hello(A, { replicas, votes: votesOf("w") }));
  assert.deepEqual(states.proofOf(0), { replicas, votes: votesOf("x", "y") });
});
