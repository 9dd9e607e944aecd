import assert from "node:assert/strict";
import { RealClock } from "../actors/core/real_clock.ts";
import { VirtualClock } from "../actors/core/virtual_clock.ts";
import { findAnvil, LOCAL_CHAIN_ID, startLocalChain } from "./local_chain.ts";

const program = findAnvil();
const ignore = program === undefined;
const clock = new RealClock();

async function ask(url: string, method: string, params: readonly unknown[] = []): Promise<unknown> {
  const answer = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }),
  });
  return (await answer.json()).result;
}

Deno.test({ name: "a local chain answers, and keeps its state", ignore }, async () => {
  const folder = await Deno.makeTempDir();
  const account = "0x00000000000000000000000000000000000000a1";
  {
    await using chain = await startLocalChain({ clock, program: program!, folder });
    assert.equal(await ask(chain.url, "eth_chainId"), `0x${LOCAL_CHAIN_ID.toString(16)}`);
    await ask(chain.url, "anvil_setBalance", [account, "0x2a"]);
  }
  {
    await using chain = await startLocalChain({ clock, program: program!, folder });
    assert.equal(await ask(chain.url, "eth_getBalance", [account, "latest"]), "0x2a");
  }
  await Deno.remove(folder, { recursive: true });
});

Deno.test({ name: "a local chain ends with the process that started it", ignore }, async () => {
  const script = `
    import { RealClock } from ${JSON.stringify(import.meta.resolve("../actors/core/real_clock.ts"))};
    import { startLocalChain } from ${JSON.stringify(import.meta.resolve("./local_chain.ts"))};
    const chain = await startLocalChain({ clock: new RealClock(), program: Deno.args[0] });
    console.log(chain.pid);
    await chain.ended;`;
  const folder = await Deno.makeTempDir();
  const file = `${folder}/parent.ts`;
  await Deno.writeTextFile(file, script);
  const parent = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--config", new URL("../deno.json", import.meta.url).pathname, file, program!],
    stdout: "piped",
  }).spawn();
  const reader = parent.stdout.getReader();
  const pid = Number(new TextDecoder().decode((await reader.read()).value));
  assert.ok(isAlive(pid));
  parent.kill("SIGKILL");
  await parent.status;
  await reader.cancel();
  // The shell on the leash has to notice; there is no event of it that we could hear.
  while (isAlive(pid)) await new Promise<void>((resolve) => void clock.after(10, resolve));
  await Deno.remove(folder, { recursive: true });
});

function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(Deno.readTextFileSync(`/proc/${pid}/status`));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

Deno.test("a chain that ends at once is reported with its words", async () => {
  const folder = await Deno.makeTempDir();
  const program = `${folder}/anvil`;
  await Deno.writeTextFile(program, "#!/bin/sh\necho 'no room' >&2\nexit 1\n", { mode: 0o755 });
  await assert.rejects(
    startLocalChain({ clock, program }),
    /Cannot start a local chain: it has ended before it was ready: no room/,
  );
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a chain that never answers is given up", async () => {
  const folder = await Deno.makeTempDir();
  const program = `${folder}/anvil`;
  await Deno.writeTextFile(program, "#!/bin/sh\necho started\nexec sleep 1000\n", { mode: 0o755 });
  const virtual = new VirtualClock();
  const starting = startLocalChain({ clock: virtual, program });
  virtual.advanceTo(60_000);
  await assert.rejects(starting, /Cannot start a local chain: it did not answer within 60000 ms/);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("ANVIL_BIN goes before everything else", () => {
  const here = new URL(import.meta.url).pathname;
  assert.equal(findAnvil((name) => name === "ANVIL_BIN" ? here : undefined), here);
  assert.equal(findAnvil((name) => name === "ANVIL_BIN" ? "/nowhere" : undefined), undefined);
});
