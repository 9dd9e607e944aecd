import assert from "node:assert/strict";
import { join } from "node:path";
import { UsageError } from "./arguments.ts";
import { holdDataDirectory } from "./data_directory.ts";

Deno.test("a folder is made for its owner alone, and held by one at a time", async () => {
  const parent = await Deno.makeTempDir();
  const path = join(parent, "deep", "down");
  {
    using held = await holdDataDirectory(path);
    assert.equal(held.path, path);
    if (Deno.build.os !== "windows") assert.equal((await Deno.stat(path)).mode! & 0o777, 0o700);
    await assert.rejects(holdDataDirectory(path), UsageError);
  }
  {
    using _again = await holdDataDirectory(path);
  }
  await Deno.remove(parent, { recursive: true });
});

Deno.test("a place that can't be a folder is named", async () => {
  const file = await Deno.makeTempFile();
  await assert.rejects(holdDataDirectory(join(file, "inside")), /Cannot keep data in .*inside/);
  await Deno.remove(file);
});
