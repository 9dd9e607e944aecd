import assert from "node:assert/strict";
import { join } from "node:path";
import { UsageError } from "./arguments.ts";
import { readManifest, readTexts, readTokenizer } from "./manifest_file.ts";
import { REPOSITORY } from "./box.ts";

async function inFolder(files: Record<string, string | Uint8Array>, test: (folder: string) => Promise<void>) {
  const folder = await Deno.makeTempDir();
  for (const [name, contents] of Object.entries(files)) {
    const bytes = typeof contents === "string" ? new TextEncoder().encode(contents) : contents;
    await Deno.writeFile(join(folder, name), bytes);
  }
  await test(folder);
  await Deno.remove(folder, { recursive: true });
}

Deno.test("the runs that we ship are runs", async () => {
  for await (const { name } of Deno.readDir(join(REPOSITORY, "runs"))) {
    if (!name.endsWith(".json")) continue;
    const path = join(REPOSITORY, "runs", name);
    const manifest = await readManifest(path);
    assert.equal(`${manifest.name}.json`, name);
    assert.equal((await readTokenizer(path, manifest)).vocabulary, manifest.model.vocabulary);
  }
});

Deno.test("a manifest that can't be used is named, with field, found and expected", async () => {
  await inFolder(
    { "bad.json": '{"version": 1, "steps": "many"}', "empty.json": "", "no.json": "{" },
    async (folder) => {
      const complaint = async (name: string) => {
        const error = await readManifest(join(folder, name)).then(() => assert.fail(), (error) => error);
        assert.ok(error instanceof UsageError);
        assert.ok(error.message.startsWith(`Cannot use manifest ${join(folder, name)}:`), error.message);
        return error.message;
      };
      assert.match(await complaint("bad.json"), /steps: found "many", expected an integer/);
      assert.match(await complaint("empty.json"), /it is empty/);
      assert.match(await complaint("no.json"), /expected JSON/);
      assert.match(await complaint("missing.json"), /there is no such file/);
      assert.match(await complaint("."), /it is not a file/);
    },
  );
});

Deno.test("data must be text", async () => {
  await inFolder({ a: "one\ufeff", b: "\ufefftwo", c: Uint8Array.of(0xff, 0xfe, 0) }, async (folder) => {
    const path = (name: string) => join(folder, name);
    assert.deepEqual(await readTexts([path("a"), path("b")]), ["one\ufeff", "\ufefftwo"]);
    await assert.rejects(readTexts([path("a"), path("c")]), /Cannot use data .*c: it is not UTF-8 text/);
  });
});
