import assert from "node:assert/strict";
import { DenoDisk } from "./deno_disk.ts";

async function inFolder(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "murmuration-disk-" });
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const text = (value: string) => new TextEncoder().encode(value);

Deno.test("a file that was written is listed and read, parts joined", () =>
  inFolder(async (folder) => {
    const disk = new DenoDisk(`${folder}/inner/most`);
    assert.deepEqual(await disk.list(), []);
    assert.equal(await disk.read("a", 10), undefined);
    await disk.writeAtomic("a", [text("mur"), text(""), text("mur")]);
    await disk.writeAtomic("b", []);
    assert.deepEqual(await disk.list(), ["a", "b"]);
    assert.deepEqual(await disk.read("a", 6), text("murmur"));
    await disk.writeAtomic("a", [text("x")]);
    assert.deepEqual(await disk.read("a", 6), text("x"));
    await disk.remove("a");
    await disk.remove("a");
    assert.deepEqual(await disk.list(), ["b"]);
  }));

Deno.test("what a crash left half-written is neither listed nor in the way", () =>
  inFolder(async (folder) => {
    const disk = new DenoDisk(folder);
    await Deno.writeTextFile(`${folder}/a.writing`, "half, and longer than the whole");
    assert.deepEqual(await disk.list(), []);
    await disk.writeAtomic("a", [text("whole")]);
    assert.deepEqual(await disk.read("a", 5), text("whole"));
    assert.deepEqual(await disk.list(), ["a"]);
  }));

Deno.test("a file that is too long is not read", () =>
  inFolder(async (folder) => {
    const disk = new DenoDisk(folder);
    await disk.writeAtomic("a", [text("long")]);
    await assert.rejects(disk.read("a", 3), {
      name: "RangeError",
      message: "Cannot read a: it is 4 bytes long, allowed are 3",
    });
  }));

for (
  const name of ["", ".", "..", "../a", "a/b", "/etc/passwd", "a\0", ".hidden", "a.writing", "x".repeat(200)]
) {
  Deno.test(`the name ${JSON.stringify(name.slice(0, 20))} reaches no file`, () =>
    inFolder(async (folder) => {
      const disk = new DenoDisk(folder);
      await assert.rejects(disk.read(name, 1), TypeError);
      await assert.rejects(disk.writeAtomic(name, []), TypeError);
      await assert.rejects(disk.remove(name), TypeError);
      assert.deepEqual(await disk.list(), []);
    }));
}
