import assert from "node:assert/strict";
import { join } from "node:path";
import type { Pledge } from "../actors/allegiance.ts";
import { manifestHash } from "../run/mod.ts";
import { tinyManifest } from "../tests/data.ts";
import { PledgeFile } from "./pledge_file.ts";

const PLEDGE: Pledge = {
  term: 3,
  leader: "trainer",
  electorates: [{ term: 3, number: 7, electors: ["a", "b"], after: { term: 2, number: 6 }, settled: true }],
};

Deno.test("a promise outlives its process, and is of one run", async () => {
  const folder = await Deno.makeTempDir();
  const manifest = tinyManifest();
  const file = await PledgeFile.open(folder, manifest);
  assert.equal(file.initial, undefined);
  await file.save(PLEDGE);
  assert.deepEqual((await PledgeFile.open(folder, manifest)).initial, PLEDGE);
  assert.equal((await PledgeFile.open(folder, tinyManifest({ steps: 77 }))).initial, undefined);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a damaged file is named, and nothing is made up in its place", async () => {
  const folder = await Deno.makeTempDir();
  const manifest = tinyManifest();
  await (await PledgeFile.open(folder, manifest)).save(PLEDGE);
  const path = join(folder, manifestHash(manifest).slice(0, 16), "pledge.json");
  for (
    const text of [
      "",
      "{",
      "[]",
      '{"version":2,"term":-1,"leader":null,"electorates":[]}',
      "x".repeat(20_000),
    ]
  ) {
    await Deno.writeTextFile(path, text);
    await assert.rejects(() => PledgeFile.open(folder, manifest), /pledge\.json/);
  }
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a file of another version is said to be one", async () => {
  const folder = await Deno.makeTempDir();
  const manifest = tinyManifest();
  await (await PledgeFile.open(folder, manifest)).save(PLEDGE);
  const path = join(folder, manifestHash(manifest).slice(0, 16), "pledge.json");
  for (
    const [version, text] of [[1, { term: 3, leader: "trainer" }], [3, { version: 3, vows: [] }]] as const
  ) {
    await Deno.writeTextFile(path, JSON.stringify(text));
    await assert.rejects(
      () => PledgeFile.open(folder, manifest),
      new RegExp(`pledge\\.json: it is of version ${version}, and this host reads version 2; delete it`),
    );
  }
  await Deno.remove(folder, { recursive: true });
});
