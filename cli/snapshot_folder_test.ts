import assert from "node:assert/strict";
import { join } from "node:path";
import { ReferenceDevice } from "../kernels/mod.ts";
import { CompiledStage } from "../stages/mod.ts";
import { REPOSITORY } from "./box.ts";
import { readManifest } from "./manifest_file.ts";
import { SnapshotFolder } from "./snapshot_folder.ts";

Deno.test("a state comes back from disk by its hash; damage and other runs are told, not believed", async () => {
  const folder = await Deno.makeTempDir();
  const manifest = await readManifest(join(REPOSITORY, "runs", "tiny.json"));
  const stage = await CompiledStage.create({ device: new ReferenceDevice(), manifest, index: 0 });
  const state = await stage.exportState();
  const rejected: string[] = [];
  const open = (of = manifest) => new SnapshotFolder(folder, of, (name) => void rejected.push(name));

  assert.deepEqual(await open().list(0), []);
  const proof = { replicas: ["a"], votes: [{ peer: "a", signature: "00" }] };
  await open().save(0, state.manifest, state.bytes, proof);
  const { step, stateHash } = state.manifest;
  assert.deepEqual(await open().list(0), [{ step, stateHash, proof }]);
  assert.deepEqual((await open().load(0, stateHash)).bytes, state.bytes);
  await assert.rejects(open().load(0, "0".repeat(64)), /it is not on this disk/);
  assert.deepEqual(await open().list(1), []);
  assert.deepEqual(await open({ ...manifest, seed: manifest.seed + 1 }).list(0), [], "another run's");

  const run = (await Array.fromAsync(Deno.readDir(folder)))[0]!.name;
  const file = join(folder, run, "stage-0", "snapshot-000000001.state");
  const bytes = await Deno.readFile(file);
  bytes[bytes.length - 1]! ^= 1;
  await Deno.writeFile(file, bytes);
  await assert.rejects(open().load(0, stateHash));
  assert.deepEqual(rejected, ["snapshot-000000001.state"]);

  await open().save(0, state.manifest, state.bytes, undefined);
  assert.deepEqual(await open().list(0), [{ step, stateHash, proof: undefined }]);

  await stage.close();
  await Deno.remove(folder, { recursive: true });
});
