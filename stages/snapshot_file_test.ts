import assert from "node:assert/strict";
import fc from "fast-check";
import { sliceOf } from "../run/mod.ts";
import { stageLayout } from "./parameters.ts";
import { SnapshotFile } from "./snapshot_file.ts";
import { Snapshots } from "./snapshot.ts";
import { PIECE_BYTES, stateBytes, StateHasher, stateHeader } from "./state.ts";
import { tinyManifest } from "./testing/fixtures.ts";
import { memorySource } from "./testing/safetensors.ts";

const layout = stageLayout(tinyManifest().model, sliceOf(tinyManifest(), 0));
const of = { run: "run", stage: 0, layout };

/** The file that a host writes. */
async function written(): Promise<{ readonly file: Uint8Array; readonly state: Uint8Array }> {
  const state = new Uint8Array(stateBytes(layout));
  state.set(stateHeader(4));
  const hasher = new StateHasher(layout, 4);
  hasher.update(state);
  let file = new Uint8Array();
  const disk = {
    list: () => Promise.resolve([]),
    read: () => Promise.resolve(undefined),
    remove: () => Promise.resolve(),
    writeAtomic: async (_: string, parts: readonly Uint8Array[]) => {
      file = new Uint8Array(await new Blob(parts.map((part) => part.slice())).arrayBuffer());
    },
  };
  await new Snapshots({ disk, ...of }).write(hasher.finish(), state, "a note");
  return { file, state };
}

Deno.test("a snapshot is read piece by piece, and only what is asked for", async () => {
  const { file, state } = await written();
  const reads: number[] = [];
  const source = memorySource(file);
  const snapshot = await SnapshotFile.open({
    bytes: source.bytes,
    read: (begin, end) => {
      reads.push(end - begin);
      return source.read(begin, end);
    },
  }, of);
  assert.deepEqual([snapshot.manifest.step, snapshot.note], [4, "a note"]);
  assert.equal(reads.length, 1);
  assert.deepEqual(await snapshot.piece(0), state.slice(0, PIECE_BYTES));
  assert.equal(reads.length, 2);
});

Deno.test("with any bit flipped or any end missing either the header or a piece does not hold", async () => {
  const { file } = await written();
  const readAll = async (bytes: Uint8Array) => {
    const snapshot = await SnapshotFile.open(memorySource(bytes), of);
    for (const index of snapshot.manifest.pieces.keys()) await snapshot.piece(index);
    return snapshot.note;
  };
  assert.equal(await readAll(file), "a note");
  await fc.assert(fc.asyncProperty(fc.nat(file.length - 1), fc.nat(7), async (index, bit) => {
    const flipped = file.slice();
    flipped[index] ^= 1 << bit;
    // The note is its owner's: nothing here names what it has to be.
    if (await readAll(flipped).catch(({ name }) => name) === "a note") {
      assert.fail(`bit ${bit} of byte ${index}`);
    }
    await assert.rejects(readAll(file.subarray(0, index)), { name: "BadState" });
  }));
});

Deno.test("a snapshot of another run or stage is refused", async () => {
  const { file } = await written();
  const open = (change: object) => SnapshotFile.open(memorySource(file), { ...of, ...change });
  await assert.rejects(
    open({ run: "other" }),
    /it is of stage 0 of run "run", expected stage 0 of run "other"/,
  );
  await assert.rejects(open({ stage: 1 }), /expected stage 1/);
});
