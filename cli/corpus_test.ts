import assert from "node:assert/strict";
import { join } from "node:path";
import { REPOSITORY } from "./box.ts";
import { collectText } from "./corpus.ts";

Deno.test("a folder's text comes in the order of names, without packages and hidden folders", async () => {
  const folder = await Deno.makeTempDir();
  for (
    const [path, text] of [
      ["b.ts", "B"],
      ["a/z.md", "Z"],
      ["c.json", "no"],
      ["node_modules/x.ts", "no"],
      [".git/y.md", "no"],
    ] as const
  ) {
    await Deno.mkdir(join(folder, path, ".."), { recursive: true });
    await Deno.writeTextFile(join(folder, path), text);
  }
  assert.equal(await collectText(folder, 100), "Z\nB\n");
  assert.equal(await collectText(folder, 3), "Z\nB");
  await Deno.remove(folder, { recursive: true });
});

Deno.test("this repository has text enough for the demo", async () => {
  assert.ok((await collectText(REPOSITORY, 200_000)).length === 200_000);
});
