import assert from "node:assert/strict";
import fc from "fast-check";
import { sliceOf } from "../run/mod.ts";
import { stageLayout } from "./parameters.ts";
import { readSafetensor, readSafetensorsHeader } from "./safetensors.ts";
import { bytesOf, PIECE_BYTES, SECTIONS, stateBytes, stateHeader, stateOffset } from "./state.ts";
import { tinyManifest } from "./testing/fixtures.ts";
import { memorySource } from "./testing/safetensors.ts";
import { WeightFile } from "./weight_file.ts";

/** A stage whose parameters take more than one piece, and end within one. */
const layout = (() => {
  const tiny = tinyManifest();
  const model = { ...tiny.model, width: 512, headWidth: 32, heads: 16, keyValueHeads: 16, hidden: 100 };
  return stageLayout(model, sliceOf({ ...tiny, model, stages: 1 }, 0));
})();

/** A state in which every number says where it lies: sixteenths, which BF16 holds up to 16. */
const state = (() => {
  const bytes = new Uint8Array(stateBytes(layout));
  bytes.set(stateHeader(3));
  for (const section of SECTIONS) {
    for (const parameter of layout.parameters) {
      const values = Float32Array.from(
        { length: parameter.size },
        (_, i) => (parameter.offset + i) % 127 / 16,
      );
      if (section !== "parameter") values.fill(NaN);
      bytes.set(bytesOf(values), stateOffset(layout, section, parameter));
    }
  }
  return bytes;
})();
const piece = (index: number) => state.subarray(index * PIECE_BYTES, (index + 1) * PIECE_BYTES);

for (const dataType of ["F32", "BF16", "F16"] as const) {
  Deno.test(`pieces in any order make the file of weights, in ${dataType}, and no moment gets in`, async () => {
    const file = new WeightFile("stage 0", layout, dataType, { step: "3" });
    assert.ok(file.pieces > 2 && file.pieces < state.length / PIECE_BYTES / 2);
    const order = fc.shuffledSubarray([...Array(file.pieces).keys()], { minLength: file.pieces });
    await fc.assert(
      fc.asyncProperty(order, async (order) => {
        const bytes = new Uint8Array(file.bytes).fill(0xff);
        bytes.set(file.header);
        for (const index of order) {
          const placed = file.place(index, piece(index));
          bytes.set(placed.bytes, placed.at);
        }
        const source = memorySource(bytes);
        const entries = await readSafetensorsHeader(source);
        assert.equal(Math.max(...[...entries.values()].map(({ end }) => end)), bytes.length);
        for (const { name, shape, offset } of layout.parameters) {
          const entry = entries.get(name)!;
          assert.deepEqual([entry.dataType, entry.shape], [dataType, shape]);
          const values = await readSafetensor(source, entry);
          assert.ok(values.every((value, i) => value === (offset + i) % 127 / 16), name);
        }
      }),
      { numRuns: 3 },
    );
  });
}

Deno.test("a number that the type does not hold is refused with the stage's name", () => {
  const broken = state.slice();
  new DataView(broken.buffer).setFloat32(
    stateOffset(layout, "parameter", layout.parameters[0]),
    70_000,
    true,
  );
  const place = (dataType: "F16" | "BF16") =>
    new WeightFile("stage 0", layout, dataType).place(0, broken.subarray(0, PIECE_BYTES));
  assert.throws(() => place("F16"), { name: "RangeError", message: /Cannot write stage 0 as F16: .* 70000/ });
  place("BF16");
});
