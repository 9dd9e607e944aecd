import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";

const launcher = fileURLToPath(new URL("./fixtures/launcher.ts", import.meta.url));

/** Starts the launcher on a folder of its own, and waits until the boxed child is up. */
async function start(...flags: string[]) {
  const folder = await Deno.makeTempDir({ prefix: "murmuration-launch-" });
  const process = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", launcher, folder, ...flags],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const output = process.stdout.pipeThrough(new TextDecoderStream())
    [Symbol.asyncIterator]();
  assert.equal((await output.next()).value, "up\n");
  /** All that is written until both the launcher and its child have let go of the pipe. */
  const rest = async () => {
    let text = "";
    for (
      let part = await output.next();
      !part.done;
      part = await output.next()
    ) text += part.value;
    await Deno.remove(folder, { recursive: true });
    return text;
  };
  return { process, rest };
}

Deno.test("a signal ends the boxed child in good order, and its exit code comes back", async () => {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    const { process, rest } = await start();
    process.kill(signal);
    assert.equal(await rest(), "let go\n");
    assert.equal((await process.status).code, 7);
    await process.stdin.close();
  }
});

Deno.test("on a leash the end of standard input ends it likewise", async () => {
  const { process, rest } = await start("--leash");
  await process.stdin.close();
  assert.equal(await rest(), "let go\n");
  assert.equal((await process.status).code, 7);
});

Deno.test("no child outlives a launcher that was killed", async () => {
  const { process, rest } = await start();
  process.kill("SIGKILL");
  assert.equal((await process.status).success, false);
  await process.stdin.close();
  assert.equal(await rest(), "let go\n");
});
