import assert from "node:assert/strict";
import { join } from "node:path";
import { DeviceFigures, type Figure } from "./device_figures.ts";

const key = (index: number) => index.toString(16).padStart(64, "0");
const figures: readonly Figure[] = [{ stage: 0, device: "onnx", seconds: 0.5 }];

async function withFolder(body: (folder: string, figures: DeviceFigures) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "murmuration-figures-" });
  try {
    await body(folder, new DeviceFigures(folder));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("what was measured is found again, under its own key", async () => {
  await withFolder(async (folder, file) => {
    assert.equal(await file.find(key(1)), undefined);
    await file.keep(key(1), figures);
    await file.keep(key(2), []);
    assert.deepEqual(await new DeviceFigures(folder).find(key(1)), figures);
    assert.deepEqual(await file.find(key(2)), []);
    assert.equal(await file.find(key(3)), undefined);
  });
});

Deno.test("the file does not grow: the oldest go", async () => {
  await withFolder(async (_folder, file) => {
    for (let index = 0; index < 40; index++) await file.keep(key(index), figures);
    assert.equal(await file.find(key(7)), undefined);
    assert.deepEqual(await file.find(key(8)), figures);
    assert.deepEqual(await file.find(key(39)), figures);
  });
});

Deno.test("a file that is damaged, of another version or too long is as good as none", async () => {
  const files = [
    "",
    "{",
    "[]",
    '{"version":2,"entries":[]}',
    `{"version":1,"entries":[{"key":"${key(1)}","figures":[{"stage":0,"device":"onnx","seconds":-1}]}]}`,
    " ".repeat(2 ** 20 + 1),
  ];
  for (const text of files) {
    await withFolder(async (folder, file) => {
      await Deno.writeTextFile(join(folder, "devices.json"), text);
      assert.equal(await file.find(key(1)), undefined);
      await file.keep(key(1), figures);
      assert.deepEqual(await file.find(key(1)), figures);
    });
  }
});
