import assert from "node:assert/strict";
import fc from "fast-check";
import { RealClock } from "../actors/core/real_clock.ts";
import { consent, createModel, evenStages, join, MIN_STAKE, modelOf, person, word } from "./testing/scene.ts";
import { type Stand, TERMS } from "./testing/stand.ts";
import { refused, trials } from "./testing/trial.ts";

async function prepare(stand: Stand) {
  const people = [];
  for (const name of ["anna", "boris", "clara"]) {
    const { address } = await person(stand, name);
    await stand.send(address, "vault", "stake", 10n * MIN_STAKE);
    people.push(address);
  }
  const keys = [];
  for (const name of ["key 1", "key 2", "key 3"]) keys.push(await person(stand, name));
  const [anna, boris, clara] = people;
  return { anna, boris, clara, keys, model: await createModel(stand, anna) };
}

trials("StageRegistry", new RealClock(), prepare, {
  "a model is its owner's, and says what its stages weigh": async (stand, { anna, boris, model }) => {
    const it = await stand.call("registry", "models", model);
    assert.equal(it.owner, stand.spelled(anna));
    assert.equal(it.stages, 2n);
    const stage = await stand.call("registry", "stages", model, 1);
    assert.deepEqual([stage.weightBps, stage.maxReplicas, stage.replicas, stage.minStake], [
      5_000n,
      4n,
      0n,
      MIN_STAKE,
    ]);
    await refused(createModel(stand, anna), "ModelExists");
    assert.notEqual(await createModel(stand, boris), model);
  },
  "stages that are none, too many or weigh anything but the whole are refused": async (stand, { anna }) => {
    const create = (stages: ReturnType<typeof evenStages>) => createModel(stand, anna, stages, "bad");
    const [one] = evenStages(1);
    await refused(create([]), "BadStages");
    await refused(create([{ ...one, weightBps: 9_999 }]), "BadStages", [1n, 9_999n]);
    await refused(create([one, { ...one, weightBps: 1 }]), "BadStages");
    await refused(create([one, { ...one, weightBps: 0 }]), "BadStages");
    await refused(create([{ ...one, maxReplicas: 0 }]), "BadStages");
    const many = Array.from({ length: 257 }, (_, at) => ({ ...one, weightBps: at < 256 ? 39 : 16 }));
    await refused(create(many), "BadStages");
    await create([...many.slice(0, 255), { ...one, weightBps: 55 }]);
  },
  "hosts are spread over the stages by need, and hold their stake": async (stand, all) => {
    const { anna, boris, clara, keys, model } = all;
    const first = await join(stand, anna, model, keys[0]);
    const second = await join(stand, boris, model, keys[1]);
    assert.deepEqual([first, second].sort(), [0, 1]);
    await join(stand, clara, model, keys[2]);
    const host = await stand.call("registry", "hosts", model, anna);
    assert.equal(host.signer, stand.spelled(keys[0].address));
    assert.equal(host.peerIdHash, word("peer"));
    assert.ok(host.active);
    assert.equal(Number(host.joinEpoch) > 0, true);
    const found = await stand.call("registry", "hostOfSigner", model, keys[1].address);
    assert.deepEqual([found.owner, found.stage], [stand.spelled(boris), BigInt(second)]);
    const { locked } = await stand.call("vault", "accounts", anna);
    assert.equal(locked, MIN_STAKE);
    const nobody = await stand.call("registry", "hostOfSigner", model, clara);
    assert.equal(BigInt(nobody.owner), 0n);
  },
  "need is measured by weight": async (stand, { anna }) => {
    const terms = { maxReplicas: 9, minStake: 0n };
    const model = await createModel(
      stand,
      anna,
      [{ ...terms, weightBps: 2_500 }, { ...terms, weightBps: 7_500 }],
      "uneven",
    );
    let heavy = 0;
    for (let count = 1; count <= 8; count++) {
      const { address } = await person(stand, `owner ${count}`);
      heavy += await join(stand, address, model, await person(stand, `signer ${count}`));
      // Whichever was first, of every four hosts three belong to the heavy stage.
      if (count % 4 === 0) assert.equal(heavy, 3 * count / 4);
    }
  },
  "a stage takes no more than it has room for": async (stand, { anna, boris, clara, keys }) => {
    const model = await createModel(stand, anna, evenStages(2, 1), "small");
    await join(stand, anna, model, keys[0]);
    await join(stand, boris, model, keys[1]);
    await refused(join(stand, clara, model, keys[2]), "AllStagesFull", [model]);
  },
  "one operator, one stage of a model": async (stand, { anna, keys, model }) => {
    await join(stand, anna, model, keys[0]);
    // Asking again moves it, and leaves nothing behind.
    await join(stand, anna, model, keys[1]);
    const stages = await stand.calls([["registry", "stages", model, 0], ["registry", "stages", model, 1]]);
    assert.equal(stages.reduce((sum, { replicas }) => sum + replicas, 0n), 1n);
    assert.equal((await stand.call("vault", "accounts", anna)).locked, MIN_STAKE);
    const [old] = await stand.call("registry", "ownerOfSigner", model, keys[0].address);
    assert.equal(BigInt(old), 0n);
    const other = await createModel(stand, anna, evenStages(2), "another");
    await join(stand, anna, other, keys[0]);
  },
  "what is drawn is unknown when it is asked for, and is not asked for twice": async (stand, all) => {
    const { anna, boris, keys, model } = all;
    const ask = (owner: string, key = keys[0]) =>
      stand.send(
        owner,
        "registry",
        "requestJoin",
        model,
        key.address,
        word("peer"),
        consent(stand, key, owner, model),
      );
    await refused(stand.send(anna, "registry", "assign", model, anna), "NoRequest");
    await ask(anna);
    await refused(stand.send(anna, "registry", "assign", model, anna), "DrawNotReady");
    await refused(ask(anna), "RequestPending");
    await stand.undone(async () => {
      await stand.mine(TERMS.drawDelayBlocks);
      // Anybody may hold it to what was drawn.
      await stand.send(boris, "registry", "assign", model, anna);
      await refused(stand.send(anna, "registry", "assign", model, anna), "NoRequest");
    });
    await stand.mine(257 + TERMS.drawDelayBlocks);
    await refused(stand.send(anna, "registry", "assign", model, anna), "DrawTooLate");
    await ask(anna);
    await stand.mine(TERMS.drawDelayBlocks);
    await stand.send(anna, "registry", "assign", model, anna);
  },
  "a signer serves only whom it has agreed to serve": async (stand, { anna, boris, keys, model }) => {
    const [key, other] = keys;
    const ask = (owner: string, agreed: string, of = model) =>
      stand.send(owner, "registry", "requestJoin", of, key.address, word("peer"), agreed);
    const good = consent(stand, key, anna, model);
    const elsewhere = { ...stand, deployment: { ...stand.deployment, chainId: 1 } } as Stand;
    const otherContract = { ...stand, deployment: { ...stand.deployment, registry: stand.deployment.vault } };
    const second = await createModel(stand, anna, evenStages(2), "second");
    const bad: Record<string, string> = {
      "another owner's": consent(stand, key, boris, model),
      "another model's": consent(stand, key, anna, second),
      "another peer's": consent(stand, key, anna, model, word("another peer")),
      "another key's": consent(stand, other, anna, model),
      "another chain's": consent(elsewhere, key, anna, model),
      "another contract's": consent(otherContract as Stand, key, anna, model),
      "too short": good.slice(0, -2),
      "empty": "0x",
    };
    for (const agreed of Object.values(bad)) await refused(ask(anna, agreed), "NoConsent");
    const zero = `0x${"0".repeat(40)}`;
    await refused(
      stand.send(anna, "registry", "requestJoin", model, zero, word("peer"), `0x${"0".repeat(130)}`),
      "NoConsent",
      [zero],
    );
    await ask(anna, good);
  },
  "a signer is one operator's": async (stand, { anna, boris, keys, model }) => {
    const ask = (owner: string) =>
      stand.send(
        owner,
        "registry",
        "requestJoin",
        model,
        keys[0].address,
        word("peer"),
        consent(stand, keys[0], owner, model),
      );
    // Both ask before either is assigned: the first to be assigned has it.
    await ask(anna);
    await ask(boris);
    await stand.mine(TERMS.drawDelayBlocks);
    await stand.send(anna, "registry", "assign", model, anna);
    await refused(stand.send(boris, "registry", "assign", model, boris), "SignerTaken");
    await stand.mine(257);
    await refused(ask(boris), "SignerTaken");
  },
  "a signer is exchanged for another": async (stand, { anna, boris, keys, model }) => {
    const rotate = (owner: string, key = keys[1]) =>
      stand.send(
        owner,
        "registry",
        "rotateSigner",
        model,
        key.address,
        word("new"),
        consent(stand, key, owner, model, word("new")),
      );
    await refused(rotate(anna), "NotHost");
    await join(stand, anna, model, keys[0]);
    await rotate(anna);
    assert.equal(BigInt((await stand.call("registry", "ownerOfSigner", model, keys[0].address))[0]), 0n);
    assert.equal(
      (await stand.call("registry", "hostOfSigner", model, keys[1].address)).owner,
      stand.spelled(anna),
    );
    assert.equal((await stand.call("registry", "hosts", model, anna)).peerIdHash, word("new"));
    await join(stand, boris, model, keys[0]);
    await refused(rotate(boris), "SignerTaken");
    // The same again is fine: it names another peer, perhaps.
    await rotate(anna);
    await refused(
      stand.send(anna, "registry", "rotateSigner", model, keys[2].address, word("new"), "0x"),
      "NoConsent",
    );
  },
  "who resigns has its stake back": async (stand, { anna, keys, model }) => {
    await refused(stand.send(anna, "registry", "resign", model), "NotHost");
    const stage = await join(stand, anna, model, keys[0]);
    await stand.send(anna, "registry", "resign", model);
    assert.equal((await stand.call("vault", "accounts", anna)).locked, 0n);
    assert.equal((await stand.call("registry", "stages", model, stage)).replicas, 0n);
    assert.equal(BigInt((await stand.call("registry", "hostOfSigner", model, keys[0].address)).owner), 0n);
    await refused(stand.send(anna, "registry", "resign", model), "NotHost");
  },
  "without stake nobody is assigned": async (stand, { keys, model }) => {
    const poor = (await person(stand, "poor")).address;
    await stand.send(poor, "vault", "stake", MIN_STAKE - 1n);
    await refused(join(stand, poor, model, keys[0]), "FreeStakeTooSmall");
  },
  "who was slashed below its place's stake can be removed": async (stand, { anna, boris, keys, model }) => {
    await refused(stand.send(boris, "registry", "evict", model, anna), "NotHost");
    await join(stand, anna, model, keys[0]);
    const { arbiter } = stand.offices;
    await stand.send(arbiter, "vault", "slash", anna, 9n * MIN_STAKE, boris);
    await refused(stand.send(boris, "registry", "evict", model, anna), "StakeSuffices");
    await stand.send(arbiter, "vault", "slash", anna, 1n, boris);
    await stand.send(boris, "registry", "evict", model, anna);
    assert.equal((await stand.call("registry", "hosts", model, anna)).active, false);
    assert.equal((await stand.call("vault", "freeOf", anna))[0], MIN_STAKE - 1n);
  },
  "an inactive model takes nobody new, and keeps nobody": async (stand, { anna, boris, keys, model }) => {
    await join(stand, anna, model, keys[0]);
    await refused(stand.send(boris, "registry", "setActive", model, false), "NotModelOwner");
    await stand.send(anna, "registry", "setActive", model, false);
    await refused(join(stand, boris, model, keys[1]), "ModelNotActive");
    await refused(join(stand, boris, word("no model"), keys[1]), "ModelNotActive");
    await stand.send(anna, "registry", "resign", model);
    await stand.send(anna, "registry", "setActive", model, true);
    await join(stand, boris, model, keys[1]);
  },
  "a pause stops joining, and nothing else": async (stand, { anna, boris, keys, model }) => {
    const { guardian, arbiter } = stand.offices;
    await join(stand, anna, model, keys[0]);
    await join(stand, boris, model, keys[1]);
    await stand.send(guardian, "registry", "pause");
    await refused(createModel(stand, anna, evenStages(1), "late"), "EnforcedPause");
    await refused(join(stand, anna, model, keys[2]), "EnforcedPause");
    const agreed = consent(stand, keys[2], anna, model, word("new"));
    await stand.send(anna, "registry", "rotateSigner", model, keys[2].address, word("new"), agreed);
    await stand.send(anna, "registry", "resign", model);
    await stand.send(arbiter, "vault", "slash", boris, 10n * MIN_STAKE, anna);
    await stand.send(anna, "registry", "evict", model, boris);
    await stand.send(guardian, "registry", "unpause");
    await join(stand, anna, model, keys[0]);
  },
  "the draw is among the neediest alone, whatever the weights": async (stand, { anna, boris, keys }) => {
    const weights = fc.array(fc.integer({ min: 1, max: 999 }), { minLength: 1, maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(weights, (some) =>
        stand.undone(async () => {
          const rest = 10_000 - some.reduce((sum, weight) => sum + weight, 0);
          const stages = [...some, rest].map((weightBps) => ({ weightBps, maxReplicas: 1, minStake: 0n }));
          const model = await createModel(stand, anna, stages, "drawn");
          assert.equal(model, await modelOf(stand, anna, "drawn"));
          const first = await join(stand, anna, model, keys[0]);
          const second = await join(stand, boris, model, keys[1]);
          // Every stage is equally empty at first; afterwards the one that was drawn is full.
          assert.notEqual(first, second);
        })),
      { numRuns: 5 },
    );
  },
});
