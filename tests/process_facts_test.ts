import assert from "node:assert/strict";
import {
  childrenOf,
  HAS_PROCESS_FACTS,
  isThere,
  openFiles,
  processNamed,
  residentMegabytes,
} from "./process_facts.ts";
import { StoppedProcess } from "./stopped_process.ts";

/** A process that waits for the end of its input. */
function sleeper(): Deno.ChildProcess {
  return new Deno.Command("cat", { stdin: "piped", stdout: "null" }).spawn();
}

async function stateOf(pid: number): Promise<string | undefined> {
  return /^State:\s+(\w)/m.exec(await Deno.readTextFile(`/proc/${pid}/status`))?.[1];
}

Deno.test(
  "a process is seen while it is there, and not afterwards",
  { ignore: !HAS_PROCESS_FACTS },
  async () => {
    const child = sleeper();
    const name = await processNamed(child.pid);
    assert.ok(name !== undefined && await isThere(name));
    assert.ok((await childrenOf(Deno.pid)).includes(child.pid));
    assert.ok((await openFiles(child.pid))! >= 3);
    assert.ok((await residentMegabytes(child.pid))! > 0);
    await child.stdin.close();
    await child.status;
    assert.equal(await isThere(name), false);
    assert.ok(!(await childrenOf(Deno.pid)).includes(child.pid));
    assert.equal(await openFiles(child.pid), undefined);
    assert.equal(await residentMegabytes(child.pid), undefined);
  },
);

Deno.test("a stopped process stands until it is let go", { ignore: !HAS_PROCESS_FACTS }, async () => {
  const child = sleeper();
  {
    await using _stopped = await StoppedProcess.stop(child.pid);
    // It may be on another core, and stand a moment later; if it never did, this would never end.
    while (await stateOf(child.pid) !== "T");
  }
  assert.notEqual(await stateOf(child.pid), "T");
  await child.stdin.close();
  await child.status;
  await assert.rejects(StoppedProcess.stop(child.pid), /there is none/);
});
