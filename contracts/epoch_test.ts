import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type EpochDocument,
  type EpochNews,
  type EpochRules,
  faultOf,
  type NamedDocument,
  readEpoch,
  treeOf,
  WINDOW_EPOCHS,
  writeEpoch,
} from "./epoch.ts";
import { type DigestSigner, digestSigner } from "./signing.ts";
import { type UnsignedSheet, type WorkSheet, WorkSheets } from "./work_sheet.ts";
import { NOWHERE as deployment } from "./testing/addresses.ts";

const word = (digit: string) => `0x${digit.repeat(64)}`;
const MODEL = word("a");
const key = (number: number) => digestSigner(new Uint8Array(32).fill(number));
/** Two hosts of each of three stages, and who feeds them. */
const HOSTS = [[key(1), key(2)], [key(3), key(4)], [key(5), key(6)]];
const TRAINER = key(9);
const STRANGER = key(10);
const owner = (signer: DigestSigner) => `0x${"f".repeat(8)}${signer.address.slice(10)}`;
const owners = new Map(
  HOSTS.flatMap((hosts, stage) => hosts.map((it) => [`${it.address} ${stage}`, owner(it)])),
);
const rules: EpochRules = {
  deployment,
  model: MODEL,
  stageWork: [10n, 10n, 15n],
  microBatches: 4,
  ownerOf: (signer, stage) => owners.get(`${signer} ${stage}`),
};
const sheets = new WorkSheets(deployment);

interface Wish {
  readonly stage: number;
  readonly step: number;
  readonly microBatches: readonly number[];
  readonly host?: DigestSigner;
  readonly previous?: DigestSigner;
  readonly by?: readonly DigestSigner[];
}

/** A sheet whose neighbours acknowledge all of it. */
function worked({ stage, step, microBatches, ...wish }: Wish): WorkSheet {
  const host = wish.host ?? HOSTS[stage][0];
  const previous = wish.previous ?? (stage === 0 ? TRAINER : HOSTS[stage - 1][0]);
  const by = wish.by ?? [previous, ...stage < 2 ? [HOSTS[stage + 1][0]] : []];
  const unsigned: UnsignedSheet = {
    model: MODEL,
    stage,
    step,
    host: host.address,
    items: microBatches.map((microBatch) => ({
      microBatch,
      request: word("b"),
      previous: previous.address,
      inRoot: word("c"),
      outRoot: word("d"),
      tokens: 256,
    })),
  };
  const acknowledgements = by.map((it) => sheets.acknowledge(unsigned, microBatches, it));
  return { ...sheets.sign(unsigned, host), acknowledgements };
}

function news(epoch: number, list: readonly WorkSheet[], more: Partial<EpochNews> = {}): EpochNews {
  const stageUnits = [100n, 100n, 100n];
  return { epoch, beforeStep: epoch, trainers: [TRAINER.address], stageUnits, sheets: list, ...more };
}

const counts = ({ document }: NamedDocument) =>
  document.window.at(-1)!.map(({ stage, account, microBatches }) => [stage, account, microBatches]);
const rewards = ({ document }: NamedDocument) =>
  document.balances.map(({ stage, account, rewardUnits }) => [stage, account, rewardUnits]);

Deno.test("what both neighbours acknowledge counts, once, for the owner of the key", () => {
  const [a, b] = HOSTS[1];
  const list = [
    worked({ stage: 0, step: 0, microBatches: [0, 1, 2, 3] }),
    worked({ stage: 1, step: 0, microBatches: [0, 1], host: a }),
    worked({ stage: 1, step: 0, microBatches: [1, 2], host: b }),
    worked({ stage: 2, step: 0, microBatches: [3] }),
  ];
  const epoch = writeEpoch(rules, undefined, news(1, list));
  assert.deepEqual(counts(epoch), [
    [0, owner(HOSTS[0][0]), 4],
    ...[[1, owner(a), 2], [1, owner(b), 1]].sort((x, y) => x[1] < y[1] ? -1 : 1),
    [2, owner(HOSTS[2][0]), 1],
  ]);
  const shares = new Map(rewards(epoch).map(([, account, units]) => [account, units]));
  assert.equal(shares.get(owner(a)), 66n);
  assert.equal(shares.get(owner(b)), 33n);
  assert.equal(shares.get(owner(HOSTS[2][0])), 100n);
  assert.equal(epoch.document.balances.find((it) => it.account === owner(a))!.credit, 20n);
});

for (
  const [what, wish] of [
    ["a neighbour before is missing", { by: [HOSTS[2][0]] }],
    ["a neighbour after is missing", { by: [HOSTS[0][0]] }],
    ["the neighbour after is a stranger", { by: [HOSTS[0][0], STRANGER] }],
    ["the input is from a stranger", { previous: STRANGER, by: [STRANGER, HOSTS[2][0]] }],
    ["the host is a stranger", { host: STRANGER }],
    ["the step is over", { step: 5 }],
    ["the micro-batch does not exist", { microBatches: [4] }],
    ["the host acknowledges itself", { by: [HOSTS[1][0]] }],
  ] as const
) {
  Deno.test(`nothing counts where ${what}`, () => {
    const sheet = worked({ stage: 1, step: 0, microBatches: [0], ...wish });
    const epoch = writeEpoch(rules, undefined, news(1, [sheet]));
    assert.deepEqual(counts(epoch), []);
    assert.equal(treeOf(epoch), undefined);
  });
}

Deno.test("an operator with keys of two stages does not vouch for itself", () => {
  const [own, next] = [HOSTS[1][0], HOSTS[2][0]];
  const sheet = worked({ stage: 1, step: 0, microBatches: [0] });
  const both: EpochRules = {
    ...rules,
    ownerOf: (signer, stage) => signer === next.address ? owner(own) : rules.ownerOf(signer, stage),
  };
  assert.equal(counts(writeEpoch(rules, undefined, news(1, [sheet]))).length, 1);
  assert.deepEqual(counts(writeEpoch(both, undefined, news(1, [sheet]))), []);
});

Deno.test("only trainers that the document names feed the first stage", () => {
  const sheet = worked({ stage: 0, step: 0, microBatches: [0], previous: STRANGER });
  assert.deepEqual(counts(writeEpoch(rules, undefined, news(1, [sheet]))), []);
});

Deno.test("who worked once earns for eight epochs, ever less, and not in the ninth", () => {
  const [once, always] = HOSTS[0];
  const work = (step: number, host: DigestSigner, microBatches: number[]) =>
    worked({ stage: 0, step, microBatches, host });
  let epoch: NamedDocument | undefined;
  const earned: bigint[] = [];
  for (let number = 1; number <= WINDOW_EPOCHS + 2; number++) {
    const list = [work(number - 1, always, [0, 1])];
    if (number === 1) list.push(work(0, once, [2, 3]));
    const before = epoch?.document.balances.find((it) => it.account === owner(once))?.rewardUnits ?? 0n;
    epoch = writeEpoch(rules, epoch, news(number, list));
    assert.equal(faultOf(rules, undefined, epoch) === undefined, number === 1);
    earned.push(epoch.document.balances.find((it) => it.account === owner(once))!.rewardUnits - before);
  }
  assert.deepEqual(earned, [50n, 33n, 25n, 20n, 16n, 14n, 12n, 11n, 0n, 0n]);
});

function threeEpochs(): NamedDocument[] {
  const epochs: NamedDocument[] = [];
  for (let epoch = 1; epoch <= 3; epoch++) {
    const list = [0, 1, 2].map((stage) => worked({ stage, step: epoch - 1, microBatches: [0, 1, 2, 3] }));
    epochs.push(readEpoch(writeEpoch(rules, epochs.at(-1), news(epoch, list)).text));
  }
  return epochs;
}

Deno.test("whoever has an epoch and the one before finds what is wrong with it", () => {
  const [first, second, third] = threeEpochs();
  assert.equal(faultOf(rules, undefined, first), undefined);
  assert.equal(faultOf(rules, second, third), undefined);
  assert.equal(faultOf(rules, first, third), "it follows another document");
  const { document } = second;
  const { balances, sheets: [sheet, ...others] } = document;
  const changed = (change: Partial<EpochDocument>) => {
    const text = JSON.stringify({ ...document, ...change }, (_, it) => typeof it === "bigint" ? `${it}` : it);
    return faultOf(rules, first, readEpoch(text));
  };
  assert.equal(changed({}), undefined);
  assert.equal(changed({ chainId: 1 }), "it is for another contract");
  assert.equal(changed({ model: word("e") }), "it is of another model");
  assert.equal(changed({ epoch: 7 }), "it follows another epoch");
  assert.equal(changed({ beforeStep: 0 }), "its steps run backwards");
  const more = [{ ...balances[0], rewardUnits: balances[0].rewardUnits + 1n }, ...balances.slice(1)];
  assert.equal(changed({ balances: more }), "it pays other amounts");
  assert.equal(changed({ balances: balances.slice(1) }), "it pays other amounts");
  assert.equal(changed({ sheets: others }), "it counts other work");
  assert.equal(changed({ trainers: [] }), "it counts other work");
  const forged = { ...sheet, items: [{ ...sheet.items[0], tokens: 1 }, ...sheet.items.slice(1)] };
  assert.match(changed({ sheets: [forged, ...others] })!, /is not signed/);
  const vouched = { ...sheet, acknowledgements: [{ ...sheet.acknowledgements[0], by: STRANGER.address }] };
  assert.match(changed({ sheets: [vouched, ...others] })!, /is not signed/);
});

Deno.test("an account's proof is of what its balance says", () => {
  const epoch = threeEpochs()[2];
  for (const { stage, account, rewardUnits, credit } of epoch.document.balances) {
    const proof = treeOf(epoch)!.proofOf(MODEL, stage, account, 3)!;
    assert.deepEqual([proof.cumulativeRewardUnits, proof.cumulativeCredit], [rewardUnits, credit]);
  }
});

Deno.test("no epoch pays more than it brings, whatever was worked, and nobody's balance falls", () => {
  const wish = fc.record({
    stage: fc.integer({ min: 0, max: 2 }),
    host: fc.integer({ min: 0, max: 1 }),
    step: fc.integer({ min: 0, max: 6 }),
    microBatches: fc.uniqueArray(fc.integer({ min: 0, max: 5 }), { minLength: 1 }),
  });
  const story = fc.array(fc.array(wish, { maxLength: 4 }), { minLength: 1, maxLength: 5 });
  fc.assert(
    fc.property(story, (story) => {
      let epoch: NamedDocument | undefined;
      story.forEach((wishes, index) => {
        const before = epoch;
        const list = wishes.map(({ stage, host, step, microBatches }) =>
          worked({ stage, step, host: HOSTS[stage][host], microBatches: microBatches.sort((a, b) => a - b) })
        );
        epoch = readEpoch(writeEpoch(rules, before, news(index + 1, list)).text);
        assert.equal(faultOf(rules, before, epoch), undefined);
        for (let stage = 0; stage < 3; stage++) {
          const sum = (it: NamedDocument | undefined) =>
            it?.document.balances.reduce(
              (all, row) => row.stage === stage ? all + row.rewardUnits : all,
              0n,
            ) ?? 0n;
          assert.ok(sum(epoch) - sum(before) <= 100n);
        }
        for (const { stage, account, rewardUnits, credit } of before?.document.balances ?? []) {
          const now = epoch.document.balances.find((it) => it.stage === stage && it.account === account)!;
          assert.ok(now.rewardUnits >= rewardUnits && now.credit >= credit);
        }
      });
    }),
    { numRuns: 30 },
  );
});

Deno.test("what is no epoch is refused in words", () => {
  for (const text of ["", "{}", "null", "[1]", '{"version":1}']) {
    assert.throws(() => readEpoch(text), TypeError);
  }
  fc.assert(fc.property(fc.json(), (text) => {
    assert.throws(() => readEpoch(text), TypeError);
  }));
});
