import assert from "node:assert/strict";
import { join } from "node:path";

const RUN = new URL("../runs/tiny.json", import.meta.url).pathname;

/** Runs the command, which is to refuse. */
async function refused(...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", new URL("./gateway.ts", import.meta.url).href, "--run", RUN, ...args],
    stdin: "null",
  }).output();
  assert.equal(code, 2, new TextDecoder().decode(stderr));
  assert.equal(stdout.length, 0);
  return new TextDecoder().decode(stderr);
}

Deno.test("a gateway without keys does not listen where others could reach it", async () => {
  assert.match(await refused("--listen", "0.0.0.0:0"), /Cannot listen on 0\.0\.0\.0 without keys.*--open/);
});

Deno.test("keys that can't be read are the person's to mend, and are not shown", async () => {
  const folder = await Deno.makeTempDir({ prefix: "murmuration-test-" });
  try {
    const keys = join(folder, "keys.json");
    assert.match(await refused("--keys", keys), /there is no such file/);
    await Deno.writeTextFile(keys, "sk-secret-sk-secret");
    const words = await refused("--keys", keys);
    assert.match(words, /Cannot read keys: the file is no JSON \(.*keys\.json\)/);
    assert.doesNotMatch(words, /secret/);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
