import assert from "node:assert/strict";
import { join } from "node:path";
import { Wallet } from "ethers";
import { Failure, UsageError } from "./arguments.ts";
import { addressIn, createKey, openKey, readKey, saveKey } from "./keystore.ts";

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await work(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("a key is found again with its password alone, by us and by others", () =>
  inFolder(async (folder) => {
    const path = join(folder, "wallet.json");
    const key = createKey();
    await saveKey(path, key, "open sesame");
    assert.deepEqual(await openKey(path, "open sesame"), key);
    assert.equal(await addressIn(path), key.address);
    await assert.rejects(openKey(path, "open poppy"), Failure);
    const text = await Deno.readTextFile(path);
    assert.equal((await Wallet.fromEncryptedJson(text, "open sesame")).address.toLowerCase(), key.address);
    assert.ok("crypto" in JSON.parse(text) && !("Crypto" in JSON.parse(text)));
    assert.ok(!text.includes([...key.key].map((byte) => byte.toString(16).padStart(2, "0")).join("")));
    assert.equal((await Deno.stat(path)).mode! & 0o777, 0o600);
    assert.deepEqual([...Deno.readDirSync(folder)].map(({ name }) => name), ["wallet.json"]);
  }));

Deno.test("no key is written over, and none is made where there is no folder", () =>
  inFolder(async (folder) => {
    const path = join(folder, "wallet.json");
    await Deno.writeTextFile(path, "mine");
    await assert.rejects(saveKey(path, createKey(), "x"), UsageError);
    assert.equal(await Deno.readTextFile(path), "mine");
    await assert.rejects(saveKey(join(folder, "not", "there"), createKey(), "x"), UsageError);
  }));

Deno.test("what is no wallet is refused in words", () =>
  inFolder(async (folder) => {
    const path = join(folder, "wallet.json");
    await assert.rejects(openKey(path, "x"), UsageError);
    for (const text of ["", "{}", "null", '{"address":"0x1"}', "x".repeat(100_000)]) {
      await Deno.writeTextFile(path, text);
      await assert.rejects(addressIn(path), UsageError);
    }
  }));

Deno.test("a key is 64 digits on the curve", () => {
  const digits = "11".repeat(32);
  assert.deepEqual(readKey(`0x${digits}\n`), readKey(digits));
  for (const text of ["", "0x", "1".repeat(63), "g".repeat(64), "0".repeat(64), "f".repeat(64)]) {
    assert.throws(() => readKey(text), UsageError);
  }
});
