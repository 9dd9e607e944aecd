import assert from "node:assert/strict";
import fc from "fast-check";
import {
  BadSafetensors,
  type ByteSource,
  readSafetensor,
  readSafetensorsHeader,
  safetensorsHeader,
} from "./safetensors.ts";
import { bytesOf } from "./state.ts";

/** A file in memory that notes what was read of it. */
class Bytes implements ByteSource {
  readonly reads: [number, number][] = [];
  constructor(readonly content: Uint8Array) {}
  get bytes(): number {
    return this.content.length;
  }
  read(begin: number, end: number): Promise<Uint8Array> {
    assert.ok(begin >= 0 && begin <= end && end <= this.content.length, "reads within the file");
    this.reads.push([begin, end]);
    return Promise.resolve(this.content.slice(begin, end));
  }
}

/** A file with this header and so many bytes behind it. */
function fileWith(header: unknown, data: Uint8Array<ArrayBuffer> | number): Bytes {
  const text = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const body = typeof data === "number" ? new Uint8Array(data) : data;
  const bytes = new Uint8Array(8 + text.length + body.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  bytes.set(body, 8 + text.length);
  return new Bytes(bytes);
}

Deno.test("what is written is read again, bit for bit", async () => {
  const tensor = fc.record({
    shape: fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 3 }),
    seed: fc.integer(),
  });
  await fc.assert(
    fc.asyncProperty(fc.dictionary(fc.string({ minLength: 1 }), tensor), async (tensors) => {
      const given = Object.entries(tensors).filter(([name]) => name !== "__metadata__").map((
        [name, { shape, seed }],
      ) => ({
        name,
        shape,
        data: Float32Array.from(
          { length: shape.reduce((a, b) => a * b, 1) },
          (_, i) => Math.sin(seed + i),
        ),
      }));
      const header = safetensorsHeader(given, "F32", { step: "3" });
      assert.equal(header.length % 8, 0);
      const file = new Bytes(
        new Uint8Array(await new Blob([header.slice(), ...given.map(({ data }) => data)]).arrayBuffer()),
      );
      const entries = await readSafetensorsHeader(file);
      assert.deepEqual([...entries.keys()].sort(), given.map(({ name }) => name).sort());
      for (const { name, shape, data } of given) {
        const entry = entries.get(name)!;
        assert.deepEqual(entry.shape, shape);
        assert.deepEqual(bytesOf(await readSafetensor(file, entry)), bytesOf(data));
      }
    }),
    { numRuns: 50 },
  );
});

Deno.test("half-width types are widened exactly", async () => {
  // 1, −2, the least number of f16 above zero, the greatest one, −0
  const halves = Uint16Array.of(0x3c00, 0xc000, 0x0001, 0x7bff, 0x8000);
  // 1, −2, 3.140625, 2⁻¹²⁶, −0
  const brains = Uint16Array.of(0x3f80, 0xc000, 0x4049, 0x0080, 0x8000);
  const file = fileWith(
    {
      a: { dtype: "F16", shape: [5], data_offsets: [0, 10] },
      b: { dtype: "BF16", shape: [1, 5], data_offsets: [10, 20] },
      ids: { dtype: "I64", shape: [1], data_offsets: [20, 28] },
    },
    new Uint8Array([
      ...new Uint8Array(halves.buffer),
      ...new Uint8Array(brains.buffer),
      ...new Uint8Array(8),
    ]),
  );
  const entries = await readSafetensorsHeader(file);
  assert.deepEqual([...entries.keys()], ["a", "b"], "types that no stage holds are left out");
  const read = async (name: string) => [...await readSafetensor(file, entries.get(name)!)];
  assert.deepEqual(await read("a"), [1, -2, 2 ** -24, 65_504, -0]);
  assert.deepEqual(await read("b"), [1, -2, 3.140625, 2 ** -126, -0]);
});

Deno.test("only what is asked for is read, and a large tensor by parts", async () => {
  const elements = 5 * 1024 * 1024;
  const file = fileWith({
    small: { dtype: "F32", shape: [4], data_offsets: [0, 16] },
    large: { dtype: "F32", shape: [elements], data_offsets: [16, 16 + 4 * elements] },
  }, 16 + 4 * elements);
  const entries = await readSafetensorsHeader(file);
  file.reads.length = 0;
  await readSafetensor(file, entries.get("small")!);
  const { begin, end } = entries.get("small")!;
  assert.deepEqual(file.reads, [[begin, end]]);
  file.reads.length = 0;
  const last = entries.get("large")!.end - 4;
  new DataView(file.content.buffer).setFloat32(last, 7, true);
  const values = await readSafetensor(file, entries.get("large")!);
  assert.equal(values.at(-1), 7);
  assert.ok(file.reads.length > 1 && file.reads.every(([begin, end]) => end - begin <= 16 * 1024 * 1024));
});

const hostile: readonly [why: string, file: Bytes, message: RegExp][] = [
  ["nothing", new Bytes(new Uint8Array(3)), /3 bytes are no header/],
  [
    "a header longer than the file",
    new Bytes(new Uint8Array(8).fill(255)),
    /header of 18446744073709551615 bytes/,
  ],
  ["no JSON", fileWith("{", 0), /no JSON/],
  ["no UTF-8", new Bytes(Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0, 0xff)), /no JSON/],
  ["a list", fileWith([], 0), /no object/],
  ["null", fileWith(null, 0), /no object/],
  ["a tensor of nothing", fileWith({ a: 7 }, 0), /tensor "a" is not described/],
  [
    "negative sizes",
    fileWith({ a: { dtype: "F32", shape: [-1], data_offsets: [0, 4] } }, 4),
    /not described/,
  ],
  [
    "too many sizes",
    fileWith({ a: { dtype: "F32", shape: Array(9).fill(1), data_offsets: [0, 4] } }, 4),
    /not described/,
  ],
  [
    "an end outside",
    fileWith({ a: { dtype: "F32", shape: [2], data_offsets: [0, 8] } }, 4),
    /outside of the file/,
  ],
  [
    "an end before its start",
    fileWith({ a: { dtype: "F32", shape: [0], data_offsets: [4, 0] } }, 4),
    /outside/,
  ],
  [
    "another length",
    fileWith({ a: { dtype: "F16", shape: [2], data_offsets: [0, 8] } }, 8),
    /8 bytes, expected 4 for F16 \[2\]/,
  ],
  [
    "a shape beyond numbers",
    fileWith({ a: { dtype: "F32", shape: [2 ** 52, 2 ** 52], data_offsets: [0, 8] } }, 8),
    /expected 8\.1/,
  ],
];

for (const [why, file, message] of hostile) {
  Deno.test(`a header is refused: ${why}`, async () => {
    await assert.rejects(readSafetensorsHeader(file), (error) => {
      assert.ok(error instanceof BadSafetensors);
      assert.match(error.message, message);
      return true;
    });
  });
}

Deno.test("random bytes are refused, or read within the file", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 64 }), fc.json(), async (bytes, json) => {
      for (const file of [new Bytes(bytes), fileWith(json, bytes.slice())]) {
        try {
          for (const entry of (await readSafetensorsHeader(file)).values()) await readSafetensor(file, entry);
        } catch (error) {
          assert.ok(error instanceof BadSafetensors, String(error));
        }
      }
    }),
  );
});
