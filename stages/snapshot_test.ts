import assert from "node:assert/strict";
import fc from "fast-check";
import { sliceOf } from "../run/mod.ts";
import { stageLayout } from "./parameters.ts";
import { NOTE_LENGTH_MAX, Snapshots } from "./snapshot.ts";
import { MemoryDisk, stateOf, tinyManifest } from "./testing/fixtures.ts";

const manifest = tinyManifest({ stages: 3 });
const layout = stageLayout(manifest.model, sliceOf(manifest, 1));
const stateAt = (step: number) => stateOf(layout, step, ({ size }) => new Float32Array(size).fill(step));
const at = (disk: MemoryDisk, run = "run", stage = 1) => new Snapshots({ disk, run, stage, layout });

async function written(...steps: number[]): Promise<MemoryDisk> {
  const disk = new MemoryDisk();
  for (const step of steps) {
    const { manifest, bytes } = stateAt(step);
    await at(disk).write(manifest, bytes);
  }
  return disk;
}

Deno.test("an empty disk holds no state", async () => {
  assert.deepEqual(await at(new MemoryDisk()).restore(), { state: undefined, rejected: [] });
});

Deno.test("the newest state is read back, to the bit", async () => {
  const { state, rejected } = await at(await written(1, 2)).restore();
  assert.deepEqual(state, stateAt(2));
  assert.deepEqual(rejected, []);
});

Deno.test("the newest is what was written last, whatever its step", async () => {
  assert.equal((await at(await written(7, 3)).restore()).state?.manifest.step, 3);
});

Deno.test("only the last two stay", async () => {
  const disk = await written(1, 2, 3, 4);
  assert.deepEqual(await disk.list(), ["snapshot-000000003.state", "snapshot-000000004.state"]);
});

Deno.test("files of other names are left alone and not read", async () => {
  const disk = await written(1, 2, 3);
  for (const name of ["notes.txt", "snapshot-9.state", "snapshot-000000009.state.old", "snapshot-x.state"]) {
    disk.files.set(name, new Uint8Array(3));
  }
  const { state, rejected } = await at(disk).restore();
  assert.equal(state?.manifest.step, 3);
  assert.deepEqual(rejected, []);
  const { manifest, bytes } = stateAt(4);
  await at(disk).write(manifest, bytes);
  assert.equal(disk.files.size, 6);
});

Deno.test("all that hold are listed, the newest first, and each can be read back", async () => {
  const disk = await written(1, 2);
  const { snapshots, rejected } = await at(disk).list();
  assert.deepEqual(snapshots.map(({ manifest }) => manifest), [stateAt(2).manifest, stateAt(1).manifest]);
  assert.deepEqual(rejected, []);
  const { stateHash } = stateAt(1).manifest;
  assert.deepEqual((await at(disk).load(stateHash)).state, stateAt(1));
  assert.equal((await at(disk).load("0".repeat(64))).state, undefined);
});

Deno.test("a broken file is not listed, and it is told why", async () => {
  const disk = await written(1, 2);
  disk.files.get(NEWEST)![100] ^= 1;
  const { snapshots, rejected } = await at(disk).list();
  assert.deepEqual(snapshots.map(({ manifest }) => manifest), [stateAt(1).manifest]);
  assert.deepEqual(rejected.map(({ name }) => name), [NEWEST]);
});

const NEWEST = "snapshot-000000002.state";

Deno.test("with any bit of the newest flipped, the older one is taken, and it is told why", async () => {
  const disk = await written(1, 2);
  const whole = disk.files.get(NEWEST)!;
  await fc.assert(fc.asyncProperty(fc.nat(whole.length - 1), fc.nat(7), async (index, bit) => {
    const flipped = whole.slice();
    flipped[index] ^= 1 << bit;
    disk.files.set(NEWEST, flipped);
    const { state, rejected } = await at(disk).restore();
    assert.deepEqual(state, stateAt(1));
    assert.deepEqual(rejected.map(({ name }) => name), [NEWEST]);
    assert.match(rejected[0].reason, /^Cannot /);
  }));
});

Deno.test("with any end of the newest missing, the older one is taken", async () => {
  const disk = await written(1, 2);
  const whole = disk.files.get(NEWEST)!;
  await fc.assert(fc.asyncProperty(fc.nat(whole.length - 1), async (length) => {
    disk.files.set(NEWEST, whole.subarray(0, length));
    const { state, rejected } = await at(disk).restore();
    assert.equal(state?.manifest.step, 1);
    assert.equal(rejected.length, 1);
  }));
});

const line = (header: unknown) => new TextEncoder().encode(JSON.stringify(header) + "\n");
const hostile: readonly [why: string, contents: Uint8Array, reason: RegExp][] = [
  ["nothing in it", new Uint8Array(), /it has no header/],
  ["no end of line", new Uint8Array(3000).fill(65), /it has no header/],
  ["a header without JSON", new TextEncoder().encode("hello\n"), /its header is no JSON/],
  ["a header that is null", line(null), /header field/],
  ["a header of another format", line({ format: "else" }), /header field format/],
  [
    "a header without manifest",
    line({ format: "murmuration-snapshot-1", run: "run", stage: 1 }),
    /field manifest/,
  ],
  ["more bytes than any state", new Uint8Array(1e7), /too long/],
];

for (const [why, contents, reason] of hostile) {
  Deno.test(`a snapshot with ${why} is passed over`, async () => {
    const disk = await written(1, 2);
    disk.files.set(NEWEST, contents);
    const { state, rejected } = await at(disk).restore();
    assert.equal(state?.manifest.step, 1);
    assert.match(rejected[0].reason, reason);
  });
}

Deno.test("a snapshot of another run or stage is passed over", async () => {
  const disk = await written(1);
  for (const foreign of [at(disk, "other run"), at(disk, "run", 2)]) {
    const { state, rejected } = await foreign.restore();
    assert.equal(state, undefined);
    assert.match(rejected[0].reason, /it is of stage 1 of run "run", expected stage/);
  }
});

Deno.test("a broken snapshot makes no room for itself: a sound one stays to fall back to", async () => {
  const disk = await written(1, 2);
  disk.files.set(NEWEST, new Uint8Array(9));
  const snapshots = at(disk);
  await snapshots.restore();
  const { manifest, bytes } = stateAt(3);
  await snapshots.write(manifest, bytes);
  assert.deepEqual((await disk.list()).toSorted(), ["snapshot-000000001.state", "snapshot-000000003.state"]);
});

Deno.test("a disk that fails is not taken for a broken snapshot", async () => {
  const disk = await written(1);
  disk.read = () => Promise.reject(new Error("input/output error"));
  await assert.rejects(at(disk).restore(), /input\/output error/);
});

Deno.test("pieces can be had from a file that is damaged elsewhere, and none that is not what its name says", async () => {
  const [piece] = stateAt(2).manifest.pieces;
  const disk = await written(1, 2);
  const whole = disk.files.get(NEWEST)!;
  const stepAt = new TextDecoder().decode(whole).indexOf('"step":') + '"step":'.length;
  const otherStep = whole.slice();
  otherStep[stepAt] ^= 1;
  disk.files.set(NEWEST, otherStep);
  assert.equal((await at(disk).load(stateAt(2).manifest.stateHash)).state, undefined);
  assert.deepEqual([...await at(disk).salvage([piece, "0".repeat(64)])], [[piece, stateAt(2).bytes]]);
  const otherBytes = whole.slice();
  otherBytes[whole.length - 1] ^= 1;
  disk.files.set(NEWEST, otherBytes);
  assert.equal((await at(disk).salvage([piece])).size, 0);
  disk.files.set(NEWEST, new Uint8Array(1000));
  assert.equal((await at(disk).salvage([piece])).size, 0);
});

Deno.test("a note is kept beside the state, up to a bound", async () => {
  const disk = new MemoryDisk();
  const { manifest, bytes } = stateAt(1);
  const note = "\u0001".repeat(NOTE_LENGTH_MAX);
  await at(disk).write(manifest, bytes, note);
  const { snapshots } = await at(disk).list();
  assert.deepEqual(snapshots, [{ manifest, note }]);
  await assert.rejects(
    at(disk).write(manifest, bytes, `${note}.`),
    /its note is 524289 long, at most 524288/,
  );
});
